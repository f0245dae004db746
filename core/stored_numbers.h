/* stored_numbers.h - how an optimizer's numbers are stored between two steps.
 *
 * A rule computes in f32 lanes (core/rule.h).  This file converts between lanes and memory; both
 * devices compile it, without contraction, so they store the same bits.
 *
 * A bf16 weight, and the rest of its f32 value (hi: rounded to nearest, ties away from zero, which
 * takes a single addition):
 *
 *      master f32       the value once more; the weight is its hi                        2 + 4 bytes
 *      master split16   lo = bits - (hi << 16), signed: value bits = (hi << 16) + lo     2 + 2
 *      master split8    the upper 8 bits of lo, of a value rounded to 24 bits            2 + 1
 *      none             nothing: the weight is rounded stochastically, so that many      2
 *                       small updates move it as far, on average, as they should
 *
 * f32 and split16 give the same bits.  split8 is the idea of FlashOptim (2026) in integers: there
 * the correction is a fraction of the weight's step, here it is bits, so nothing is lost between
 * two steps.
 *
 * States, in blocks of STATE_BLOCK elements if they are 8 bits wide:
 *
 *      bf16   rounded stochastically
 *      i8     signed: scale = largest |x| of the block, y = x/scale, code = 127 * 2y/(1+|y|)
 *      u8     squares: scale = largest sqrt(x), code = 255 * sqrt(x)/scale; at least 1 unless x is 0
 *
 * (companding and the root: FlashOptim; a scale for each block: Dettmers et al. 2022.)  Two things
 * are different here.  The scale is f32 for 64 elements, not f16 for 32 - the same number of bytes
 * - because the largest of a block must be kept exactly: a second moment shrinks by 1/1000 in a
 * step, and a scale that rounds this away never shrinks.  For the same reason codes are rounded
 * stochastically, too: an average that moves by less than half a code would stand still.  The noise
 * is Philox of (seed; position, step, tensor and state), so the bits are the same in each run, on
 * each device, for any number of threads.
 */
#ifndef REGRAD_CORE_STORED_NUMBERS_H
#define REGRAD_CORE_STORED_NUMBERS_H

#include "base/bf16.h"
#include "base/philox.h"
#include "core/rule.h"

enum { STATE_BLOCK = 64, NOISE_ELEMENTS = 8 };

/* ---- noise ---- */

/* What is rounded stochastically; each has its own noise. */
enum { NOISE_WEIGHT = MAX_STATES, NOISE_KINDS = 8 }; /* 0 ... MAX_STATES - 1: the states */

/* 16 random bits for each of the elements [i, i + NOISE_ELEMENTS), i a multiple of
 * NOISE_ELEMENTS. */
typedef struct {
    uint32_t bits[4];
} noise;

HOST_DEVICE noise noise_at(const hyper *h, uint32_t tensor_id, int what, int64_t i)
{
    uint64_t group = (uint64_t)i / NOISE_ELEMENTS;
    noise n = {{(uint32_t)group, (uint32_t)(group >> 32), h->step,
                tensor_id * NOISE_KINDS + (uint32_t)what}};
    philox4x32(h->seed, n.bits);
    return n;
}

/* The noise of element i. */
HOST_DEVICE uint32_t noise_of(const noise *n, int64_t i)
{
    return n->bits[i % NOISE_ELEMENTS / 2] >> (i % 2 * 16) & 0xffff;
}

/* ---- bf16, rounded stochastically ---- */

HOST_DEVICE uint16_t bf16_at_random(float x, uint32_t noise16)
{
    uint32_t bits = float_bits(x);
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40
                                                         : (bits + noise16) >> 16);
}

/* ---- weights ---- */

/* hi and lo of a float; NaN stays NaN, which rounding could turn into zero. */
typedef struct {
    uint16_t hi;
    int16_t lo;
} split;

HOST_DEVICE split split_float(float x)
{
    uint32_t bits = float_bits(x), hi = (bits + 0x8000u) >> 16;
    split s;
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        s.hi = (uint16_t)(bits >> 16 | 0x40);
        s.lo = 0;
        return s;
    }
    s.hi = (uint16_t)hi;
    s.lo = (int16_t)(int32_t)(bits - (hi << 16));
    return s;
}

HOST_DEVICE float joined(uint16_t hi, int32_t lo)
{
    return float_of_bits(((uint32_t)hi << 16) + (uint32_t)lo);
}

/* The nearest with 24 bits, ties away: what split8 can represent.  Its lo is a multiple of 256. */
HOST_DEVICE float with_24_bits(float x)
{
    uint32_t bits = float_bits(x);
    return float_of_bits((bits & 0x7fffffffu) > 0x7f800000u ? bits : (bits + 0x80u) & ~0xffu);
}

/* ---- states of 8 bits ---- */

/* An element's contribution to its block's scale: the largest, compared by bits, where NaN is
 * larger than any number. */
HOST_DEVICE uint32_t magnitude_i8(float x)
{
    return float_bits(x) & 0x7fffffffu;
}

HOST_DEVICE uint32_t magnitude_u8(float x)
{
    return float_bits(sqrtf(x)) & 0x7fffffffu;
}

/* floor(x + noise) for -most <= x <= most; for NaN any code will do: the scale already says NaN */
HOST_DEVICE int32_t code_at_random(float x, float most, uint32_t noise16)
{
    float up = ((float)noise16 + 0.5f) * 0x1p-16f;
    x = x > -most ? x : -most;
    x = x < most ? x : most;
    int32_t down = (int32_t)(x + 256.0f) - 256; /* truncation of a positive number is floor */
    return down + (x - (float)down > 1.0f - up);
}

HOST_DEVICE int8_t code_i8(float x, float scale, uint32_t noise16)
{
    float y = scale > 0.0f ? x / scale : 0.0f;
    float z = 2.0f * y / (1.0f + (y < 0.0f ? -y : y));
    return (int8_t)code_at_random(127.0f * z, 127.0f, noise16);
}

HOST_DEVICE float value_i8(int8_t code, float scale)
{
    float z = (float)code / 127.0f;
    return z / (2.0f - (z < 0.0f ? -z : z)) * scale;
}

HOST_DEVICE uint8_t code_u8(float x, float scale, uint32_t noise16)
{
    float y = scale > 0.0f ? sqrtf(x) / scale : 0.0f;
    int32_t code = code_at_random(255.0f * y, 255.0f, noise16);
    return (uint8_t)(code > 0 ? code : x > 0.0f);
}

HOST_DEVICE float value_u8(uint8_t code, float scale)
{
    float root = (float)code / 255.0f * scale;
    return root * root;
}

#endif
