/* norm_grad.cu - the gradients of LayerNorm, with n = (x-mean)*rstd and h = dout*(offset+w); for an
 * RMSNorm mean and avg(h) are 0:
 *
 *     dx (+)= rstd * (h - avg(h) - n*avg(h*n));   dw (+)= sum_r dout*n;   db (+)= sum_r dout
 *
 *     1  once     a block has a group of rows and, of some of them at a time, all columns: a thread has 16
 *                 bytes of columns, so it sums dw and db of its own, and needs of the others only the two
 *                 averages, one barrier for each time
 *     2  add      dw, db (C): the groups in order
 *
 *              RY rows at a time          | TX threads: a row |      parts (G,2C): sums over a group
 *                                         | TX threads: a row |
 *
 * Groups are as many as keep 132 SMs busy, in the libraries' workspace; without one, NORM_GROUPS,
 * in the operation's scratch.  Where a row is too long for a block, three kernels do it:
 *
 *     1  group    scratch (NORM_GROUPS,2C): sums over the rows of each group; the warps of a block take
 *                 turns at the rows.  First, because dx may be dout.
 *     2  add
 *     3  dx       a warp has a row, as in norm.cu; alone where dw and db are not wanted
 *
 * bytes: 3 s C for each row (x and dout read, dx written; one more if it is
 * added to), or 5 with three */
#include "cuda/gpu.h"

static constexpr int WARPS = 4, THREADS = 128, MOST_WARPS = 16; /* of norm_group_kernel */
template <class T> static constexpr int SPAN = WIDTH<T> *WARP;

template <class T> struct norm_grad_call {
    T *dx, *dw, *db;          /* (R,C), (C), (C); dw, db may be NULL */
    const T *dout, *x, *w;    /* (R,C), (R,C), (C) */
    const float *mean, *rstd; /* (R) */
    float *scratch;           /* (NORM_GROUPS,2C), or as many groups as there are */
    int64_t rows, cols;
    float offset;
    bool rms, accumulate, dw_accumulate, db_accumulate, aligned;
};

/* ---- in one pass ---- */

/* In shared memory dw and db of the rows at a time, which leave room for
 * what is static in 48 KiB. */
static constexpr int ONCE_THREADS = 512, ONCE_WARPS = ONCE_THREADS / WARP, ONCE_GROUPS = 128,
                     ONCE_ROOM = 47 << 10;

struct row_sums {
    float h, hn;
};

/* A row's sums over its threads' warps, in order; by the whole block, with one barrier. */
static __device__ __forceinline__ row_sums sums_of_row(row_sums (*near)[ONCE_WARPS], int turn,
                                                       float h, float hn)
{
    int first = threadIdx.y * (blockDim.x / WARP), w = first + threadIdx.x / WARP;
    h = warp_sum(h);
    hn = warp_sum(hn);
    if (threadIdx.x % WARP == 0) near[turn][w] = {h, hn};
    __syncthreads(); /* the other turn's are read no more once all are here */
    row_sums sum = {};
    for (int k = 0; k < (int)blockDim.x / WARP; k++) {
        sum.h += near[turn][first + k].h;
        sum.hn += near[turn][first + k].hn;
    }
    return sum;
}

template <class T>
__global__ void __launch_bounds__(ONCE_THREADS) norm_once_kernel(norm_grad_call<T> a)
{
    SHARED(row_sums, near, [2][ONCE_WARPS]);
    SHARED_DYN(float, parts); /* (RY,2,TX,WIDTH) */
    int64_t c = threadIdx.x * WIDTH<T>, left = a.cols - c;
    int64_t end = a.rows * (blockIdx.x + 1) / gridDim.x;
    unpacked<T> w = load(a.w + c, left, a.aligned), dw = {}, db = {};
    for (int i = 0; i < WIDTH<T>; i++)
        w.x[i] = i < left ? a.offset + w.x[i] : 0.0f;
    int turn = 0;
    for (int64_t r0 = a.rows * blockIdx.x / gridDim.x; r0 < end; r0 += blockDim.y, turn ^= 1) {
        int64_t r = r0 + threadIdx.y, at = r * a.cols + c;
        bool mine = r < end && left > 0;
        unpacked<T> x = {}, d = {};
        float mean = 0, rstd = 0, h = 0, hn = 0;
        if (mine) {
            x = load(a.x + at, left, a.aligned);
            d = load(a.dout + at, left, a.aligned);
            rstd = a.rstd[r];
            if (!a.rms) mean = a.mean[r];
        }
        for (int i = 0; i < WIDTH<T>; i++) {
            x.x[i] = (x.x[i] - mean) * rstd;
            h += d.x[i] * w.x[i];
            hn += d.x[i] * w.x[i] * x.x[i];
            dw.x[i] += d.x[i] * x.x[i];
            db.x[i] += d.x[i];
        }
        row_sums sum = sums_of_row(near, turn, h, hn);
        if (!mine) continue;
        float h_avg = a.rms ? 0.0f : sum.h / (float)a.cols, hn_avg = sum.hn / (float)a.cols;
        unpacked<T> dx = {};
        if (a.accumulate) dx = load(a.dx + at, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            dx.x[i] += rstd * (d.x[i] * w.x[i] - h_avg - x.x[i] * hn_avg);
        store(a.dx + at, left, a.aligned, dx);
    }
    float *row = parts + threadIdx.y * 2 * blockDim.x * WIDTH<T>;
    for (int i = 0; i < WIDTH<T>; i++) {
        row[c + i] = dw.x[i];
        row[blockDim.x * WIDTH<T> + c + i] = db.x[i];
    }
    __syncthreads();
    int span = blockDim.x * WIDTH<T>, all = blockDim.x * blockDim.y;
    for (int k = threadIdx.y * blockDim.x + threadIdx.x; k < 2 * span; k += all) {
        float sum = 0;
        for (int y = 0; y < (int)blockDim.y; y++)
            sum += parts[y * 2 * span + k];
        if (k % span < a.cols) a.scratch[(2 * blockIdx.x + k / span) * a.cols + k % span] = sum;
    }
}

/* ---- in three ---- */

/* A block has SPAN columns of a group. */
template <class T>
__global__ void __launch_bounds__(MOST_WARPS *WARP) norm_group_kernel(norm_grad_call<T> a)
{
    SHARED(float, sums, [MOST_WARPS][2 * SPAN<T>]);
    int warps = blockDim.x / WARP, w = threadIdx.x / WARP, at = threadIdx.x % WARP * WIDTH<T>;
    int64_t from = (int64_t)blockIdx.x * SPAN<T>, left = a.cols - from - at;
    int64_t group = blockIdx.y, end = a.rows * (group + 1) / NORM_GROUPS;
    float dw[WIDTH<T>] = {}, db[WIDTH<T>] = {};
#pragma unroll 4
    for (int64_t r = a.rows * group / NORM_GROUPS + w; r < end; r += warps) {
        unpacked<T> d = load(a.dout + r * a.cols + from + at, left, a.aligned);
        unpacked<T> x = load(a.x + r * a.cols + from + at, left, a.aligned);
        float mean = a.rms ? 0.0f : a.mean[r], rstd = a.rstd[r];
        for (int i = 0; i < WIDTH<T>; i++) {
            dw[i] += d.x[i] * ((x.x[i] - mean) * rstd);
            db[i] += d.x[i];
        }
    }
    for (int i = 0; i < WIDTH<T>; i++) {
        sums[w][at + i] = dw[i];
        sums[w][SPAN<T> + at + i] = db[i];
    }
    __syncthreads();
    for (int k = threadIdx.x; k < 2 * SPAN<T>; k += blockDim.x) {
        int64_t c = from + k % SPAN<T>;
        float all = 0;
        for (int v = 0; v < warps; v++)
            all += sums[v][k];
        if (c < a.cols) a.scratch[(2 * group + k / SPAN<T>)*a.cols + c] = all;
    }
}

template <class T>
static __device__ void add_norm_groups(const norm_grad_call<T> &a, T *out, bool accumulate,
                                       int64_t column, int64_t c, int groups)
{
    if (!out) return;
    float sum = 0;
#pragma unroll 8
    for (int64_t group = 0; group < groups; group++)
        sum += a.scratch[group * 2 * a.cols + column];
    narrowed(&out[c], accumulate ? widened(out[c]) + sum : sum);
}

template <class T> __global__ void norm_add_kernel(norm_grad_call<T> a, int groups)
{
    int64_t c = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (c >= a.cols) return;
    add_norm_groups(a, a.dw, a.dw_accumulate, c, c, groups);
    add_norm_groups(a, a.db, a.db_accumulate, a.cols + c, c, groups);
}

template <class T> __global__ void norm_dx_kernel(norm_grad_call<T> a)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (r >= a.rows) return;
    const T *x = a.x + r * a.cols, *dout = a.dout + r * a.cols;
    float mean = a.rms ? 0.0f : a.mean[r], rstd = a.rstd[r], h_sum = 0, hn_sum = 0;
    for (int64_t c = lane * WIDTH<T>; c < a.cols; c += SPAN<T>) {
        int64_t left = a.cols - c;
        unpacked<T> v = load(x + c, left, a.aligned), d = load(dout + c, left, a.aligned);
        unpacked<T> w = load(a.w + c, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++) {
            float h = d.x[i] * (a.offset + w.x[i]);
            h_sum += h;
            hn_sum += h * ((v.x[i] - mean) * rstd);
        }
    }
    float h_avg = a.rms ? 0.0f : warp_sum(h_sum) / (float)a.cols,
          hn_avg = warp_sum(hn_sum) / (float)a.cols;
    for (int64_t c = lane * WIDTH<T>; c < a.cols; c += SPAN<T>) {
        int64_t left = a.cols - c;
        unpacked<T> v = load(x + c, left, a.aligned), d = load(dout + c, left, a.aligned);
        unpacked<T> w = load(a.w + c, left, a.aligned), dx = {};
        T *to = a.dx + r * a.cols + c;
        if (a.accumulate) dx = load(to, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            dx.x[i] +=
                rstd * (d.x[i] * (a.offset + w.x[i]) - h_avg - (v.x[i] - mean) * rstd * hn_avg);
        store(to, left, a.aligned, dx);
    }
}

/* The whole of it with every row read once.  False, and nothing is done,
 * where a row is too long. */
template <class T> static bool launch_once(device *dev, int stream, norm_grad_call<T> a)
{
    const cuda_state *s = cuda_state_of(dev);
    unsigned across = threads_for(a.cols, WIDTH<T>, 1024), room = across * WIDTH<T> * 2 * 4;
    if (across > ONCE_THREADS || room > ONCE_ROOM || across * WIDTH<T> < a.cols) return false;
    unsigned down = ONCE_THREADS / across < 4 ? ONCE_THREADS / across : 4;
    if (down > ONCE_ROOM / room) down = ONCE_ROOM / room;
    int64_t n = a.rows / (4 * down), most = NORM_GROUPS;
    if (stream == STREAM_COMPUTE &&
        s->workspace_bytes >= ONCE_GROUPS * 2 * a.cols * sizeof(float)) {
        a.scratch = (float *)s->workspace;
        most = ONCE_GROUPS;
    }
    n = n < 1 ? 1 : n > most ? most : n;
    RUN(dev, stream, norm_once_kernel<T>, (unsigned)n, dim3(across, down), (size_t)room * down, a);
    RUN(dev, stream, norm_add_kernel<T>, groups(a.cols, THREADS), THREADS, 0, a, (int)n);
    return true;
}

template <class T> static void launch_norm_grad(device *dev, int stream, const norm_grad_op *o)
{
    norm_grad_call<T> a = {};
    a.dx = (T *)o->dx.data;
    if (present(o->dw.t)) a.dw = (T *)o->dw.t.data;
    if (present(o->db.t)) a.db = (T *)o->db.t.data;
    a.dout = (const T *)o->dout.data, a.x = (const T *)o->x.data;
    if (present(o->mean)) a.mean = (const float *)o->mean.data;
    a.rstd = (const float *)o->rstd.data;
    a.w = (const T *)o->w.data, a.scratch = (float *)o->scratch.data;
    a.rows = tensor_rows(o->x), a.cols = tensor_cols(o->x);
    a.accumulate = o->accumulate;
    a.offset = (float)o->offset, a.rms = o->rms;
    a.dw_accumulate = o->dw.accumulate, a.db_accumulate = o->db.accumulate;
    a.aligned = wide(o->dx) && wide(o->dout) && wide(o->x) && wide(o->w);
    if ((a.dw || a.db) && launch_once(dev, stream, a)) return;
    if (a.dw || a.db) {
        dim3 grid(groups(a.cols, SPAN<T>), NORM_GROUPS);
        unsigned threads = threads_for(groups(a.rows, NORM_GROUPS) * WARP, 1, MOST_WARPS * WARP);
        RUN(dev, stream, norm_group_kernel<T>, grid, threads, 0, a);
        RUN(dev, stream, norm_add_kernel<T>, groups(a.cols, THREADS), THREADS, 0, a,
            (int)NORM_GROUPS);
    }
    RUN(dev, stream, norm_dx_kernel<T>, groups(a.rows, WARPS), WARPS * WARP, 0, a);
}

CUDA_ENTRY(norm_grad, x, launch_norm_grad)
