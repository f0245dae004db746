/* test_fp8.c - numbers of 8 bits (base/fp8.h) against the specification's tables, and the scales
 * of operands (core/narrow.h).  All of the specification's values are written down here once more,
 * by ldexp.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fp8.h"
#include "core/narrow.h"

#include <math.h>

static const double largest[] = {448, 57344};

/* OCP's formula: (-1)^s 2^(e - bias) (1 + m / 2^M), for e = 0 (-1)^s 2^(1 - bias) m / 2^M */
static double value_of(fp8_format f, int code)
{
    int M = f == E4M3 ? 3 : 2, bias = f == E4M3 ? 7 : 15, ones = f == E4M3 ? 15 : 31;
    int e = code >> M & ones, m = code & ((1 << M) - 1);
    double sign = code & 0x80 ? -1 : 1, part = m / (double)(1 << M);
    if (f == E4M3 && e == ones && m == 7) return NAN;
    if (f == E5M2 && e == ones) return m ? NAN : sign * INFINITY;
    return sign * (e ? ldexp(1 + part, e - bias) : ldexp(part, 1 - bias));
}

static void test_codes(void **state)
{
    (void)state;
    /* tables 2 and 3 of the specification */
    static const struct {
        fp8_format f;
        int code;
        double value;
    } said[] = {{E4M3, 0x7e, 448},
                {E4M3, 0x08, 0x1p-6},
                {E4M3, 0x07, 0.875 * 0x1p-6},
                {E4M3, 0x01, 0x1p-9},
                {E5M2, 0x7b, 57344},
                {E5M2, 0x04, 0x1p-14},
                {E5M2, 0x03, 0.75 * 0x1p-14},
                {E5M2, 0x01, 0x1p-16},
                {E5M2, 0x7c, INFINITY}};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        assert_true(value_of(said[i].f, said[i].code) == said[i].value);
        assert_true(float_of_fp8(said[i].f, (uint8_t)said[i].code) == (float)said[i].value);
    }
    for (fp8_format f = E4M3; f <= E5M2; f++)
        for (int code = 0; code < 256; code++) {
            double want = value_of(f, code);
            float got = float_of_fp8(f, (uint8_t)code);
            if (isnan(want) ? !isnan(got) : (double)got != want || !signbit(got) != !(code & 0x80))
                fail_msg("format %d, code %#x: %g is %g", f, code, want, (double)got);
            int back = fp8_of_float(f, got);
            if (isnan(want)   ? (back & 0x7f) != 0x7f
                : isinf(want) ? (back & 0x7f) != 0x7b
                              : back != code)
                fail_msg("format %d: code %#x becomes %#x", f, code, back);
        }
}

/* The nearest code without sign, the even one of two; what is too large becomes the largest. */
static int nearest(fp8_format f, double size)
{
    int last = f == E4M3 ? 0x7e : 0x7b, best = last;
    if (size >= largest[f]) return last;
    for (int code = last; code >= 0; code--) {
        double off = fabs(value_of(f, code) - size), least = fabs(value_of(f, best) - size);
        if (off < least || (off == least && code % 2 == 0)) best = code;
    }
    return best;
}

static void rounds(fp8_format f, float x)
{
    int want = isnan(x) ? 0x7f : isinf(x) ? (f == E4M3 ? 0x7e : 0x7b) : nearest(f, fabs((double)x));
    int got = fp8_of_float(f, x);
    if (got != (want | (signbit(x) ? 0x80 : 0)))
        fail_msg("format %d: %a becomes %#x, not %#x", f, (double)x, got, want);
}

/* Every bf16; and the middle between two codes, with what is next to it on both sides. */
static void test_rounding(void **state)
{
    (void)state;
    for (fp8_format f = E4M3; f <= E5M2; f++) {
        for (uint32_t bits = 0; bits < 0x10000; bits++)
            rounds(f, float_of_bf16((uint16_t)bits));
        for (int code = 0; code < (f == E4M3 ? 0x7e : 0x7b); code++) {
            float middle = (float)((value_of(f, code) + value_of(f, code + 1)) / 2);
            for (int sign = -1; sign <= 1; sign += 2) {
                rounds(f, (float)sign * middle);
                rounds(f, (float)sign * nextafterf(middle, 0));
                rounds(f, (float)sign * nextafterf(middle, INFINITY));
            }
        }
    }
}

/* For every magnitude the largest power of 2 that keeps it in range, as far as floats have it. */
static void test_scale(void **state)
{
    (void)state;
    for (fp8_format f = E4M3; f <= E5M2; f++)
        for (uint32_t bits = 1; bits < 0x7f80; bits++) {
            double amax = float_of_bf16((uint16_t)bits);
            int k = narrow_exponent(f, bits);
            bool fits = ldexp(amax, k) <= largest[f], more = ldexp(amax, k + 1) <= largest[f];
            if (k < -126 || k > 126 || !fits || (more && k < 126))
                fail_msg("format %d: 2^%d for %a", f, k, amax);
        }
    assert_int_equal(narrow_exponent(E4M3, 0), 126);
}

static void test_room(void **state)
{
    (void)state;
    assert_true(narrow_fits(16, 3072) && !narrow_fits(50257, 768) && !narrow_fits(768, 8));
    /* 100 rows are 112 where they are summed over: (112,64) and (112,32), without the matrix */
    assert_int_equal(narrow_room(1, 100, 64, 32), NARROW_HEAD + 112 * (64 + 32));
    /* few rows: the matrix and the larger of the others */
    assert_int_equal(narrow_room(2, 16, 64, 32), NARROW_HEAD + 2 * (64 * 32 + 16 * 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
