/* depthwise.cu - out[b,y,x,c] = bias[c] + sum_{i,j} w[c, i K + j] x[b, y + i - K/2, x + j - K/2, c]
 *
 * A block has a pixel, a thread some of its channels; neighbours' pixels come from the cache.
 *                                                        bytes: 2 s C for each pixel, and the weights */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 128;

template <class T> struct depthwise_call {
    T *out;                                  /* (B,H,W,C) */
    const T *x, *w, *bias;                   /* (B,H,W,C), (C,K K), (C); bias may be NULL */
    int64_t height, width, cols, side, ld_w; /* H, W, C, K */
    bool flipped, aligned;
};

template <class T> __global__ void depthwise_kernel(depthwise_call<T> a)
{
    int64_t p = blockIdx.x, half = a.side / 2, taps = a.side * a.side;
    int64_t b = p / (a.height * a.width), row = p / a.width % a.height, column = p % a.width;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t left = a.cols - c;
        unpacked<T> sum = {};
        if (a.bias) sum = load(a.bias + c, left, false);
        for (int64_t t = 0; t < taps; t++) {
            int64_t y = row + t / a.side - half, x = column + t % a.side - half;
            if (y < 0 || y >= a.height || x < 0 || x >= a.width) continue;
            unpacked<T> v =
                load(a.x + ((b * a.height + y) * a.width + x) * a.cols + c, left, a.aligned);
            for (int i = 0; i < WIDTH<T>; i++)
                if (i < left)
                    sum.x[i] +=
                        widened(a.w[(c + i) * a.ld_w + (a.flipped ? taps - 1 - t : t)]) * v.x[i];
        }
        store(a.out + p * a.cols + c, left, a.aligned, sum);
    }
}

template <class T> static void launch_depthwise(device *dev, int stream, const depthwise_op *o)
{
    depthwise_call<T> a = {};
    a.out = (T *)o->out.data, a.x = (const T *)o->x.data, a.w = (const T *)o->w.data;
    if (present(o->bias)) a.bias = (const T *)o->bias.data;
    a.height = o->x.dim[1], a.width = o->x.dim[2], a.cols = o->x.dim[3], a.side = o->side;
    a.ld_w = o->w.ld, a.flipped = o->flipped, a.aligned = wide(o->out) && wide(o->x);
    RUN(dev, stream, depthwise_kernel<T>, groups(tensor_rows(o->x), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(depthwise, x, launch_depthwise)
