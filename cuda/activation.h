/* activation.h - act(x) and act'(x), for activation.cu and gate.cu.
 *
 *   gelu_tanh(x) = x/2 (1 + tanh u) = x logistic(2u),   u = sqrt(2/pi) (x + 0.044715 x^3)
 *   silu(x)      = x logistic(x)
 *   gelu_erf(x)  = x Phi(x),   Phi(x) = erfc(-x/sqrt(2)) / 2
 *
 * which keep their relative accuracy in the negative tail, where 1 + tanh u cancels.
 *
 * What is stored as bf16 needs 8 bits: there exponentials are the hardware's powers of two and
 * quotients its reciprocals, each within a few units of a float's last place.  A bf16 gelu_tanh is
 * 11 instructions in place of 45.
 */
#ifndef REGRAD_CUDA_ACTIVATION_H
#define REGRAD_CUDA_ACTIVATION_H

#include "cuda/mma.h"

#define LOG2_OF_E 1.4426950408889634f

#define SQRT_2_PI 0.7978845608028654f /* sqrt(2/pi) */
#define SQRT_HALF 0.7071067811865476f /* 1/sqrt(2) */
#define DENSITY   0.3989422804014327f /* 1/sqrt(2 pi) */
#define CUBIC     0.044715f

/* e^x and a/b as results of type T need them */
template <class T> static __device__ __forceinline__ float exp_for(float x)
{
    return sizeof(T) == sizeof(float) ? expf(x) : exp2_fast(x * LOG2_OF_E);
}
template <class T> static __device__ __forceinline__ float quotient_for(float a, float b)
{
#ifdef __CUDACC__
    return sizeof(T) == sizeof(float) ? a / b : __fdividef(a, b);
#else
    return a / b;
#endif
}

/* logistic(x) and logistic(-x), from an exponential that cannot overflow */
struct logistic_pair {
    float up, down;
};
template <class T> static __device__ __forceinline__ logistic_pair logistic(float x)
{
    float e = exp_for<T>(-fabsf(x)), low = quotient_for<T>(e, 1.0f + e),
          high = quotient_for<T>(1.0f, 1.0f + e);
    return x < 0.0f ? logistic_pair{low, high} : logistic_pair{high, low};
}

/* x logistic(y), y of x's sign.  Where e^-y is infinite, or as large as makes a fast quotient 0, so
 * is the result in any bf16. */
template <class T> static __device__ __forceinline__ float times_logistic(float x, float y)
{
    return quotient_for<T>(x, 1.0f + exp_for<T>(-y));
}

template <class T> static __device__ __forceinline__ float act_of(activation act, float x)
{
    if (act == ACT_SILU) return times_logistic<T>(x, x);
    if (act == ACT_GELU_ERF) return 0.5f * x * erfcf(-x * SQRT_HALF);
    return times_logistic<T>(x, 2.0f * SQRT_2_PI * (x + CUBIC * x * x * x));
}

template <class T> static __device__ __forceinline__ float act_grad_of(activation act, float x)
{
    if (act == ACT_SILU) {
        logistic_pair s = logistic<T>(x);
        return s.up + x * (s.up * s.down);
    }
    if (act == ACT_GELU_ERF)
        return 0.5f * erfcf(-x * SQRT_HALF) + x * DENSITY * exp_for<T>(-0.5f * x * x);
    float u = SQRT_2_PI * (x + CUBIC * x * x * x),
          slope = SQRT_2_PI * (1.0f + 3.0f * CUBIC * x * x);
    logistic_pair s = logistic<T>(2.0f * u);
    return s.up + x * 2.0f * slope * (s.up * s.down);
}

/* Runs what follows with ACT as a constant. */
#define BY_ACTIVATION(act, ...)                                                                    \
    do {                                                                                           \
        if ((act) == ACT_SILU) {                                                                   \
            constexpr activation ACT = ACT_SILU;                                                   \
            __VA_ARGS__;                                                                           \
        } else if ((act) == ACT_GELU_ERF) {                                                        \
            constexpr activation ACT = ACT_GELU_ERF;                                               \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            constexpr activation ACT = ACT_GELU_TANH;                                              \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

#endif
