/* scale_codes.cu - scales of coded blocks in a byte each (core/scale_codes.h).
 *
 * They are packed once, when a model is loaded: a thread has a group, one has the mean.  They are
 * unpacked at every use of a matrix: a thread has a scale.
 *
 * bytes: unpack_scales: 5 for each scale and 4 for 256 of them */
#include "core/scale_codes.h"
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

static __device__ int64_t group_length(int64_t group, int64_t scales)
{
    int64_t left = scales - group * SCALE_GROUP;
    return left < SCALE_GROUP ? left : (int64_t)SCALE_GROUP;
}

__global__ void scale_sums_kernel(const float *scales, float *groups, int64_t n)
{
    int64_t g = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (g * SCALE_GROUP < n)
        groups[1 + g] = scale_sum(scales + g * SCALE_GROUP, group_length(g, n));
}

__global__ void scale_mean_kernel(float *groups, int64_t n)
{
    groups[0] = scale_mean(groups + 1, (n + SCALE_GROUP - 1) / SCALE_GROUP, n);
}

__global__ void pack_scales_kernel(const float *scales, uint8_t *codes, float *groups, int64_t n)
{
    int64_t g = (int64_t)blockIdx.x * THREADS + threadIdx.x, at = g * SCALE_GROUP;
    if (at < n) groups[1 + g] = scale_pack(scales + at, group_length(g, n), groups[0], codes + at);
}

__global__ void unpack_scales_kernel(float *scales, const uint8_t *codes, const float *groups,
                                     int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n) scales[i] = scale_unpack(codes[i], groups[0], groups[1 + i / SCALE_GROUP]);
}

extern "C" void cuda_pack_scales(device *dev, int stream, const pack_scales_op *o)
{
    int64_t n = tensor_count(o->scales);
    unsigned blocks = groups(scale_groups(n), THREADS);
    const float *scales = (const float *)o->scales.data;
    float *sizes = (float *)o->groups.data;
    RUN(dev, stream, scale_sums_kernel, blocks, THREADS, 0, scales, sizes, n);
    RUN(dev, stream, scale_mean_kernel, 1, 1, 0, sizes, n);
    RUN(dev, stream, pack_scales_kernel, blocks, THREADS, 0, scales, (uint8_t *)o->codes.data,
        sizes, n);
}

extern "C" void cuda_unpack_scales(device *dev, int stream, const unpack_scales_op *o)
{
    int64_t n = tensor_count(o->scales);
    RUN(dev, stream, unpack_scales_kernel, groups(n, THREADS), THREADS, 0, (float *)o->scales.data,
        (const uint8_t *)o->codes.data, (const float *)o->groups.data, n);
}
