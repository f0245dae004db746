/* embedding_grad.cu - dwte[tokens[b,t],:] += scale * dout[b,t,:];  dwpe[first + t - starts[b,t],:] += dout[b,t,:]
 *
 * The same token may stand at many positions.  They are sorted by token first, and by place where
 * tokens are equal; then a block adds the rows of one token to its row of dwte, in that order: no
 * atomics, the same bits every time.
 *
 *     tokens    5 2 5 9 2 5                   tiles, each by itself:   1 0 2 | 4 5 3
 *     order     1 4 | 0 2 5 | 3               merged, pair by pair:    1 4 0 2 5 3
 *               2 2   5 5 5   9
 *
 * In a tile, a position's rank is counted; when two sorted parts are merged, its place in the other
 * part is found by bisection.  Keys are tokens and places, which differ, so that neither needs more
 * than to look.
 * bytes: s C for each position and 2 s C for each token that occurs; 8 for each position and merge,
 * of which there are log2(R / TILE), and what the bisections read from the cache */
#include "cuda/gpu.h"

static constexpr int THREADS = 128, WARPS = THREADS / WARP, TILE = THREADS;

/* ---- the order ---- */

static __global__ void tile_kernel(const int32_t *tokens, int32_t *order, int64_t rows)
{
    SHARED(int32_t, tile, [TILE]);
    int64_t first = (int64_t)blockIdx.x * TILE;
    int n = rows - first < TILE ? (int)(rows - first) : TILE, mine = threadIdx.x, rank = 0;
    if (mine < n) tile[mine] = tokens[first + mine];
    __syncthreads();
    if (mine >= n) return;
    for (int k = 0; k < n; k++)
        rank += tile[k] < tile[mine] || (tile[k] == tile[mine] && k < mine);
    order[first + rank] = (int32_t)(first + mine);
}

/* Each two parts of `width` become one.  A thread has an element: it comes after those of the other
 * part with a smaller token, and after those of the left part with the same. */
static __global__ void merge_kernel(const int32_t *tokens, const int32_t *from, int32_t *to,
                                    int64_t rows, int64_t width)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= rows) return;
    bool is_left = i / width % 2 == 0;
    int64_t other = (i / width + (is_left ? 1 : -1)) * width, low = other;
    int64_t high = other + width < rows ? other + width : rows;
    int32_t position = from[i], token = tokens[position];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int32_t seen = tokens[from[middle]];
        if (seen < token || (seen == token && !is_left))
            low = middle + 1;
        else
            high = middle;
    }
    to[(is_left ? i : i - width) + (low - other)] = position;
}

/* The positions in order, in one half of scratch (2,R). */
static const int32_t *sort_positions(device *dev, int stream, const embedding_grad_op *o)
{
    int64_t rows = tensor_count(o->tokens);
    const int32_t *tokens = (const int32_t *)o->tokens.data;
    int32_t *from = (int32_t *)o->scratch.data, *to = from + rows;
    RUN(dev, stream, tile_kernel, groups(rows, TILE), THREADS, 0, tokens, from, rows);
    for (int64_t width = TILE; width < rows; width *= 2) {
        RUN(dev, stream, merge_kernel, groups(rows, THREADS), THREADS, 0, tokens, from, to, rows,
            width);
        int32_t *merged = to;
        to = from, from = merged;
    }
    return from;
}

/* ---- the sums ---- */

template <class T> struct token_call {
    T *dwte;                       /* (V,C) */
    const T *dout;                 /* (R,C) */
    const int32_t *tokens, *order; /* (R), (R) */
    int64_t rows, cols, ld_dwte, ld_dout;
    float scale;
    bool aligned;
};

/* A block has WARP * WIDTH columns of the token that begins at its place in the order, if one does.
 * Its warps take turns at the rows, and their sums are added in order. */
template <class T> __global__ void token_kernel(token_call<T> a)
{
    SHARED(float, sums, [WARPS][WIDTH<T>][WARP]);
    int64_t begin = blockIdx.x;
    int32_t token = a.tokens[a.order[begin]];
    if (begin > 0 && a.tokens[a.order[begin - 1]] == token) return;
    int w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int64_t c = ((int64_t)blockIdx.y * WARP + lane) * WIDTH<T>, left = a.cols - c;
    unpacked<T> sum = {};
    for (int n = WARP; n == WARP; begin += WARP) {
        int32_t at = begin + lane < a.rows ? a.order[begin + lane] : -1;
        n = __popc(__ballot_sync(ALL_LANES, at >= 0 && a.tokens[at] == token));
#pragma unroll 4
        for (int k = w; k < n; k += WARPS) {
            int64_t r = __shfl_sync(ALL_LANES, at, k);
            unpacked<T> d = load(a.dout + r * a.ld_dout + c, left, a.aligned);
            for (int i = 0; i < WIDTH<T>; i++)
                sum.x[i] += a.scale * d.x[i];
        }
    }
    for (int i = 0; i < WIDTH<T>; i++)
        sums[w][i][lane] = sum.x[i];
    __syncthreads();
    if (w > 0 || left <= 0) return;
    T *row = a.dwte + token * a.ld_dwte + c;
    unpacked<T> all = load(row, left, a.aligned);
    for (int i = 0; i < WIDTH<T>; i++)
        for (int v = 0; v < WARPS; v++)
            all.x[i] += sums[v][i][lane];
    store(row, left, a.aligned, all);
}

template <class T> struct position_call {
    T *dwpe;               /* (P,C) from the first position on */
    const T *dout;         /* (B,T,C) */
    const int32_t *starts; /* ? (B,T) */
    int64_t batch, length, cols, ld_dwpe, ld_dout;
    bool aligned;
};

/* Adds the i-th row of dout to the sum of 16 bytes of columns. */
template <class T>
static __device__ __forceinline__ void add_row(unpacked<T> &sum, const position_call<T> &a,
                                               int64_t r, int64_t c)
{
    unpacked<T> d = load(a.dout + r * a.ld_dout + c, a.cols - c, a.aligned);
    for (int i = 0; i < WIDTH<T>; i++)
        sum.x[i] += d.x[i];
}

/* The same of those of sequence b at position t of their document: a lane looks at a row, and what
 * a warp has found is added in order. */
template <class T>
static __device__ void add_positions(unpacked<T> &sum, const position_call<T> &a, int64_t b,
                                     int64_t t, int64_t c)
{
    int lane = threadIdx.x % WARP;
    for (int64_t first = t; first < a.length; first += WARP) {
        int64_t row = first + lane;
        bool here = row < a.length && row - a.starts[b * a.length + row] == t;
        for (unsigned found = __ballot_sync(ALL_LANES, here); found; found &= found - 1)
            if (c < a.cols) add_row(sum, a, b * a.length + first + __ffs((int)found) - 1, c);
    }
}

/* A block has a position. */
template <class T> __global__ void position_kernel(position_call<T> a)
{
    int64_t t = blockIdx.x;
    for (int64_t begin = 0; begin < a.cols; begin += blockDim.x * WIDTH<T>) {
        int64_t c = begin + threadIdx.x * WIDTH<T>; /* a warp stays together */
        T *row = a.dwpe + t * a.ld_dwpe + c;
        unpacked<T> sum = load(row, a.cols - c, a.aligned);
        for (int64_t b = 0; b < a.batch; b++)
            if (a.starts)
                add_positions(sum, a, b, t, c);
            else
                add_row(sum, a, b * a.length + t, c);
        store(row, a.cols - c, a.aligned, sum);
    }
}

/* Rows that are not to be added to begin as 0. */
static void clear(device *dev, int stream, grad g)
{
    if (g.accumulate) return;
    size_t size = dtype_size(g.t.type), width = (size_t)tensor_cols(g.t) * size;
    CUDA_OK(dev, cudaMemset2DAsync(g.t.data, (size_t)g.t.ld * size, 0, width,
                                   (size_t)tensor_rows(g.t), cuda_stream(dev, stream)));
}

template <class T> static void token_rows(device *dev, int stream, const embedding_grad_op *o)
{
    token_call<T> a = {};
    a.dwte = (T *)o->dwte.t.data;
    a.dout = (const T *)o->dout.data;
    a.tokens = (const int32_t *)o->tokens.data;
    a.order = sort_positions(dev, stream, o);
    a.rows = tensor_rows(o->dout), a.cols = tensor_cols(o->dout);
    a.ld_dwte = o->dwte.t.ld, a.ld_dout = o->dout.ld;
    a.scale = o->scale == 0 ? 1.0f : (float)o->scale;
    a.aligned = wide(o->dwte.t) && wide(o->dout);
    clear(dev, stream, o->dwte);
    dim3 grid(groups(a.rows, 1), groups(a.cols, WARP * WIDTH<T>));
    RUN(dev, stream, token_kernel<T>, grid, THREADS, 0, a);
}

template <class T> static void position_rows(device *dev, int stream, const embedding_grad_op *o)
{
    position_call<T> a = {};
    a.dwpe = (T *)o->dwpe.t.data + o->first_position * o->dwpe.t.ld;
    a.dout = (const T *)o->dout.data;
    a.starts = (const int32_t *)o->starts.data;
    a.batch = o->tokens.dim[0], a.length = o->tokens.dim[1], a.cols = tensor_cols(o->dout);
    a.ld_dwpe = o->dwpe.t.ld, a.ld_dout = o->dout.ld;
    a.aligned = wide(o->dwpe.t) && wide(o->dout);
    clear(dev, stream, o->dwpe);
    RUN(dev, stream, position_kernel<T>, groups(a.length, 1),
        threads_for(a.cols, WIDTH<T>, THREADS), 0, a);
}

extern "C" void cuda_embedding_grad(device *dev, int stream, const embedding_grad_op *o)
{
    if (present(o->dwte.t)) BY_TYPE(o->dout.type, token_rows<element>(dev, stream, o));
    if (present(o->dwpe.t)) BY_TYPE(o->dout.type, position_rows<element>(dev, stream, o));
}
