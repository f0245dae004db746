/* merge.cu - out[b,y,x, (c K + i) K + j] = x[b, y K + i, x K + j, c], and the way back, by which
 * what was not seen becomes 0
 *
 * A block has a pixel of x, a thread some of its channels.                  bytes: 2 s C for each pixel */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 128;

template <class T> struct merge_call {
    T *x, *merged;                     /* (B,H,W,C), (B,H/K,W/K,C K K) */
    int64_t height, width, cols, side; /* H, W, C, K */
    bool back;
};

template <class T> __global__ void merge_kernel(merge_call<T> a)
{
    int64_t p = blockIdx.x, h = a.height / a.side, w = a.width / a.side;
    int64_t b = p / (a.height * a.width), y = p / a.width % a.height, x = p % a.width;
    bool seen = y / a.side < h && x / a.side < w;
    int64_t pixel = (b * h + y / a.side) * w + x / a.side, taps = a.side * a.side;
    T *merged = a.merged + pixel * a.cols * taps + y % a.side * a.side + x % a.side;
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
        if (seen && !a.back) merged[c * taps] = a.x[p * a.cols + c];
        if (seen && a.back) a.x[p * a.cols + c] = merged[c * taps];
        if (!seen && a.back) narrowed(&a.x[p * a.cols + c], 0.0f);
    }
}

template <class T>
static void launch_merge(device *dev, int stream, tensor x, tensor merged, int64_t side, bool back)
{
    merge_call<T> a = {};
    a.x = (T *)x.data, a.merged = (T *)merged.data;
    a.height = x.dim[1], a.width = x.dim[2], a.cols = x.dim[3], a.side = side, a.back = back;
    RUN(dev, stream, merge_kernel<T>, groups(tensor_rows(x), 1),
        threads_for(a.cols, 1, MOST_THREADS), 0, a);
}

extern "C" void cuda_merge(device *dev, int stream, const merge_op *o)
{
    BY_TYPE(o->x.type, launch_merge<element>(dev, stream, o->x, o->out, o->side, false));
}

extern "C" void cuda_merge_grad(device *dev, int stream, const merge_grad_op *o)
{
    BY_TYPE(o->dx.type, launch_merge<element>(dev, stream, o->dx, o->dout, o->side, true));
}
