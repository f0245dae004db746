/* vector.h - exponentials that the compiler turns into vector code: no branch, no table, no call.
 *
 *   exp(x):  x = n ln2 + r, |r| <= ln2/2;  e^r by a polynomial, 2^n put together from its bits
 *
 * The activations are written with one exponential and one division each:
 *
 *   gelu_tanh(x) = x/2 (1 + tanh u) = x / (1 + e^(-2u)),   u = sqrt(2/pi) (x + 0.044715 x^3)
 *   gelu_erf(x)  = x Phi(x),   Phi(-|x|) = e^(-x^2/2) R(|x|)
 *
 * which keeps their relative accuracy in the negative tail, where 1 + tanh u cancels.
 */
#ifndef REGRAD_CPU_VECTOR_H
#define REGRAD_CPU_VECTOR_H

#include <stdint.h>
#include <string.h>

#define VECTOR_FN static inline __attribute__((always_inline))

/* 2^n as a float, for the n held in the low bits of shift = n + 1.5 * 2^23; -127 < n < 128 */
VECTOR_FN float vector_exp2_bits(float shift)
{
    uint32_t bits;
    memcpy(&bits, &shift, sizeof bits);
    bits = (bits + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* e^x within 2 ulp for -87 <= x <= 88; arguments outside are taken as these ends, NaN stays NaN */
VECTOR_FN float vector_exp(float x)
{
    const float magic = 0x1.8p23f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shift = x * 0x1.715476p0f + magic, n = shift - magic;
    float r = x - n * 0x1.62ep-1f - n * 0x1.0bfbe8p-15f; /* ln 2 in two parts; n times the first is exact */
    float p = 0x1.6a2318p-10f; /* (e^r - 1 - r) / r^2, fitted: relative error of e^r 3e-9 */
    p = p * r + 0x1.123a8ep-7f;
    p = p * r + 0x1.5558f6p-5f;
    p = p * r + 0x1.55549p-3f;
    p = p * r + 0x1.fffffcp-2f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * vector_exp2_bits(shift);
}

/* e^(-2u) of the tanh form; held below 2^116 so that its inverse stays a normal number */
VECTOR_FN float gelu_tanh_exp(float x)
{
    float minus_2u = -1.5957691216f * x * (1.0f + 0.044715f * x * x);
    return vector_exp(minus_2u > 80.0f ? 80.0f : minus_2u);
}

VECTOR_FN float gelu_tanh(float x)
{
    return x / (1.0f + gelu_tanh_exp(x));
}

/* s = 1/(1+e) is the logistic function of 2u and e s = 1 - s: s + x s (1-s) 2u' */
VECTOR_FN float gelu_tanh_grad(float x)
{
    float e = gelu_tanh_exp(x), s = 1.0f / (1.0f + e);
    return s * (1.0f + x * (e * s) * 1.5957691216f * (1.0f + 3 * 0.044715f * x * x));
}

/* Phi(x), the normal distribution, given e^(-x^2/2).  R(a) = Phi(-a) e^(a^2/2) is t P(t) with
 * t = 1/(1 + 0.27 a), P fitted for the least relative error (2e-8) on 0 <= a <= 13.2. */
VECTOR_FN float normal_cdf(float x, float gauss)
{
    float t = 1.0f / (1.0f + 0.27f * (x < 0 ? -x : x));
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
    return x * normal_cdf(x, vector_exp(-0.5f * x * x));
}

VECTOR_FN float gelu_erf_grad(float x)
{
    float gauss = vector_exp(-0.5f * x * x);
    return normal_cdf(x, gauss) + x * 0.3989422804f * gauss;
}

#endif
