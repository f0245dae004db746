/* gate.cu - out = act(g) * u, where a row of x is (g, u); and the gradients
 * of g and u in their place:
 *
 *     g <- dout * u * act'(g),   u <- dout * act(g)
 *
 * A block has a row.                          bytes: 3 s N for each row, 5 s N for the gradients */
#include "cuda/activation.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct gate_call {
    T *x, *out;    /* (R,2N), (R,N) */
    const T *dout; /* (R,N) */
    int64_t cols, ld_x, ld_out;
    activation act;
    bool aligned;
};

template <class T> __global__ void gate_kernel(gate_call<T> a)
{
    const T *g = a.x + blockIdx.x * a.ld_x, *u = g + a.cols;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t left = a.cols - c;
        unpacked<T> x = load(g + c, left, a.aligned), y = load(u + c, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            x.x[i] = act_of<T>(a.act, x.x[i]) * y.x[i];
        store(a.out + blockIdx.x * a.ld_out + c, left, a.aligned, x);
    }
}

template <class T> __global__ void gate_grad_kernel(gate_call<T> a)
{
    T *g = a.x + blockIdx.x * a.ld_x, *u = g + a.cols;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t left = a.cols - c;
        unpacked<T> x = load(g + c, left, a.aligned), y = load(u + c, left, a.aligned);
        unpacked<T> d = load(a.dout + blockIdx.x * a.ld_out + c, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++) {
            float dg = d.x[i] * y.x[i] * act_grad_of<T>(a.act, x.x[i]);
            y.x[i] = d.x[i] * act_of<T>(a.act, x.x[i]);
            x.x[i] = dg;
        }
        store(g + c, left, a.aligned, x);
        store(u + c, left, a.aligned, y);
    }
}

/* out: what is written, or dout */
template <class T> static gate_call<T> gate_of(tensor x, tensor out, activation act)
{
    gate_call<T> a = {};
    a.x = (T *)x.data, a.out = (T *)out.data, a.dout = (const T *)out.data;
    a.cols = tensor_cols(out), a.ld_x = x.ld, a.ld_out = out.ld;
    a.act = act;
    a.aligned = wide(x) && wide(out) && a.cols % WIDTH<T> == 0;
    return a;
}

extern "C" void cuda_gate(device *dev, int stream, const gate_op *o)
{
    unsigned rows = groups(tensor_rows(o->out), 1);
    BY_TYPE(o->x.type, gate_call<element> a = gate_of<element>(o->x, o->out, o->act);
            RUN(dev, stream, gate_kernel<element>, rows,
                threads_for(a.cols, WIDTH<element>, MOST_THREADS), 0, a));
}

extern "C" void cuda_gate_grad(device *dev, int stream, const gate_grad_op *o)
{
    unsigned rows = groups(tensor_rows(o->dout), 1);
    BY_TYPE(o->x.type, gate_call<element> a = gate_of<element>(o->x, o->dout, o->act);
            RUN(dev, stream, gate_grad_kernel<element>, rows,
                threads_for(a.cols, WIDTH<element>, MOST_THREADS), 0, a));
}
