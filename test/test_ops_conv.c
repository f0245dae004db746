/* test_ops_conv.c - what convolutions read as rows of a product, and norms of channels (BatchNorm,
 * GroupNorm).  On the devices against the reference, and the reference against central differences
 * and numbers worked by hand.
 */
#include "test/ref.h"
#include "test/op_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static double square(double x)
{
    return x * x;
}

/* ---- windows ---- */

/* All lines of all images, or N from one on that begin and end inside of an image. */
typedef struct {
    int64_t B, H, W, C, K, S, first, N;
} window_case;

static const window_case windows[] = {
    {1, 1, 1, 1, 3, 1, 0, 1},  {2, 4, 5, 3, 3, 1, 0, 8}, {2, 4, 5, 3, 3, 1, 3, 2},
    {2, 5, 7, 20, 3, 2, 0, 6}, {3, 5, 4, 2, 3, 2, 2, 5}, {2, 6, 6, 4, 1, 2, 1, 4},
    {1, 4, 3, 70, 3, 1, 1, 2}, {2, 3, 2, 2, 5, 1, 0, 6}, {1, 7, 8, 9, 3, 3, 0, 3},
};

static void call_windows(device *dev, const tensor *t, const void *options)
{
    const window_case *c = options;
    OP(windows, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .side = c->K, .stride = c->S,
       .first = c->first);
}

static void call_windows_grad(device *dev, const tensor *t, const void *options)
{
    const window_case *c = options;
    OP(windows_grad, dev, STREAM_COMPUTE, .dx = t[0], .dout = t[1], .side = c->K, .stride = c->S,
       .first = c->first);
}

/* The largest sum there may be of K K elements and what is there. */
static void windows_grad_unit(op_case *t, const window_case *c)
{
    operand *o = t->operands;
    double most = 0;
    for (int64_t i = 0; i < o[1].rows * o[1].cols; i++)
        most = fmax(most, fabs(o[1].value[i]));
    for (int64_t i = 0; i < o[0].rows * o[0].cols; i++)
        o[0].unit[i] = summed(c->K * c->K + 1, (double)(c->K * c->K) * square(most)) +
                       fabs(o[0].want[i]) + fabs(o[0].value[i]);
}

static void test_windows(void **state)
{
    for (int i = 0; i < COUNT(windows) * 2; i++) {
        const window_case *c = &windows[i / 2];
        shape pixels = SHAPE(c->B, c->H, c->W, c->C),
              rows = SHAPE(c->N, (c->W - 1) / c->S + 1, c->C * c->K * c->K);
        bool back = i & 1;
        op_case t;
        case_begin(*state, &t, back ? call_windows_grad : call_windows, c,
                   "windows%s B=%lld %lldx%lld C=%lld K=%lld S=%lld first %lld",
                   back ? "_grad" : "", (long long)c->B, (long long)c->H, (long long)c->W,
                   (long long)c->C, (long long)c->K, (long long)c->S, (long long)c->first);
        case_operand(&t, 0, back ? "dx" : "out", back ? ADDED : WRITTEN, WORK, back ? pixels : rows,
                     0);
        case_operand(&t, 1, back ? "dout" : "x", GIVEN, WORK, back ? rows : pixels, 0);
        case_draw(&t, 1, 0, 1);
        if (back) case_draw(&t, 0, 0, 1);
        case_reference(*state, &t);
        if (back) windows_grad_unit(&t, c); /* forward nothing is rounded: the bound stays 0 */
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "windows, windows_grad");
}

/* ---- norms ---- */

/* Channels of part of a vector, of one and of several; groups of one channel, of some, of all. */
typedef struct {
    int64_t B, P, C, groups;
    bool relu, other; /* other: accumulates, or goes without; see the tests */
} norm_case;

static const norm_case norms[] = {{1, 1, 1, 0, false, false},  {2, 6, 3, 0, true, false},
                                  {3, 20, 16, 0, false, true}, {2, 49, 70, 0, true, true},
                                  {5, 3, 8, 4, true, false},   {2, 12, 6, 6, false, true},
                                  {3, 7, 9, 1, true, true},    {2, 30, 130, 2, true, false}};

#define PIXELS(c) SHAPE((c)->B, (c)->P, (c)->C)
#define MEANS(c)  SHAPE((c)->groups ? (c)->B : 1, (c)->groups ? (c)->groups : (c)->C)

static const double eps = 1e-5, momentum = 0.1;

static void begin_norm(bench *b, op_case *t, case_call *call, const char *name, const norm_case *c)
{
    case_begin(b, t, call, c, "%s B=%lld P=%lld C=%lld groups=%lld%s%s", name, (long long)c->B,
               (long long)c->P, (long long)c->C, (long long)c->groups, c->relu ? " relu" : "",
               c->other ? " other" : "");
}

/* Which mean is that of element i. */
static int64_t mean_of(const norm_case *c, int64_t i)
{
    int64_t channel = i % c->C;
    return c->groups ? i / (c->P * c->C) * c->groups + channel / (c->C / c->groups) : channel;
}

static void call_sums(device *dev, const tensor *t, const void *options)
{
    (void)options;
    OP(channel_sums, dev, STREAM_COMPUTE, .sums = t[0], .x = t[1]);
}

/* Means, then squares about them, which have the errors of x and of the mean besides. */
static void sums_unit(op_case *t, const norm_case *c)
{
    operand *o = t->operands;
    for (int64_t i = 0; i < c->B * c->C; i++) {
        int64_t at = i / c->C * 2 * c->C + i % c->C;
        double squares = 0, off = 0;
        for (int64_t p = 0; p < c->P; p++)
            squares += square(o[1].value[(i / c->C * c->P + p) * c->C + i % c->C]);
        double mean = summed(c->P, squares) / (double)c->P + fabs(o[0].want[at]);
        for (int64_t p = 0; p < c->P; p++) {
            double x = o[1].value[(i / c->C * c->P + p) * c->C + i % c->C];
            off += 2 * fabs(x - o[0].want[at]) * (fabs(x) + mean) + square(mean * FLT_EPSILON);
        }
        o[0].unit[at] = mean;
        o[0].unit[at + c->C] = summed_up(c->P, o[0].want[at + c->C]) + off;
    }
}

static void test_sums(void **state)
{
    for (int i = 0; i < COUNT(norms); i++) {
        const norm_case *c = &norms[i];
        op_case t;
        begin_norm(*state, &t, call_sums, "channel_sums", c);
        case_operand(&t, 0, "sums", WRITTEN, STAT, SHAPE(c->B, 2 * c->C), 0);
        case_operand(&t, 1, "x", GIVEN, WORK, PIXELS(c), 0);
        case_draw(&t, 1, 3, 2);
        case_reference(*state, &t);
        sums_unit(&t, c);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "channel_sums");
}

static void call_stats(device *dev, const tensor *t, const void *options)
{
    const norm_case *c = options;
    OP(channel_stats, dev, STREAM_COMPUTE, .mean = t[0], .rstd = t[1], .sums = t[2],
       .running_mean = t[3], .running_var = t[4], .pixels = c->P, .groups = c->groups,
       .momentum = momentum, .eps = eps);
}

/* Added up in double. */
static void stats_unit(op_case *t)
{
    operand *o = t->operands;
    for (int64_t k = 0; k < o[0].rows * o[0].cols; k++) {
        o[0].unit[k] = fabs(o[0].want[k]);
        o[1].unit[k] = fabs(o[1].want[k]);
        if (o[3].role == ABSENT) continue;
        o[3].unit[k] = fabs(o[3].want[k]);
        o[4].unit[k] = fabs(o[4].want[k]);
    }
}

/* With running statistics, or (other) without. */
static void test_stats(void **state)
{
    for (int i = 0; i < COUNT(norms); i++) {
        const norm_case *c = &norms[i];
        op_case t;
        begin_norm(*state, &t, call_stats, "channel_stats", c);
        case_operand(&t, 0, "mean", WRITTEN, STAT, MEANS(c), 0);
        case_operand(&t, 1, "rstd", WRITTEN, STAT, MEANS(c), 0);
        case_operand(&t, 2, "sums", GIVEN, STAT, SHAPE(c->B, 2 * c->C), 0);
        case_draw(&t, 2, 5, 0.5);
        if (!c->groups && !c->other) {
            case_operand(&t, 3, "running_mean", ADDED, STAT, SHAPE(c->C), 0);
            case_operand(&t, 4, "running_var", ADDED, STAT, SHAPE(c->C), 0);
            case_draw(&t, 3, 0, 1);
            case_draw(&t, 4, 5, 0.5);
        }
        case_reference(*state, &t);
        stats_unit(&t);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "channel_stats");
}

static void test_running(void **state)
{
    static const norm_case sizes[] = {{.C = 1}, {.C = 70}};
    for (int i = 0; i < COUNT(sizes); i++) {
        const norm_case *c = &sizes[i];
        op_case t;
        begin_norm(*state, &t, call_stats, "channel_stats, running,", c);
        case_operand(&t, 0, "mean", WRITTEN, STAT, SHAPE(c->C), 0);
        case_operand(&t, 1, "rstd", WRITTEN, STAT, SHAPE(c->C), 0);
        case_operand(&t, 3, "running_mean", ADDED, STAT, SHAPE(c->C), 0);
        case_operand(&t, 4, "running_var", ADDED, STAT, SHAPE(c->C), 0);
        case_draw(&t, 3, 0, 1);
        case_draw(&t, 4, 5, 0.5);
        case_reference(*state, &t);
        for (int64_t k = 0; k < c->C; k++)
            t.operands[1].unit[k] = 2 * fabs(t.operands[1].want[k]);
        case_compare(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "channel_stats of running statistics");
}

static void call_norm(device *dev, const tensor *t, const void *options)
{
    const norm_case *c = options;
    OP(channel_norm, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .mean = t[2], .rstd = t[3],
       .w = t[4], .b = t[5], .groups = c->groups, .relu = c->relu);
}

/* x, mean, rstd, w, b from operand i on. */
static void draw_norm(op_case *t, int i, const norm_case *c)
{
    case_operand(t, i, "x", GIVEN, WORK, PIXELS(c), 0);
    case_operand(t, i + 1, "mean", GIVEN, STAT, MEANS(c), 0);
    case_operand(t, i + 2, "rstd", GIVEN, STAT, MEANS(c), 0);
    case_operand(t, i + 3, "w", GIVEN, WORK, SHAPE(c->C), 0);
    case_operand(t, i + 4, "b", GIVEN, WORK, SHAPE(c->C), 0);
    case_draw(t, i, 1, 2);
    case_draw(t, i + 1, 1, 0.5);
    case_draw(t, i + 2, 1, 0.2);
    case_draw(t, i + 3, 1, 0.5);
    case_draw(t, i + 4, 0, 1);
}

/* In place when other. */
static void test_norm(void **state)
{
    for (int i = 0; i < COUNT(norms); i++) {
        const norm_case *c = &norms[i];
        op_case t;
        begin_norm(*state, &t, call_norm, "channel_norm", c);
        draw_norm(&t, 1, c);
        case_operand(&t, 0, "out", WRITTEN, WORK, PIXELS(c), 0);
        if (c->other) t.operands[0].shares = 1 + 1;
        case_reference(*state, &t);
        operand *o = t.operands;
        for (int64_t k = 0; k < c->B * c->P * c->C; k++) {
            int64_t m = mean_of(c, k), j = k % c->C;
            o[0].unit[k] =
                (fabs(o[1].value[k]) + fabs(o[2].value[m])) * fabs(o[3].value[m] * o[4].value[j]) +
                fabs(o[5].value[j]) + fabs(o[0].want[k]);
        }
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "channel_norm");
}

/* |x - mean| rstd with the errors of both; x is operand x, mean and rstd follow. */
static double wide_norm(const operand *x, int64_t i, int64_t m)
{
    return (fabs(x[0].value[i]) + fabs(x[1].value[m])) * fabs(x[2].value[m]);
}

static void call_grad_sums(device *dev, const tensor *t, const void *options)
{
    const norm_case *c = options;
    OP(channel_grad_sums, dev, STREAM_COMPUTE, .sums = t[0], .dout = t[1], .x = t[2], .mean = t[3],
       .rstd = t[4], .w = t[5], .b = t[6], .groups = c->groups, .relu = c->relu);
}

static void grad_sums_unit(op_case *t, const norm_case *c)
{
    operand *o = t->operands;
    for (int64_t i = 0; i < c->B * c->C; i++) {
        int64_t at = i / c->C * 2 * c->C + i % c->C;
        double d = 0, dn = 0;
        for (int64_t p = 0; p < c->P; p++) {
            int64_t k = (i / c->C * c->P + p) * c->C + i % c->C;
            d += square(o[1].value[k]);
            dn += square(o[1].value[k] * wide_norm(o + 2, k, mean_of(c, k)));
        }
        o[0].unit[at] = summed(c->P, d) + fabs(o[0].want[at]);
        o[0].unit[at + c->C] = 2 * summed(c->P, dn) + fabs(o[0].want[at + c->C]);
    }
}

static void test_grad_sums(void **state)
{
    for (int i = 0; i < COUNT(norms); i++) {
        const norm_case *c = &norms[i];
        op_case t;
        begin_norm(*state, &t, call_grad_sums, "channel_grad_sums", c);
        case_operand(&t, 0, "sums", WRITTEN, STAT, SHAPE(c->B, 2 * c->C), 0);
        case_operand(&t, 1, "dout", GIVEN, WORK, PIXELS(c), 0);
        case_draw(&t, 1, 0, 1);
        draw_norm(&t, 2, c);
        case_reference(*state, &t);
        grad_sums_unit(&t, c);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "channel_grad_sums");
}

/* BatchNorm's images may be some of those of several ranks: then one more is before them, and one
 * behind. */
static int64_t others_of(const norm_case *c)
{
    return c->groups || c->relu ? 0 : 1;
}

static void call_norm_grad(device *dev, const tensor *t, const void *options)
{
    const norm_case *c = options;
    OP(channel_norm_grad, dev, STREAM_COMPUTE, .dw = {t[0], c->other}, .db = {t[1], c->other},
       .dx = t[2], .dout = t[3], .x = t[4], .mean = t[5], .rstd = t[6], .w = t[7], .b = t[8],
       .sums = t[9], .first = others_of(c), .groups = c->groups, .relu = c->relu);
}

/* What is added up is added up in double. */
static void norm_grad_unit(op_case *t, const norm_case *c)
{
    operand *o = t->operands;
    int64_t all = c->B * c->P * c->C, means = o[5].rows * o[5].cols, images = o[9].rows;
    double each = (double)(images * c->P * c->C / means);
    for (int k = 0; k < 2 && o[0].role != ABSENT; k++)
        for (int64_t j = 0; j < c->C; j++)
            o[k].unit[j] = 2 * (fabs(o[k].want[j]) + fabs(o[k].value[j]));
    for (int64_t k = 0; k < 2 * c->C; k++)
        o[9].unit[k] = fabs(o[9].want[k]);
    for (int64_t m = 0; m < means && o[2].role != ABSENT; m++) {
        double h = 0, hn = 0;
        for (int64_t i = 0; i < images * c->C; i++)
            if (mean_of(c, i / c->C * c->P * c->C + i % c->C) == m) {
                const double *sums = o[9].value + i / c->C * 2 * c->C + i % c->C;
                h += fabs(sums[0] * o[7].value[i % c->C]) / each;
                hn += fabs(sums[c->C] * o[7].value[i % c->C]) / each;
            }
        for (int64_t i = 0; i < all; i++)
            if (mean_of(c, i) == m)
                o[2].unit[i] =
                    fabs(o[6].value[m]) * (2 * fabs(o[3].value[i] * o[7].value[i % c->C]) + h +
                                           2 * wide_norm(o + 4, i, m) * hn) +
                    fabs(o[2].want[i]);
    }
}

/* All gradients; dw and db alone; dx alone, in the place of dout. */
static void test_norm_grad(void **state)
{
    for (int i = 0; i < COUNT(norms) * 3; i++) {
        const norm_case *c = &norms[i / 3];
        operand_role role = c->other ? ADDED : WRITTEN;
        int which = i % 3;
        op_case t;
        begin_norm(*state, &t, call_norm_grad,
                   which == 0   ? "channel_norm_grad"
                   : which == 1 ? "channel_norm_grad, weights,"
                                : "channel_norm_grad, dx in place,",
                   c);
        case_operand(&t, 3, "dout", GIVEN, WORK, PIXELS(c), 0);
        case_draw(&t, 3, 0, 1);
        draw_norm(&t, 4, c);
        if (which < 2) {
            case_operand(&t, 0, "dw", role, WORK, SHAPE(c->C), 0);
            case_operand(&t, 1, "db", role, WORK, SHAPE(c->C), 0);
            if (c->other) case_draw(&t, 0, 0, 1);
            if (c->other) case_draw(&t, 1, 0, 1);
        }
        if (which != 1) case_operand(&t, 2, "dx", WRITTEN, WORK, PIXELS(c), 0);
        if (which == 2) t.operands[2].shares = 1 + 3;
        case_operand(&t, 9, "sums", ADDED, STAT, SHAPE(c->B + 2 * others_of(c), 2 * c->C), 0);
        case_draw(&t, 9, 0, 2);
        case_reference(*state, &t);
        norm_grad_unit(&t, c);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "channel_norm_grad");
}

/* ---- the reference ---- */

static tensor doubles(double *x, shape s)
{
    return tensor_of(x, F64, s);
}

static void well(device *dev)
{
    error *e = device_status(dev);
    if (e) fail_msg("%s", error_text(e));
}

static void test_by_hand(void **state)
{
    (void)state;
    device ref = ref_device();
    double x[6] = {1, 2, 3, 4, 5, 6}, rows[27], dx[6] = {0}, mean[1], rstd[1], run[2] = {10, 20},
           sums[4], w[1] = {2}, b[1] = {-1}, out[6];
    tensor image = doubles(x, SHAPE(1, 2, 3, 1));
    OP(windows, &ref, STREAM_COMPUTE, .out = doubles(rows, SHAPE(1, 3, 9)), .x = image, .side = 3,
       .stride = 1, .first = 1);
    const double second[] = {0, 1, 2, 0, 4, 5, 0, 0, 0, 1, 2, 3, 4, 5,
                             6, 0, 0, 0, 2, 3, 0, 5, 6, 0, 0, 0, 0};
    assert_memory_equal(rows, second, sizeof second);
    OP(windows, &ref, STREAM_COMPUTE, .out = doubles(rows, SHAPE(1, 2, 1)), .x = image, .side = 1,
       .stride = 2);
    assert_true(rows[0] == 1 && rows[1] == 3);
    double ones[18] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    OP(windows_grad, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(1, 2, 3, 1)),
       .dout = doubles(ones, SHAPE(1, 2, 9)), .side = 3, .stride = 2);
    const double seen[] = {1, 2, 1, 1, 2, 1}; /* of the windows about (0,0) and (0,2) */
    assert_memory_equal(dx, seen, sizeof dx);
    /* two images of three pixels */
    OP(channel_sums, &ref, STREAM_COMPUTE, .sums = doubles(sums, SHAPE(2, 2)),
       .x = doubles(x, SHAPE(2, 3, 1)));
    const double each[] = {2, 2, 5, 2};
    assert_memory_equal(sums, each, sizeof each);
    OP(channel_stats, &ref, STREAM_COMPUTE, .mean = doubles(mean, SHAPE(1)),
       .rstd = doubles(rstd, SHAPE(1)), .sums = doubles(sums, SHAPE(2, 2)),
       .running_mean = doubles(run, SHAPE(1)), .running_var = doubles(run + 1, SHAPE(1)),
       .pixels = 3, .momentum = 0.5);
    assert_true(mean[0] == 3.5 && fabs(rstd[0] - 1 / sqrt(17.5 / 6)) < 1e-15);
    assert_true(run[0] == 6.75 && run[1] == 11.75); /* 17.5 / 5 is the other half */
    rstd[0] = 1;
    OP(channel_norm, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(1, 6, 1)),
       .x = doubles(x, SHAPE(1, 6, 1)), .mean = doubles(mean, SHAPE(1)),
       .rstd = doubles(rstd, SHAPE(1)), .w = doubles(w, SHAPE(1)), .b = doubles(b, SHAPE(1)),
       .relu = true);
    const double above[] = {0, 0, 0, 0, 2, 4};
    assert_memory_equal(out, above, sizeof out);
    well(&ref);
}

enum { B = 2, P = 3, C = 4, N = B * P * C };

typedef struct {
    double x[N], w[C], b[C], mean[B * C], rstd[B * C], sums[2 * B * C];
    int64_t groups;
} small_norm;

static norm_case case_of(const small_norm *s)
{
    return (norm_case){B, P, C, s->groups, true, false};
}

static double objective(small_norm *s, const double *weight)
{
    device ref = ref_device();
    norm_case c = case_of(s);
    double out[N], sum = 0;
    tensor x = doubles(s->x, SHAPE(B, P, C)), mean = doubles(s->mean, MEANS(&c)),
           rstd = doubles(s->rstd, MEANS(&c));
    tensor sums = doubles(s->sums, SHAPE(B, 2 * C));
    OP(channel_sums, &ref, STREAM_COMPUTE, .sums = sums, .x = x);
    OP(channel_stats, &ref, STREAM_COMPUTE, .mean = mean, .rstd = rstd, .sums = sums, .pixels = P,
       .groups = s->groups, .eps = eps);
    OP(channel_norm, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(B, P, C)), .x = x,
       .mean = mean, .rstd = rstd, .w = doubles(s->w, SHAPE(C)), .b = doubles(s->b, SHAPE(C)),
       .groups = s->groups, .relu = true);
    well(&ref);
    for (int i = 0; i < N; i++)
        sum += weight[i] * out[i];
    return sum;
}

/* Through the mean and the deviation, too. */
static void test_gradients_by_differences(void **state)
{
    (void)state;
    for (int groups = 0; groups <= C; groups += 2) {
        device ref = ref_device();
        small_norm s = {.groups = groups};
        norm_case c = case_of(&s);
        double weight[N], dx[N], dw[C], db[C];
        for (int i = 0; i < N; i++) {
            s.x[i] = sin(1 + 3.0 * i);
            weight[i] = cos(2.0 * i);
        }
        for (int i = 0; i < C; i++)
            s.w[i] = 1 + 0.5 * sin(5.0 * i), s.b[i] = 0.3 * cos(i);
        objective(&s, weight);
        tensor x = doubles(s.x, SHAPE(B, P, C)), dout = doubles(weight, SHAPE(B, P, C)),
               mean = doubles(s.mean, MEANS(&c)), rstd = doubles(s.rstd, MEANS(&c)),
               w = doubles(s.w, SHAPE(C)), b = doubles(s.b, SHAPE(C)),
               sums = doubles(s.sums, SHAPE(B, 2 * C));
        OP(channel_grad_sums, &ref, STREAM_COMPUTE, .sums = sums, .dout = dout, .x = x,
           .mean = mean, .rstd = rstd, .w = w, .b = b, .groups = groups, .relu = true);
        OP(channel_norm_grad, &ref, STREAM_COMPUTE, .dw = {doubles(dw, SHAPE(C)), false},
           .db = {doubles(db, SHAPE(C)), false}, .dx = doubles(dx, SHAPE(B, P, C)), .dout = dout,
           .x = x, .mean = mean, .rstd = rstd, .w = w, .b = b, .sums = sums, .groups = groups,
           .relu = true);
        well(&ref);
        const struct {
            double *value, *gradient;
            int n;
        } all[] = {{s.x, dx, N}, {s.w, dw, C}, {s.b, db, C}};
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < all[k].n; i++) {
                double old = all[k].value[i], h = 1e-6;
                all[k].value[i] = old + h;
                double up = objective(&s, weight);
                all[k].value[i] = old - h;
                double down = objective(&s, weight);
                all[k].value[i] = old;
                if (!(fabs((up - down) / (2 * h) - all[k].gradient[i]) < 1e-8))
                    fail_msg("groups %d: %d, %d: %g and %g", groups, k, i, (up - down) / (2 * h),
                             all[k].gradient[i]);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_running),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_grad_sums),
        cmocka_unit_test(test_norm_grad),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_gradients_by_differences),
    };
    return RUN_IN_ALL_TYPES(tests);
}
