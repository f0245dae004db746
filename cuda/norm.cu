/* norm.cu - LayerNorm, and RMSNorm (mean = 0):  mean = avg(x), rstd = 1/sqrt(avg((x-mean)^2) + eps),
 *           out = (x-mean)*rstd*(offset+w) + b
 *
 * A warp handles a row; a lane has unpacked<T> columns out of each 128.  The row is read three
 * times, first from memory and then from the cache.                  bytes: 2 s C + 8 for each row
 *
 * The residual before a norm is added where the product ends (linear's residual: beta = 1 in
 * product.c), and the one after its gradient by norm_grad's accumulate.  From the product
 * to the norm that moves 4 s C for each row; a kernel of residual and norm, after a
 * product without, moves 5. */
#include "cuda/gpu.h"

static constexpr int WARPS = 4;
template <class T> static constexpr int STRIDE = WIDTH<T> *WARP;

template <class T> struct norm_call {
    T *out;             /* (R,C) */
    float *mean, *rstd; /* (R); may be NULL */
    const T *x, *w, *b; /* (R,C), (C), (C); b may be NULL */
    int64_t rows, cols;
    float eps, offset;
    bool rms, aligned;
};

template <class T> __global__ void norm_kernel(norm_call<T> a)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (r >= a.rows) return;
    const T *x = a.x + r * a.cols;
    float sum = 0, square = 0;
    for (int64_t c = lane * WIDTH<T>; c < a.cols; c += STRIDE<T>) {
        unpacked<T> v = load(x + c, a.cols - c, a.aligned);
        for (int i = 0; i < WIDTH<T>; i += 4)
            sum += (v.x[i] + v.x[i + 1]) + (v.x[i + 2] + v.x[i + 3]);
    }
    float mean = a.rms ? 0.0f : warp_sum(sum) / (float)a.cols;
    for (int64_t c = lane * WIDTH<T>; c < a.cols; c += STRIDE<T>) {
        unpacked<T> v = load(x + c, a.cols - c, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            if (c + i < a.cols) square += (v.x[i] - mean) * (v.x[i] - mean);
    }
    float rstd = 1.0f / sqrtf(warp_sum(square) / (float)a.cols + a.eps);
    for (int64_t c = lane * WIDTH<T>; c < a.cols; c += STRIDE<T>) {
        int64_t left = a.cols - c;
        unpacked<T> v = load(x + c, left, a.aligned), w = load(a.w + c, left, a.aligned), b = {};
        if (a.b) b = load(a.b + c, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] = (v.x[i] - mean) * rstd * (a.offset + w.x[i]) + b.x[i];
        store(a.out + r * a.cols + c, left, a.aligned, v);
    }
    if (lane) return;
    if (a.mean) a.mean[r] = mean;
    if (a.rstd) a.rstd[r] = rstd;
}

template <class T> static void launch_norm(device *dev, int stream, const norm_op *o)
{
    norm_call<T> a = {};
    a.out = (T *)o->out.data;
    if (present(o->mean)) a.mean = (float *)o->mean.data;
    if (present(o->rstd)) a.rstd = (float *)o->rstd.data;
    a.x = (const T *)o->x.data, a.w = (const T *)o->w.data;
    if (present(o->b)) a.b = (const T *)o->b.data;
    a.rows = tensor_rows(o->x), a.cols = tensor_cols(o->x);
    a.eps = (float)o->eps, a.offset = (float)o->offset, a.rms = o->rms;
    a.aligned = wide(o->out) && wide(o->x) && wide(o->w) && wide(o->b);
    RUN(dev, stream, norm_kernel<T>, groups(a.rows, WARPS), WARPS * WARP, 0, a);
}

CUDA_ENTRY(norm, x, launch_norm)
