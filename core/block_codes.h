/* block_codes.h - frozen matrices in 16, 8 or 4 bits: blocks of 64 numbers with a scale each.
 *
 *     scale = largest |x| of the block (f32);  decoded: scale * value(code)
 *             (a block that contains a NaN or infinity decodes to NaN, so that the loss shows it)
 *
 *     int8   code = 127 x / scale, rounded                        a byte
 *     bf16   code = x in bf16; the scale is 1                         two bytes
 *     nf4    code = the nearest of 16 values between -1 and 1         half a byte, the first number in the upper half
 *
 * NF4's values (Dettmers et al. 2023, "QLoRA", appendix E) are quantiles q of the normal
 * distribution, so that normally distributed weights use all codes equally often, and 0 is one of
 * them:
 *
 *     q(i) at 8 points from 0.9677083 down to 1/2 (which is left out), minus q(i) at 7, and 0; divided by the largest
 *
 * 0.9677083 is the paper's (1 - 1/32 + 1 - 1/30) / 2, which leaves out the tails of the
 * distribution.  test_ops_codes.c recomputes them.
 */
#ifndef REGRAD_BLOCK_CODES_H
#define REGRAD_BLOCK_CODES_H

#include "base/bf16.h"
#include "base/host_device.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

enum { CODE_BLOCK = 64 };

typedef enum { CODES_NONE, CODES_INT8, CODES_NF4, CODES_BF16, CODE_FORMS } code_form;

/* Bytes of the codes of n numbers, and the number of their scales. */
static inline int64_t code_bytes(code_form form, int64_t n)
{
    return form == CODES_NF4 ? (n + 1) / 2 : form == CODES_BF16 ? 2 * n : n;
}

static inline int64_t code_blocks(int64_t n)
{
    return (n + CODE_BLOCK - 1) / CODE_BLOCK;
}

#define NF4_VALUES                                                                                 \
    {                                                                                              \
        -1.0f, -0.69619292f, -0.52507305f, -0.39491749f, -0.28444135f, -0.18477343f, -0.09104999f, \
            0.0f, 0.07958033f, 0.16093017f, 0.24611229f, 0.33791518f, 0.44070980f, 0.56261694f,    \
            0.72295672f, 1.0f                                                                      \
    }

HOST_DEVICE float nf4_value(int code)
{
    const float values[16] = NF4_VALUES;
    return values[code];
}

/* y between -1 and 1 */
HOST_DEVICE int nf4_code(float y)
{
    int code = 0;
    for (int i = 1; i < 16; i++)
        if (y > 0.5f * (nf4_value(i - 1) + nf4_value(i))) code = i;
    return code;
}

HOST_DEVICE int int8_code(float y)
{
    return (int)rintf(127.0f * y);
}

/* A block's running maximum `most`, updated by x: NaN from the first NaN on, which fmaxf would
 * ignore. */
HOST_DEVICE float code_scale(float most, float x)
{
    float size = fabsf(x);
    return size > most || isnan(size) ? size : most;
}

/* x as a fraction of its block's scale: from -1 to 1, 0 where the scale is 0 or not finite. */
HOST_DEVICE float code_share(float x, float scale)
{
    return scale > 0 && scale <= FLT_MAX ? x / scale : 0;
}

/* The stored scale of a block whose largest magnitude is `most`. */
HOST_DEVICE float kept_scale(code_form form, float most)
{
    return form == CODES_BF16 ? 1 : most;
}

HOST_DEVICE float code_value(code_form form, const uint8_t *codes, int64_t i)
{
    if (form == CODES_BF16) return float_of_bf16((uint16_t)(codes[2 * i] | codes[2 * i + 1] << 8));
    if (form == CODES_INT8) return (float)(int8_t)codes[i] * (1.0f / 127.0f);
    return nf4_value(i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4);
}

/* Stores code i; call it in order from a block's first number on: nf4 writes the upper half
 * first. */
HOST_DEVICE void put_code(code_form form, uint8_t *codes, int64_t i, float y)
{
    uint16_t bits = bf16_of_float(y);
    if (form == CODES_BF16) {
        codes[2 * i] = (uint8_t)bits;
        codes[2 * i + 1] = (uint8_t)(bits >> 8);
    } else if (form == CODES_INT8)
        codes[i] = (uint8_t)int8_code(y);
    else if (i % 2)
        codes[i / 2] = (uint8_t)(codes[i / 2] | nf4_code(y));
    else
        codes[i / 2] = (uint8_t)(nf4_code(y) << 4);
}

#endif
