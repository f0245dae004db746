/* test_ops_image.c - the operations at the ends of a ViT: on the devices against the reference, and
 * the reference against central differences and numbers worked by hand.
 */
#include "test/ref.h"
#include "test/op_case.h"

#include <math.h>
#include <stdlib.h>
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

/* ---- patches ---- */

typedef struct {
    int64_t B, Ch, H, W, h, w;
} patch_case;

static void call_patches(device *dev, const tensor *t, const void *options)
{
    const patch_case *c = options;
    OP(patches, dev, STREAM_COMPUTE, .out = t[0], .images = t[1], .height = c->h, .width = c->w);
}

static void test_patches(void **state)
{
    static const patch_case cases[] = {
        {1, 1, 1, 1, 1, 1},  {2, 3, 4, 6, 2, 3}, {3, 1, 28, 28, 4, 4}, {1, 3, 32, 64, 16, 16},
        {5, 2, 9, 15, 3, 3}, {2, 4, 5, 7, 5, 7}, {2, 3, 6, 8, 1, 8},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        const patch_case *c = &cases[i];
        op_case t;
        case_begin(*state, &t, call_patches, c, "patches B=%lld Ch=%lld %lldx%lld by %lldx%lld",
                   (long long)c->B, (long long)c->Ch, (long long)c->H, (long long)c->W,
                   (long long)c->h, (long long)c->w);
        case_operand(&t, 0, "out", WRITTEN, WORK,
                     SHAPE(c->B, c->H / c->h * (c->W / c->w), c->Ch * c->h * c->w), 0);
        case_operand(&t, 1, "images", GIVEN, STAT, SHAPE(c->B, c->Ch, c->H, c->W), 0);
        case_draw(&t, 1, 0, 1);
        case_reference(*state, &t); /* no rounding: the bound stays 0 */
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "patches");
}

/* ---- positions, positions_grad ---- */

typedef struct {
    int64_t B, T, C, P;
} sequence;

static const sequence sequences[] = {
    {1, 1, 1, 0},   {1, 1, 3, 1},     {2, 5, 17, 1},   {3, 5, 64, 0},
    {4, 50, 33, 2}, {2, 197, 129, 1}, {33, 3, 300, 1},
};

static void call_positions(device *dev, const tensor *t, const void *options)
{
    (void)options;
    OP(positions, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .positions = t[2], .first = t[3]);
}

static void check_positions(bench *b, const sequence *s, bool in_place)
{
    op_case t;
    case_begin(b, &t, call_positions, NULL, "positions B=%lld T=%lld C=%lld P=%lld%s",
               (long long)s->B, (long long)s->T, (long long)s->C, (long long)s->P,
               in_place ? " in place" : "");
    case_operand(&t, 1, "x", GIVEN, WORK, SHAPE(s->B, s->T - s->P, s->C), 0);
    case_operand(&t, 0, "out", WRITTEN, WORK, SHAPE(s->B, s->T, s->C), 0);
    if (in_place) t.operands[0].shares = 1 + 1;
    case_operand(&t, 2, "positions", GIVEN, WORK, SHAPE(s->T, s->C), 0);
    case_draw(&t, 1, 0, 1);
    case_draw(&t, 2, 0, 1);
    if (s->P) {
        case_operand(&t, 3, "first", GIVEN, WORK, SHAPE(s->P, s->C), 0);
        case_draw(&t, 3, 0, 1);
    }
    case_reference(b, &t);
    for (int64_t i = 0; i < s->B * s->T * s->C; i++)
        t.operands[0].unit[i] = fabs(t.operands[0].want[i]);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_positions(void **state)
{
    for (int i = 0; i < COUNT(sequences); i++) {
        const sequence *s = &sequences[i];
        if (s->T > s->P) check_positions(*state, s, false);
        if (!s->P) check_positions(*state, s, true);
    }
    bench_report(*state, "positions");
}

enum { ADD_FIRST = 1, ADD_POSITIONS = 2, NO_FIRST = 4, NO_POSITIONS = 8 };

static void call_positions_grad(device *dev, const tensor *t, const void *options)
{
    int flags = *(const int *)options;
    OP(positions_grad, dev, STREAM_COMPUTE, .dx = t[0], .dout = t[1],
       .dfirst = {t[2], flags & ADD_FIRST}, .dpositions = {t[3], flags & ADD_POSITIONS});
}

static void check_positions_grad(bench *b, const sequence *s, int flags)
{
    op_case t;
    bool first = s->P && !(flags & NO_FIRST), positions = !(flags & NO_POSITIONS);
    case_begin(b, &t, call_positions_grad, &flags, "positions_grad B=%lld T=%lld C=%lld P=%lld %d",
               (long long)s->B, (long long)s->T, (long long)s->C, (long long)s->P, flags);
    case_operand(&t, 0, "dx", WRITTEN, WORK, SHAPE(s->B, s->T - s->P, s->C), 0);
    case_operand(&t, 1, "dout", GIVEN, WORK, SHAPE(s->B, s->T, s->C), 0);
    case_draw(&t, 1, 0, 1);
    if (first)
        case_operand(&t, 2, "dfirst", flags & ADD_FIRST ? ADDED : WRITTEN, WORK, SHAPE(s->P, s->C),
                     0);
    if (positions)
        case_operand(&t, 3, "dpositions", flags & ADD_POSITIONS ? ADDED : WRITTEN, WORK,
                     SHAPE(s->T, s->C), 0);
    if (first && flags & ADD_FIRST) case_draw(&t, 2, 0, 1);
    if (positions && flags & ADD_POSITIONS) case_draw(&t, 3, 0, 1);
    case_reference(b, &t);
    operand *o = t.operands;
    for (int64_t i = 0; i < s->T * s->C; i++) {
        double squares = 0;
        for (int64_t k = 0; k < s->B; k++)
            squares += square(o[1].value[k * s->T * s->C + i]);
        if (first && i < s->P * s->C)
            o[2].unit[i] =
                summed(s->B + 1, squares + (flags & ADD_FIRST ? square(o[2].value[i]) : 0));
        if (positions)
            o[3].unit[i] =
                summed(s->B + 1, squares + (flags & ADD_POSITIONS ? square(o[3].value[i]) : 0));
    }
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_positions_grad(void **state)
{
    for (int i = 0; i < COUNT(sequences); i++)
        for (int flags = 0; flags < 16; flags++)
            if (sequences[i].T > sequences[i].P && !(flags & ADD_FIRST && flags & NO_FIRST) &&
                !(flags & ADD_POSITIONS && flags & NO_POSITIONS))
                check_positions_grad(*state, &sequences[i], flags);
    bench_report(*state, "positions_grad");
}

/* ---- pool, pool_grad ---- */

static void call_pool(device *dev, const tensor *t, const void *options)
{
    OP(pool, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .first = *(const bool *)options);
}

static void call_pool_grad(device *dev, const tensor *t, const void *options)
{
    OP(pool_grad, dev, STREAM_COMPUTE, .dx = t[0], .dout = t[1], .first = *(const bool *)options);
}

static void check_pool(bench *b, const sequence *s, bool first)
{
    op_case t;
    case_begin(b, &t, call_pool, &first, "pool B=%lld T=%lld C=%lld%s", (long long)s->B,
               (long long)s->T, (long long)s->C, first ? " first" : "");
    case_operand(&t, 0, "out", WRITTEN, WORK, SHAPE(s->B, s->C), 0);
    case_operand(&t, 1, "x", GIVEN, WORK, SHAPE(s->B, s->T, s->C), 0);
    case_draw(&t, 1, 0, 1);
    case_reference(b, &t);
    for (int64_t i = 0; i < s->B * s->C && !first; i++) {
        double squares = 0;
        for (int64_t k = 0; k < s->T; k++)
            squares += square(t.operands[1].value[(i / s->C * s->T + k) * s->C + i % s->C]);
        t.operands[0].unit[i] = summed(s->T, squares) / (double)s->T + fabs(t.operands[0].want[i]);
    }
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);

    case_begin(b, &t, call_pool_grad, &first, "pool_grad B=%lld T=%lld C=%lld%s", (long long)s->B,
               (long long)s->T, (long long)s->C, first ? " first" : "");
    case_operand(&t, 0, "dx", WRITTEN, WORK, SHAPE(s->B, s->T, s->C), 0);
    case_operand(&t, 1, "dout", GIVEN, WORK, SHAPE(s->B, s->C), 0);
    case_draw(&t, 1, 0, 1);
    case_reference(b, &t);
    for (int64_t i = 0; i < s->B * s->T * s->C; i++)
        t.operands[0].unit[i] = fabs(t.operands[0].want[i]);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_pool(void **state)
{
    for (int i = 0; i < COUNT(sequences); i++) {
        check_pool(*state, &sequences[i], false);
        check_pool(*state, &sequences[i], true);
    }
    bench_report(*state, "pool, pool_grad");
}

/* ---- scale_samples ---- */

static void call_scale(device *dev, const tensor *t, const void *options)
{
    (void)options;
    OP(scale_samples, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .scale = t[2], .residual = t[3]);
}

static void test_scale_samples(void **state)
{
    for (int i = 0; i < COUNT(sequences) * 4; i++) {
        const sequence *s = &sequences[i / 4];
        bool residual = i & 1, in_place = i & 2;
        op_case t;
        case_begin(*state, &t, call_scale, NULL, "scale_samples B=%lld T=%lld C=%lld%s%s",
                   (long long)s->B, (long long)s->T, (long long)s->C, residual ? " residual" : "",
                   in_place ? " in place" : "");
        case_operand(&t, 1, "x", GIVEN, WORK, SHAPE(s->B, s->T, s->C), 0);
        case_operand(&t, 0, "out", WRITTEN, WORK, SHAPE(s->B, s->T, s->C), 0);
        if (in_place) t.operands[0].shares = 1 + 1;
        case_operand(&t, 2, "scale", GIVEN, STAT, SHAPE(s->B), 0);
        case_draw(&t, 1, 0, 1);
        case_draw(&t, 2, 1, 1);
        if (residual) {
            case_operand(&t, 3, "residual", GIVEN, WORK, SHAPE(s->B, s->T, s->C), 0);
            case_draw(&t, 3, 0, 1);
        }
        case_reference(*state, &t);
        operand *o = t.operands;
        for (int64_t k = 0; k < s->B * s->T * s->C; k++)
            o[0].unit[k] = fabs(o[1].value[k] * o[2].value[k / (s->T * s->C)]) + fabs(o[0].want[k]);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "scale_samples");
}

/* ---- dropout ---- */

typedef struct {
    double rate;
    uint64_t seed, site;
} dropout_options;

static void call_dropout(device *dev, const tensor *t, const void *options)
{
    const dropout_options *o = options;
    OP(dropout, dev, STREAM_COMPUTE, .out = t[0], .x = t[1], .start = t[2], .residual = t[3],
       .rate = o->rate, .seed = o->seed, .site = o->site);
}

static void test_dropout(void **state)
{
    static const double rates[] = {0.1, 0.5, 0, 0.9999};
    for (int i = 0; i < COUNT(sequences) * 8; i++) {
        const sequence *s = &sequences[i / 8];
        bool residual = i & 1, in_place = i & 2, upon = i & 4 && residual && !in_place;
        dropout_options options = {rates[i / 2 % 4], UINT64_C(0x123456789abcdef) * (uint64_t)i,
                                   (uint64_t)i << (i % 30)};
        op_case t;
        case_begin(*state, &t, call_dropout, &options, "dropout B=%lld T=%lld C=%lld p=%g%s%s%s",
                   (long long)s->B, (long long)s->T, (long long)s->C, options.rate,
                   residual ? " residual" : "", in_place ? " in place" : "",
                   upon ? " upon the residual" : "");
        case_operand(&t, 1, "x", GIVEN, WORK, SHAPE(s->B, s->T, s->C), 0);
        case_operand(&t, 0, "out", WRITTEN, WORK, SHAPE(s->B, s->T, s->C), 0);
        if (in_place) t.operands[0].shares = 1 + 1;
        case_operand(&t, 2, "start", GIVEN, INDEX, SHAPE(2), 0);
        case_draw(&t, 1, 0, 1);
        case_draw_index(&t, 2, 1 << 30);
        if (residual) {
            case_operand(&t, 3, "residual", GIVEN, WORK, SHAPE(s->B, s->T, s->C), 0);
            case_draw(&t, 3, 0, 1);
            if (upon) t.operands[0].shares = 3 + 1;
        }
        case_reference(*state, &t);
        operand *o = t.operands;
        for (int64_t k = 0; k < s->B * s->T * s->C; k++)
            o[0].unit[k] = fabs(o[1].value[k]) / (1 - options.rate) + fabs(o[0].want[k]);
        case_compare(*state, &t);
        case_poison(*state, &t);
        case_end(&t);
    }
    bench_report(*state, "dropout");
}

/* ---- classify_soft ---- */

typedef struct {
    bool backward;
    double scale;
} soft_options;

enum { LOGITS, TARGETS, LOSSES, HITS };

static void call_soft(device *dev, const tensor *t, const void *options)
{
    const soft_options *o = options;
    OP(classify_soft, dev, STREAM_COMPUTE, .logits = t[LOGITS], .targets = t[TARGETS],
       .losses = t[LOSSES], .hits = t[HITS], .backward = o->backward, .scale = o->scale);
}

/* As in test_ops_rows.c for classify, with the sum over classes on top. */
static void soft_units(operand *o, int64_t R, int64_t V, soft_options options)
{
    for (int64_t r = 0; r < R; r++) {
        const double *x = o[LOGITS].value + r * V, *t = o[TARGETS].value + r * V;
        double max = x[0], sum = 0, squares = 0, shift = 0, mass = 0, terms = 0;
        for (int64_t v = 1; v < V; v++)
            max = fmax(max, x[v]);
        for (int64_t v = 0; v < V; v++)
            sum += exp(x[v] - max);
        double lse = max + log(sum);
        for (int64_t v = 0; v < V; v++) {
            double p = exp(x[v] - lse);
            squares += p * p;
            shift += p * (max - x[v]);
            mass += t[v];
            terms += t[v] * (fabs(x[v] - max) + fabs(lse));
        }
        double lse_unit = summed(V, squares) + shift + fabs(max) + fabs(lse) + 1;
        o[LOSSES].unit[r] = mass * lse_unit + terms;
        for (int64_t v = 0; v < V && options.backward; v++) {
            double p = exp(x[v] - lse);
            o[LOGITS].unit[r * V + v] =
                options.scale *
                (mass * (p * (2 + fabs(x[v]) + fabs(lse) + lse_unit) + UNDERFLOW_UNIT) + t[v]);
        }
    }
}

/* One-hot, smoothed, mixed of two, and no sample at all, row by row. */
static void soft_targets(op_case *t, int64_t R, int64_t V)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t v = 0; v < V; v++) {
            double one = v == (r * 7) % V, other = v == (r * 3 + 1) % V, even = 1.0 / (double)V;
            double kinds[] = {one, 0.9 * one + 0.1 * even, 0.3 * one + 0.7 * other, 0};
            t->operands[TARGETS].value[r * V + v] = kinds[r % 4];
        }
    case_round(t, TARGETS);
}

static void check_soft(bench *b, int64_t R, int64_t V, int form, double mean, double deviation)
{
    int64_t pad = form & 1 ? 7 : 0;
    soft_options options = {form & 2, 1.0 / (double)R};
    op_case t;
    case_begin(b, &t, call_soft, &options, "classify_soft R=%lld V=%lld form %d x=%g+-%g",
               (long long)R, (long long)V, form, mean, deviation);
    case_operand(&t, LOGITS, "logits", options.backward ? ADDED : GIVEN, WORK, SHAPE(R, V), pad);
    case_operand(&t, TARGETS, "targets", GIVEN, STAT, SHAPE(R, V), 0);
    case_operand(&t, LOSSES, "losses", WRITTEN, STAT, SHAPE(R), 0);
    if (form & 4) case_operand(&t, HITS, "hits", WRITTEN, STAT, SHAPE(R), 0);
    case_draw(&t, LOGITS, mean, deviation);
    soft_targets(&t, R, V);
    case_reference(b, &t);
    soft_units(t.operands, R, V, options);
    case_compare(b, &t);
    case_end(&t);
}

static void test_classify_soft(void **state)
{
    static const struct {
        int64_t R, V;
    } sizes[] = {{1, 1}, {5, 2}, {1, 10}, {64, 10}, {33, 59}, {9, 1000}, {3, 2049}};
    for (int i = 0; i < COUNT(sizes); i++)
        for (int form = 0; form < 8; form++) {
            check_soft(*state, sizes[i].R, sizes[i].V, form, 0, 1);
            check_soft(*state, sizes[i].R, sizes[i].V, form, 0, 10);
            check_soft(*state, sizes[i].R, sizes[i].V, form, 1e3, 1);
        }
    bench_report(*state, "classify_soft");
}

/* ---- the reference, by hand and by differences ---- */

static tensor doubles(double *x, shape s)
{
    return tensor_of(x, F64, s);
}

static void near(const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.12g, want %.12g", what, got, want);
}

static void well(device *dev)
{
    error *e = device_status(dev);
    if (e) fail_msg("%s", error_text(e));
}

static void test_patches_by_hand(void **state)
{
    (void)state;
    /* one image of two colours, 2 x 4, in patches of 1 x 2: four patches of 2 x 1 x 2 */
    double images[16], out[16];
    const double want[16] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
    device ref = ref_device();
    for (int i = 0; i < 16; i++)
        images[i] = i;
    OP(patches, &ref, STREAM_COMPUTE, .out = doubles(out, SHAPE(1, 4, 4)),
       .images = doubles(images, SHAPE(1, 2, 2, 4)), .height = 1, .width = 2);
    well(&ref);
    for (int i = 0; i < 16; i++)
        near("patches", out[i], want[i], 0);
}

static void test_soft_by_hand(void **state)
{
    (void)state;
    device ref = ref_device();
    /* softmax of (0, ln 3) is (1/4, 3/4) */
    double x[] = {0, log(3), 0, log(3), 0, log(3)}, t[] = {1, 0, 0.5, 0.5, 0, 0};
    double losses[3], hits[3];
    OP(classify_soft, &ref, STREAM_COMPUTE, .logits = doubles(x, SHAPE(3, 2)),
       .targets = doubles(t, SHAPE(3, 2)), .losses = doubles(losses, SHAPE(3)),
       .hits = doubles(hits, SHAPE(3)), .backward = true, .scale = 2);
    well(&ref);
    const double want[] = {-1.5, 1.5, -0.5, 0.5, 0, 0};
    for (int i = 0; i < 6; i++)
        near("gradient", x[i], want[i], 1e-12);
    near("loss", losses[0], log(4), 1e-12);
    near("loss, mixed", losses[1], 0.5 * log(4) + 0.5 * log(4.0 / 3), 1e-12);
    near("loss of no sample", losses[2], 0, 0);
    near("hit", hits[0] + hits[1] + hits[2], 0, 0); /* 1 is largest, and the label 0, 0, none */
}

/* d/dx of sum(weight * f(x)) against what the gradient operation says. */
enum { B = 2, T = 4, C = 3, P = 1, V = 5 };

typedef struct {
    double x[B * T * C], first[P * C], positions[T * C], targets[B * V];
    double out[B * T * C], weight[B * T * C];
    void (*run)(device *, void *);
    bool cls;
} field;

static void run_positions(device *dev, void *context)
{
    field *f = context;
    OP(positions, dev, STREAM_COMPUTE, .out = doubles(f->out, SHAPE(B, T, C)),
       .x = doubles(f->x, SHAPE(B, T - P, C)), .first = doubles(f->first, SHAPE(P, C)),
       .positions = doubles(f->positions, SHAPE(T, C)));
}

static void run_pool(device *dev, void *context)
{
    field *f = context;
    memset(f->out, 0, sizeof f->out);
    OP(pool, dev, STREAM_COMPUTE, .out = doubles(f->out, SHAPE(B, C)),
       .x = doubles(f->x, SHAPE(B, T, C)), .first = f->cls);
}

static void run_soft(device *dev, void *context)
{
    field *f = context;
    double logits[B * V];
    memcpy(logits, f->x, sizeof logits);
    memset(f->out, 0, sizeof f->out);
    OP(classify_soft, dev, STREAM_COMPUTE, .logits = doubles(logits, SHAPE(B, V)),
       .targets = doubles(f->targets, SHAPE(B, V)), .losses = doubles(f->out, SHAPE(B)));
}

static double objective(field *f)
{
    device ref = ref_device();
    double sum = 0;
    f->run(&ref, f);
    well(&ref);
    for (int i = 0; i < B * T * C; i++)
        sum += f->weight[i] * f->out[i];
    return sum;
}

static void differences(const char *what, field *f, double *x, int n, const double *gradient)
{
    const double h = 1e-5;
    for (int i = 0; i < n; i++) {
        double old = x[i];
        x[i] = old + h;
        double up = objective(f);
        x[i] = old - h;
        double down = objective(f);
        x[i] = old;
        near(what, gradient[i], (up - down) / (2 * h), 1e-6);
    }
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    static field f;
    device ref = ref_device();
    for (int i = 0; i < B * T * C; i++) {
        f.x[i] = sin(1 + 3.0 * i);
        f.weight[i] = cos(2.0 * i);
    }
    for (int i = 0; i < B * V; i++)
        f.targets[i] = 0.1 * (i % 4);
    double dx[B * T * C], dfirst[P * C], dpositions[T * C];
    f.run = run_positions;
    OP(positions_grad, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(B, T - P, C)),
       .dfirst = {doubles(dfirst, SHAPE(P, C)), false},
       .dpositions = {doubles(dpositions, SHAPE(T, C)), false},
       .dout = doubles(f.weight, SHAPE(B, T, C)));
    differences("positions dx", &f, f.x, B * (T - P) * C, dx);
    differences("positions dfirst", &f, f.first, P * C, dfirst);
    differences("positions dpositions", &f, f.positions, T * C, dpositions);
    f.run = run_pool;
    for (int cls = 0; cls < 2; cls++) {
        f.cls = cls;
        OP(pool_grad, &ref, STREAM_COMPUTE, .dx = doubles(dx, SHAPE(B, T, C)),
           .dout = doubles(f.weight, SHAPE(B, C)), .first = cls);
        differences("pool dx", &f, f.x, B * T * C, dx);
    }
    f.run = run_soft;
    f.weight[0] = f.weight[1] = 1.5; /* the scale */
    double logits[B * V], losses[B];
    memcpy(logits, f.x, sizeof logits);
    OP(classify_soft, &ref, STREAM_COMPUTE, .logits = doubles(logits, SHAPE(B, V)),
       .targets = doubles(f.targets, SHAPE(B, V)), .losses = doubles(losses, SHAPE(B)),
       .backward = true, .scale = 1.5);
    differences("classify_soft", &f, f.x, B * V, logits);
    well(&ref);
}

/* ---- misuse ---- */

/* The front refuses what does not fit, and names the operation. */
#define REFUSED(name, ...)                                                                         \
    do {                                                                                           \
        device ref_ = ref_device();                                                                \
        OP(name, &ref_, STREAM_COMPUTE, __VA_ARGS__);                                              \
        error *e_ = device_status(&ref_);                                                          \
        if (!e_ || !strstr(error_text(e_), #name)) fail_msg("accepted: " #name " " #__VA_ARGS__);  \
        error_free(e_);                                                                            \
    } while (0)

static void test_misuse(void **state)
{
    (void)state;
    double m[64] = {0}, n[64] = {0};
    tensor image = doubles(m, SHAPE(1, 1, 4, 6)), cut = doubles(n, SHAPE(1, 6, 4));
    REFUSED(patches, .out = cut, .images = image, .height = 3, .width = 2);
    REFUSED(patches, .out = cut, .images = image, .height = 2, .width = 4);
    REFUSED(patches, .out = cut, .images = image, .height = 0, .width = 2);
    REFUSED(patches, .out = doubles(n, SHAPE(1, 4, 6)), .images = image, .height = 2, .width = 2);
    REFUSED(patches, .images = image, .height = 2, .width = 2);
    tensor x = doubles(m, SHAPE(2, 3, 2)), all = doubles(n, SHAPE(2, 4, 2)),
           first = doubles(m, SHAPE(1, 2)), positions = doubles(m, SHAPE(4, 2));
    REFUSED(positions, .out = all, .x = x, .positions = positions);
    REFUSED(positions, .out = all, .x = x, .first = first);
    REFUSED(positions, .out = all, .x = x, .first = first, .positions = doubles(m, SHAPE(3, 2)));
    REFUSED(positions, .out = doubles(m, SHAPE(2, 4, 2)), .x = x, .first = first,
            .positions = positions);
    REFUSED(positions_grad, .dx = all, .dout = x);
    REFUSED(positions_grad, .dx = x, .dout = all, .dfirst = {doubles(m, SHAPE(2, 2)), false});
    REFUSED(pool, .out = doubles(n, SHAPE(2, 3)), .x = x);
    REFUSED(pool, .out = doubles(n, SHAPE(3, 2)), .x = x);
    REFUSED(pool_grad, .dx = x, .dout = doubles(n, SHAPE(2, 3)));
    REFUSED(scale_samples, .out = x, .x = x, .scale = doubles(n, SHAPE(3)));
    REFUSED(scale_samples, .out = x, .x = x);
    REFUSED(scale_samples, .out = x, .x = x, .scale = doubles(n, SHAPE(2)), .residual = x);
    tensor logits = doubles(m, SHAPE(2, 3)), targets = doubles(n, SHAPE(2, 3)),
           losses = doubles(n, SHAPE(2));
    REFUSED(dropout, .out = x, .x = x, .rate = 0.1);
    REFUSED(classify_soft, .logits = logits, .losses = losses);
    REFUSED(classify_soft, .logits = logits, .targets = doubles(n, SHAPE(3, 2)), .losses = losses);
    REFUSED(classify_soft, .logits = logits, .targets = targets);
    REFUSED(classify_soft, .logits = logits, .targets = targets, .losses = losses,
            .hits = doubles(n, SHAPE(3)));
}

/* As many as the rate says, of every column; other sites, seeds and rows leave out others; a row's
 * mask does not depend on which rows are beside it. */
static void test_dropout_masks(void **state)
{
    enum { R = 4000, N = 37 };
    static double x[R * N], out[4][R * N];
    device ref = ref_device();
    int32_t start[2] = {0};
    tensor first = {.data = start, .type = I32, .rank = 1, .dim = {2}, .ld = 2};
    (void)state;
    for (int i = 0; i < R * N; i++)
        x[i] = 1;
    for (int k = 0; k < 3; k++)
        OP(dropout, &ref, STREAM_COMPUTE, .out = doubles(out[k], SHAPE(R, N)),
           .x = doubles(x, SHAPE(R, N)), .start = first, .rate = 0.3, .seed = k == 1 ? 8 : 7,
           .site = k == 2 ? 4 : 3);
    start[0] = R / 2;
    OP(dropout, &ref, STREAM_COMPUTE, .out = doubles(out[3], SHAPE(R / 2, N)),
       .x = doubles(x, SHAPE(R / 2, N)), .start = first, .rate = 0.3, .seed = 7, .site = 3);
    assert_memory_equal(out[3], out[0] + R / 2 * N, sizeof(double) * R / 2 * N);
    for (int c = 0; c < N; c++) {
        int left_out[3] = {0}, both[3] = {0};
        for (int r = 0; r < R; r++)
            for (int k = 0; k < 3; k++) {
                assert_true(out[k][r * N + c] == 0 || fabs(out[k][r * N + c] - 1 / 0.7) < 1e-12);
                left_out[k] += out[k][r * N + c] == 0;
                both[k] += out[0][r * N + c] == 0 && out[k][r * N + c] == 0;
            }
        for (int k = 0; k < 3; k++) /* five standard deviations of 29 */
            assert_true(abs(left_out[k] - 1200) < 145);
        assert_true(abs(both[1] - 360) < 95 && abs(both[2] - 360) < 95);
    }
    start[0] = -1, start[1] = 0; /* the row after 2^32 - 1 is 2^32 */
    OP(dropout, &ref, STREAM_COMPUTE, .out = doubles(out[0], SHAPE(2, N)),
       .x = doubles(x, SHAPE(2, N)), .start = first, .rate = 0.3, .seed = 7, .site = 3);
    start[0] = 0, start[1] = 1;
    OP(dropout, &ref, STREAM_COMPUTE, .out = doubles(out[1], SHAPE(1, N)),
       .x = doubles(x, SHAPE(1, N)), .start = first, .rate = 0.3, .seed = 7, .site = 3);
    assert_memory_equal(out[0] + N, out[1], sizeof(double) * N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_positions_grad),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_scale_samples),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_dropout_masks),
        cmocka_unit_test(test_classify_soft),
        cmocka_unit_test(test_patches_by_hand),
        cmocka_unit_test(test_soft_by_hand),
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_misuse),
    };
    return RUN_IN_ALL_TYPES(tests);
}
