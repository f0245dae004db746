/* softmax.h - shared by classify.cu and classify_soft.cu: the maximum of a row and the sum of
 * exponentials relative to it, in one pass over the row by one block.
 *
 *     thread   its part of the row  ->  (max, sum)        when max grows, sum is rescaled
 *     warp     pairs of lanes, the lower always first: the same bits in all lanes
 *     block    the warps, in order
 */
#ifndef REGRAD_CUDA_SOFTMAX_H
#define REGRAD_CUDA_SOFTMAX_H

#include "cuda/activation.h"

/* Of a block of classify_soft.cu, and of classify.cu, whose rows are long. */
static constexpr int SOFTMAX_THREADS = 256, SOFTMAX_WARPS = SOFTMAX_THREADS / WARP,
                     ROW_THREADS = 512;

struct peak {
    float max, sum; /* the maximum, and the sum of e^(x - max) */
};

static __device__ __forceinline__ peak higher(peak a, peak b)
{
    float max = fmaxf(a.max, b.max);
    return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}

static __device__ __forceinline__ peak warp_peak(peak p)
{
    for (int d = WARP / 2; d; d /= 2) {
        peak other = {__shfl_xor_sync(ALL_LANES, p.max, d), __shfl_xor_sync(ALL_LANES, p.sum, d)};
        p = threadIdx.x & d ? higher(other, p) : higher(p, other); /* the same in both lanes */
    }
    return p;
}

/* This thread's part of a row; `keep`, if given, is where the block stores it, 16 bytes at a
 * time. */
template <int THREADS = SOFTMAX_THREADS, class T>
static __device__ peak row_peak(const T *x, int64_t cols, bool aligned, T *keep = NULL)
{
    peak p = {-FLT_MAX, 0};
    for (int64_t c = threadIdx.x * WIDTH<T>; c < cols; c += THREADS * WIDTH<T>) {
        unpacked<T> v = load(x + c, cols - c, aligned);
        if (keep) store(keep + c, WIDTH<T>, true, v);
        float max = p.max;
        for (int i = 0; i < WIDTH<T>; i++)
            if (c + i < cols) max = fmaxf(max, v.x[i]);
        if (max > p.max) p.sum *= expf(p.max - max);
        p.max = max;
        for (int i = 0; i < WIDTH<T>; i++)
            if (c + i < cols) p.sum += exp_for<T>(v.x[i] - max);
    }
    return p;
}

/* The row's, from each thread's; called by the whole block, with one barrier. */
template <int THREADS = SOFTMAX_THREADS>
static __device__ __forceinline__ peak block_peak(peak mine)
{
    SHARED(peak, peaks, [THREADS / WARP]);
    peak p = warp_peak(mine);
    if (threadIdx.x % WARP == 0) peaks[threadIdx.x / WARP] = p;
    __syncthreads();
    p = peaks[0];
    for (int w = 1; w < THREADS / WARP; w++)
        p = higher(p, peaks[w]);
    return p;
}

#endif
