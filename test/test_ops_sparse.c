/* test_ops_sparse.c - the operations on non-zeros on every device, the reference included: what
 * moves is compared bit by bit with what a plain loop says here, whatever the device's type; what
 * is drawn at random is as many as asked for, of those that are free, one in each run, and the same
 * anywhere; operands that do not fit are refused.
 */
#include "test/long.h"
#include "test/rig.h"

#include "base/bf16.h"
#include "core/sparse_bits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { MAX = 70001, GROUPS = (MAX + SPARSE_GROUP - 1) / SPARSE_GROUP, BEFORE = 17, BEHIND = 5 };

/* A set of elements, by plain loops. */
typedef struct {
    int64_t n, groups, there;
    uint32_t bits[GROUPS * SPARSE_WORDS];
    int64_t starts[GROUPS + 1];
    int64_t element[MAX]; /* of each value */
} element_set;

static element_set set;

/* The set of a part of n elements, in 256ths.  Words of ones and of zeros are in it, too. */
static void make_set(int64_t n, uint32_t part)
{
    memset(&set, 0, sizeof set);
    set.n = n;
    set.groups = (n + SPARSE_GROUP - 1) / SPARSE_GROUP;
    for (int64_t e = 0; e < n; e++) {
        uint32_t random[4];
        rng_bits(part, RNG_TEST, (uint64_t)e, random);
        uint32_t threshold = e / 32 % 7 == 3 ? 0 : e / 32 % 7 == 5 ? 256 : part;
        if (part == 0 || part == 256) threshold = part;
        if (e % SPARSE_GROUP == 0) set.starts[e / SPARSE_GROUP] = BEFORE + set.there;
        if (random[0] % 256 >= threshold) continue;
        set.bits[e / 32] |= 1u << e % 32;
        set.element[set.there++] = e;
    }
    set.starts[set.groups] = BEFORE + set.there;
}

static tensor put_bits(rig *on)
{
    return rig_put(on, I32, SHAPE(set.groups, SPARSE_WORDS), set.bits);
}

static tensor put_starts(rig *on)
{
    return rig_put(on, I64, SHAPE(set.groups + 1), set.starts);
}

static const int64_t sizes[] = {1, 31, 32, 33, 1000, 1024, 1025, 8 * 1024 + 40, MAX};
static const uint32_t parts[] = {0, 3, 25, 128, 256};

static void on_all(void **state, void (*test)(rig *))
{
    bench *b = *state;
    rig *all[] = {&b->ref, &b->many, &b->one, &b->odd};
    for (size_t r = 0; r < sizeof all / sizeof *all; r++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
                if (rig_slow() && !long_run() && (r == 3 || (sizes[i] == MAX && k != 2))) continue;
                make_set(sizes[i], parts[k]);
                rig_select(b, all[r]);
                test(all[r]);
                rig_clear(all[r]);
            }
}

/* ---- expand, compress ---- */

static unsigned char noise[MAX + BEFORE + BEHIND][8];

static const void *bytes_of_any_kind(void)
{
    if (noise[0][0] == 0)
        for (uint64_t i = 0; i < MAX + BEFORE + BEHIND; i++) {
            uint32_t random[4];
            rng_bits(8, RNG_TEST, i, random);
            random[0] |= 1;
            memcpy(noise[i], random, 8);
        }
    return noise;
}

static void moves(rig *on, dtype type)
{
    static char got[MAX + BEFORE + BEHIND][8], want[MAX + BEFORE + BEHIND][8];
    size_t size = dtype_size(type);
    int64_t all = BEFORE + set.there + BEHIND;
    const char *from = bytes_of_any_kind();
    char *to = (char *)want;
    tensor values = rig_put(on, type, SHAPE(all), from), bits = put_bits(on),
           starts = put_starts(on), x = rig_put(on, type, SHAPE(set.n), from + 1);
    OP(expand, &on->dev, STREAM_COMPUTE, .out = x, .values = values, .bits = bits,
       .starts = starts);
    rig_well(on, "expand");
    rig_get(on, x, got);
    memset(to, 0, (size_t)set.n * size);
    for (int64_t i = 0; i < set.there; i++)
        memcpy(to + (size_t)set.element[i] * size, from + (size_t)(BEFORE + i) * size, size);
    assert_memory_equal(got, want, (size_t)set.n * size);

    x = rig_put(on, type, SHAPE(set.n), from + 1);
    OP(compress, &on->dev, STREAM_COMPUTE, .values.t = values, .x = x, .bits = bits,
       .starts = starts);
    rig_well(on, "compress");
    rig_get(on, values, got);
    memcpy(to, from, (size_t)all * size);
    for (int64_t i = 0; i < set.there; i++)
        memcpy(to + (size_t)(BEFORE + i) * size, from + 1 + (size_t)set.element[i] * size, size);
    assert_memory_equal(got, want, (size_t)all * size);
}

static void moves_on(rig *on)
{
    static const dtype types[] = {F32, F64, BF16, I16, I8};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        moves(on, types[i]);
        rig_clear(on);
    }
}

static void test_moves(void **state)
{
    on_all(state, moves_on);
}

/* Numbers that have that type. */
static double number_at(uint64_t i)
{
    uint32_t random[4];
    rng_bits(9, RNG_TEST, i, random);
    return ((double)(random[0] % 255) - 127) / 64;
}

static void put_number(dtype type, void *x, int64_t i, double value)
{
    if (type == F64) ((double *)x)[i] = value;
    if (type == F32) ((float *)x)[i] = (float)value;
    if (type == BF16) ((uint16_t *)x)[i] = bf16_of_float((float)value);
}

static void adds(rig *on, dtype type)
{
    static double values[MAX + BEFORE + BEHIND], x[MAX], want[MAX + BEFORE + BEHIND],
        got[MAX + BEFORE + BEHIND];
    int64_t all = BEFORE + set.there + BEHIND;
    for (int64_t i = 0; i < all; i++) {
        double value = number_at((uint64_t)i), sum = value;
        if (i >= BEFORE && i < BEFORE + set.there)
            sum += number_at((uint64_t)(MAX + set.element[i - BEFORE]));
        put_number(type, values, i, value);
        put_number(type, want, i, sum); /* rounded once, from a sum that is exact in float */
    }
    for (int64_t e = 0; e < set.n; e++)
        put_number(type, x, e, number_at((uint64_t)(MAX + e)));
    tensor to = rig_put(on, type, SHAPE(all), values);
    OP(compress, &on->dev, STREAM_COMPUTE, .values = {to, true},
       .x = rig_put(on, type, SHAPE(set.n), x), .bits = put_bits(on), .starts = put_starts(on));
    rig_well(on, "compress, adding");
    rig_get(on, to, got);
    assert_memory_equal(got, want, (size_t)all * dtype_size(type));
}

static void adds_on(rig *on)
{
    adds(on, rig_type(on));
    rig_clear(on);
    if (rig_type(on) == F32 && rig_has_bf16()) adds(on, BF16);
}

static void test_adds(void **state)
{
    on_all(state, adds_on);
}

/* ---- what changes the set ---- */

static void starts_on(rig *on)
{
    static int64_t got[GROUPS + 1];
    tensor starts = rig_put(on, I64, SHAPE(set.groups + 1), got);
    OP(starts, &on->dev, STREAM_COMPUTE, .starts = starts, .bits = put_bits(on));
    rig_well(on, "starts");
    rig_get(on, starts, got);
    for (int64_t g = 0; g <= set.groups; g++)
        assert_int_equal(got[g], set.starts[g] - BEFORE);
}

static void test_starts(void **state)
{
    on_all(state, starts_on);
}

static void prune_on(rig *on)
{
    static double values[MAX + BEFORE + BEHIND];
    static uint32_t want[GROUPS * SPARSE_WORDS], got[GROUPS * SPARSE_WORDS];
    int64_t all = BEFORE + set.there + BEHIND, below = 0, counted = -1;
    dtype type = set.n % 2 && rig_type(on) == F32 && rig_has_bf16() ? BF16 : rig_type(on);
    double limit = 0.5; /* some are just that, and stay */
    memcpy(want, set.bits, sizeof want);
    for (int64_t i = 0; i < all; i++) {
        double value = i % 11 ? number_at((uint64_t)i) : (double)NAN;
        put_number(type, values, i, value);
        below += fabs(value) < limit;
        if (i < BEFORE || i >= BEFORE + set.there || !(fabs(value) < limit)) continue;
        int64_t e = set.element[i - BEFORE];
        want[e / 32] &= ~(1u << e % 32);
    }
    tensor x = rig_put(on, type, SHAPE(all), values),
           remaining = rig_put(on, I32, SHAPE(set.groups, SPARSE_WORDS), got),
           count = rig_put(on, I64, SHAPE(1), &counted);
    OP(prune, &on->dev, STREAM_COMPUTE, .remaining = remaining, .values = x, .bits = put_bits(on),
       .starts = put_starts(on), .limit = limit);
    OP(count_below, &on->dev, STREAM_COMPUTE, .count = count, .x = x, .limit = limit);
    rig_well(on, "prune, count_below");
    rig_get(on, remaining, got);
    rig_get(on, count, &counted);
    assert_memory_equal(got, want, (size_t)set.groups * SPARSE_WORDS * 4);
    assert_int_equal(counted, below);
}

static void test_prune(void **state)
{
    on_all(state, prune_on);
}

/* n elements more, drawn of those that are not in the set. */
static void draws(rig *on, int64_t n, uint32_t event)
{
    static uint32_t first[GROUPS * SPARSE_WORDS], got[GROUPS * SPARSE_WORDS];
    int64_t unset = set.n - set.there, drawn = 0, z = 0;
    memcpy(first, set.bits, sizeof first);
    tensor bits = rig_put(on, I32, SHAPE(set.groups, SPARSE_WORDS), first);
    OP(regrow, &on->dev, STREAM_COMPUTE, .bits = bits, .taken = put_bits(on),
       .starts = put_starts(on), .elements = set.n, .n = n, .seed = 0x123456789, .matrix = 3,
       .event = event);
    rig_well(on, "regrow");
    rig_get(on, bits, got);
    for (int64_t e = 0; e < set.groups * SPARSE_GROUP; e++) {
        bool was = set.bits[e / 32] >> (e % 32) & 1, is = got[e / 32] >> (e % 32) & 1;
        assert_true(is || !was);
        assert_true(!is || e < set.n);
        if (was) continue;
        if (is) { /* the one of run `drawn` */
            assert_true(z >= drawn * unset / n && z < (drawn + 1) * unset / n);
            drawn++;
        }
        z++;
    }
    assert_int_equal(drawn, n);
    rig_clear(on);
}

static void regrow_on(rig *on)
{
    int64_t unset = set.n - set.there;
    draws(on, 0, 1);
    draws(on, unset, 2);
    if (unset > 1) draws(on, 1 + unset / 3, 3);
    if (unset > 40) draws(on, unset / 40, 4);
}

static void test_regrow(void **state)
{
    on_all(state, regrow_on);
}

/* The same on every device; others for another seed, matrix or event. */
static void test_same_draws(void **state)
{
    bench *b = *state;
    enum { OTHERS = 3, N = 500 };
    static uint32_t got[4 + OTHERS][GROUPS * SPARSE_WORDS];
    rig *all[] = {&b->ref, &b->many, &b->one, &b->odd, &b->many, &b->many, &b->many};
    make_set(8 * 1024 + 40, 128);
    for (int i = 0; i < 4 + OTHERS; i++) {
        rig *on = all[i];
        rig_select(b, on);
        tensor bits = rig_put(on, I32, SHAPE(set.groups, SPARSE_WORDS), set.bits);
        OP(regrow, &on->dev, STREAM_COMPUTE, .bits = bits, .taken = put_bits(on),
           .starts = put_starts(on), .elements = set.n, .n = N, .seed = 1 + (i == 4),
           .matrix = i == 5, .event = i == 6);
        rig_well(on, "regrow");
        rig_get(on, bits, got[i]);
        rig_clear(on);
        bool same = !memcmp(got[0], got[i], (size_t)set.groups * SPARSE_WORDS * 4);
        assert_int_equal(same, i < 4);
    }
}

/* Of 4 free elements in a run each is drawn as often as the others. */
static void test_even_draws(void **state)
{
    (void)state;
    enum { N = 100000 };
    drawing d = {.seed = {5}, .free = 4 * N, .n = N};
    int64_t count[4] = {0};
    for (int64_t j = 0; j < N; j++)
        count[drawn_of(&d, j) - 4 * j]++;
    for (int k = 0; k < 4; k++)
        assert_true(fabs((double)count[k] - N / 4.0) < 5 * sqrt(N * 3.0 / 16));
}

/* ---- what is refused ---- */

static void check_refused(rig *on, const char *op)
{
    error *e = device_status(&on->dev);
    if (!e) fail_msg("%s on the %s device: accepted", op, on->dev.ops->name);
    assert_int_equal(error_kind_of(e), ERR_INTERNAL);
    assert_non_null(strstr(error_text(e), op));
    error_free(e);
}

/* The operation goes, and does not with another operand. */
#define GOES(name, good)                                                                           \
    do {                                                                                           \
        op_##name(&on->dev, STREAM_COMPUTE, &(good));                                              \
        rig_well(on, #name);                                                                       \
    } while (0)
#define REFUSED(name, good, member, value)                                                         \
    do {                                                                                           \
        name##_op bad_ = (good);                                                                   \
        bad_.member = (value);                                                                     \
        op_##name(&on->dev, STREAM_COMPUTE, &bad_);                                                \
        check_refused(on, #name);                                                                  \
    } while (0)

static void refused_on(rig *on)
{
    static const double zeros[4000];
    make_set(2000, 128);
    dtype type = rig_type(on);
    tensor x = rig_put(on, type, SHAPE(2000), zeros), bits = put_bits(on), starts = put_starts(on),
           values = rig_put(on, type, SHAPE(BEFORE + set.there), zeros),
           longer = rig_put(on, type, SHAPE(2049), zeros),
           ints = rig_put(on, I32, SHAPE(2000), zeros), count = rig_put(on, I64, SHAPE(1), zeros),
           remaining = rig_put(on, I32, SHAPE(set.groups, SPARSE_WORDS), zeros), absent = {0};
    expand_op expand = {.out = x, .values = values, .bits = bits, .starts = starts};
    GOES(expand, expand);
    REFUSED(expand, expand, out, longer);
    REFUSED(expand, expand, out, ints);
    REFUSED(expand, expand, values, absent);
    REFUSED(expand, expand, bits, starts);
    REFUSED(expand, expand, starts, bits);
    compress_op compress = {.values = {values, true}, .x = x, .bits = bits, .starts = starts};
    GOES(compress, compress);
    REFUSED(compress, compress, x, longer);
    REFUSED(compress, compress, x, ints);
    REFUSED(compress, compress, values.t, absent);
    REFUSED(compress, compress, bits, absent);
    REFUSED(compress, compress, starts, count);
    compress_op sum_of_ints = compress;
    sum_of_ints.x = ints;
    REFUSED(compress, sum_of_ints, values.t, ints); /* whole numbers are not added */
    prune_op prune = {
        .remaining = remaining, .values = values, .bits = bits, .starts = starts, .limit = 1};
    GOES(prune, prune);
    REFUSED(prune, prune, remaining, bits);
    REFUSED(prune, prune, remaining, ints);
    REFUSED(prune, prune, values, ints);
    REFUSED(prune, prune, starts, count);
    regrow_op regrow = {
        .bits = remaining, .taken = bits, .starts = starts, .elements = 2000, .n = 1, .seed = 1};
    GOES(regrow, regrow);
    REFUSED(regrow, regrow, bits, bits);
    REFUSED(regrow, regrow, elements, 2049);
    REFUSED(regrow, regrow, elements, 0);
    REFUSED(regrow, regrow, n, -1);
    REFUSED(regrow, regrow, n, 2001);
    count_below_op below = {.count = count, .x = x, .limit = 1};
    GOES(count_below, below);
    REFUSED(count_below, below, count, starts);
    REFUSED(count_below, below, x, ints);
    starts_op all = {.starts = starts, .bits = bits};
    GOES(starts, all);
    REFUSED(starts, all, starts, count);
    REFUSED(starts, all, bits, ints);
    rig_clear(on);
}

static void test_refused(void **state)
{
    bench *b = *state;
    refused_on(&b->ref);
    refused_on(&b->many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),      cmocka_unit_test(test_adds),
        cmocka_unit_test(test_starts),     cmocka_unit_test(test_prune),
        cmocka_unit_test(test_regrow),     cmocka_unit_test(test_same_draws),
        cmocka_unit_test(test_even_draws), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
