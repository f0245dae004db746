/* f16.h - 16-bit floats (IEEE binary16) to 32 bits and back. */
#ifndef REGRAD_F16_H
#define REGRAD_F16_H

#include "base/bf16.h"

/* IEEE binary16: sign, 5 bits of exponent (bias 15), 10 of fraction.  Every value is exact as a
 * float, so nothing is rounded. */
static inline float float_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* subnormal or zero */
    return sign ? -small : small;
}

/* Rounded to nearest even; values that are too large become infinite, a NaN stays NaN. */
static inline uint16_t f16_of_float(float x)
{
    uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (rest >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and up */
    if (rest < 0x38800000) { /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        float rounded = float_of_bits(rest) + 0.5f;
        return (uint16_t)(sign | (float_bits(rounded) - 0x3f000000));
    }
    rest += 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | ((rest - 0x38000000) >> 13));
}

#endif
