/* windows.cu - out[l - first, x, (c K + i) K + j] = x[b, y S + i - K/2, x S + j - K/2, c], line l being
 * line y = l % h of image b = l / h; and the way back, by which each pixel adds up its elements
 *
 * Forward a block has a row of the windows, a thread some of its elements; back a block has a pixel
 * of x, a thread some of its channels.                            bytes: s (K K + 1) C for each row */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct windows_call {
    T *x, *rows;                          /* (B,H,W,C), (N,w,C K K) */
    int64_t height, width, cols;          /* H, W, C */
    int64_t side, stride, first;          /* K, S */
    int64_t lines, across, count, offset; /* h, w, N; back: the first line of x, of all images' */
};

template <class T> __global__ void windows_kernel(windows_call<T> a)
{
    int64_t p = blockIdx.x, line = a.first + p / a.across, taps = a.side * a.side;
    int64_t top = line % a.lines * a.stride - a.side / 2,
            left = p % a.across * a.stride - a.side / 2;
    for (int64_t k = threadIdx.x; k < a.cols * taps; k += blockDim.x) {
        int64_t y = top + k % taps / a.side, x = left + k % a.side;
        T *to = a.rows + p * a.cols * taps + k;
        if (y < 0 || y >= a.height || x < 0 || x >= a.width)
            narrowed(to, 0.0f);
        else
            *to = a.x[((line / a.lines * a.height + y) * a.width + x) * a.cols + k / taps];
    }
}

template <class T> __global__ void windows_grad_kernel(windows_call<T> a)
{
    int64_t p = a.offset * a.width + blockIdx.x, taps = a.side * a.side;
    int64_t b = p / (a.height * a.width), row = p / a.width % a.height, column = p % a.width;
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
        float sum = 0;
        for (int64_t t = 0; t < taps; t++) {
            int64_t y = row + a.side / 2 - t / a.side, x = column + a.side / 2 - t % a.side;
            if (y < 0 || y % a.stride || x < 0 || x % a.stride) continue;
            y /= a.stride, x /= a.stride;
            int64_t l = b * a.lines + y - a.first;
            if (y >= a.lines || x >= a.across || l < 0 || l >= a.count) continue;
            sum += widened(a.rows[((l * a.across + x) * a.cols + c) * taps + t]);
        }
        T *to = a.x + p * a.cols + c;
        narrowed(to, widened(*to) + sum);
    }
}

template <class T>
static windows_call<T> call_of(tensor x, tensor rows, int64_t side, int64_t stride, int64_t first)
{
    windows_call<T> a = {};
    a.x = (T *)x.data, a.rows = (T *)rows.data;
    a.height = x.dim[1], a.width = x.dim[2], a.cols = x.dim[3];
    a.side = side, a.stride = stride, a.first = first;
    a.lines = (a.height - 1) / stride + 1, a.across = rows.dim[1], a.count = rows.dim[0];
    return a;
}

template <class T> static void launch_windows(device *dev, int stream, const windows_op *o)
{
    windows_call<T> a = call_of<T>(o->x, o->out, o->side, o->stride, o->first);
    RUN(dev, stream, windows_kernel<T>, groups(tensor_rows(o->out), 1),
        threads_for(tensor_cols(o->out), 1, MOST_THREADS), 0, a);
}

extern "C" void cuda_windows(device *dev, int stream, const windows_op *o)
{
    if (!o->out.dim[0]) return;
    BY_TYPE(o->x.type, launch_windows<element>(dev, stream, o));
}

/* The first line of x that line l of the output reads, and the one after the last. */
template <class T> static int64_t line_read(const windows_call<T> &a, int64_t l, bool last)
{
    int64_t y = l % a.lines * a.stride - a.side / 2 + (last ? a.side : 0);
    if (y < 0) y = 0;
    if (y > a.height) y = a.height;
    return l / a.lines * a.height + y;
}

template <class T>
static void launch_windows_grad(device *dev, int stream, const windows_grad_op *o)
{
    windows_call<T> a = call_of<T>(o->dx, o->dout, o->side, o->stride, o->first);
    a.offset = line_read(a, a.first, false);
    int64_t lines = line_read(a, a.first + a.count - 1, true) - a.offset;
    RUN(dev, stream, windows_grad_kernel<T>, groups(lines * a.width, 1),
        threads_for(a.cols, 1, MOST_THREADS), 0, a);
}

extern "C" void cuda_windows_grad(device *dev, int stream, const windows_grad_op *o)
{
    if (!o->dout.dim[0]) return;
    BY_TYPE(o->dx.type, launch_windows_grad<element>(dev, stream, o));
}
