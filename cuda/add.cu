/* add.cu - x += y.           bytes: 3 s for each element, s those of one */
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

template <class T> __global__ void add_kernel(T *x, const T *y, int64_t n, bool aligned)
{
    int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * WIDTH<T>;
    if (i >= n) return;
    unpacked<T> a = load(x + i, n - i, aligned), b = load(y + i, n - i, aligned);
    for (int k = 0; k < WIDTH<T>; k++)
        a.x[k] += b.x[k];
    store(x + i, n - i, aligned, a);
}

template <class T> static void launch_add(device *dev, int stream, const add_op *o)
{
    int64_t n = tensor_count(o->x);
    bool aligned = (uintptr_t)o->x.data % 16 == 0 && (uintptr_t)o->y.data % 16 == 0;
    RUN(dev, stream, add_kernel<T>, groups(n, THREADS * WIDTH<T>), THREADS, 0, (T *)o->x.data,
        (const T *)o->y.data, n, aligned);
}

CUDA_ENTRY(add, x, launch_add)
