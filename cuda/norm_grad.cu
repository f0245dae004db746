/* norm_grad.cu - the gradients of LayerNorm, with n = (x-mean)*rstd and h = dout*(offset+w); for an
 * RMSNorm mean and avg(h) are 0:
 *
 *     dx (+)= rstd * (h - avg(h) - n*avg(h*n));   dw (+)= sum_r dout*n;   db (+)= sum_r dout
 *
 *     1  group    scratch (NORM_GROUPS,2C): sums over the rows of each group.  The warps of a block
 *                 take turns at the rows, a lane having 16 bytes of columns, and their sums are added
 *                 in order: with a warp alone there were too few loads under way to keep the memory
 *                 busy.  First, because dx may lie on dout.
 *     2  add      dw, db (C): the groups in order
 *     3  dx       a warp has a row, as in norm.cu
 *
 * bytes: 5 s C for each row (2 read by step 1, 2 read and 1 written by step 3) */
#include "cuda/gpu.h"

static constexpr int WARPS = 4, THREADS = 128, MOST_WARPS = 16; /* of norm_group_kernel */
template <class T> static constexpr int SPAN = WIDTH<T> *WARP;

template <class T> struct norm_grad_call {
    T *dx, *dw, *db;          /* (R,C), (C), (C); dw, db may be NULL */
    const T *dout, *x, *w;    /* (R,C), (R,C), (C) */
    const float *mean, *rstd; /* (R) */
    float *scratch;           /* (NORM_GROUPS,2C) */
    int64_t rows, cols;
    float offset;
    bool rms, accumulate, dw_accumulate, db_accumulate, whole;
};

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
        unpacked<T> d = load(a.dout + r * a.cols + from + at, left, a.whole);
        unpacked<T> x = load(a.x + r * a.cols + from + at, left, a.whole);
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
static __device__ void add_groups(const norm_grad_call<T> &a, T *out, bool accumulate,
                                  int64_t column, int64_t c)
{
    if (!out) return;
    float sum = 0;
    for (int64_t group = 0; group < NORM_GROUPS; group++)
        sum += a.scratch[group * 2 * a.cols + column];
    narrowed(&out[c], accumulate ? widened(out[c]) + sum : sum);
}

template <class T> __global__ void norm_add_kernel(norm_grad_call<T> a)
{
    int64_t c = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (c >= a.cols) return;
    add_groups(a, a.dw, a.dw_accumulate, c, c);
    add_groups(a, a.db, a.db_accumulate, a.cols + c, c);
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
        unpacked<T> v = load(x + c, left, a.whole), d = load(dout + c, left, a.whole);
        unpacked<T> w = load(a.w + c, left, a.whole);
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
        unpacked<T> v = load(x + c, left, a.whole), d = load(dout + c, left, a.whole);
        unpacked<T> w = load(a.w + c, left, a.whole), dx = {};
        T *to = a.dx + r * a.cols + c;
        if (a.accumulate) dx = load(to, left, a.whole);
        for (int i = 0; i < WIDTH<T>; i++)
            dx.x[i] +=
                rstd * (d.x[i] * (a.offset + w.x[i]) - h_avg - (v.x[i] - mean) * rstd * hn_avg);
        store(to, left, a.whole, dx);
    }
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
    a.whole = wide(o->dx) && wide(o->dout) && wide(o->x) && wide(o->w);
    if (a.dw || a.db) {
        dim3 grid(groups(a.cols, SPAN<T>), NORM_GROUPS);
        unsigned threads = threads_for(groups(a.rows, NORM_GROUPS) * WARP, 1, MOST_WARPS * WARP);
        RUN(dev, stream, norm_group_kernel<T>, grid, threads, 0, a);
        RUN(dev, stream, norm_add_kernel<T>, groups(a.cols, THREADS), THREADS, 0, a);
    }
    RUN(dev, stream, norm_dx_kernel<T>, groups(a.rows, WARPS), WARPS * WARP, 0, a);
}

extern "C" void cuda_norm_grad(device *dev, int stream, const norm_grad_op *o)
{
    BY_TYPE(o->x.type, launch_norm_grad<element>(dev, stream, o));
}
