/* unit.h - what a product multiplies at a time: a number of a by one of b; or, in the files that
 * are compiled once more for bf16 with BY_PAIRS, a pair of them by a pair, in one instruction
 * (VDPBF16PS: AVX512-BF16), or with BY_AMX as well, 16 pairs of 16 rows by 16 pairs of 16 columns
 * (TDPBF16PS: AMX-BF16).
 *
 *      packed:   f32   a0       a1       a2       a3     ...     each 4 bytes, for one k
 *                pairs a0 a1    a2 a3    a4 a5    a6 a7  ...     each 4 bytes, for two
 *
 * A product of pairs has half the steps, and is otherwise the same: the same tiles, with a depth
 * that counts pairs.  Its bits differ from those of f32, since two products go into a sum at a
 * time.
 */
#ifndef REGRAD_CPU_UNIT_H
#define REGRAD_CPU_UNIT_H

#include "cpu/lanes.h"
#include "cpu/product.h"

#ifdef BY_PAIRS

enum { UNIT = 2 }; /* numbers of the depth */

#ifdef BY_AMX
#define product_own product_own_amx
enum { K_STEP = AMX_SIDE }; /* units that the innermost loop takes at a time */
#else
#define product_own product_own_pairs
enum { K_STEP = 1 };

LANE_FN lanes multiply_add(lanes a, lanes b, lanes sum)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
#endif

/* The pairs of two rows of bf16, of which n <= LANES numbers are there. */
LANE_FN lanes lanes_of_pairs(const uint16_t *first, const uint16_t *second, int64_t n)
{
#ifdef __AVX512F__
    __mmask16 there = (__mmask16)((1u << n) - 1);
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, first));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, second));
    return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
#else
    uint16_t pairs[LANES][2] = {{0}};
    for (int64_t i = 0; i < n; i++) {
        pairs[i][0] = first[i];
        pairs[i][1] = second[i];
    }
    lanes v;
    memcpy(&v, pairs, sizeof v);
    return v;
#endif
}

#else

enum { UNIT = 1, K_STEP = 1 };

LANE_FN lanes multiply_add(lanes a, lanes b, lanes sum)
{
    return lanes_fma(a, b, sum);
}

#endif

/* The depth of a packed panel: whole steps, of which what is missing is 0. */
static inline int64_t whole_steps(int64_t depth)
{
    return (depth + K_STEP - 1) / K_STEP * K_STEP;
}

#endif
