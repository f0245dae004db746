/* activation.cu - y = act(x) + residual, and dx *= act'(pre), over (rows,cols); see activation.h.
 *
 * bytes: 8 for each element, 12 with a residual or for the gradient */
#include "cuda/activation.h"

static constexpr int MOST_THREADS = 256;

/* A block has a row. */
static __global__ void activate_kernel(apply_call a, bool whole)
{
    int64_t r = blockIdx.x;
    for (int64_t c = threadIdx.x * 4; c < a.cols; c += blockDim.x * 4) {
        int64_t left = a.cols - c;
        unpacked<float> v = load(a.x + r * a.ldx + c, left, whole), res = {};
        if (a.residual) res = load(a.residual + r * a.ldr + c, left, whole);
        for (int i = 0; i < 4; i++) {
            v.x[i] = act_of(a.act, v.x[i]);
            if (a.residual) v.x[i] += res.x[i];
        }
        store(a.y + r * a.ldy + c, left, whole, v);
    }
}

extern "C" void cuda_apply(device *dev, int stream, const apply_call *a)
{
    uintptr_t address = (uintptr_t)a->x | (uintptr_t)a->y | (uintptr_t)a->residual;
    int64_t distance = a->ldx | a->ldy | (a->residual ? a->ldr : 0);
    RUN(dev, stream, activate_kernel, groups(a->rows, 1), threads_for(a->cols, 4, MOST_THREADS), 0,
        *a, address % 16 == 0 && distance % 4 == 0);
}

static __global__ void activate_grad_kernel(float *dx, const float *pre, int64_t cols,
                                            int64_t ld_dx, int64_t ld_pre, activation act,
                                            bool whole)
{
    int64_t r = blockIdx.x;
    for (int64_t c = threadIdx.x * 4; c < cols; c += blockDim.x * 4) {
        float *to = dx + r * ld_dx + c;
        unpacked<float> d = load(to, cols - c, whole),
                        x = load(pre + r * ld_pre + c, cols - c, whole);
        for (int i = 0; i < 4; i++)
            d.x[i] *= act_grad_of(act, x.x[i]);
        store(to, cols - c, whole, d);
    }
}

extern "C" void cuda_apply_grad(device *dev, int stream, activation act, tensor dx, tensor pre)
{
    int64_t cols = tensor_cols(dx);
    RUN(dev, stream, activate_grad_kernel, groups(tensor_rows(dx), 1),
        threads_for(cols, 4, MOST_THREADS), 0, (float *)dx.data, (const float *)pre.data, cols,
        dx.ld, pre.ld, act, wide(dx) && wide(pre));
}
