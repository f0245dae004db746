/* depthwise_grad.cu - dw[c, i K + j] (+)= sum_{b,y,x} dout[b,y,x,c] x[b, y + i - K/2, x + j - K/2, c];
 * db[c] (+)= sum dout[b,y,x,c]
 *
 * A block has a tap (the last one is the bias) and a warp's width of channels; each of its warps
 * goes through some of the pixels in order, and their sums are added in order.
 *                                                 bytes: 2 s C for each pixel, K K times from the cache */
#include "cuda/gpu.h"

static constexpr int WARPS = 8;

template <class T> struct depthwise_grad_call {
    T *dw, *db;        /* (C,K K), (C); NULL: not wanted */
    const T *x, *dout; /* (B,H,W,C) */
    int64_t pixels, height, width, cols, side, ld_dw;
    bool dw_adds, db_adds;
};

template <class T> __global__ void depthwise_grad_kernel(depthwise_grad_call<T> a)
{
    SHARED(float, part, [WARPS][WARP]);
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int64_t tap = blockIdx.y, c = (int64_t)blockIdx.x * WARP + lane, taps = a.side * a.side;
    int64_t down = tap / a.side - a.side / 2, across = tap % a.side - a.side / 2;
    float sum = 0;
    for (int64_t p = warp; p < a.pixels && c < a.cols; p += WARPS) {
        int64_t y = p / a.width % a.height + down, x = p % a.width + across;
        float d = widened(a.dout[p * a.cols + c]);
        if (tap == taps)
            sum += d;
        else if (y >= 0 && y < a.height && x >= 0 && x < a.width)
            sum += d * widened(a.x[(p + down * a.width + across) * a.cols + c]);
    }
    part[warp][lane] = sum;
    __syncthreads();
    if (warp || c >= a.cols) return;
    for (int k = 1; k < WARPS; k++)
        sum += part[k][lane];
    T *to = tap == taps ? a.db + c : a.dw + c * a.ld_dw + tap;
    bool adds = tap == taps ? a.db_adds : a.dw_adds, wanted = tap == taps ? a.db : a.dw;
    if (wanted) narrowed(to, sum + (adds ? widened(*to) : 0.0f));
}

template <class T>
static void launch_depthwise_grad(device *dev, int stream, const depthwise_grad_op *o)
{
    depthwise_grad_call<T> a = {};
    if (present(o->dw.t)) a.dw = (T *)o->dw.t.data, a.ld_dw = o->dw.t.ld;
    if (present(o->db.t)) a.db = (T *)o->db.t.data;
    a.x = (const T *)o->x.data, a.dout = (const T *)o->dout.data;
    a.pixels = tensor_rows(o->x), a.height = o->x.dim[1], a.width = o->x.dim[2];
    a.cols = o->x.dim[3], a.side = o->side;
    a.dw_adds = o->dw.accumulate, a.db_adds = o->db.accumulate;
    dim3 grid(groups(a.cols, WARP), (unsigned)(a.side * a.side + 1));
    RUN(dev, stream, depthwise_grad_kernel<T>, grid, WARPS * WARP, 0, a);
}

CUDA_ENTRY(depthwise_grad, x, launch_depthwise_grad)
