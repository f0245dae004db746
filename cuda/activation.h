/* activation.h - act(x) and act'(x), for activation.cu and gate.cu.
 *
 *   gelu_tanh(x) = x/2 (1 + tanh u) = x logistic(2u),   u = sqrt(2/pi) (x + 0.044715 x^3)
 *   silu(x)      = x logistic(x)
 *   gelu_erf(x)  = x Phi(x),   Phi(x) = erfc(-x/sqrt(2)) / 2
 *
 * which keep their relative accuracy in the negative tail, where 1 + tanh u cancels.
 */
#ifndef REGRAD_CUDA_ACTIVATION_H
#define REGRAD_CUDA_ACTIVATION_H

#include "cuda/gpu.h"

#define SQRT_2_PI 0.7978845608028654f /* sqrt(2/pi) */
#define SQRT_HALF 0.7071067811865476f /* 1/sqrt(2) */
#define DENSITY   0.3989422804014327f /* 1/sqrt(2 pi) */
#define CUBIC     0.044715f

/* logistic(x) and logistic(-x), from an exponential that cannot overflow */
struct logistic_pair {
    float up, down;
};
static __device__ __forceinline__ logistic_pair logistic(float x)
{
    float e = expf(-fabsf(x)), low = e / (1.0f + e), high = 1.0f / (1.0f + e);
    return x < 0.0f ? logistic_pair{low, high} : logistic_pair{high, low};
}

static __device__ __forceinline__ float act_of(activation act, float x)
{
    if (act == ACT_SILU) return x / (1.0f + expf(-x));
    if (act == ACT_GELU_ERF) return 0.5f * x * erfcf(-x * SQRT_HALF);
    float u = SQRT_2_PI * (x + CUBIC * x * x * x);
    return x / (1.0f + expf(-2.0f * u));
}

static __device__ __forceinline__ float act_grad_of(activation act, float x)
{
    if (act == ACT_SILU) {
        logistic_pair s = logistic(x);
        return s.up + x * (s.up * s.down);
    }
    if (act == ACT_GELU_ERF)
        return 0.5f * erfcf(-x * SQRT_HALF) + x * DENSITY * expf(-0.5f * x * x);
    float u = SQRT_2_PI * (x + CUBIC * x * x * x),
          slope = SQRT_2_PI * (1.0f + 3.0f * CUBIC * x * x);
    logistic_pair s = logistic(2.0f * u);
    return s.up + x * 2.0f * slope * (s.up * s.down);
}

#endif
