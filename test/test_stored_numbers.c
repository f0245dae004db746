/* test_stored_numbers.c - the forms of core/stored_numbers.h and base/bf16.h, one number at a time:
 * every bf16, every code, and floats at the edges of what is rounded.
 */
#include "core/stored_numbers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* Floats whose upper halves are all there are, and whose lower ones are where rounding turns. */
static const uint32_t lower[] = {0,      1,      0x7f,   0x80,   0x81,   0xff,   0x100,  0x7fff,
                                 0x8000, 0x8001, 0x80ff, 0x8100, 0xff7f, 0xff80, 0xfffe, 0xffff};
enum { LOWER = sizeof lower / sizeof *lower };

#define FOR_ALL_FLOATS(x)                                                                          \
    for (uint32_t hi_ = 0; hi_ < 0x10000; hi_++)                                                   \
        for (int lo_ = 0; lo_ < LOWER; lo_++)                                                      \
            for (float x = float_of_bits(hi_ << 16 | lower[lo_]), *once_ = &x; once_; once_ = NULL)

/* The nearest bf16 by trying the two beside x, in double: an independent rounding. */
static uint16_t nearest(float x, bool ties_away)
{
    uint32_t bits = float_bits(x);
    uint16_t down = (uint16_t)(bits >> 16), up = (uint16_t)(down + 1);
    double value = (double)x, below = (double)float_of_bf16(down);
    /* infinity stands where the next number would be */
    double above = (up & 0x7fff) == 0x7f80 ? copysign(0x1p128, value) : (double)float_of_bf16(up);
    double off = fabs(value - below), other = fabs(above - value);
    if (off != other) return off < other ? down : up;
    return ties_away || down & 1 ? up : down;
}

static void test_nearest(void **state)
{
    (void)state;
    FOR_ALL_FLOATS(x)
    {
        if (isnan(x)) {
            assert_true(isnan(float_of_bf16(bf16_of_float(x))));
            assert_true(isnan(float_of_bf16(split_float(x).hi)));
            continue;
        }
        if (isinf(x)) {
            assert_true(float_of_bf16(bf16_of_float(x)) == x);
            continue;
        }
        assert_int_equal(bf16_of_float(x), nearest(x, false));
        assert_int_equal(split_float(x).hi, nearest(x, true));
    }
}

/* hi and lo are the float again, bit for bit. */
static void test_split16(void **state)
{
    (void)state;
    FOR_ALL_FLOATS(x)
    {
        split s = split_float(x);
        float again = joined(s.hi, s.lo);
        if (isnan(x))
            assert_true(isnan(again));
        else
            assert_int_equal(float_bits(again), float_bits(x));
    }
}

/* With 8 bits of lo it is the nearest with 24 bits, and that stays as it is. */
static void test_split8(void **state)
{
    (void)state;
    FOR_ALL_FLOATS(x)
    {
        float saved = with_24_bits(x);
        split s = split_float(saved);
        float again = joined(s.hi, 256 * (int8_t)(s.lo / 256));
        if (isnan(x)) {
            assert_true(isnan(again));
            continue;
        }
        assert_int_equal(float_bits(again), float_bits(saved));
        assert_int_equal(float_bits(with_24_bits(saved)), float_bits(saved));
        if (isinf(x) || isinf(saved)) continue;
        int exponent;
        frexp((double)x, &exponent);
        if (exponent < -125) exponent = -125;
        assert_true(fabs((double)saved - (double)x) <= ldexp(1, exponent - 17)); /* half a step */
    }
}

/* Rounded at random: to one of the two beside it, up as often as it is near to the upper one. */
static void test_random_bf16(void **state)
{
    (void)state;
    static const float numbers[] = {1.0f, 1.001f, -3.14159f, 1e-3f, -7e10f, 1.5e-39f};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        float x = numbers[k];
        uint32_t rest = float_bits(x) & 0xffff, ups = 0;
        uint16_t down = (uint16_t)(float_bits(x) >> 16);
        for (uint32_t r = 0; r < 0x10000; r++) {
            uint16_t got = bf16_at_random(x, r);
            assert_true(got == down || got == down + 1);
            ups += got != down;
        }
        assert_int_equal(ups, rest);
    }
    assert_true(isnan(float_of_bf16(bf16_at_random(NAN, 0xffff))));
    assert_true(isinf(float_of_bf16(bf16_at_random(INFINITY, 0xffff))));
}

static float value_of(bool squares, int code, float scale)
{
    return squares ? value_u8((uint8_t)code, scale) : value_i8((int8_t)code, scale);
}

static int code_of(bool squares, float x, float scale, uint32_t r)
{
    return squares ? code_u8(x, scale, r) : code_i8(x, scale, r);
}

/* A code's value has that code, nearly always; the largest of a block keeps its value to the last
 * bits whatever the noise; the codes' values rise. */
static void test_codes(void **state)
{
    (void)state;
    static const float scales[] = {1, 3e-5f, 7.3f, 1e-15f, 1e10f};
    for (int squares = 0; squares < 2; squares++)
        for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
            int most = squares ? 255 : 127;
            float scale = scales[k], largest = squares ? scale * scale : scale, before = -INFINITY;
            for (int code = squares ? 0 : -127; code <= most; code++) {
                float x = value_of(squares, code, scale);
                assert_true(x > before);
                before = x;
                int again = code_of(squares, x, scale, 0x8000);
                assert_int_equal(again, code);
            }
            for (uint32_t r = 0; r < 0x10000; r += 0xff)
                assert_int_equal(code_of(squares, largest, scale, r), most);
            assert_true(fabsf(value_of(squares, most, scale) - largest) <= 4e-7f * largest);
        }
}

/* The mean over all noise: x in the scale in which codes are even. */
static void test_codes_unbiased(void **state)
{
    (void)state;
    for (int squares = 0; squares < 2; squares++)
        for (float y = 0.013f; y < 1; y += 0.077f) {
            float x = squares ? y * y : -y;
            double z = squares ? 255.0 * (double)y : -127.0 * 2 * (double)y / (1 + (double)y),
                   sum = 0;
            for (uint32_t r = 0; r < 0x10000; r++)
                sum += code_of(squares, x, 1, r);
            assert_true(fabs(sum / 0x10000 - z) < 1e-4);
        }
}

/* What is small is not nothing: a second moment of 0 would make a step enormous. */
static void test_small_squares(void **state)
{
    (void)state;
    for (uint32_t r = 0; r < 0x10000; r += 0x11) {
        assert_true(code_u8(1e-12f, 1, r) >= 1);
        assert_int_equal(code_u8(0, 1, r), 0);
    }
    assert_int_equal(code_u8(0, 0, 0xffff), 0);
    assert_int_equal(code_i8(0, 0, 0xffff), 0);
}

/* What is not finite stays so: through its block's scale. */
static void test_not_finite(void **state)
{
    (void)state;
    assert_true(magnitude_i8(NAN) > magnitude_i8(INFINITY));
    assert_true(magnitude_i8(-INFINITY) > magnitude_i8(1e38f));
    assert_true(magnitude_u8(NAN) > magnitude_u8(1e38f));
    assert_true(magnitude_i8(-2) > magnitude_i8(1));
    for (int code = -127; code <= 127; code++)
        assert_true(isnan(value_i8((int8_t)code, NAN)));
    for (int code = 0; code <= 255; code++)
        assert_true(isnan(value_u8((uint8_t)code, NAN)));
    for (uint32_t r = 0; r < 0x10000; r += 0xfff) { /* any code, but no undefined one */
        code_i8(NAN, NAN, r);
        code_i8(INFINITY, INFINITY, r);
        code_u8(NAN, NAN, r);
        code_u8(INFINITY, INFINITY, r);
    }
}

/* Each element, kind, tensor and step has bits of its own. */
static void test_noise(void **state)
{
    (void)state;
    hyper h = {.seed = {1, 2}, .step = 3}, later = {.seed = {1, 2}, .step = 4};
    noise a = noise_at(&h, 5, 0, 16), kinds = noise_at(&h, 5, 1, 16), ids = noise_at(&h, 6, 0, 16),
          steps = noise_at(&later, 5, 0, 16), next = noise_at(&h, 5, 0, 24),
          same = noise_at(&h, 5, 0, 23);
    assert_memory_equal(&a, &same, sizeof a);
    assert_memory_not_equal(&a, &kinds, sizeof a);
    assert_memory_not_equal(&a, &ids, sizeof a);
    assert_memory_not_equal(&a, &steps, sizeof a);
    assert_memory_not_equal(&a, &next, sizeof a);
    double sum = 0;
    for (int64_t i = 0; i < 80000; i++) {
        noise n = noise_at(&h, 1, 2, i);
        sum += noise_of(&n, i);
    }
    assert_true(fabs(sum / 80000 - 32767.5) < 300); /* 4.5 sigma */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),       cmocka_unit_test(test_split16),
        cmocka_unit_test(test_split8),        cmocka_unit_test(test_random_bf16),
        cmocka_unit_test(test_codes),         cmocka_unit_test(test_codes_unbiased),
        cmocka_unit_test(test_small_squares), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_noise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
