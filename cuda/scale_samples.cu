/* scale_samples.cu - out[b,t,:] = scale[b] x[b,t,:] + residual[b,t,:]
 *
 * A block has a row.                       bytes: 2 s C for each row, 3 s C with a residual */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct scale_samples_call {
    T *out;                /* (B,T,C) */
    const T *x, *residual; /* (B,T,C); residual may be NULL */
    const float *scale;    /* (B) */
    int64_t length, cols;  /* T, C */
    bool aligned;
};

template <class T> __global__ void scale_samples_kernel(scale_samples_call<T> a)
{
    int64_t r = blockIdx.x;
    float scale = a.scale[r / a.length];
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t at = r * a.cols + c, left = a.cols - c;
        unpacked<T> v = load(a.x + at, left, a.aligned), res = {};
        if (a.residual) res = load(a.residual + at, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] = scale * v.x[i] + res.x[i];
        store(a.out + at, left, a.aligned, v);
    }
}

template <class T>
static void launch_scale_samples(device *dev, int stream, const scale_samples_op *o)
{
    scale_samples_call<T> a = {};
    a.out = (T *)o->out.data, a.x = (const T *)o->x.data;
    if (present(o->residual)) a.residual = (const T *)o->residual.data;
    a.scale = (const float *)o->scale.data;
    a.length = o->x.dim[1], a.cols = tensor_cols(o->x);
    a.aligned = wide(o->out) && wide(o->x) && wide(o->residual);
    RUN(dev, stream, scale_samples_kernel<T>, groups(tensor_rows(o->x), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(scale_samples, x, launch_scale_samples)
