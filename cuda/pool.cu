/* pool.cu - out[b,:] = x[b,0,:] if first, else the mean over t of x[b,t,:]
 *
 * A thread has some columns of a sample and goes through its rows in order.
 * bytes: s C for each row that is read, and for each sample */
#include "cuda/gpu.h"

static constexpr int THREADS = 64;

template <class T> struct pool_call {
    T *out;                     /* (B,C) */
    const T *x;                 /* (B,T,C) */
    int64_t length, rows, cols; /* T; rows read: T or 1; C */
    bool aligned;
};

template <class T> __global__ void pool_kernel(pool_call<T> a)
{
    int64_t b = blockIdx.x, c = ((int64_t)blockIdx.y * THREADS + threadIdx.x) * WIDTH<T>;
    int64_t left = a.cols - c;
    if (left <= 0) return;
    unpacked<T> sum = load(a.x + b * a.length * a.cols + c, left, a.aligned);
    for (int64_t t = 1; t < a.rows; t++) {
        unpacked<T> v = load(a.x + (b * a.length + t) * a.cols + c, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            sum.x[i] += v.x[i];
    }
    float part = 1.0f / (float)a.rows;
    for (int i = 0; i < WIDTH<T>; i++)
        sum.x[i] *= part;
    store(a.out + b * a.cols + c, left, a.aligned, sum);
}

template <class T> static void launch_pool(device *dev, int stream, const pool_op *o)
{
    pool_call<T> a = {};
    a.out = (T *)o->out.data, a.x = (const T *)o->x.data;
    a.length = o->x.dim[1], a.rows = o->first ? 1 : a.length, a.cols = tensor_cols(o->x);
    a.aligned = wide(o->out) && wide(o->x);
    dim3 grid(groups(o->x.dim[0], 1), groups(a.cols, THREADS * WIDTH<T>));
    RUN(dev, stream, pool_kernel<T>, grid, THREADS, 0, a);
}

CUDA_ENTRY(pool, x, launch_pool)
