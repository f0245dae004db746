/* fp8.h - the two 8-bit floating-point formats of matrix units (Micikevicius et al. 2022: "FP8
 * Formats for Deep Learning"; Open Compute Project: "OCP 8-bit Floating Point Specification" 1.0).
 *
 *                                largest   smallest normal   smallest   infinity   NaN
 *     E4M3   s eeee mmm            448         2^-6            2^-9       none      s 1111 111
 *     E5M2   s eeeee mm          57344         2^-14           2^-16    s 11111 00  s 11111 mm > 0
 *
 * Conversions round to nearest even and saturate, as the specification's saturating mode has it:
 * what is larger than the largest number, infinity included, becomes that.  NaN stays NaN.
 * Compiled for the host and for CUDA.
 */
#ifndef REGRAD_FP8_H
#define REGRAD_FP8_H

#include "base/bf16.h"

typedef enum { E4M3, E5M2 } fp8_format;

/* The bits of a format's mantissa, and what its exponent is stored with. */
HOST_DEVICE int fp8_mantissa(fp8_format f)
{
    return f == E4M3 ? 3 : 2;
}
HOST_DEVICE int fp8_bias(fp8_format f)
{
    return f == E4M3 ? 7 : 15;
}

/* 2^n for -126 <= n <= 127 */
HOST_DEVICE float power_of_2(int n)
{
    return float_of_bits((uint32_t)(n + 127) << 23);
}

HOST_DEVICE uint8_t fp8_of_float(fp8_format f, float x)
{
    const int cut = 23 - fp8_mantissa(f),
              least = 1 - fp8_bias(f); /* the smallest normal: 2^least */
    const uint32_t largest = f == E4M3 ? 0x43e00000u : 0x47600000u;
    uint32_t bits = float_bits(x), sign = bits >> 24 & 0x80, code;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        code = 0x7f;
    else if (bits >= largest)
        code = f == E4M3 ? 0x7e : 0x7b;
    else if (bits >= float_bits(power_of_2(least)))
        code = ((bits + (1u << (cut - 1)) - 1 + (bits >> cut & 1)) >> cut) -
               ((uint32_t)(127 - fp8_bias(f)) << fp8_mantissa(f));
    else /* a multiple of the smallest number: where a float's steps are 1, its sum is rounded so */
        code =
            float_bits(float_of_bits(bits) * power_of_2(fp8_mantissa(f) - least) + 0x1p23f) & 0xf;
    return (uint8_t)(sign | code);
}

HOST_DEVICE float float_of_fp8(fp8_format f, uint8_t code)
{
    const int m = fp8_mantissa(f), least = 1 - fp8_bias(f);
    uint32_t sign = (uint32_t)(code & 0x80) << 24, rest = code & 0x7f;
    if (f == E4M3 ? rest == 0x7f : rest > 0x7c) return float_of_bits(sign | 0x7fc00000u);
    if (f == E5M2 && rest == 0x7c) return float_of_bits(sign | 0x7f800000u);
    float size = rest >> m
                     ? float_of_bits((rest << (23 - m)) + ((uint32_t)(127 - fp8_bias(f)) << 23))
                     : (float)rest * power_of_2(least - m);
    return float_of_bits(sign | float_bits(size));
}

#endif
