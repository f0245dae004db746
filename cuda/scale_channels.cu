/* scale_channels.cu - out[r,c] = scale[c] x[r,c] + residual[r,c];  dscale[c] (+)= sum_r dout[r,c] x[r,c]
 *
 * Forward a block has a row.  The gradient's blocks have a warp's width of columns; each of its
 * warps goes through some of the rows in order, and their sums are added in order.
 *                                   bytes: 2 s C for each row, 3 s C with a residual; 2 s C for each row */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256, WARPS = 8;

template <class T> struct scale_channels_call {
    T *out;                        /* (R,C) */
    const T *x, *scale, *residual; /* (R,C), (C), (R,C); residual may be NULL */
    int64_t cols;                  /* C */
    bool aligned;
};

template <class T> __global__ void scale_channels_kernel(scale_channels_call<T> a)
{
    int64_t r = blockIdx.x;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t at = r * a.cols + c, left = a.cols - c;
        unpacked<T> v = load(a.x + at, left, a.aligned), res = {},
                    s = load(a.scale + c, left, a.aligned);
        if (a.residual) res = load(a.residual + at, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] = s.x[i] * v.x[i] + res.x[i];
        store(a.out + at, left, a.aligned, v);
    }
}

template <class T>
static void launch_scale_channels(device *dev, int stream, const scale_channels_op *o)
{
    scale_channels_call<T> a = {};
    a.out = (T *)o->out.data, a.x = (const T *)o->x.data, a.scale = (const T *)o->scale.data;
    if (present(o->residual)) a.residual = (const T *)o->residual.data;
    a.cols = tensor_cols(o->x);
    a.aligned = wide(o->out) && wide(o->x) && wide(o->residual) && wide(o->scale);
    RUN(dev, stream, scale_channels_kernel<T>, groups(tensor_rows(o->x), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(scale_channels, x, launch_scale_channels)

template <class T> struct scale_channels_grad_call {
    T *dscale;         /* (C) */
    const T *x, *dout; /* (R,C) */
    int64_t rows, cols;
    bool adds;
};

template <class T> __global__ void scale_channels_grad_kernel(scale_channels_grad_call<T> a)
{
    SHARED(float, part, [WARPS][WARP]);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int64_t c = (int64_t)blockIdx.x * WARP + lane;
    float sum = 0;
    for (int64_t r = warp; r < a.rows && c < a.cols; r += WARPS)
        sum += widened(a.dout[r * a.cols + c]) * widened(a.x[r * a.cols + c]);
    part[warp][lane] = sum;
    __syncthreads();
    if (warp || c >= a.cols) return;
    for (int k = 1; k < WARPS; k++)
        sum += part[k][lane];
    narrowed(a.dscale + c, sum + (a.adds ? widened(a.dscale[c]) : 0.0f));
}

template <class T>
static void launch_scale_channels_grad(device *dev, int stream, const scale_channels_grad_op *o)
{
    scale_channels_grad_call<T> a = {};
    if (!present(o->dscale.t)) return;
    a.dscale = (T *)o->dscale.t.data, a.adds = o->dscale.accumulate;
    a.x = (const T *)o->x.data, a.dout = (const T *)o->dout.data;
    a.rows = tensor_rows(o->x), a.cols = tensor_cols(o->x);
    RUN(dev, stream, scale_channels_grad_kernel<T>, groups(a.cols, WARP), WARPS * WARP, 0, a);
}

CUDA_ENTRY(scale_channels_grad, x, launch_scale_channels_grad)
