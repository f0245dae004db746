/* test_rng.c - randomness as a function: right bits, right distributions, right permutations.
 *
 * The known answers are those published with Random123 (Salmon, Moraes, Dror, Shaw) for
 * Philox4x32-10. There, a counter of four words and a key of two; here, counter = (index, stream)
 * and key = seed, each as low word, high word.  The statistics are of a fixed seed, so nothing here
 * can fail by chance; the bounds are five standard deviations of what is measured.
 */
#include "base/rng.h"
#include "test/formula.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, /* the digits of pi */
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *c = known[i].counter, *k = known[i].key;
        uint32_t got[4];
        rng_bits((uint64_t)k[1] << 32 | k[0], (uint64_t)c[3] << 32 | c[2],
                 (uint64_t)c[1] << 32 | c[0], got);
        for (int w = 0; w < 4; w++)
            assert_int_equal(got[w], known[i].want[w]);
    }
}

/* Each of seed, stream and index matters, in its high and in its low word. */
static void test_every_word_matters(void **state)
{
    (void)state;
    const uint64_t one[] = {1, UINT64_C(1) << 32};
    uint32_t base[4], got[4];
    rng_bits(7, 8, 9, base);
    for (int i = 0; i < 2; i++) {
        rng_bits(7 ^ one[i], 8, 9, got);
        assert_memory_not_equal(base, got, sizeof got);
        rng_bits(7, 8 ^ one[i], 9, got);
        assert_memory_not_equal(base, got, sizeof got);
        rng_bits(7, 8, 9 ^ one[i], got);
        assert_memory_not_equal(base, got, sizeof got);
    }
    rng_bits(7, 8, 9, got);
    assert_memory_equal(base, got, sizeof got);
}

/* ---- distributions ---- */

enum { N = 1 << 20 };

/* |got - want| within five standard deviations */
static void near(const char *what, double got, double want, double deviation)
{
    if (!(fabs(got - want) <= 5 * deviation))
        fail_msg("%s: %.9g, not %.9g +- %.2g", what, got, want, 5 * deviation);
}

static void test_uniform(void **state)
{
    (void)state;
    enum { BINS = 64 };
    double sum = 0, squares = 0, lagged = 0, before = 0.5, chi = 0;
    int bin[BINS] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(3, RNG_TEST, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        lagged += (u - 0.5) * (before - 0.5);
        before = u;
        bin[(int)(u * BINS)]++;
    }
    for (int b = 0; b < BINS; b++)
        chi += pow(bin[b] - (double)N / BINS, 2) / ((double)N / BINS);
    near("mean", sum / N, 0.5, sqrt(1.0 / 12 / N));
    near("mean square", squares / N, 1.0 / 3, sqrt(4.0 / 45 / N));
    near("correlation of neighbours", lagged / N, 0, 1.0 / 12 / sqrt(N));
    near("chi squared", chi, BINS - 1, sqrt(2.0 * (BINS - 1)));
}

/* 53 bits: the last one is used, and 1 is never reached. */
static void test_uniform_is_fine_grained(void **state)
{
    (void)state;
    int odd = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        double scaled = rng_uniform(1, RNG_TEST, i) * 0x1p53;
        assert_true(scaled == floor(scaled));
        odd += fmod(scaled, 2) == 1;
    }
    near("odd last bits", odd, 500, sqrt(250));
}

static void test_normal(void **state)
{
    (void)state;
    double moment[5] = {0};
    int beyond[5] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double x = normal_at(5, RNG_TEST, i), power = 1;
        assert_true(isfinite(x));
        for (int k = 1; k <= 4; k++)
            moment[k] += power *= x;
        for (int k = 1; k <= 4; k++)
            beyond[k] += fabs(x) > k;
    }
    near("mean", moment[1] / N, 0, sqrt(1.0 / N));
    near("variance", moment[2] / N, 1, sqrt(2.0 / N));
    near("third moment", moment[3] / N, 0, sqrt(15.0 / N));
    near("fourth moment", moment[4] / N, 3, sqrt(96.0 / N));
    for (int k = 1; k <= 4; k++) {
        double p = erfc(k / sqrt(2.0));
        near("tail", beyond[k], N * p, sqrt(N * p * (1 - p)));
    }
}

static void test_streams_do_not_correlate(void **state)
{
    (void)state;
    double streams = 0, seeds = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = normal_at(5, RNG_INIT, i);
        streams += x * normal_at(5, RNG_ORDER, i);
        seeds += x * normal_at(6, RNG_INIT, i);
    }
    near("two streams", streams / N, 0, sqrt(1.0 / N));
    near("two seeds", seeds / N, 0, sqrt(1.0 / N));
}

/* ---- permutations ---- */

static void check_bijection(uint64_t seed, uint64_t which, uint64_t n)
{
    bool *seen = calloc(n, sizeof *seen);
    assert_non_null(seen);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t to = rng_permute(seed, RNG_ORDER, which, i, n);
        if (to >= n || seen[to])
            fail_msg("n %d: %d -> %d is outside or taken", (int)n, (int)i, (int)to);
        seen[to] = true;
    }
    free(seen);
}

static void test_permutation_is_a_bijection(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1,  2,  3,  4,   5,   7,   10,   15,   16,   17,
                                     63, 64, 65, 255, 256, 257, 1000, 4096, 10007};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint64_t which = 0; which < 3; which++)
            check_bijection(11 + which, which, sizes[s]);
}

/* Sizes that cannot be listed: elements stay inside and do not repeat among the first few. */
static void test_large_permutation(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {(UINT64_C(1) << 32) + 1, UINT64_C(1) << 40, UINT64_MAX};
    enum { FEW = 200 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t got[FEW], largest = 0;
        for (uint64_t i = 0; i < FEW; i++) {
            got[i] = rng_permute(1, RNG_ORDER, 0, i, sizes[s]);
            assert_true(got[i] < sizes[s]);
            for (uint64_t j = 0; j < i; j++)
                assert_true(got[i] != got[j]);
            if (got[i] > largest) largest = got[i];
        }
        assert_true(largest > sizes[s] / 2); /* 200 draws below half: 2^-200 */
    }
}

/* Over many permutations each element goes everywhere equally often.  (Of fewer than about 16
 * elements it does so only roughly: a Feistel network over halves of two bits knows few
 * permutations.) */
static void test_permutation_is_uniform(void **state)
{
    (void)state;
    enum { SIZE = 50, TIMES = 20000 };
    static int count[SIZE][SIZE];
    double chi = 0, expected = (double)TIMES / SIZE, freedom = (SIZE - 1.0) * (SIZE - 1.0);
    memset(count, 0, sizeof count);
    for (uint64_t which = 0; which < TIMES; which++)
        for (uint64_t i = 0; i < SIZE; i++)
            count[i][rng_permute(1, RNG_ORDER, which, i, SIZE)]++;
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++)
            chi += pow(count[i][j] - expected, 2) / expected;
    near("chi squared", chi, freedom, sqrt(2 * freedom));
}

static int in_common(uint64_t seed_a, uint64_t which_a, uint64_t seed_b, uint64_t which_b)
{
    int same = 0;
    for (uint64_t i = 0; i < 1000; i++)
        same += rng_permute(seed_a, RNG_ORDER, which_a, i, 1000) ==
                rng_permute(seed_b, RNG_ORDER, which_b, i, 1000);
    return same;
}

static void test_permutations_differ(void **state)
{
    (void)state;
    assert_int_equal(in_common(1, 0, 1, 0), 1000);
    assert_in_range(in_common(1, 0, 1, 1), 0,
                    8); /* two random ones have one element in common on average */
    assert_in_range(in_common(1, 0, 2, 0), 0, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_every_word_matters),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_uniform_is_fine_grained),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_streams_do_not_correlate),
        cmocka_unit_test(test_permutation_is_a_bijection),
        cmocka_unit_test(test_large_permutation),
        cmocka_unit_test(test_permutation_is_uniform),
        cmocka_unit_test(test_permutations_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
