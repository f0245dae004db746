/* add.cu - x += y.                           bytes: 8 read and 4 written for each element */
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

static __global__ void add_kernel(float *x, const float *y, int64_t n, bool whole)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (i >= n) return;
    four a = load4(x + i, n - i, whole), b = load4(y + i, n - i, whole);
    for (int k = 0; k < 4; k++)
        a.x[k] += b.x[k];
    store4(x + i, n - i, whole, a);
}

extern "C" void cuda_add(device *dev, int stream, const add_op *o)
{
    int64_t n = tensor_count(o->x);
    bool whole = (uintptr_t)o->x.data % 16 == 0 && (uintptr_t)o->y.data % 16 == 0;
    RUN(dev, stream, add_kernel, groups(n, THREADS * 4), THREADS, 0, (float *)o->x.data,
        (const float *)o->y.data, n, whole);
}
