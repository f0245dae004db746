/* head_norm.cu - RMSNorm of single heads, in place, and its gradients:
 *
 *     x <- x * rstd * w,   rstd = 1/sqrt(avg(x^2) + eps);   with n = kept*rstd:
 *     dx <- rstd * (dx*w - n*avg(dx*w*n));   dw (+)= sum over rows and heads of dx*n
 *
 * (w: offset + the weight).  A warp has a head of a row.  For dw, blocks first leave the sums of a
 * group of rows in scratch (NORM_GROUPS,D+E), then the groups are added in order.
 * bytes: 2 s D for each head (3 s D when kept), 4 s D for the gradients */
#include "cuda/gpu.h"

static constexpr int WARPS = 4, THREADS = WARPS * WARP;
static constexpr int MOST_WARPS = 16, SPAN = 4 * WARP; /* of head_norm_group_kernel */

template <class T> struct head_norm_call {
    T *x, *saved;     /* (R,ld), (R,normed); kept may be NULL in the forward pass */
    const T *w1, *w2; /* (D), (E) */
    T *dw1, *dw2;     /* (D), (E); may be NULL */
    float *scratch;   /* (NORM_GROUPS,D+E) */
    int64_t rows, ld, heads, first, normed;
    int64_t size[2]; /* D, E */
    float eps, offset;
    bool dw1_accumulate, dw2_accumulate;
};

/* One head of x (or dx), and what belongs to it. */
template <class T> struct one_head {
    T *x, *saved;
    const T *w;
    int64_t size;
};
template <class T>
static __device__ __forceinline__ one_head<T> head_at(const head_norm_call<T> &a, int64_t r,
                                                      int64_t h)
{
    bool second = h >= a.first;
    int64_t at = second ? a.first * a.size[0] + (h - a.first) * a.size[1] : h * a.size[0];
    return {a.x + r * a.ld + at, a.saved ? a.saved + r * a.normed + at : NULL, second ? a.w2 : a.w1,
            a.size[second]};
}

template <class T> static __device__ float rstd_of(const T *x, int64_t n, float eps, int lane)
{
    float square = 0;
    for (int64_t i = lane; i < n; i += WARP)
        square += widened(x[i]) * widened(x[i]);
    return 1.0f / sqrtf(warp_sum(square) / (float)n + eps);
}

template <class T> __global__ void head_norm_kernel(head_norm_call<T> a)
{
    int64_t rh = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (rh >= a.rows * a.heads) return;
    one_head<T> h = head_at(a, rh / a.heads, rh % a.heads);
    float rstd = rstd_of(h.x, h.size, a.eps, lane);
    for (int64_t i = lane; i < h.size; i += WARP) {
        T x = h.x[i];
        if (h.saved) h.saved[i] = x;
        narrowed(&h.x[i], widened(x) * rstd * (a.offset + widened(h.w[i])));
    }
}

/* A block has a group of rows and one of the two kinds of heads.  Its warps take turns at the heads
 * of these rows, with SPAN columns at a time; then their sums are added in order. */
template <class T> __global__ void head_norm_group_kernel(head_norm_call<T> a)
{
    SHARED(float, sums, [MOST_WARPS][SPAN]);
    int lane = threadIdx.x % WARP, w = threadIdx.x / WARP, warps = blockDim.x / WARP;
    int64_t group = blockIdx.x, second = blockIdx.y, row = a.rows * group / NORM_GROUPS;
    int64_t head = second ? a.first : 0, heads = second ? a.heads - a.first : a.first;
    int64_t n = (a.rows * (group + 1) / NORM_GROUPS - row) * heads, size = a.size[second];
    float *to = a.scratch + group * (a.size[0] + a.size[1]) + (second ? a.size[0] : 0);
    for (int64_t from = 0; from < size; from += SPAN) {
        float sum[SPAN / WARP] = {};
#pragma unroll 2
        for (int64_t k = w; k < n; k += warps) {
            one_head<T> h = head_at(a, row + k / heads, head + k % heads);
            float rstd = rstd_of(h.saved, size, a.eps, lane);
            for (int j = 0; j < SPAN / WARP; j++) {
                int64_t c = from + j * WARP + lane;
                if (c < size) sum[j] += widened(h.x[c]) * (widened(h.saved[c]) * rstd);
            }
        }
        for (int j = 0; j < SPAN / WARP; j++)
            sums[w][j * WARP + lane] = sum[j];
        __syncthreads();
        for (int i = threadIdx.x; i < SPAN && from + i < size; i += blockDim.x) {
            float all = 0;
            for (int v = 0; v < warps; v++)
                all += sums[v][i];
            to[from + i] = all;
        }
        __syncthreads(); /* the next columns' sums go to the same place */
    }
}

template <class T>
static __device__ void add_head_groups(const head_norm_call<T> &a, T *out, bool accumulate,
                                       int second, int64_t c)
{
    if (!out || c >= a.size[second]) return;
    const float *from = a.scratch + (second ? a.size[0] : 0) + c;
    float sum = 0;
    for (int64_t group = 0; group < NORM_GROUPS; group++)
        sum += from[group * (a.size[0] + a.size[1])];
    narrowed(&out[c], accumulate ? widened(out[c]) + sum : sum);
}

template <class T> __global__ void head_norm_add_kernel(head_norm_call<T> a)
{
    int64_t c = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    add_head_groups(a, a.dw1, a.dw1_accumulate, 0, c);
    add_head_groups(a, a.dw2, a.dw2_accumulate, 1, c);
}

template <class T> __global__ void head_norm_dx_kernel(head_norm_call<T> a)
{
    int64_t rh = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (rh >= a.rows * a.heads) return;
    one_head<T> h = head_at(a, rh / a.heads, rh % a.heads);
    float rstd = rstd_of(h.saved, h.size, a.eps, lane), sum = 0;
    for (int64_t i = lane; i < h.size; i += WARP)
        sum += widened(h.x[i]) * (a.offset + widened(h.w[i])) * (widened(h.saved[i]) * rstd);
    float avg = warp_sum(sum) / (float)h.size;
    for (int64_t i = lane; i < h.size; i += WARP)
        narrowed(&h.x[i], rstd * (widened(h.x[i]) * (a.offset + widened(h.w[i])) -
                                  widened(h.saved[i]) * rstd * avg));
}

template <class T>
static head_norm_call<T> call_of(tensor x, tensor saved, tensor w1, tensor w2, int64_t first,
                                 int64_t second, double eps, double offset)
{
    head_norm_call<T> a = {};
    a.x = (T *)x.data, a.saved = present(saved) ? (T *)saved.data : NULL;
    a.w1 = (const T *)w1.data, a.w2 = (const T *)w2.data;
    a.rows = tensor_rows(x), a.ld = x.ld, a.size[0] = tensor_count(w1),
    a.size[1] = tensor_count(w2);
    a.heads = first + second, a.first = first;
    a.normed = first * a.size[0] + second * a.size[1];
    a.eps = (float)eps, a.offset = (float)offset;
    return a;
}

template <class T> static void launch_head_norm(device *dev, int stream, const head_norm_op *o)
{
    head_norm_call<T> a =
        call_of<T>(o->x, o->saved, o->w1, o->w2, o->first, o->second, o->eps, o->offset);
    RUN(dev, stream, head_norm_kernel<T>, groups(a.rows * a.heads, WARPS), THREADS, 0, a);
}

CUDA_ENTRY(head_norm, x, launch_head_norm)

template <class T>
static void launch_head_norm_grad(device *dev, int stream, const head_norm_grad_op *o)
{
    head_norm_call<T> a =
        call_of<T>(o->dx, o->saved, o->w1, o->w2, o->first, o->second, o->eps, o->offset);
    a.scratch = (float *)o->scratch.data;
    if (present(o->dw1.t)) a.dw1 = (T *)o->dw1.t.data;
    if (present(o->dw2.t)) a.dw2 = (T *)o->dw2.t.data;
    a.dw1_accumulate = o->dw1.accumulate, a.dw2_accumulate = o->dw2.accumulate;
    if (a.dw1 || a.dw2) {
        dim3 grid(NORM_GROUPS, 2);
        unsigned threads =
            threads_for(groups(a.rows, NORM_GROUPS) * a.heads * WARP, 1, MOST_WARPS * WARP);
        RUN(dev, stream, head_norm_group_kernel<T>, grid, threads, 0, a);
        int64_t longer = a.size[0] > a.size[1] ? a.size[0] : a.size[1];
        RUN(dev, stream, head_norm_add_kernel<T>, groups(longer, THREADS), THREADS, 0, a);
    }
    RUN(dev, stream, head_norm_dx_kernel<T>, groups(a.rows * a.heads, WARPS), THREADS, 0, a);
}

CUDA_ENTRY(head_norm_grad, dx, launch_head_norm_grad)
