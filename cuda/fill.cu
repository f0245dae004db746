/* fill.cu - x = value.                                        bytes: s written for each element */
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

template <class T> __global__ void fill_kernel(T *x, int64_t n, float value, bool aligned)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * WIDTH<T>;
    unpacked<T> v;
    for (int k = 0; k < WIDTH<T>; k++)
        v.x[k] = value;
    if (i < n) store(x + i, n - i, aligned, v);
}

extern "C" void cuda_fill(device *dev, int stream, const fill_op *o)
{
    int64_t n = tensor_count(o->x);
    BY_TYPE(o->x.type,
            RUN(dev, stream, fill_kernel<element>, groups(n, THREADS * WIDTH<element>), THREADS, 0,
                (element *)o->x.data, n, (float)o->value, (uintptr_t)o->x.data % 16 == 0));
}
