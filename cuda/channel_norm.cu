/* channel_norm.cu - mean and rstd of channels, out = (x - mean) rstd w + b, and its gradients
 *
 * Sums are made in two steps: a block has a warp's width of channels of an image, each of its warps
 * goes through some of the pixels in order, and their sums are added in order; then a thread joins
 * those of what a mean is of.  Where each pixel is changed, a block has a pixel.
 *                            bytes: 2 s C for each pixel (x twice), 2 s C, 5 s C (dout and x twice) */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256, WARPS = 8, JOINERS = 64;

/* What the kernels know of a norm. */
struct norm_numbers {
    const float *mean, *rstd;             /* (S,G) */
    int64_t images, pixels, cols, groups; /* B, P, C, G */
    float *sums;                          /* (B,2 C) */
    double momentum, eps;
    float *running_mean, *running_var; /* (C); may be NULL */
    bool relu, adds_w, adds_b;
};

/* Which mean is that of channel c of image b. */
static __device__ __forceinline__ int64_t place_of(const norm_numbers &a, int64_t b, int64_t c)
{
    return a.groups ? b * a.groups + c / (a.cols / a.groups) : c;
}

/* part[.][lane], one after the other */
static __device__ __forceinline__ float added(float part[WARPS][WARP], int lane)
{
    float sum = 0;
    for (int k = 0; k < WARPS; k++)
        sum += part[k][lane];
    return sum;
}

/* Mean and sum of squares about it, of 32 channels of an image. */
template <class T> __global__ void channel_sums_kernel(norm_numbers a, const T *x)
{
    SHARED(float, part, [WARPS][WARP]);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int64_t strips = (a.cols + WARP - 1) / WARP, b = blockIdx.x / strips,
            c = blockIdx.x % strips * WARP + lane;
    const T *from = x + b * a.pixels * a.cols + c;
    float sum = 0, squares = 0;
    for (int64_t p = warp; p < a.pixels && c < a.cols; p += WARPS)
        sum += widened(from[p * a.cols]);
    part[warp][lane] = sum;
    __syncthreads();
    float mean = added(part, lane) / (float)a.pixels;
    __syncthreads();
    for (int64_t p = warp; p < a.pixels && c < a.cols; p += WARPS) {
        float d = widened(from[p * a.cols]) - mean;
        squares += d * d;
    }
    part[warp][lane] = squares;
    __syncthreads();
    if (warp || c >= a.cols) return;
    a.sums[b * 2 * a.cols + c] = mean;
    a.sums[b * 2 * a.cols + a.cols + c] = added(part, lane);
}

/* A thread has a mean. */
static __global__ void channel_join_kernel(norm_numbers a, float *mean_out, float *rstd_out,
                                           int64_t means)
{
    int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= means) return;
    int64_t width = a.groups ? a.cols / a.groups : 1, c = a.groups ? k % a.groups * width : k,
            first = a.groups ? k / a.groups : 0, end = a.groups ? first + 1 : a.images;
    double n = (double)((end - first) * width), mean = 0, squares = 0;
    for (int64_t b = first; b < end; b++)
        for (int64_t i = c; i < c + width; i++)
            mean += (double)a.sums[b * 2 * a.cols + i];
    mean /= n;
    for (int64_t b = first; b < end; b++)
        for (int64_t i = c; i < c + width; i++) {
            double d = (double)a.sums[b * 2 * a.cols + i] - mean;
            squares += (double)a.sums[b * 2 * a.cols + a.cols + i] + (double)a.pixels * d * d;
        }
    n *= (double)a.pixels;
    mean_out[k] = (float)mean;
    rstd_out[k] = (float)(1 / sqrt(squares / n + a.eps));
    if (!a.running_mean) return;
    float new_mean = (float)((1 - a.momentum) * (double)a.running_mean[k] + a.momentum * mean);
    float new_var = (float)((1 - a.momentum) * (double)a.running_var[k] +
                            a.momentum * squares / (n > 1 ? n - 1 : 1));
    if (!isfinite(new_mean) || !isfinite(new_var)) return;
    a.running_mean[k] = new_mean;
    a.running_var[k] = new_var;
}

static __global__ void channel_running_kernel(norm_numbers a, float *mean, float *rstd)
{
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= a.cols) return;
    mean[c] = a.running_mean[c];
    rstd[c] = (float)(1 / sqrt((double)a.running_var[c] + a.eps));
}

static norm_numbers numbers_of(tensor x, tensor mean, tensor rstd, int64_t groups)
{
    norm_numbers a = {};
    a.mean = (const float *)mean.data, a.rstd = (const float *)rstd.data;
    a.images = x.dim[0], a.pixels = x.dim[1], a.cols = x.dim[2];
    a.groups = groups;
    return a;
}

/* Blocks for a warp's width of channels of each image. */
static unsigned norm_blocks(tensor x)
{
    return (unsigned)x.dim[0] * groups(x.dim[2], WARP);
}

extern "C" void cuda_channel_sums(device *dev, int stream, const channel_sums_op *o)
{
    norm_numbers a = {};
    a.pixels = o->x.dim[1], a.cols = o->x.dim[2];
    a.sums = (float *)o->sums.data;
    BY_TYPE(o->x.type, RUN(dev, stream, channel_sums_kernel<element>, norm_blocks(o->x),
                           WARPS * WARP, 0, a, (const element *)o->x.data));
}

extern "C" void cuda_channel_stats(device *dev, int stream, const channel_stats_op *o)
{
    norm_numbers a = {};
    int64_t means = tensor_count(o->mean);
    float *mean = (float *)o->mean.data, *rstd = (float *)o->rstd.data;
    a.groups = o->groups, a.momentum = o->momentum, a.eps = o->eps;
    if (present(o->running_mean)) {
        a.running_mean = (float *)o->running_mean.data;
        a.running_var = (float *)o->running_var.data;
    }
    if (!present(o->sums)) {
        a.cols = means;
        RUN(dev, stream, channel_running_kernel, groups(means, JOINERS), JOINERS, 0, a, mean, rstd);
        return;
    }
    a.images = tensor_rows(o->sums), a.pixels = o->pixels, a.cols = tensor_cols(o->sums) / 2;
    a.sums = (float *)o->sums.data;
    RUN(dev, stream, channel_join_kernel, groups(means, JOINERS), JOINERS, 0, a, mean, rstd, means);
}

/* ---- forward ---- */

template <class T> struct channel_norm_call {
    norm_numbers n;
    T *out, *dw, *db;             /* (B,P,C), (C); dw, db may be NULL */
    const T *x, *dout, *w, *bias; /* (B,P,C), (C) */
};

template <class T> __global__ void channel_norm_kernel(channel_norm_call<T> a)
{
    int64_t p = blockIdx.x, b = p / a.n.pixels;
    for (int64_t c = threadIdx.x; c < a.n.cols; c += blockDim.x) {
        int64_t k = place_of(a.n, b, c);
        float y = (widened(a.x[p * a.n.cols + c]) - a.n.mean[k]) * a.n.rstd[k] * widened(a.w[c]) +
                  widened(a.bias[c]);
        narrowed(a.out + p * a.n.cols + c, a.n.relu && y < 0 ? 0.0f : y);
    }
}

template <class T>
static void launch_channel_norm(device *dev, int stream, const channel_norm_op *o)
{
    channel_norm_call<T> a = {};
    a.n = numbers_of(o->x, o->mean, o->rstd, o->groups);
    a.n.relu = o->relu;
    a.out = (T *)o->out.data, a.x = (const T *)o->x.data;
    a.w = (const T *)o->w.data, a.bias = (const T *)o->b.data;
    RUN(dev, stream, channel_norm_kernel<T>, groups(tensor_rows(o->x), 1),
        threads_for(a.n.cols, 1, MOST_THREADS), 0, a);
}

CUDA_ENTRY(channel_norm, x, launch_channel_norm)

/* ---- gradients ---- */

/* What of dout went through at pixel p; *norm: (x - mean) rstd. */
template <class T>
static __device__ __forceinline__ float through(const channel_norm_call<T> &a, int64_t p, int64_t c,
                                                float *norm)
{
    int64_t k = place_of(a.n, p / a.n.pixels, c);
    *norm = (widened(a.x[p * a.n.cols + c]) - a.n.mean[k]) * a.n.rstd[k];
    bool shut = a.n.relu && *norm * widened(a.w[c]) + widened(a.bias[c]) < 0;
    return shut ? 0.0f : widened(a.dout[p * a.n.cols + c]);
}

template <class T> __global__ void channel_grad_sums_kernel(channel_norm_call<T> a)
{
    SHARED(float, part, [WARPS][WARP]);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int64_t strips = (a.n.cols + WARP - 1) / WARP, b = blockIdx.x / strips,
            c = blockIdx.x % strips * WARP + lane;
    float sum = 0, sum_n = 0;
    for (int64_t p = warp; p < a.n.pixels && c < a.n.cols; p += WARPS) {
        float norm, d = through(a, b * a.n.pixels + p, c, &norm);
        sum += d;
        sum_n += d * norm;
    }
    part[warp][lane] = sum;
    __syncthreads();
    if (!warp && c < a.n.cols) a.n.sums[b * 2 * a.n.cols + c] = added(part, lane);
    __syncthreads();
    part[warp][lane] = sum_n;
    __syncthreads();
    if (!warp && c < a.n.cols) a.n.sums[b * 2 * a.n.cols + a.n.cols + c] = added(part, lane);
}

/* Column c of the sums of images [b, end). */
static __device__ float sum_of_images(const norm_numbers &a, int64_t b, int64_t end, int64_t c)
{
    double sum = 0;
    for (; b < end; b++)
        sum += (double)a.sums[b * 2 * a.cols + c];
    return (float)sum;
}

/* A thread has a channel.  Without groups the first image's sums become those of all, which may be
 * more than those from `first` on, that are here. */
template <class T>
__global__ void channel_weights_kernel(channel_norm_call<T> a, int64_t first, int64_t all)
{
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, cols = a.n.cols,
            end = first + a.n.images;
    if (c >= cols) return;
    if (a.dw)
        narrowed(a.dw + c,
                 sum_of_images(a.n, first, end, cols + c) + (a.n.adds_w ? widened(a.dw[c]) : 0.0f));
    if (a.db)
        narrowed(a.db + c,
                 sum_of_images(a.n, first, end, c) + (a.n.adds_b ? widened(a.db[c]) : 0.0f));
    if (a.n.groups) return;
    a.n.sums[c] = sum_of_images(a.n, 0, all, c);
    a.n.sums[cols + c] = sum_of_images(a.n, 0, all, cols + c);
}

template <class T> __global__ void channel_dx_kernel(channel_norm_call<T> a, int64_t all)
{
    int64_t p = blockIdx.x, b = p / a.n.pixels, width = a.n.groups ? a.n.cols / a.n.groups : 1;
    const float *sums = a.n.sums + (a.n.groups ? b : 0) * 2 * a.n.cols;
    double n = (double)(a.n.pixels * width * (a.n.groups ? 1 : all));
    for (int64_t c = threadIdx.x; c < a.n.cols; c += blockDim.x) {
        double h = 0, hn = 0;
        for (int64_t i = c / width * width; i < c / width * width + width; i++) {
            h += (double)widened(a.w[i]) * (double)sums[i];
            hn += (double)widened(a.w[i]) * (double)sums[a.n.cols + i];
        }
        float norm, d = through(a, p, c, &norm);
        narrowed(a.out + p * a.n.cols + c,
                 a.n.rstd[place_of(a.n, b, c)] *
                     (d * widened(a.w[c]) - (float)(h / n) - norm * (float)(hn / n)));
    }
}

template <class T>
static void launch_channel_grad_sums(device *dev, int stream, const channel_grad_sums_op *o)
{
    channel_norm_call<T> a = {};
    a.n = numbers_of(o->x, o->mean, o->rstd, o->groups);
    a.n.relu = o->relu, a.n.sums = (float *)o->sums.data;
    a.x = (const T *)o->x.data, a.dout = (const T *)o->dout.data;
    a.w = (const T *)o->w.data, a.bias = (const T *)o->b.data;
    RUN(dev, stream, channel_grad_sums_kernel<T>, norm_blocks(o->x), WARPS * WARP, 0, a);
}

CUDA_ENTRY(channel_grad_sums, x, launch_channel_grad_sums)

template <class T>
static void launch_channel_norm_grad(device *dev, int stream, const channel_norm_grad_op *o)
{
    int64_t all = tensor_rows(o->sums);
    channel_norm_call<T> a = {};
    a.n = numbers_of(o->x, o->mean, o->rstd, o->groups);
    a.n.relu = o->relu, a.n.adds_w = o->dw.accumulate, a.n.adds_b = o->db.accumulate;
    a.n.sums = (float *)o->sums.data;
    a.x = (const T *)o->x.data, a.dout = (const T *)o->dout.data;
    a.w = (const T *)o->w.data, a.bias = (const T *)o->b.data;
    if (present(o->dw.t)) a.dw = (T *)o->dw.t.data;
    if (present(o->db.t)) a.db = (T *)o->db.t.data;
    RUN(dev, stream, channel_weights_kernel<T>, groups(a.n.cols, JOINERS), JOINERS, 0, a, o->first,
        all);
    if (!present(o->dx)) return;
    a.out = (T *)o->dx.data;
    RUN(dev, stream, channel_dx_kernel<T>, groups(tensor_rows(o->x), 1),
        threads_for(a.n.cols, 1, MOST_THREADS), 0, a, all);
}

CUDA_ENTRY(channel_norm_grad, x, launch_channel_norm_grad)
