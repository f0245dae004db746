/* pool_grad.cu - dx[b,t,:] = dout[b,:] for t = 0 and 0 for the others if first, else dout[b,:] / T
 *
 * A block has a row of dx.                                        bytes: 2 s C for each row */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct pool_grad_call {
    T *dx;                /* (B,T,C) */
    const T *dout;        /* (B,C) */
    int64_t length, cols; /* T, C */
    bool first, aligned;
};

template <class T> __global__ void pool_grad_kernel(pool_grad_call<T> a)
{
    int64_t r = blockIdx.x, b = r / a.length;
    bool none = a.first && r % a.length;
    float part = a.first ? 1.0f : 1.0f / (float)a.length;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        unpacked<T> d = {};
        if (!none) d = load(a.dout + b * a.cols + c, a.cols - c, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            d.x[i] *= part;
        store(a.dx + r * a.cols + c, a.cols - c, a.aligned, d);
    }
}

template <class T> static void launch_pool_grad(device *dev, int stream, const pool_grad_op *o)
{
    pool_grad_call<T> a = {};
    a.dx = (T *)o->dx.data, a.dout = (const T *)o->dout.data;
    a.length = o->dx.dim[1], a.cols = tensor_cols(o->dx);
    a.first = o->first, a.aligned = wide(o->dx) && wide(o->dout);
    RUN(dev, stream, pool_grad_kernel<T>, groups(tensor_rows(o->dx), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(pool_grad, dx, launch_pool_grad)
