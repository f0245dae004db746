/* f16.h - 16-bit floats to 32 bits: every one of them is a float, so nothing is rounded. */
#ifndef REGRAD_HALF_H
#define REGRAD_HALF_H

#include "base/bf16.h"

/* IEEE binary16: sign, 5 bits of exponent (bias 15), 10 of fraction. */
static inline float float_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* subnormal or zero */
    return sign ? -small : small;
}

#endif
