/* positions_grad.cu - dx[b,t-P,:] = dout[b,t,:];  dfirst[t,:] (+)= sum_b dout[b,t,:];  dpositions
 * likewise.
 *
 * A thread has some columns of one position and goes through the samples in order, copying as it
 * adds: dout is read once.                  bytes: 2 s C for each row, 2 s C for each position */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct positions_grad_call {
    T *dx, *dfirst, *dpositions;         /* (B,T-P,C), (P,C), (T,C); NULL: not wanted */
    const T *dout;                       /* (B,T,C) */
    int64_t batch, length, before, cols; /* B, T, P, C */
    bool first_adds, positions_add, aligned;
};

template <class T>
static __device__ void give(T *to, bool adds, int64_t left, bool aligned, unpacked<T> sum)
{
    unpacked<T> old = {};
    if (adds) old = load(to, left, aligned);
    for (int i = 0; i < WIDTH<T>; i++)
        sum.x[i] += old.x[i];
    store(to, left, aligned, sum);
}

template <class T> __global__ void positions_grad_kernel(positions_grad_call<T> a)
{
    int64_t t = blockIdx.x, rest = a.length - a.before;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t left = a.cols - c;
        unpacked<T> sum = {};
        for (int64_t b = 0; b < a.batch; b++) {
            unpacked<T> d = load(a.dout + (b * a.length + t) * a.cols + c, left, a.aligned);
            for (int i = 0; i < WIDTH<T>; i++)
                sum.x[i] += d.x[i];
            if (a.dx && t >= a.before)
                store(a.dx + (b * rest + t - a.before) * a.cols + c, left, a.aligned, d);
        }
        if (a.dpositions)
            give(a.dpositions + t * a.cols + c, a.positions_add, left, a.aligned, sum);
        if (a.dfirst && t < a.before)
            give(a.dfirst + t * a.cols + c, a.first_adds, left, a.aligned, sum);
    }
}

template <class T>
static void launch_positions_grad(device *dev, int stream, const positions_grad_op *o)
{
    positions_grad_call<T> a = {};
    if (o->dx.data != o->dout.data) a.dx = (T *)o->dx.data; /* it may be dout itself */
    if (present(o->dfirst.t)) a.dfirst = (T *)o->dfirst.t.data;
    if (present(o->dpositions.t)) a.dpositions = (T *)o->dpositions.t.data;
    a.dout = (const T *)o->dout.data;
    a.batch = o->dout.dim[0], a.length = o->dout.dim[1], a.cols = o->dout.dim[2];
    a.before = a.length - o->dx.dim[1];
    a.first_adds = o->dfirst.accumulate, a.positions_add = o->dpositions.accumulate;
    a.aligned = wide(o->dx) && wide(o->dout) && wide(o->dfirst.t) && wide(o->dpositions.t);
    RUN(dev, stream, positions_grad_kernel<T>, groups(a.length, 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(positions_grad, dout, launch_positions_grad)
