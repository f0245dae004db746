/* vector.h - exponentials that the compiler vectorizes: no branch, no table, no call.
 *
 *   e^x:  x = n ln2 + r, |r| <= ln2/2;  e^r by a polynomial, 2^n assembled from its bits
 *
 * Each activation needs one exponential, of a number that is never positive:
 *
 *   gelu_tanh(x) = x/2 (1 + tanh u) = x logistic(2u),   u = sqrt(2/pi) (x + 0.044715 x^3)
 *   gelu_erf(x)  = x Phi(x),   Phi(-|x|) = e^(-x^2/2) R(|x|)
 *
 * which also keeps their relative accuracy in the negative tail, where 1 + tanh u cancels.
 */
#ifndef REGRAD_CPU_VECTOR_H
#define REGRAD_CPU_VECTOR_H

#include "base/bf16.h"

#include <math.h>

#define VECTOR_FN static inline __attribute__((always_inline))

/* e^x within 2 ulp for -87 <= x <= 88, NaN for NaN */
VECTOR_FN float exp_in_range(float x)
{
    const float magic = 0x1.8p23f; /* moves the fraction out: the low bits of shift are n */
    float shift = x * 0x1.715476p0f + magic, n = shift - magic;
    float r = x - n * 0x1.62ep-1f -
              n * 0x1.0bfbe8p-15f; /* ln2 in two parts; n times the first is exact */
    float p = 0x1.6a2318p-10f;     /* (e^r - 1 - r) / r^2, fitted: relative error of e^r 3e-9 */
    p = p * r + 0x1.123a8ep-7f;
    p = p * r + 0x1.5558f6p-5f;
    p = p * r + 0x1.55549p-3f;
    p = p * r + 0x1.fffffcp-2f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * float_of_bits((float_bits(shift) + 127u) << 23);
}

/* e^x for x <= 88; results below 1e-37 are clamped */
VECTOR_FN float vector_exp(float x)
{
    return exp_in_range(x < -87.0f ? -87.0f : x);
}

/* e^-|x|, likewise.  Positive floats compare like their bits; a min of integers is one instruction,
 * where ?: makes the compiler duplicate the following code, specialized for the constant. NaN
 * counts as large: the caller multiplies by it anyway. */
VECTOR_FN float exp_minus_abs(float x)
{
    uint32_t a = float_bits(x) & 0x7fffffffu, most = float_bits(87.0f);
    return exp_in_range(-float_of_bits(a < most ? a : most));
}

/* tanh x within 4 ulp: (1 - e)/(1 + e) with e = e^-2|x|; near 0, where that cancels, its series */
VECTOR_FN float vector_tanh(float x)
{
    float e = exp_minus_abs(2.0f * x), far = (1.0f - e) / (1.0f + e), y = x * x;
    float near = ((62.0f / 2835 * y - 17.0f / 315) * y + 2.0f / 15) * y - 1.0f / 3;
    near = x + x * y * near;
    return y < 0.09f ? near : x < 0 ? -far : x > 0 ? far : x;
}

VECTOR_FN float gelu_tanh_2u(float x)
{
    return 1.5957691216f * x * (1.0f + 0.044715f * x * x);
}

/* logistic(2u) = 1/(1+e) or e/(1+e) with e = e^-|2u| */
VECTOR_FN float gelu_tanh(float x)
{
    float e = exp_minus_abs(gelu_tanh_2u(x));
    return x * (x < 0 ? e : 1.0f) / (1.0f + e);
}

/* s + x s' with s = logistic(2u), s' = s (1-s) 2u' */
VECTOR_FN float gelu_tanh_grad(float x)
{
    float e = exp_minus_abs(gelu_tanh_2u(x)), inverse = 1.0f / (1.0f + e);
    float slope = 1.5957691216f * (1.0f + 3 * 0.044715f * x * x);
    return inverse * ((x < 0 ? e : 1.0f) + x * slope * (e * inverse));
}

/* Phi(x), the normal distribution, given e^(-x^2/2).  R(a) = Phi(-a) e^(a^2/2) is t P(t) with t =
 * 1/(1 + 0.27 a), P fitted for the smallest relative error (2e-8) on 0 <= a <= 13.2. */
VECTOR_FN float normal_cdf(float x, float gauss)
{
    float t = 1.0f / (1.0f + 0.27f * fabsf(x));
    float p = 0x1.d82cccp-6f;
    p = p * t - 0x1.01941ap-3f;
    p = p * t + 0x1.58928ep-3f;
    p = p * t - 0x1.13f51ep-4f;
    p = p * t + 0x1.b431e2p-4f;
    p = p * t + 0x1.29912p-4f;
    p = p * t + 0x1.a05a0ep-4f;
    p = p * t + 0x1.b8984p-4f;
    p = p * t + 0x1.b937b4p-4f;
    float tail = p * t * gauss;
    return x < 0 ? tail : 1.0f - tail;
}

VECTOR_FN float gelu_erf(float x)
{
    return x * normal_cdf(x, exp_minus_abs(0.5f * x * x));
}

VECTOR_FN float gelu_erf_grad(float x)
{
    float gauss = exp_minus_abs(0.5f * x * x);
    return normal_cdf(x, gauss) + x * 0.3989422804f * gauss;
}

/* logistic(x) = 1/(1+e) or e/(1+e) with e = e^-|x| */
VECTOR_FN float silu(float x)
{
    float e = exp_minus_abs(x);
    return x * (x < 0 ? e : 1.0f) / (1.0f + e);
}

/* s + x s (1-s) */
VECTOR_FN float silu_grad(float x)
{
    float e = exp_minus_abs(x), inverse = 1.0f / (1.0f + e);
    return inverse * ((x < 0 ? e : 1.0f) + x * (e * inverse));
}

/* DO(f) for the f of an activation; nothing for none. */
#define FOR_ACTIVATION(act, DO)                                                                    \
    switch (act) {                                                                                 \
    case ACT_NONE:                                                                                 \
        break;                                                                                     \
    case ACT_GELU_TANH:                                                                            \
        DO(gelu_tanh);                                                                             \
        break;                                                                                     \
    case ACT_GELU_ERF:                                                                             \
        DO(gelu_erf);                                                                              \
        break;                                                                                     \
    case ACT_SILU:                                                                                 \
        DO(silu);                                                                                  \
        break;                                                                                     \
    }

#endif
