/* bf16.h - bfloat16: the upper half of a float, so 8 bits of precision and the range of a float.
 *
 *      f32     s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm
 *      bf16    s eeeeeeee mmmmmmm                     unit roundoff 2^-8
 *
 * Working tensors are rounded to nearest even, as IEEE 754 and GPUs do; arithmetic on them is done
 * in f32.  Compiled for the host and for CUDA.
 */
#ifndef REGRAD_BF16_H
#define REGRAD_BF16_H

#include <stdint.h>
#include <string.h>

#include "base/host_device.h"

HOST_DEVICE uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

HOST_DEVICE float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

HOST_DEVICE float float_of_bf16(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

/* NaN stays NaN: rounding could carry its bits into infinity. */
HOST_DEVICE uint16_t bf16_of_float(float x)
{
    uint32_t bits = float_bits(x), rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40 : rounded);
}

#endif
