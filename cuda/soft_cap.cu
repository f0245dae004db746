/* soft_cap.cu - x = cap * tanh(x / cap), in place.  A thread has 16 bytes.    bytes: 2 s for each element */
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

template <class T> struct soft_cap_call {
    T *x; /* (R,C) */
    int64_t rows, cols, ld;
    float cap;
    bool aligned;
};

template <class T> __global__ void soft_cap_kernel(soft_cap_call<T> a)
{
    int64_t each = (a.cols + WIDTH<T> - 1) / WIDTH<T>,
            at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= a.rows * each) return;
    int64_t c = at % each * WIDTH<T>;
    T *x = a.x + at / each * a.ld + c;
    unpacked<T> v = load(x, a.cols - c, a.aligned);
    for (int i = 0; i < WIDTH<T>; i++)
        v.x[i] = a.cap * tanhf(v.x[i] / a.cap);
    store(x, a.cols - c, a.aligned, v);
}

template <class T> static void launch_soft_cap(device *dev, int stream, const soft_cap_op *o)
{
    soft_cap_call<T> a = {};
    a.x = (T *)o->x.data;
    a.rows = tensor_rows(o->x), a.cols = tensor_cols(o->x), a.ld = o->x.ld;
    a.cap = (float)o->cap, a.aligned = wide(o->x);
    RUN(dev, stream, soft_cap_kernel<T>, groups(a.rows * groups(a.cols, WIDTH<T>), THREADS),
        THREADS, 0, a);
}

CUDA_ENTRY(soft_cap, x, launch_soft_cap)
