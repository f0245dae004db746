/* test_ops_scalar.c - fill, copy, loss, sumsq, clip and nonfinite on every device, the reference
 * included: small things whose results are known exactly, NaN and infinity among them.
 */
#include "test/trial.h"

#include "core/rng.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX = 70001 };

static const int64_t sizes[] = {1, 7, 64, 1000, MAX};

#define EACH_SIZE(n) for (size_t n##_ = 0; n##_ < sizeof sizes / sizeof *sizes; n##_++) for (int64_t n = sizes[n##_]; n; n = 0)

static void each_device(void **state, void (*test)(device *))
{
    bench *b = *state;
    test(&b->ref);
    test(&b->many);
    test(&b->one);
}

/* n numbers, in the device's working type */
static tensor put_reals(device *dev, const double *x, int64_t n)
{
    static float narrow[MAX];
    for (int64_t i = 0; i < n; i++)
        narrow[i] = (float)x[i];
    return bench_type(dev) == F64 ? bench_put(dev, F64, SHAPE(n), x) : bench_put(dev, F32, SHAPE(n), narrow);
}

static const double *normals(int64_t n)
{
    static double x[MAX];
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i);
    return x;
}

#define SAME(dev, what, got, want)                                                                 \
    do {                                                                                           \
        double got_ = (got), want_ = (want);                                                       \
        if (!(got_ == want_ || (isnan(got_) && isnan(want_))))                                     \
            fail_msg("%s device: %s: got %.17g, want %.17g", (dev)->ops->name, what, got_, want_); \
    } while (0)

/* ---- fill, copy ---- */

static void fill_on(device *dev)
{
    static char bytes[MAX * 8];
    EACH_SIZE(n)
    {
        tensor x = bench_put(dev, bench_type(dev), SHAPE(n), bytes);
        OP(fill, dev, STREAM_COMPUTE, .x = x, .value = -0.375);
        bench_get(dev, x, bytes);
        bench_well(dev, "fill");
        for (int64_t i = 0; i < n; i++)
            SAME(dev, "fill", bench_type(dev) == F64 ? ((double *)(void *)bytes)[i] : (double)((float *)(void *)bytes)[i], -0.375);
        bench_free(dev, x);
    }
}

static void test_fill(void **state)
{
    each_device(state, fill_on);
}

/* Bits are copied, whatever they mean: random ones, NaN among them. */
static void copy_on(device *dev)
{
    static uint32_t bits[MAX * 2], got[MAX * 2];
    for (uint64_t i = 0; i < MAX * 2; i++)
        bits[i] = i % 5 ? (uint32_t)(rng_uniform(2, RNG_TEST, i) * 0x1p32) : 0x7fa00001u;
    for (dtype type = F32; type <= U8; type++)
        EACH_SIZE(n)
        {
            tensor src = bench_put(dev, type, SHAPE(n), bits), dst = bench_put(dev, type, SHAPE(n), bits + 1);
            OP(copy, dev, STREAM_COMPUTE, .dst = dst, .src = src);
            bench_well(dev, "copy");
            bench_get(dev, dst, got);
            assert_memory_equal(got, bits, tensor_bytes(dst));
            bench_get(dev, src, got);
            assert_memory_equal(got, bits, tensor_bytes(src));
            bench_free(dev, src);
            bench_free(dev, dst);
        }
}

static void test_copy(void **state)
{
    each_device(state, copy_on);
}

/* ---- loss ---- */

typedef struct {
    double sum;
    hyper h;
} loss_result;

static loss_result run_loss(device *dev, const double *x, int64_t n, double scale, bool accumulate, double before, int ok)
{
    loss_result r = {.sum = before, .h = {.lr = 1, .grad_norm = 2, .clip = 3, .first = 4, .ok = ok}};
    tensor sum = bench_put(dev, F64, SHAPE(1), &r.sum), in = put_reals(dev, x, n);
    tensor h = bench_put(dev, U8, SHAPE(sizeof r.h), &r.h);
    OP(loss, dev, STREAM_COMPUTE, .sum = sum, .accumulate = accumulate, .x = in, .hyper = h, .scale = scale);
    bench_well(dev, "loss");
    bench_get(dev, sum, &r.sum);
    bench_get(dev, h, &r.h);
    hyper kept = {.lr = 1, .grad_norm = 2, .clip = 3, .first = 4, .ok = r.h.ok};
    assert_memory_equal(&r.h, &kept, sizeof kept);
    bench_free(dev, sum), bench_free(dev, in), bench_free(dev, h);
    return r;
}

static void loss_values(device *dev)
{
    loss_result r = run_loss(dev, (double[]){1, 2, 4.5}, 3, 0.5, false, NAN, 1);
    SAME(dev, "loss", r.sum, 3.75);
    assert_int_equal(r.h.ok, 1);
    r = run_loss(dev, (double[]){1, 2, 4.5}, 3, 0.5, true, 10, 1);
    SAME(dev, "loss accumulated", r.sum, 13.75);
    r = run_loss(dev, (double[]){0x1p24, 1, 1, 1}, 4, 1, false, 0, 1);
    SAME(dev, "loss in double", r.sum, 0x1p24 + 3);
    r = run_loss(dev, (double[]){0x1p60, 1, -0x1p60}, 3, 1, false, 0, 1);
    SAME(dev, "loss in order", r.sum, 0);
    r = run_loss(dev, (double[]){0x1p60, -0x1p60, 1}, 3, 1, false, 0, 1);
    SAME(dev, "loss in order", r.sum, 1);
    EACH_SIZE(n)
    {
        const double *x = normals(n);
        double want = 0;
        for (int64_t i = 0; i < n; i++)
            want += x[i];
        SAME(dev, "loss of many", run_loss(dev, x, n, 0.25, false, 0, 1).sum, 0.25 * want);
    }
}

static void loss_not_finite(device *dev)
{
    double x[] = {1, 2, 3, 4};
    assert_int_equal(run_loss(dev, x, 4, 1, true, 5, 0).h.ok, 0); /* once 0, it stays 0 */
    for (int i = 0; i < 3; i++) {
        const double bad[] = {NAN, INFINITY, -INFINITY};
        for (int at = 0; at < 4; at++) {
            double y[] = {1, 2, 3, 4};
            y[at] = bad[i];
            loss_result r = run_loss(dev, y, 4, 0.5, false, 0, 1);
            SAME(dev, "loss not finite", r.sum, bad[i]);
            assert_int_equal(r.h.ok, 0);
        }
        loss_result r = run_loss(dev, x, 4, 0.5, true, bad[i], 1);
        SAME(dev, "loss added to what is not finite", r.sum, bad[i]);
        assert_int_equal(r.h.ok, 0);
        assert_int_equal(run_loss(dev, x, 4, 0.5, false, bad[i], 1).h.ok, 1);
    }
    loss_result r = run_loss(dev, (double[]){INFINITY, -INFINITY}, 2, 1, false, 0, 1);
    assert_true(isnan(r.sum));
    assert_int_equal(r.h.ok, 0);
}

static void loss_without_hyper(device *dev)
{
    double out = 7;
    tensor sum = bench_put(dev, F64, SHAPE(1), &out), x = put_reals(dev, (double[]){NAN, 1}, 2);
    OP(loss, dev, STREAM_COMPUTE, .sum = sum, .x = x, .scale = 1);
    bench_well(dev, "loss without hyper");
    bench_get(dev, sum, &out);
    assert_true(isnan(out));
    bench_free(dev, sum), bench_free(dev, x);
}

static void test_loss(void **state)
{
    each_device(state, loss_values);
    each_device(state, loss_not_finite);
    each_device(state, loss_without_hyper);
}

/* ---- sumsq ---- */

static double run_sumsq(device *dev, const double *x, int64_t n)
{
    double out = NAN;
    tensor slot = bench_put(dev, F64, SHAPE(1), &out), in = put_reals(dev, x, n);
    OP(sumsq, dev, STREAM_COMPUTE, .slot = slot, .x = in);
    bench_well(dev, "sumsq");
    bench_get(dev, slot, &out);
    bench_free(dev, slot), bench_free(dev, in);
    return out;
}

static void sumsq_values(device *dev)
{
    SAME(dev, "sumsq", run_sumsq(dev, (double[]){3, 4, -12}, 3), 169);
    SAME(dev, "sumsq of zeros", run_sumsq(dev, (double[]){0, 0, 0, 0, 0}, 5), 0);
    double big = (float)1e30, tiny = (float)1e-30; /* their squares are no floats */
    SAME(dev, "sumsq in double", run_sumsq(dev, &big, 1), big * big);
    SAME(dev, "sumsq in double", run_sumsq(dev, &tiny, 1), tiny * tiny);
    SAME(dev, "sumsq in double", run_sumsq(dev, (double[]){0x1p24, 1, 1}, 3), 0x1p48 + 2);
    EACH_SIZE(n)
    {
        const double *x = normals(n);
        long double exact = 0;
        for (int64_t i = 0; i < n; i++)
            exact += (long double)x[i] * (long double)x[i];
        double got = run_sumsq(dev, x, n), bound = 8 * DBL_EPSILON * sqrt((double)n) * (double)exact;
        if (!(fabs(got - (double)exact) <= bound))
            fail_msg("%s device: sumsq of %lld: got %.17g, want %.17g, bound %.3g", dev->ops->name, (long long)n, got,
                     (double)exact, bound);
        SAME(dev, "sumsq again", run_sumsq(dev, x, n), got);
    }
    static double bad[MAX];
    for (size_t k = 0; k < 3; k++) {
        int64_t at[] = {0, MAX / 2, MAX - 1};
        bad[at[k]] = NAN;
        SAME(dev, "sumsq with NaN", run_sumsq(dev, bad, MAX), NAN);
        bad[at[k]] = -INFINITY;
        SAME(dev, "sumsq with infinity", run_sumsq(dev, bad, MAX), INFINITY);
        bad[at[k]] = 0;
    }
}

static void test_sumsq(void **state)
{
    each_device(state, sumsq_values);
    bench *b = *state;
    EACH_SIZE(n) SAME(&b->one, "sumsq, other threads", run_sumsq(&b->one, normals(n), n), run_sumsq(&b->many, normals(n), n));
}

/* ---- clip ---- */

static hyper run_clip(device *dev, const double *slots, int64_t n, double max_norm)
{
    hyper h = {.lr = 5, .clip = NAN, .grad_norm = NAN, .first = 6, .ok = 1};
    tensor in = bench_put(dev, F64, SHAPE(n), slots), out = bench_put(dev, U8, SHAPE(sizeof h), &h);
    OP(clip, dev, STREAM_COMPUTE, .slots = in, .hyper = out, .max_norm = max_norm);
    bench_well(dev, "clip");
    bench_get(dev, out, &h);
    hyper kept = {.lr = 5, .clip = h.clip, .grad_norm = h.grad_norm, .first = 6, .ok = h.ok};
    assert_memory_equal(&h, &kept, sizeof kept);
    bench_free(dev, in), bench_free(dev, out);
    return h;
}

static void near(const device *dev, const char *what, double got, double want)
{
    if (!(fabs(got - want) <= FLT_EPSILON * fabs(want)))
        fail_msg("%s device: %s: got %.9g, want %.9g", dev->ops->name, what, got, want);
}

static void clip_values(device *dev)
{
    const double slots[] = {9, 0, 16};
    const struct {
        double max_norm, clip;
    } cases[] = {{1, 0.2}, {4.5, 0.9}, {5, 1}, {10, 1}, {0, 1}, {1e-3, 2e-4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hyper h = run_clip(dev, slots, 3, cases[i].max_norm);
        SAME(dev, "grad_norm", h.grad_norm, 5);
        near(dev, "clip", h.clip, cases[i].clip);
        assert_int_equal(h.ok, 1);
    }
    SAME(dev, "grad_norm of zero gradients", run_clip(dev, (double[]){0, 0}, 2, 1).grad_norm, 0);
    SAME(dev, "clip of zero gradients", run_clip(dev, (double[]){0, 0}, 2, 1).clip, 1);
    SAME(dev, "clip of zero gradients, off", run_clip(dev, (double[]){0, 0}, 2, 0).clip, 1);
    SAME(dev, "grad_norm in order", run_clip(dev, (double[]){0x1p60, 1, 1}, 3, 0).grad_norm, 0x1p30);
    SAME(dev, "grad_norm of infinity", run_clip(dev, (double[]){1, INFINITY}, 2, 0).grad_norm, INFINITY);
    SAME(dev, "clip of infinity", run_clip(dev, (double[]){1, INFINITY}, 2, 1).clip, 0);
    SAME(dev, "grad_norm of NaN", run_clip(dev, (double[]){1, NAN, 1}, 3, 1).grad_norm, NAN);
    SAME(dev, "clip off with NaN", run_clip(dev, (double[]){1, NAN, 1}, 3, 0).clip, 1);

    double sum = 0, many[300];
    for (int i = 0; i < 300; i++)
        sum += many[i] = rng_uniform(3, RNG_TEST, (uint64_t)i);
    SAME(dev, "grad_norm of many", run_clip(dev, many, 300, 0).grad_norm, (float)sqrt(sum));
}

static void test_clip(void **state)
{
    each_device(state, clip_values);
}

/* ---- nonfinite ---- */

static int64_t run_nonfinite(device *dev, tensor x)
{
    int64_t count = -1;
    OP(nonfinite, dev, STREAM_COMPUTE, .count = &count, .x = x);
    bench_well(dev, "nonfinite");
    return count;
}

static void nonfinite_on(device *dev)
{
    static double x[MAX];
    EACH_SIZE(n)
    {
        int64_t want = 0;
        memcpy(x, normals(n), (size_t)n * sizeof *x);
        for (int round = 0; round < 3; round++) {
            tensor t = put_reals(dev, x, n), wide = bench_put(dev, F64, SHAPE(n), x);
            assert_int_equal(run_nonfinite(dev, t), want);
            assert_int_equal(run_nonfinite(dev, wide), want); /* sums and slots are f64 on every device */
            bench_free(dev, t), bench_free(dev, wide);
            int64_t at = round ? n - 1 : 0;
            want += isfinite(x[at]) ? 1 : 0;
            x[at] = round ? -INFINITY : NAN;
        }
    }
    /* largest, smallest, subnormal and zero are finite; so is what is no floating-point number */
    tensor t = put_reals(dev, (double[]){FLT_MAX, -FLT_MAX, FLT_MIN, FLT_MIN / 8, -0.0, 0}, 6);
    assert_int_equal(run_nonfinite(dev, t), 0);
    bench_free(dev, t);
    t = bench_put(dev, I32, SHAPE(2), (int32_t[]){0x7fc00000, -1});
    assert_int_equal(run_nonfinite(dev, t), 0);
    bench_free(dev, t);
    /* padding is not counted: 2 columns of 3 */
    t = put_reals(dev, (double[]){1, NAN, NAN, INFINITY, 2, NAN, 3, 4, INFINITY}, 9);
    tensor padded = {.data = t.data, .type = t.type, .rank = 2, .dim = {3, 2}, .ld = 3};
    assert_int_equal(run_nonfinite(dev, padded), 2);
    bench_free(dev, t);
}

static void test_nonfinite(void **state)
{
    each_device(state, nonfinite_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill),  cmocka_unit_test(test_copy), cmocka_unit_test(test_loss),
        cmocka_unit_test(test_sumsq), cmocka_unit_test(test_clip), cmocka_unit_test(test_nonfinite),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
