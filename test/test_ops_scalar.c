/* test_ops_scalar.c - fill, copy, add, loss, sumsq, normalize, clip and nonfinite on every device,
 * the reference included: small things whose results are known exactly, NaN and infinity among
 * them.  A few sizes; LONG=1: every size up to 140 too, around which vectors and their groups end.
 */
#include "test/long.h"
#include "test/rig.h"

#include "core/segment.h"

#include "base/rng.h"
#include "test/formula.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX = 300001 };

/* Size i, 0 after the last one. */
static int64_t size_at(int64_t i)
{
    static const int64_t sizes[] = {1, 7, 64, 1000, 70001, MAX};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    if (i < SIZES) return sizes[i];
    return i - SIZES < tries(0, 140) ? i - SIZES + 1 : 0;
}

#define EACH_SIZE(n) for (int64_t n##_ = 0, n; (n = size_at(n##_)) > 0; n##_++)

static void each_device(void **state, void (*test)(rig *))
{
    bench *b = *state;
    test(&b->ref);
    test(&b->many);
    test(&b->one);
}

/* n numbers, in the device's working type */
static tensor put_reals(rig *on, const double *x, int64_t n)
{
    static float narrow[MAX];
    for (int64_t i = 0; i < n; i++)
        narrow[i] = (float)x[i];
    return rig_type(on) == F64 ? rig_put(on, F64, SHAPE(n), x) : rig_put(on, F32, SHAPE(n), narrow);
}

static double get_real(rig *on, tensor t, int64_t i)
{
    static union {
        float narrow[MAX];
        double wide[MAX];
    } x;
    if (i == 0) rig_get(on, t, &x);
    return t.type == F64 ? x.wide[i] : (double)x.narrow[i];
}

static const double *normals(int64_t n)
{
    static double x[MAX];
    for (int64_t i = 0; x[n - 1] == 0 && i < n; i++)
        x[i] = (float)normal_at(1, RNG_TEST, (uint64_t)i);
    return x;
}

#define SAME(on, what, got, want)                                                                  \
    do {                                                                                           \
        double got_ = (got), want_ = (want);                                                       \
        if (!(got_ == want_ || (isnan(got_) && isnan(want_))))                                     \
            fail_msg("%s device: %s: got %.17g, want %.17g", (on)->dev.ops->name, what, got_,      \
                     want_);                                                                       \
    } while (0)

/* ---- fill, copy ---- */

static void fill_on(rig *on)
{
    EACH_SIZE(n)
    {
        tensor x = put_reals(on, normals(n), n);
        OP(fill, &on->dev, STREAM_COMPUTE, .x = x, .value = -0.375);
        rig_well(on, "fill");
        for (int64_t i = 0; i < n; i++)
            SAME(on, "fill", get_real(on, x, i), -0.375);
        rig_clear(on);
    }
}

static void test_fill(void **state)
{
    each_device(state, fill_on);
}

/* Bits are copied, whatever they mean: random ones, NaN among them. */
static void copy_on(rig *on)
{
    static uint32_t bits[MAX * 2 + 1], got[MAX * 2];
    for (uint64_t i = 0; i < MAX * 2 + 1; i++)
        bits[i] = i % 5 ? (uint32_t)(rng_uniform(2, RNG_TEST, i) * 0x1p32) : 0x7fa00001u;
    for (dtype type = F32; type <= U8; type++)
        EACH_SIZE(n)
        {
            tensor src = rig_put(on, type, SHAPE(n), bits),
                   dst = rig_put(on, type, SHAPE(n), bits + 1);
            OP(copy, &on->dev, STREAM_COMPUTE, .dst = dst, .src = src);
            rig_well(on, "copy");
            rig_get(on, dst, got);
            assert_memory_equal(got, bits, tensor_bytes(dst));
            rig_get(on, src, got);
            assert_memory_equal(got, bits, tensor_bytes(src));
            rig_clear(on);
        }
}

/* Rows that lie apart in one of the two, or in both; what lies between them stays. */
static void copy_rows_on(rig *on)
{
    enum { ROWS = 7, COLS = 301, LD = 310 };
    static double before[ROWS * LD];
    for (int how = 1; how < 4; how++) {
        for (int i = 0; i < ROWS * LD; i++)
            before[i] = -1 - i;
        tensor src = put_reals(on, normals(ROWS * LD), ROWS * LD),
               dst = put_reals(on, before, ROWS * LD), from = src, to = dst;
        from.rank = to.rank = 2;
        from.dim[0] = to.dim[0] = ROWS;
        from.dim[1] = to.dim[1] = COLS;
        from.ld = how & 1 ? LD : COLS;
        to.ld = how & 2 ? LD : COLS;
        OP(copy, &on->dev, STREAM_COMPUTE, .dst = to, .src = from);
        rig_well(on, "copy");
        for (int64_t i = 0; i < ROWS * LD; i++) {
            int64_t r = i / to.ld, c = i % to.ld;
            bool inside = r < ROWS && c < COLS;
            SAME(on, "copy of rows", get_real(on, dst, i),
                 inside ? normals(ROWS * LD)[r * from.ld + c] : -1.0 - (double)i);
        }
        rig_clear(on);
    }
}

static void test_copy(void **state)
{
    each_device(state, copy_on);
    each_device(state, copy_rows_on);
}

/* One rounding for each element; the other operand stays. */
static void add_on(rig *on)
{
    static double other[MAX];
    EACH_SIZE(n)
    {
        const double *one = normals(n);
        for (int64_t i = 0; i < n; i++)
            other[i] = one[n - 1 - i] / 3;
        tensor x = put_reals(on, one, n), y = put_reals(on, other, n);
        OP(add, &on->dev, STREAM_COMPUTE, .x = x, .y = y);
        rig_well(on, "add");
        for (int64_t i = 0; i < n; i++)
            if (x.type == F32)
                SAME(on, "add", get_real(on, x, i), (double)((float)one[i] + (float)other[i]));
            else
                SAME(on, "add", get_real(on, x, i), one[i] + other[i]);
        for (int64_t i = 0; i < n; i++)
            SAME(on, "add, y", get_real(on, y, i),
                 x.type == F32 ? (double)(float)other[i] : other[i]);
        rig_clear(on);
    }
}

static void test_add(void **state)
{
    each_device(state, add_on);
}

/* ---- loss ---- */

typedef struct {
    double sum;
    hyper h;
} loss_result;

static loss_result run_loss(rig *on, const double *x, int64_t n, double scale, bool accumulate,
                            double before, int ok)
{
    loss_result r = {.sum = before,
                     .h = {.lr = 1, .grad_norm = 2, .clip = 3, .first = 4, .ok = ok}};
    tensor sum = rig_put(on, F64, SHAPE(1), &r.sum), in = put_reals(on, x, n);
    tensor h = rig_put(on, U8, SHAPE(sizeof r.h), &r.h);
    OP(sum, &on->dev, STREAM_COMPUTE, .sum = sum, .accumulate = accumulate, .x = in, .hyper = h,
       .scale = scale);
    rig_well(on, "loss");
    rig_get(on, sum, &r.sum);
    rig_get(on, h, &r.h);
    hyper saved = {.lr = 1, .grad_norm = 2, .clip = 3, .first = 4, .ok = r.h.ok};
    assert_memory_equal(&r.h, &saved, sizeof saved);
    rig_clear(on);
    return r;
}

static void loss_values(rig *on)
{
    loss_result r = run_loss(on, (double[]){1, 2, 4.5}, 3, 0.5, false, NAN, 1);
    SAME(on, "loss", r.sum, 3.75);
    assert_int_equal(r.h.ok, 1);
    r = run_loss(on, (double[]){1, 2, 4.5}, 3, 0.5, true, 10, 1);
    SAME(on, "loss accumulated", r.sum, 13.75);
    r = run_loss(on, (double[]){0x1p24, 1, 1, 1}, 4, 1, false, 0, 1);
    SAME(on, "loss in double", r.sum, 0x1p24 + 3);
    r = run_loss(on, (double[]){0x1p60, 1, -0x1p60}, 3, 1, false, 0, 1);
    SAME(on, "loss in order", r.sum, 0);
    r = run_loss(on, (double[]){0x1p60, -0x1p60, 1}, 3, 1, false, 0, 1);
    SAME(on, "loss in order", r.sum, 1);
    EACH_SIZE(n)
    {
        const double *x = normals(n);
        double part[LOSS_LANES] = {0}, want = 0;
        for (int64_t i = 0; i < n; i++)
            part[i % LOSS_LANES] += x[i];
        for (int k = 0; k < LOSS_LANES; k++)
            want += part[k];
        SAME(on, "loss of many", run_loss(on, x, n, 0.25, false, 0, 1).sum, 0.25 * want);
    }
}

static void loss_not_finite(rig *on)
{
    double x[] = {1, 2, 3, 4};
    assert_int_equal(run_loss(on, x, 4, 1, true, 5, 0).h.ok, 0); /* once 0, it stays 0 */
    for (int i = 0; i < 3; i++) {
        const double bad[] = {NAN, INFINITY, -INFINITY};
        for (int at = 0; at < 4; at++) {
            double y[] = {1, 2, 3, 4};
            y[at] = bad[i];
            loss_result r = run_loss(on, y, 4, 0.5, false, 0, 1);
            SAME(on, "loss not finite", r.sum, bad[i]);
            assert_int_equal(r.h.ok, 0);
        }
        loss_result r = run_loss(on, x, 4, 0.5, true, bad[i], 1);
        SAME(on, "loss added to what is not finite", r.sum, bad[i]);
        assert_int_equal(r.h.ok, 0);
        assert_int_equal(run_loss(on, x, 4, 0.5, false, bad[i], 1).h.ok, 1);
    }
    loss_result r = run_loss(on, (double[]){INFINITY, -INFINITY}, 2, 1, false, 0, 1);
    assert_true(isnan(r.sum));
    assert_int_equal(r.h.ok, 0);
}

static void loss_without_hyper(rig *on)
{
    double out = 7;
    tensor sum = rig_put(on, F64, SHAPE(1), &out), x = put_reals(on, (double[]){NAN, 1}, 2);
    OP(sum, &on->dev, STREAM_COMPUTE, .sum = sum, .x = x, .scale = 1);
    rig_well(on, "loss without hyper");
    rig_get(on, sum, &out);
    assert_true(isnan(out));
    rig_clear(on);
}

static void test_loss(void **state)
{
    each_device(state, loss_values);
    each_device(state, loss_not_finite);
    each_device(state, loss_without_hyper);
}

/* ---- sumsq ---- */

static double run_sumsq(rig *on, const double *x, int64_t n)
{
    double out = NAN;
    tensor slot = rig_put(on, F64, SHAPE(1), &out), in = put_reals(on, x, n);
    OP(sumsq, &on->dev, STREAM_COMPUTE, .items = &(sumsq_item){slot, in}, .n = 1);
    rig_well(on, "sumsq");
    rig_get(on, slot, &out);
    rig_clear(on);
    return out;
}

static void sumsq_values(rig *on)
{
    SAME(on, "sumsq", run_sumsq(on, (double[]){3, 4, -12}, 3), 169);
    SAME(on, "sumsq of zeros", run_sumsq(on, (double[]){0, 0, 0, 0, 0}, 5), 0);
    double big = (float)1e30, tiny = (float)1e-30; /* their squares are no floats */
    SAME(on, "sumsq in double", run_sumsq(on, &big, 1), big * big);
    SAME(on, "sumsq in double", run_sumsq(on, &tiny, 1), tiny * tiny);
    SAME(on, "sumsq in double", run_sumsq(on, (double[]){0x1p24, 1, 1}, 3), 0x1p48 + 2);
    EACH_SIZE(n)
    {
        const double *x = normals(n);
        long double exact = 0;
        for (int64_t i = 0; i < n; i++)
            exact += (long double)x[i] * (long double)x[i];
        double got = run_sumsq(on, x, n), bound = 8 * DBL_EPSILON * sqrt((double)n) * (double)exact;
        if (!(fabs(got - (double)exact) <= bound))
            fail_msg("%s device: sumsq of %lld: got %.17g, want %.17g, bound %.3g",
                     on->dev.ops->name, (long long)n, got, (double)exact, bound);
        SAME(on, "sumsq again", run_sumsq(on, x, n), got);
    }
    static double bad[MAX];
    for (size_t k = 0; k < 3; k++) {
        int64_t at[] = {0, MAX / 2, MAX - 1};
        bad[at[k]] = NAN;
        SAME(on, "sumsq with NaN", run_sumsq(on, bad, MAX), NAN);
        bad[at[k]] = -INFINITY;
        SAME(on, "sumsq with infinity", run_sumsq(on, bad, MAX), INFINITY);
        bad[at[k]] = 0;
    }
}

/* x over its norm and eps; twice the same is, but for rounding, x itself. */
static void normalize_on(rig *on)
{
    EACH_SIZE(n)
    {
        double squares = 0, eps = 0.25;
        for (int64_t i = 0; i < n; i++)
            squares += normals(n)[i] * normals(n)[i];
        tensor x = put_reals(on, normals(n), n), slot = rig_put(on, F64, SHAPE(1), &squares);
        OP(normalize, &on->dev, STREAM_COMPUTE, .x = x, .squares = slot, .eps = eps);
        rig_well(on, "normalize");
        for (int64_t i = 0; i < n; i++) {
            double want = normals(n)[i] / (sqrt(squares) + eps), got = get_real(on, x, i);
            if (!(fabs(got - want) <= 2 * (double)FLT_EPSILON * fabs(want)))
                fail_msg("%s device: normalize: got %.9g, want %.9g", on->dev.ops->name, got, want);
        }
        rig_clear(on);
    }
    double zero = 0; /* nothing over eps is nothing */
    tensor x = put_reals(on, &zero, 1), slot = rig_put(on, F64, SHAPE(1), &zero);
    OP(normalize, &on->dev, STREAM_COMPUTE, .x = x, .squares = slot, .eps = 1e-7);
    SAME(on, "normalize of zero", get_real(on, x, 0), 0);
    rig_clear(on);
}

static void test_normalize(void **state)
{
    each_device(state, normalize_on);
}

static void test_sumsq(void **state)
{
    each_device(state, sumsq_values);
    bench *b = *state;
    EACH_SIZE(n)
    SAME(&b->one, "sumsq, other threads", run_sumsq(&b->one, normals(n), n),
         run_sumsq(&b->many, normals(n), n));
    EACH_SIZE(n)
    SAME(&b->odd, "sumsq, other threads", run_sumsq(&b->odd, normals(n), n),
         run_sumsq(&b->many, normals(n), n));
}

/* ---- clip ---- */

static hyper run_clip(rig *on, const double *slots, int64_t n, double max_norm)
{
    hyper h = {.lr = 5, .clip = NAN, .grad_norm = NAN, .first = 6, .ok = 1};
    tensor in = rig_put(on, F64, SHAPE(n), slots), out = rig_put(on, U8, SHAPE(sizeof h), &h);
    OP(clip, &on->dev, STREAM_COMPUTE, .slots = in, .hyper = out, .max_norm = max_norm);
    rig_well(on, "clip");
    rig_get(on, out, &h);
    hyper saved = {.lr = 5, .clip = h.clip, .grad_norm = h.grad_norm, .first = 6, .ok = h.ok};
    assert_memory_equal(&h, &saved, sizeof saved);
    rig_clear(on);
    return h;
}

static void near(const rig *on, const char *what, double got, double want)
{
    if (!(fabs(got - want) <= FLT_EPSILON * fabs(want)))
        fail_msg("%s device: %s: got %.9g, want %.9g", on->dev.ops->name, what, got, want);
}

static void clip_values(rig *on)
{
    const double slots[] = {9, 0, 16};
    const struct {
        double max_norm, clip;
    } cases[] = {{1, 0.2}, {4.5, 0.9}, {5, 1}, {10, 1}, {0, 1}, {1e-3, 2e-4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hyper h = run_clip(on, slots, 3, cases[i].max_norm);
        SAME(on, "grad_norm", h.grad_norm, 5);
        near(on, "clip", h.clip, cases[i].clip);
        assert_int_equal(h.ok, 1);
    }
    SAME(on, "grad_norm of zero gradients", run_clip(on, (double[]){0, 0}, 2, 1).grad_norm, 0);
    SAME(on, "clip of zero gradients", run_clip(on, (double[]){0, 0}, 2, 1).clip, 1);
    SAME(on, "clip of zero gradients, off", run_clip(on, (double[]){0, 0}, 2, 0).clip, 1);
    SAME(on, "grad_norm in order", run_clip(on, (double[]){0x1p60, 1, 1}, 3, 0).grad_norm, 0x1p30);
    SAME(on, "grad_norm of infinity", run_clip(on, (double[]){1, INFINITY}, 2, 0).grad_norm,
         INFINITY);
    SAME(on, "clip of infinity", run_clip(on, (double[]){1, INFINITY}, 2, 1).clip, 0);
    SAME(on, "grad_norm of NaN", run_clip(on, (double[]){1, NAN, 1}, 3, 1).grad_norm, NAN);
    SAME(on, "clip off with NaN", run_clip(on, (double[]){1, NAN, 1}, 3, 0).clip, 1);

    double sum = 0, many[300];
    for (int i = 0; i < 300; i++)
        sum += many[i] = rng_uniform(3, RNG_TEST, (uint64_t)i);
    SAME(on, "grad_norm of many", run_clip(on, many, 300, 0).grad_norm, (float)sqrt(sum));
}

static void test_clip(void **state)
{
    each_device(state, clip_values);
}

/* ---- nonfinite ---- */

static int64_t run_nonfinite(rig *on, tensor x)
{
    int64_t count = -1;
    OP(nonfinite, &on->dev, STREAM_COMPUTE, .count = &count, .x = x);
    rig_well(on, "nonfinite");
    return count;
}

static void nonfinite_on(rig *on)
{
    static double x[MAX];
    EACH_SIZE(n)
    {
        int64_t want = 0;
        memcpy(x, normals(n), (size_t)n * sizeof *x);
        for (int round = 0; round < 3; round++) {
            assert_int_equal(run_nonfinite(on, put_reals(on, x, n)), want);
            assert_int_equal(run_nonfinite(on, rig_put(on, F64, SHAPE(n), x)),
                             want); /* as sums and slots are */
            rig_clear(on);
            int64_t at = round ? n - 1 : 0;
            want += isfinite(x[at]) ? 1 : 0;
            x[at] = round ? -INFINITY : NAN;
        }
    }
    /* largest, smallest, subnormal and zero are finite; so is what is no floating-point number */
    tensor t = put_reals(on, (double[]){FLT_MAX, -FLT_MAX, FLT_MIN, FLT_MIN / 8, -0.0, 0}, 6);
    assert_int_equal(run_nonfinite(on, t), 0);
    assert_int_equal(run_nonfinite(on, rig_put(on, I32, SHAPE(2), (int32_t[]){0x7fc00000, -1})), 0);
    /* padding is not counted: 2 columns of 3 */
    t = put_reals(on, (double[]){1, NAN, NAN, INFINITY, 2, NAN, 3, 4, INFINITY}, 9);
    tensor padded = {.data = t.data, .type = t.type, .rank = 2, .dim = {3, 2}, .ld = 3};
    assert_int_equal(run_nonfinite(on, padded), 2);
    rig_clear(on);
}

static void test_nonfinite(void **state)
{
    each_device(state, nonfinite_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill), cmocka_unit_test(test_copy),
        cmocka_unit_test(test_add),  cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_loss), cmocka_unit_test(test_sumsq),
        cmocka_unit_test(test_clip), cmocka_unit_test(test_nonfinite),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
