/* sum.cu - sum (+)= scale * sum(x), and hyper.grad_norm and hyper.clip from the slots.
 *
 * Both add in double, in the order that the CPU has (core/segment.h; the slots one after the
 * other), so that they have its bits.  One block does: of x there are as many as tokens, of slots
 * as tensors.
 * bytes: 4 or 8 for each element */
#include "cuda/gpu.h"

#include "core/rule.h"
#include "core/segment.h"

static constexpr int THREADS = LOSS_LANES;

/* In thread 0: x[0] + x[1] + ... + x[THREADS-1], in order; to be called by the whole block. */
static __device__ double add_lanes(double mine)
{
    SHARED(double, lanes, [THREADS]);
    double sum = 0;
    lanes[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x) return 0;
#pragma unroll 16
    for (int k = 0; k < THREADS; k++)
        sum += lanes[k];
    return sum;
}

template <class T>
__global__ void sum_kernel(double *out, bool accumulate, const T *x, int64_t n, hyper *h,
                           double scale)
{
    double part = 0;
#pragma unroll 8
    for (int64_t i = threadIdx.x; i < n; i += THREADS)
        part += (double)x[i];
    double sum = add_lanes(part);
    if (threadIdx.x) return;
    double all = (accumulate ? *out : 0) + scale * sum;
    *out = all;
    if (h && !isfinite(all)) h->ok = 0;
}

extern "C" void cuda_sum(device *dev, int stream, const sum_op *o)
{
    double *sum = (double *)o->sum.data;
    hyper *h = present(o->hyper) ? (hyper *)o->hyper.data : NULL;
    int64_t n = tensor_count(o->x);
    if (o->x.type == F32)
        RUN(dev, stream, sum_kernel<float>, 1, THREADS, 0, sum, o->accumulate,
            (const float *)o->x.data, n, h, o->scale);
    else
        RUN(dev, stream, sum_kernel<double>, 1, THREADS, 0, sum, o->accumulate,
            (const double *)o->x.data, n, h, o->scale);
}

/* In thread 0: x[0] + x[1] + ... + x[n-1]; to be called by the whole block, which
 * brings the numbers near. */
static __device__ double sum_in_order(const double *x, int64_t n)
{
    SHARED(double, near, [THREADS]);
    double sum = 0;
    for (int64_t from = 0; from < n; from += THREADS) {
        int64_t i = from + threadIdx.x;
        if (i < n) near[threadIdx.x] = x[i];
        __syncthreads();
        int count = n - from < THREADS ? (int)(n - from) : THREADS;
#pragma unroll 8
        for (int k = 0; threadIdx.x == 0 && k < count; k++)
            sum += near[k];
        __syncthreads();
    }
    return sum;
}

static __global__ void clip_kernel(hyper *h, const double *slots, int64_t n, double max_norm)
{
    double norm = sqrt(sum_in_order(slots, n));
    if (threadIdx.x) return;
    h->grad_norm = (float)norm;
    h->clip = max_norm > 0 && norm > max_norm ? (float)(max_norm / norm) : 1.0f;
}

extern "C" void cuda_clip(device *dev, int stream, const clip_op *o)
{
    RUN(dev, stream, clip_kernel, 1, THREADS, 0, (hyper *)o->hyper.data,
        (const double *)o->slots.data, tensor_count(o->slots), o->max_norm);
}
