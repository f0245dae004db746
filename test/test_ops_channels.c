/* test_ops_channels.c - what a convolutional network with channels last has between its products:
 * depthwise convolution, pixels side by side, a factor for each channel.  On the devices against
 * the reference, and the reference against central differences and numbers worked by hand.
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

/* Images narrower and wider than the kernel, and than what the CPU has at a time; channels of part
 * of a vector, of one and of several. */
typedef struct {
    int64_t B, H, W, C, K;
} image_case;

static const image_case images[] = {
    {1, 1, 1, 1, 7},    {2, 5, 6, 3, 7}, {1, 9, 17, 16, 7}, {2, 3, 4, 20, 3},
    {1, 14, 13, 33, 7}, {3, 6, 7, 8, 5}, {2, 4, 3, 5, 1},   {1, 2, 9, 40, 9},
};

#define PIXELS(c) SHAPE((c)->B, (c)->H, (c)->W, (c)->C)

typedef struct {
    int64_t side;
    bool flipped, accumulate;
} how;

/* ---- depthwise ---- */

static void call_depthwise(device *dev, const tensor *t, const void *options)
{
    const how *h = options;
    OP(depthwise, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .w = t[2], .bias = t[3],
       .side = h->side, .flipped = h->flipped);
}

/* The root of the sum of the squares of an element's terms, from a convolution of squares. */
static void depthwise_unit(op_case *t, const image_case *c)
{
    operand *o = t->operands;
    int64_t K = c->K;
    for (int64_t p = 0; p < c->B * c->H * c->W; p++)
        for (int64_t k = 0; k < c->C; k++) {
            double squares = o[3].role == ABSENT ? 0 : square(o[3].value[k]);
            for (int64_t tap = 0; tap < K * K; tap++) {
                int64_t y = p / c->W % c->H + tap / K - K / 2, x = p % c->W + tap % K - K / 2;
                if (y < 0 || y >= c->H || x < 0 || x >= c->W) continue;
                int64_t at = (p / (c->H * c->W) * c->H + y) * c->W + x;
                double biggest = 0; /* of both orders of taps */
                biggest = fmax(fabs(o[2].value[k * K * K + tap]),
                               fabs(o[2].value[k * K * K + K * K - 1 - tap]));
                squares += square(o[1].value[at * c->C + k] * biggest);
            }
            o[0].unit[p * c->C + k] = summed(K * K + 1, squares) + fabs(o[0].want[p * c->C + k]);
        }
}

static void test_depthwise(void **state)
{
    for (int i = 0; i < COUNT(images) * 2; i++) {
        const image_case *c = &images[i / 2];
        how h = {.side = c->K, .flipped = i & 1};
        op_case t;
        case_begin(*state, &t, call_depthwise, &h, "depthwise B=%lld %lldx%lld C=%lld K=%lld%s",
                   (long long)c->B, (long long)c->H, (long long)c->W, (long long)c->C,
                   (long long)c->K, h.flipped ? " flipped" : " bias");
        case_operand(&t, 0, "out", WRITTEN, WORK, PIXELS(c), 0);
        case_operand(&t, 1, "x", GIVEN, WORK, PIXELS(c), 0);
        case_operand(&t, 2, "w", GIVEN, WORK, SHAPE(c->C, c->K * c->K), 0);
        case_draw(&t, 1, 0, 1);
        case_draw(&t, 2, 0, 1);
        if (!h.flipped) {
            case_operand(&t, 3, "bias", GIVEN, WORK, SHAPE(c->C), 0);
            case_draw(&t, 3, 0, 1);
        }
        case_reference(*state, &t);
        depthwise_unit(&t, c);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "depthwise");
}

static void call_depthwise_grad(device *dev, const tensor *t, const void *options)
{
    const how *h = options;
    OP(depthwise_grad, dev, STREAM_COMPUTE, .dw = {t[0], h->accumulate},
       .db = {t[1], h->accumulate}, .x = t[2], .dout = t[3], .side = h->side);
}

static void depthwise_grad_unit(op_case *t, const image_case *c)
{
    operand *o = t->operands;
    int64_t n = c->B * c->H * c->W, taps = c->K * c->K;
    for (int64_t k = 0; k < c->C; k++) {
        double x = 0, d = 0;
        for (int64_t p = 0; p < n; p++) {
            x = fmax(x, fabs(o[2].value[p * c->C + k]));
            d += square(o[3].value[p * c->C + k]);
        }
        for (int64_t tap = 0; tap < taps && o[0].role != ABSENT; tap++)
            o[0].unit[k * taps + tap] = summed(n + 1, d * square(x)) +
                                        fabs(o[0].want[k * taps + tap]) +
                                        (o[0].role == ADDED ? fabs(o[0].value[k * taps + tap]) : 0);
        if (o[1].role != ABSENT)
            o[1].unit[k] = summed(n + 1, d) + fabs(o[1].want[k]) +
                           (o[1].role == ADDED ? fabs(o[1].value[k]) : 0);
    }
}

static void test_depthwise_grad(void **state)
{
    for (int i = 0; i < COUNT(images) * 4; i++) {
        const image_case *c = &images[i / 4];
        how h = {.side = c->K, .accumulate = i & 1};
        int which = i / 2 % 2; /* both; dw alone, or db alone */
        operand_role role = h.accumulate ? ADDED : WRITTEN;
        op_case t;
        case_begin(*state, &t, call_depthwise_grad, &h,
                   "depthwise_grad B=%lld %lldx%lld C=%lld K=%lld%s%s", (long long)c->B,
                   (long long)c->H, (long long)c->W, (long long)c->C, (long long)c->K,
                   h.accumulate ? " adds" : "", which ? " one" : "");
        if (!which || i & 1) case_operand(&t, 0, "dw", role, WORK, SHAPE(c->C, c->K * c->K), 0);
        if (!which || !(i & 1)) case_operand(&t, 1, "db", role, WORK, SHAPE(c->C), 0);
        case_operand(&t, 2, "x", GIVEN, WORK, PIXELS(c), 0);
        case_operand(&t, 3, "dout", GIVEN, WORK, PIXELS(c), 0);
        for (int k = 0; k < 4; k++)
            if (k > 1 || (h.accumulate && t.operands[k].role != ABSENT)) case_draw(&t, k, 0, 1);
        case_reference(*state, &t);
        depthwise_grad_unit(&t, c);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "depthwise_grad");
}

/* ---- merge ---- */

static const image_case merges[] = {{1, 2, 2, 1, 2}, {2, 4, 6, 3, 2},  {1, 7, 5, 9, 2},
                                    {3, 6, 9, 4, 3}, {1, 8, 8, 40, 4}, {2, 3, 3, 5, 1}};

static void call_merge(device *dev, const tensor *t, const void *options)
{
    OP(merge, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .side = *(const int64_t *)options);
}

static void call_merge_grad(device *dev, const tensor *t, const void *options)
{
    OP(merge_grad, dev, STREAM_COMPUTE, .dx = t[0], .dout = t[1],
       .side = *(const int64_t *)options);
}

static void test_merge(void **state)
{
    for (int i = 0; i < COUNT(merges) * 2; i++) {
        const image_case *c = &merges[i / 2];
        shape merged = SHAPE(c->B, c->H / c->K, c->W / c->K, c->C * c->K * c->K);
        bool back = i & 1;
        op_case t;
        case_begin(*state, &t, back ? call_merge_grad : call_merge, &c->K,
                   "merge%s B=%lld %lldx%lld C=%lld K=%lld", back ? "_grad" : "", (long long)c->B,
                   (long long)c->H, (long long)c->W, (long long)c->C, (long long)c->K);
        case_operand(&t, 0, back ? "dx" : "out", WRITTEN, WORK, back ? PIXELS(c) : merged, 0);
        case_operand(&t, 1, back ? "dout" : "x", GIVEN, WORK, back ? merged : PIXELS(c), 0);
        case_draw(&t, 1, 0, 1);
        case_reference(*state, &t); /* no rounding: the bound stays 0 */
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "merge, merge_grad");
}

/* ---- scale_channels ---- */

typedef struct {
    int64_t R, C;
} matrix_case;

static const matrix_case matrices[] = {{1, 1}, {7, 3}, {20, 64}, {33, 70}, {200, 8}};

static void call_scale(device *dev, const tensor *t, const void *options)
{
    (void)options;
    OP(scale_channels, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .scale = t[2],
       .residual = t[3]);
}

static void test_scale_channels(void **state)
{
    for (int i = 0; i < COUNT(matrices) * 4; i++) {
        const matrix_case *c = &matrices[i / 4];
        bool residual = i & 1, in_place = i & 2;
        op_case t;
        case_begin(*state, &t, call_scale, NULL, "scale_channels R=%lld C=%lld%s%s",
                   (long long)c->R, (long long)c->C, residual ? " residual" : "",
                   in_place ? " in place" : "");
        case_operand(&t, 1, "x", GIVEN, WORK, SHAPE(c->R, c->C), 0);
        case_operand(&t, 0, "out", WRITTEN, WORK, SHAPE(c->R, c->C), 0);
        if (in_place) t.operands[0].shares = 1 + 1;
        case_operand(&t, 2, "scale", GIVEN, WORK, SHAPE(c->C), 0);
        case_draw(&t, 1, 0, 1);
        case_draw(&t, 2, 1, 1);
        if (residual) {
            case_operand(&t, 3, "residual", GIVEN, WORK, SHAPE(c->R, c->C), 0);
            case_draw(&t, 3, 0, 1);
        }
        case_reference(*state, &t);
        operand *o = t.operands;
        for (int64_t k = 0; k < c->R * c->C; k++)
            o[0].unit[k] = fabs(o[1].value[k] * o[2].value[k % c->C]) + fabs(o[0].want[k]);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "scale_channels");
}

static void call_scale_grad(device *dev, const tensor *t, const void *options)
{
    OP(scale_channels_grad, dev, STREAM_COMPUTE, .dscale = {t[0], *(const bool *)options},
       .x = t[1], .dout = t[2]);
}

static void test_scale_channels_grad(void **state)
{
    for (int i = 0; i < COUNT(matrices) * 2; i++) {
        const matrix_case *c = &matrices[i / 2];
        bool adds = i & 1;
        op_case t;
        case_begin(*state, &t, call_scale_grad, &adds, "scale_channels_grad R=%lld C=%lld%s",
                   (long long)c->R, (long long)c->C, adds ? " adds" : "");
        case_operand(&t, 0, "dscale", adds ? ADDED : WRITTEN, WORK, SHAPE(c->C), 0);
        case_operand(&t, 1, "x", GIVEN, WORK, SHAPE(c->R, c->C), 0);
        case_operand(&t, 2, "dout", GIVEN, WORK, SHAPE(c->R, c->C), 0);
        if (adds) case_draw(&t, 0, 0, 1);
        case_draw(&t, 1, 0, 1);
        case_draw(&t, 2, 0, 1);
        case_reference(*state, &t);
        operand *o = t.operands;
        for (int64_t k = 0; k < c->C; k++) {
            double squares = 0;
            for (int64_t r = 0; r < c->R; r++)
                squares += square(o[1].value[r * c->C + k] * o[2].value[r * c->C + k]);
            o[0].unit[k] =
                summed(c->R + 1, squares) + fabs(o[0].want[k]) + (adds ? fabs(o[0].value[k]) : 0);
        }
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "scale_channels_grad");
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

/* A kernel of 3 that is 1 at one tap shifts the picture; flipped, it shifts it back. */
static void test_by_hand(void **state)
{
    (void)state;
    device ref = ref_device();
    double x[6] = {1, 2, 3, 4, 5, 6}, w[9] = {0}, bias[1] = {10}, out[6], merged[4], dx[6];
    w[5] = 1; /* row 1, column 2: the pixel at the right */
    tensor image = doubles(x, SHAPE(1, 2, 3, 1));
    OP(depthwise, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(1, 2, 3, 1)), .x = image,
       .w = doubles(w, SHAPE(1, 9)), .bias = doubles(bias, SHAPE(1)), .side = 3);
    const double right[] = {12, 13, 10, 15, 16, 10};
    assert_memory_equal(out, right, sizeof out);
    OP(depthwise, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(1, 2, 3, 1)), .x = image,
       .w = doubles(w, SHAPE(1, 9)), .side = 3, .flipped = true);
    const double left[] = {0, 1, 2, 0, 4, 5};
    assert_memory_equal(out, left, sizeof out);
    OP(merge, &ref, STREAM_COMPUTE, .out = doubles(merged, SHAPE(1, 1, 1, 4)), .x = image,
       .side = 2);
    const double corner[] = {1, 2, 4, 5};
    assert_memory_equal(merged, corner, sizeof merged);
    OP(merge_grad, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(1, 2, 3, 1)),
       .dout = doubles(merged, SHAPE(1, 1, 1, 4)), .side = 2);
    const double seen[] = {1, 2, 0, 4, 5, 0};
    assert_memory_equal(dx, seen, sizeof dx);
    well(&ref);
}

enum { B = 2, H = 3, W = 4, C = 2, K = 3, N = B * H * W * C };

static double objective(double *x, double *w, double *bias, const double *weight)
{
    device ref = ref_device();
    double out[N], sum = 0;
    OP(depthwise, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(B, H, W, C)),
       .x = doubles(x, SHAPE(B, H, W, C)), .w = doubles(w, SHAPE(C, K * K)),
       .bias = doubles(bias, SHAPE(C)), .side = K);
    well(&ref);
    for (int i = 0; i < N; i++)
        sum += weight[i] * out[i];
    return sum;
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    device ref = ref_device();
    double x[N], w[C * K * K], bias[C], weight[N], dx[N], dw[C * K * K], db[C];
    for (int i = 0; i < N; i++) {
        x[i] = sin(1 + 3.0 * i);
        weight[i] = cos(2.0 * i);
    }
    for (int i = 0; i < C * K * K; i++)
        w[i] = sin(5.0 * i);
    bias[0] = 0.3, bias[1] = -2;
    tensor d = doubles(weight, SHAPE(B, H, W, C));
    OP(depthwise, &ref, STREAM_COMPUTE, .out = doubles(dx, SHAPE(B, H, W, C)), .x = d,
       .w = doubles(w, SHAPE(C, K * K)), .side = K, .flipped = true);
    OP(depthwise_grad, &ref, STREAM_COMPUTE, .dw = {doubles(dw, SHAPE(C, K * K)), false},
       .db = {doubles(db, SHAPE(C)), false}, .x = doubles(x, SHAPE(B, H, W, C)), .dout = d,
       .side = K);
    well(&ref);
    const struct {
        double *value, *gradient;
        int n;
    } all[] = {{x, dx, N}, {w, dw, C * K * K}, {bias, db, C}};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < all[k].n; i++) {
            double old = all[k].value[i], h = 1e-3; /* it is linear in each */
            all[k].value[i] = old + h;
            double up = objective(x, w, bias, weight);
            all[k].value[i] = old - h;
            double down = objective(x, w, bias, weight);
            all[k].value[i] = old;
            if (!(fabs((up - down) / (2 * h) - all[k].gradient[i]) < 1e-9))
                fail_msg("%d, %d: %g and %g", k, i, (up - down) / (2 * h), all[k].gradient[i]);
        }
}

/* A call that must be refused. */
#define REFUSED(name, ...)                                                                         \
    do {                                                                                           \
        device ref_ = ref_device();                                                                \
        OP(name, &ref_, STREAM_COMPUTE, __VA_ARGS__);                                              \
        error *e_ = device_status(&ref_);                                                          \
        if (!e_) fail_msg("line %d: not refused", __LINE__);                                       \
        error_free(e_);                                                                            \
    } while (0)

static void test_misuse(void **state)
{
    (void)state;
    double m[64] = {0}, n[64] = {0}, k[64] = {0};
    tensor x = doubles(m, SHAPE(1, 2, 3, 2)), out = doubles(n, SHAPE(1, 2, 3, 2)),
           w = doubles(k, SHAPE(2, 9));
    REFUSED(depthwise, .out = x, .x = x, .w = w, .side = 3);
    REFUSED(depthwise, .out = out, .x = x, .w = w, .side = 2);
    REFUSED(depthwise, .out = out, .x = x, .w = w, .side = 5);
    REFUSED(depthwise, .out = out, .x = x, .w = w, .side = 65);
    REFUSED(depthwise, .out = out, .x = x, .w = w, .bias = doubles(k, SHAPE(3)), .side = 3);
    REFUSED(depthwise, .out = doubles(n, SHAPE(1, 3, 2, 2)), .x = x, .w = w, .side = 3);
    REFUSED(depthwise_grad, .dw = {doubles(k, SHAPE(2, 8)), false}, .x = x, .dout = out, .side = 3);
    REFUSED(depthwise_grad, .dw = {w, false}, .x = x, .side = 3);
    REFUSED(merge, .out = doubles(n, SHAPE(1, 1, 2, 8)), .x = x, .side = 2);
    REFUSED(merge, .out = doubles(n, SHAPE(1, 1, 1, 8)), .x = x, .side = 0);
    REFUSED(merge_grad, .dx = x, .dout = doubles(n, SHAPE(1, 1, 1, 9)), .side = 2);
    REFUSED(scale_channels, .out = out, .x = x, .scale = doubles(k, SHAPE(3)));
    REFUSED(scale_channels, .out = out, .x = x, .scale = doubles(k, SHAPE(2)), .residual = out);
    REFUSED(scale_channels_grad, .dscale = {doubles(k, SHAPE(3)), false}, .x = x, .dout = out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_depthwise_grad),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_scale_channels),
        cmocka_unit_test(test_scale_channels_grad),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_misuse),
    };
    return RUN_IN_ALL_TYPES(tests);
}
