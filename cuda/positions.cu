/* positions.cu - out[b,t,:] = (t < P ? first[t,:] : x[b,t-P,:]) + positions[t,:]
 *
 * A block has a row of out.                                       bytes: 3 s C for each row */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct positions_call {
    T *out;                         /* (B,T,C) */
    const T *x, *first, *positions; /* (B,T-P,C), (P,C), (T,C) */
    int64_t length, before, cols;   /* T, P, C */
    bool aligned;
};

template <class T> __global__ void positions_kernel(positions_call<T> a)
{
    int64_t r = blockIdx.x, b = r / a.length, t = r % a.length;
    const T *x = t < a.before ? a.first + t * a.cols
                              : a.x + (b * (a.length - a.before) + t - a.before) * a.cols;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t left = a.cols - c;
        unpacked<T> v = load(x + c, left, a.aligned),
                    p = load(a.positions + t * a.cols + c, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] += p.x[i];
        store(a.out + r * a.cols + c, left, a.aligned, v);
    }
}

template <class T> static void launch_positions(device *dev, int stream, const positions_op *o)
{
    positions_call<T> a = {};
    a.out = (T *)o->out.data;
    a.x = (const T *)o->x.data, a.positions = (const T *)o->positions.data;
    if (present(o->first)) a.first = (const T *)o->first.data;
    a.length = o->out.dim[1], a.before = a.length - o->x.dim[1], a.cols = tensor_cols(o->out);
    a.aligned = wide(o->out) && wide(o->x) && wide(o->first) && wide(o->positions);
    RUN(dev, stream, positions_kernel<T>, groups(tensor_rows(o->out), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(positions, out, launch_positions)
