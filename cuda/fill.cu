/* fill.cu - x = value.                                        bytes: 4 written for each element */
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

static __global__ void fill_kernel(float *x, int64_t n, float value, bool whole)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    unpacked<float> v = {{value, value, value, value}};
    if (i < n) store(x + i, n - i, whole, v);
}

extern "C" void cuda_fill(device *dev, int stream, const fill_op *o)
{
    int64_t n = tensor_count(o->x);
    RUN(dev, stream, fill_kernel, groups(n, THREADS * 4), THREADS, 0, (float *)o->x.data, n,
        (float)o->value, (uintptr_t)o->x.data % 16 == 0);
}
