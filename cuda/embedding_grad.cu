/* embedding_grad.cu - dwte[tokens[b,t],:] += scale * dout[b,t,:];  dwpe[first + t,:] += sum_b dout[b,t,:]
 *
 * The same token may stand at many positions.  Its row of dwte belongs to the block of its first
 * position, which adds up all of them in order: no atomics, the same bits every time.
 *
 *     tokens    5 2 5 9 2 5        block 0: rows 0, 2, 5     block 1: rows 1, 4     block 3: row 3
 *
 * A block looks for its token WARPS * 32 positions at a time; each warp's ballot says where it is.
 * bytes: s C (1 for each position, 2 for each row written), and 4 R for each position's search,
 * which the cache serves (R = 8192: 32 KiB). */
#include "cuda/gpu.h"

static constexpr int THREADS = 128, WARPS = THREADS / WARP;

template <class T> struct token_call {
    T *dwte;               /* (V,C) */
    const T *dout;         /* (R,C) */
    const int32_t *tokens; /* (R) */
    int64_t rows, cols, ld_dwte, ld_dout;
    float scale;
    bool whole;
};

template <class T> __global__ void token_kernel(token_call<T> a)
{
    SHARED(unsigned, hits, [WARPS]);
    int64_t first = blockIdx.x, c = ((int64_t)blockIdx.y * THREADS + threadIdx.x) * WIDTH<T>;
    int64_t left = a.cols - c;
    int32_t token = a.tokens[first];
    bool before = false;
    for (int64_t r = threadIdx.x; r < first; r += THREADS)
        before |= a.tokens[r] == token;
    if (__syncthreads_or(before)) return;
    T *row = a.dwte + token * a.ld_dwte + c;
    unpacked<T> sum = {};
    if (left > 0) sum = load(row, left, a.whole);
    for (int64_t from = first; from < a.rows; from += THREADS) {
        int64_t r = from + threadIdx.x;
        unsigned mine = __ballot_sync(ALL_LANES, r < a.rows && a.tokens[r] == token);
        if (threadIdx.x % WARP == 0) hits[threadIdx.x / WARP] = mine;
        __syncthreads();
        for (int w = 0; w < WARPS && left > 0; w++)
            for (unsigned hit = hits[w]; hit; hit &= hit - 1) {
                int64_t at = from + w * WARP + __ffs(hit) - 1;
                unpacked<T> d = load(a.dout + at * a.ld_dout + c, left, a.whole);
                for (int i = 0; i < WIDTH<T>; i++)
                    sum.x[i] += a.scale * d.x[i];
            }
        __syncthreads();
    }
    if (left > 0) store(row, left, a.whole, sum);
}

template <class T> struct position_call {
    T *dwpe;       /* (P,C) from the first position on */
    const T *dout; /* (B,T,C) */
    int64_t batch, length, cols, ld_dwpe, ld_dout;
    bool whole;
};

/* A block has a position. */
template <class T> __global__ void position_kernel(position_call<T> a)
{
    int64_t t = blockIdx.x;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        T *row = a.dwpe + t * a.ld_dwpe + c;
        unpacked<T> sum = load(row, a.cols - c, a.whole);
        for (int64_t b = 0; b < a.batch; b++) {
            unpacked<T> d = load(a.dout + (b * a.length + t) * a.ld_dout + c, a.cols - c, a.whole);
            for (int i = 0; i < WIDTH<T>; i++)
                sum.x[i] += d.x[i];
        }
        store(row, a.cols - c, a.whole, sum);
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
    a.rows = tensor_rows(o->dout), a.cols = tensor_cols(o->dout);
    a.ld_dwte = o->dwte.t.ld, a.ld_dout = o->dout.ld;
    a.scale = o->scale == 0 ? 1.0f : (float)o->scale;
    a.whole = wide(o->dwte.t) && wide(o->dout);
    clear(dev, stream, o->dwte);
    dim3 grid(groups(a.rows, 1), groups(a.cols, THREADS * WIDTH<T>));
    RUN(dev, stream, token_kernel<T>, grid, THREADS, 0, a);
}

template <class T> static void position_rows(device *dev, int stream, const embedding_grad_op *o)
{
    position_call<T> a = {};
    a.dwpe = (T *)o->dwpe.t.data + o->first_position * o->dwpe.t.ld;
    a.dout = (const T *)o->dout.data;
    a.batch = o->tokens.dim[0], a.length = o->tokens.dim[1], a.cols = tensor_cols(o->dout);
    a.ld_dwpe = o->dwpe.t.ld, a.ld_dout = o->dout.ld;
    a.whole = wide(o->dwpe.t) && wide(o->dout);
    clear(dev, stream, o->dwpe);
    RUN(dev, stream, position_kernel<T>, groups(a.length, 1),
        threads_for(a.cols, WIDTH<T>, THREADS), 0, a);
}

extern "C" void cuda_embedding_grad(device *dev, int stream, const embedding_grad_op *o)
{
    if (present(o->dwte.t)) BY_TYPE(o->dout.type, token_rows<element>(dev, stream, o));
    if (present(o->dwpe.t)) BY_TYPE(o->dout.type, position_rows<element>(dev, stream, o));
}
