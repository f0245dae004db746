/* lanes.h - the vectors in which the products' inner loops are written, for the instruction set
 * that the file is compiled for.
 *
 * Nothing here adds across lanes: a lane is an output element, and its computation is the same for
 * any width.  So AVX-512, AVX2, NEON and plain C give the same bits.
 *
 * TILE_ROWS x TILE_COLS is what fits the registers, beside two vectors of b and one of a: 28 sums
 * in AVX-512's 32, 12 in AVX2's 16, 24 in NEON's 32 (a multiple of its 4 lanes).  Or it is four of
 * AMX's tile registers, whatever the lanes are (micro_amx.c).
 */
#ifndef REGRAD_CPU_LANES_H
#define REGRAD_CPU_LANES_H

#include "base/bf16.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANE_FN static inline __attribute__((always_inline))

#if defined __AVX512F__

#include <immintrin.h>

enum { LANES = 16, LANE_ROWS = 14 };
typedef __m512 lanes;

LANE_FN lanes lanes_zero(void)
{
    return _mm512_setzero_ps();
}

LANE_FN lanes lanes_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

LANE_FN lanes lanes_all(float x)
{
    return _mm512_set1_ps(x);
}

LANE_FN void lanes_store(float *x, lanes v)
{
    _mm512_storeu_ps(x, v);
}

LANE_FN lanes lanes_add(lanes a, lanes b)
{
    return _mm512_add_ps(a, b);
}

LANE_FN lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* n lanes, the others 0 */
LANE_FN lanes lanes_load_part(const float *x, int64_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x);
}

LANE_FN void lanes_store_part(float *x, lanes v, int64_t n)
{
    _mm512_mask_storeu_ps(x, (__mmask16)((1u << n) - 1), v);
}

LANE_FN lanes lanes_of_bf16(const uint16_t *x)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* v[i][k] becomes v[k][i] */
LANE_FN void lanes_transpose(lanes *v)
{
    lanes t[LANES];
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int k = 0; k < 2; k++) {
            __m512d a = _mm512_castps_pd(t[i + k]), b = _mm512_castps_pd(t[i + k + 2]);
            v[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            v[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++) { /* quarters of 128 bits: rows 4 apart */
        lanes ab = _mm512_shuffle_f32x4(v[i], v[4 + i], 0x88),
              cd = _mm512_shuffle_f32x4(v[8 + i], v[12 + i], 0x88);
        t[i] = _mm512_shuffle_f32x4(ab, cd, 0x88);
        t[8 + i] = _mm512_shuffle_f32x4(ab, cd, 0xdd);
        ab = _mm512_shuffle_f32x4(v[i], v[4 + i], 0xdd);
        cd = _mm512_shuffle_f32x4(v[8 + i], v[12 + i], 0xdd);
        t[4 + i] = _mm512_shuffle_f32x4(ab, cd, 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(ab, cd, 0xdd);
    }
    for (int i = 0; i < LANES; i++)
        v[i] = t[i];
}

#elif defined __AVX2__ && defined __FMA__

#include <immintrin.h>

enum { LANES = 8, LANE_ROWS = 6 };
typedef __m256 lanes;

LANE_FN lanes lanes_zero(void)
{
    return _mm256_setzero_ps();
}

LANE_FN lanes lanes_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

LANE_FN lanes lanes_all(float x)
{
    return _mm256_set1_ps(x);
}

LANE_FN void lanes_store(float *x, lanes v)
{
    _mm256_storeu_ps(x, v);
}

LANE_FN lanes lanes_add(lanes a, lanes b)
{
    return _mm256_add_ps(a, b);
}

LANE_FN lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return _mm256_fmadd_ps(a, b, c);
}

LANE_FN lanes lanes_load_part(const float *x, int64_t n)
{
    float part[LANES] = {0};
    memcpy(part, x, (size_t)n * sizeof *x);
    return lanes_load(part);
}

LANE_FN void lanes_store_part(float *x, lanes v, int64_t n)
{
    if (n == LANE_ROWS) { /* the commonest case in packing */
        _mm_storeu_ps(x, _mm256_castps256_ps128(v));
        _mm_storel_pi((__m64 *)(void *)(x + 4), _mm256_extractf128_ps(v, 1));
        return;
    }
    float part[LANES];
    lanes_store(part, v);
    memcpy(x, part, (size_t)n * sizeof *x);
}

LANE_FN lanes lanes_of_bf16(const uint16_t *x)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

LANE_FN void lanes_transpose(lanes *v)
{
    lanes t[LANES];
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int k = 0; k < 2; k++) {
            __m256d a = _mm256_castps_pd(t[i + k]), b = _mm256_castps_pd(t[i + k + 2]);
            v[i + 2 * k] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            v[i + 2 * k + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(v[i], v[4 + i], 0x20);
        t[4 + i] = _mm256_permute2f128_ps(v[i], v[4 + i], 0x31);
    }
    for (int i = 0; i < LANES; i++)
        v[i] = t[i];
}

#elif defined __ARM_NEON && !defined PLAIN_LANES

#include <arm_neon.h>

enum { LANES = 4, LANE_ROWS = 12 };
typedef float32x4_t lanes;

LANE_FN lanes lanes_zero(void)
{
    return vdupq_n_f32(0);
}

LANE_FN lanes lanes_load(const float *x)
{
    return vld1q_f32(x);
}

LANE_FN lanes lanes_all(float x)
{
    return vdupq_n_f32(x);
}

LANE_FN void lanes_store(float *x, lanes v)
{
    vst1q_f32(x, v);
}

LANE_FN lanes lanes_add(lanes a, lanes b)
{
    return vaddq_f32(a, b);
}

LANE_FN lanes lanes_fma(lanes a, lanes b, lanes c)
{
    return vfmaq_f32(c, a, b);
}

LANE_FN lanes lanes_load_part(const float *x, int64_t n)
{
    float part[LANES] = {0};
    memcpy(part, x, (size_t)n * sizeof *x);
    return lanes_load(part);
}

LANE_FN void lanes_store_part(float *x, lanes v, int64_t n)
{
    float part[LANES];
    lanes_store(part, v);
    memcpy(x, part, (size_t)n * sizeof *x);
}

LANE_FN lanes lanes_of_bf16(const uint16_t *x)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x), 16));
}

LANE_FN void lanes_transpose(lanes *v)
{
    float32x4x2_t even = vzipq_f32(v[0], v[2]), odd = vzipq_f32(v[1], v[3]);
    float32x4x2_t low = vzipq_f32(even.val[0], odd.val[0]),
                  high = vzipq_f32(even.val[1], odd.val[1]);
    v[0] = low.val[0];
    v[1] = low.val[1];
    v[2] = high.val[0];
    v[3] = high.val[1];
}

#else

enum { LANES = 4, LANE_ROWS = 4 };
typedef struct {
    float f[LANES];
} lanes;

LANE_FN lanes lanes_zero(void)
{
    return (lanes){{0}};
}

LANE_FN lanes lanes_load(const float *x)
{
    lanes v;
    memcpy(v.f, x, sizeof v.f);
    return v;
}

LANE_FN lanes lanes_all(float x)
{
    lanes v;
    for (int i = 0; i < LANES; i++)
        v.f[i] = x;
    return v;
}

LANE_FN void lanes_store(float *x, lanes v)
{
    memcpy(x, v.f, sizeof v.f);
}

LANE_FN lanes lanes_add(lanes a, lanes b)
{
    for (int i = 0; i < LANES; i++)
        a.f[i] += b.f[i];
    return a;
}

LANE_FN lanes lanes_fma(lanes a, lanes b, lanes c)
{
    for (int i = 0; i < LANES; i++)
        c.f[i] = fmaf(a.f[i], b.f[i], c.f[i]);
    return c;
}

LANE_FN lanes lanes_load_part(const float *x, int64_t n)
{
    lanes v = lanes_zero();
    memcpy(v.f, x, (size_t)n * sizeof *x);
    return v;
}

LANE_FN void lanes_store_part(float *x, lanes v, int64_t n)
{
    memcpy(x, v.f, (size_t)n * sizeof *x);
}

LANE_FN lanes lanes_of_bf16(const uint16_t *x)
{
    lanes v;
    for (int i = 0; i < LANES; i++)
        v.f[i] = float_of_bf16(x[i]);
    return v;
}

LANE_FN void lanes_transpose(lanes *v)
{
    for (int i = 0; i < LANES; i++)
        for (int k = 0; k < i; k++) {
            float x = v[i].f[k];
            v[i].f[k] = v[k].f[i];
            v[k].f[i] = x;
        }
}

#endif

#ifdef BY_AMX
/* rows of a register, which has 64 bytes in each */
enum { AMX_SIDE = 16, TILE_ROWS = 2 * AMX_SIDE, TILE_COLS = 2 * AMX_SIDE };
#else
enum { TILE_VECTORS = 2, TILE_ROWS = LANE_ROWS, TILE_COLS = TILE_VECTORS * LANES };
#endif

/* A packed row of a is one vector, or some of them. */
_Static_assert((int)TILE_ROWS <= LANES || TILE_ROWS % LANES == 0, "packing (pack.c)");

#endif
