/* activation.cu - y = act(x) + residual, and dx *= act'(pre), over (rows,cols); see activation.h.
 *
 * Each activation has kernels of its own, so that a block contains only one. bytes: 2 s for each
 * element, 3 s with a residual or for the gradient (s: its size) */
#include "cuda/activation.h"

static constexpr int MOST_THREADS = 256;

/* A block has a row. */
template <class T, activation ACT> __global__ void activate_kernel(apply_call a, bool aligned)
{
    int64_t r = blockIdx.x;
    const T *x = (const T *)a.x + r * a.ldx, *residual = (const T *)a.residual;
    T *y = (T *)a.y + r * a.ldy;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t left = a.cols - c;
        unpacked<T> v = load(x + c, left, aligned), res = {};
        if (residual) res = load(residual + r * a.ldr + c, left, aligned);
        for (int i = 0; i < WIDTH<T>; i++) {
            v.x[i] = act_of<T>(ACT, v.x[i]);
            if (residual) v.x[i] += res.x[i];
        }
        store(y + c, left, aligned, v);
    }
}

extern "C" void cuda_apply(device *dev, int stream, const apply_call *a)
{
    uintptr_t address = (uintptr_t)a->x | (uintptr_t)a->y | (uintptr_t)a->residual;
    int64_t distance = a->ldx | a->ldy | (a->residual ? a->ldr : 0);
    BY_TYPE(
        a->type,
        BY_ACTIVATION(a->act, RUN(dev, stream, (activate_kernel<element, ACT>), groups(a->rows, 1),
                                  threads_for(a->cols, WIDTH<element>, MOST_THREADS), 0, *a,
                                  address % 16 == 0 && distance % WIDTH<element> == 0)));
}

template <class T, activation ACT>
__global__ void activate_grad_kernel(T *dx, const T *pre, int64_t cols, int64_t ld_dx,
                                     int64_t ld_pre, bool aligned)
{
    int64_t r = blockIdx.x;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < cols; c += blockDim.x * WIDTH<T>) {
        T *to = dx + r * ld_dx + c;
        unpacked<T> d = load(to, cols - c, aligned),
                    x = load(pre + r * ld_pre + c, cols - c, aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            d.x[i] *= act_grad_of<T>(ACT, x.x[i]);
        store(to, cols - c, aligned, d);
    }
}

extern "C" void cuda_apply_grad(device *dev, int stream, activation act, tensor dx, tensor pre)
{
    int64_t cols = tensor_cols(dx);
    BY_TYPE(dx.type, BY_ACTIVATION(act, RUN(dev, stream, (activate_grad_kernel<element, ACT>),
                                            groups(tensor_rows(dx), 1),
                                            threads_for(cols, WIDTH<element>, MOST_THREADS), 0,
                                            (element *)dx.data, (const element *)pre.data, cols,
                                            dx.ld, pre.ld, wide(dx) && wide(pre))));
}
