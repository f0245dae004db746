/* test_ops_gpt.c - the operations that newer GPTs have, on the devices against the reference:
 * head_norm, head_norm_grad, rotary, gate, gate_grad.
 */
#include "test/long.h"
#include "test/ref.h"
#include "test/op_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static double square(double x)
{
    return x * x;
}

/* ---- head_norm ---- */

/* Rows of `first` heads of D numbers, of `second` of E, which are normed, and of `more` of E, which
 * are not. */
typedef struct {
    int64_t R, more, first, second, D, E;
    double offset;
    bool saved; /* head_norm */
    int flags;  /* head_norm_grad: 1 no dw1, 2 no dw2, 4 accumulate dw1, 8 accumulate dw2 */
} heads_case;

static const heads_case heads_cases[] = {
    {.R = 1, .more = 0, .first = 1, .second = 0, .D = 1, .E = 1},
    {.R = 5, .more = 1, .first = 2, .second = 1, .D = 3, .E = 3, .offset = 1},
    {.R = 9, .more = 1, .first = 4, .second = 1, .D = 130, .E = 130},
    {.R = 33, .more = 2, .first = 4, .second = 2, .D = 17, .E = 17, .offset = 1},
    {.R = 70, .more = 1, .first = 1, .second = 1, .D = 64, .E = 64},
    {.R = 3, .more = 1, .first = 0, .second = 2, .D = 8, .E = 8},
    {.R = 21, .more = 1, .first = 1, .second = 1, .D = 260, .E = 130, .offset = 1},
    {.R = 11, .more = 1, .first = 1, .second = 1, .D = 96, .E = 24},
    {.R = 6, .more = 2, .first = 2, .second = 3, .D = 5, .E = 10, .offset = 1},
};

static int64_t normed_of(const heads_case *c)
{
    return c->first * c->D + c->second * c->E;
}

static int64_t cols_of(const heads_case *c)
{
    return normed_of(c) + c->more * c->E;
}

/* Head h of a row: its size, and where it begins. */
static int64_t head_size(const heads_case *c, int64_t h)
{
    return h < c->first ? c->D : c->E;
}

static int64_t head_begins(const heads_case *c, int64_t h)
{
    return h < c->first ? h * c->D : c->first * c->D + (h - c->first) * c->E;
}

static const double heads_eps = 1e-5;

enum { H_X, H_SAVED, H_W1, H_W2, H_DW1, H_DW2, H_SCRATCH };

static void call_head_norm(device *dev, const tensor *t, const void *options)
{
    const heads_case *c = options;
    OP(head_norm, dev, STREAM_COMPUTE, .x = t[H_X], .saved = t[H_SAVED], .w1 = t[H_W1],
       .w2 = t[H_W2], .first = c->first, .second = c->second, .eps = heads_eps,
       .offset = c->offset);
}

/* rstd of n numbers is off by that much, relatively. */
static double rstd_unit(int64_t n)
{
    return 3 + 0.5 * sqrt((double)n);
}

static void heads_begin(bench *b, op_case *t, case_call *call, const char *op, const heads_case *c)
{
    case_begin(b, t, call, c, "%s R=%lld heads=%lld of %lld + %lld of %lld + %lld%s%s flags=%d", op,
               (long long)c->R, (long long)c->first, (long long)c->D, (long long)c->second,
               (long long)c->E, (long long)c->more, c->offset > 0 ? " 1+w" : "",
               c->saved ? " kept" : "", c->flags);
    case_operand(t, H_X, "x", ADDED, WORK, SHAPE(c->R, cols_of(c)), 0);
    case_operand(t, H_W1, "w1", GIVEN, WORK, SHAPE(c->D), 0);
    case_operand(t, H_W2, "w2", GIVEN, WORK, SHAPE(c->E), 0);
    case_draw(t, H_X, 0, 1);
    case_draw(t, H_W1, 1, 0.3);
    case_draw(t, H_W2, 1, 0.3);
}

static void check_head_norm(bench *b, const heads_case *c)
{
    op_case t;
    heads_begin(b, &t, call_head_norm, "head_norm", c);
    int64_t normed = normed_of(c), cols = cols_of(c), longer = c->D > c->E ? c->D : c->E;
    if (c->saved) case_operand(&t, H_SAVED, "kept", WRITTEN, WORK, SHAPE(c->R, normed), 0);
    case_reference(b, &t);
    operand *x = &t.operands[H_X]; /* what is not normed, and what is kept, must be exact */
    for (int64_t i = 0; i < c->R * cols; i++)
        x->unit[i] = i % cols < normed ? fabs(x->want[i]) * rstd_unit(longer) : 0;
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void call_head_norm_grad(device *dev, const tensor *t, const void *options)
{
    const heads_case *c = options;
    OP(head_norm_grad, dev, STREAM_COMPUTE, .dx = t[H_X], .saved = t[H_SAVED], .w1 = t[H_W1],
       .w2 = t[H_W2], .dw1 = {t[H_DW1], c->flags & 4}, .dw2 = {t[H_DW2], c->flags & 8},
       .scratch = t[H_SCRATCH], .first = c->first, .second = c->second, .eps = heads_eps,
       .offset = c->offset);
}

/* squares (D+E): sums of the squares of the terms of dw */
static void head_grad_units(operand *o, const heads_case *c, int64_t r, int64_t h, double *squares)
{
    int64_t size = head_size(c, h), second = h >= c->first, begins = head_begins(c, h);
    const double *x = o[H_SAVED].value + r * normed_of(c) + begins,
                 *dx = o[H_X].value + r * cols_of(c) + begins, *w = o[H_W1 + second].value;
    double mean = 0, avg = 0, avg_squares = 0;
    for (int64_t i = 0; i < size; i++)
        mean += square(x[i]) / (double)size;
    double rstd = 1 / sqrt(mean + heads_eps);
    for (int64_t i = 0; i < size; i++) {
        double term = dx[i] * (c->offset + w[i]) * x[i] * rstd / (double)size;
        avg += term;
        avg_squares += square(term);
        squares[second * c->D + i] += square(dx[i] * x[i] * rstd);
    }
    for (int64_t i = 0; i < size; i++) {
        double n = fabs(x[i] * rstd), sizes = fabs(dx[i] * (c->offset + w[i])) + n * fabs(avg);
        o[H_X].unit[r * cols_of(c) + begins + i] =
            rstd * (sizes * 2 * rstd_unit(size) + n * summed(size, avg_squares));
    }
}

static void check_head_norm_grad(bench *b, const heads_case *c)
{
    op_case t;
    heads_begin(b, &t, call_head_norm_grad, "head_norm_grad", c);
    int64_t heads = c->first + c->second;
    case_operand(&t, H_SAVED, "kept", GIVEN, WORK, SHAPE(c->R, normed_of(c)), 0);
    case_operand(&t, H_SCRATCH, "scratch", SCRATCH, STAT, SHAPE(NORM_GROUPS, c->D + c->E), 0);
    case_draw(&t, H_SAVED, 0, 2);
    for (int i = 0; i < 2; i++) {
        bool add = c->flags & 4 << i;
        if (c->flags & 1 << i) continue;
        case_operand(&t, H_DW1 + i, i ? "dw2" : "dw1", add ? ADDED : WRITTEN, WORK,
                     SHAPE(i ? c->E : c->D), 0);
        if (add) case_draw(&t, H_DW1 + i, 0, 1);
    }
    case_reference(b, &t);
    double squares[3 * 130] = {0};
    for (int64_t k = 0; k < c->R * heads; k++)
        head_grad_units(t.operands, c, k / heads, k % heads, squares);
    for (int i = 0; i < 2; i++) {
        operand *dw = &t.operands[H_DW1 + i];
        int64_t size = i ? c->E : c->D;
        for (int64_t d = 0; d < size && dw->role != ABSENT; d++) {
            double sum = squares[i * c->D + d];
            if (dw->role == ADDED) sum += square(dw->value[d]);
            dw->unit[d] = summed(c->R * heads + 1, sum) + sqrt(sum) * rstd_unit(size);
        }
    }
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_head_norm(void **state)
{
    for (int i = 0; i < COUNT(heads_cases); i++)
        for (int saved = 0; saved < 2; saved++) {
            heads_case c = heads_cases[i];
            c.saved = saved;
            check_head_norm(*state, &c);
        }
    bench_report(*state, "head_norm");
}

static void test_head_norm_grad(void **state)
{
    static const int forms[] = {0, 1, 2, 3, 4 | 8, 4, 2 | 4};
    for (int i = 0; i < COUNT(heads_cases); i++)
        for (int f = 0; f < COUNT(forms); f++) {
            heads_case c = heads_cases[i];
            c.flags = forms[f];
            check_head_norm_grad(*state, &c);
        }
    bench_report(*state, "head_norm_grad");
}

/* ---- rotary ---- */

typedef struct {
    int64_t B, T, all, heads, D, size, first;
    double base;
    bool interleaved, inverse;
    rope_scaling scaling;
} rotary_case;

static void call_rotary(device *dev, const tensor *t, const void *options)
{
    const rotary_case *c = options;
    OP(rotary, dev, STREAM_COMPUTE, .x = t[0], .heads = c->heads, .head = c->D, .size = c->size,
       .first_position = c->first, .base = c->base, .interleaved = c->interleaved,
       .inverse = c->inverse, .scaling = c->scaling);
}

static void check_rotary(bench *b, const rotary_case *c)
{
    op_case t;
    case_begin(b, &t, call_rotary, c,
               "rotary B=%lld T=%lld heads=%lld of %lld D=%lld size=%lld first=%lld base=%g "
               "scaled by %g%s%s",
               (long long)c->B, (long long)c->T, (long long)c->heads, (long long)c->all,
               (long long)c->D, (long long)c->size, (long long)c->first, c->base, c->scaling.factor,
               c->interleaved ? " interleaved" : "", c->inverse ? " inverse" : "");
    case_operand(&t, 0, "x", ADDED, WORK, SHAPE(c->B, c->T, c->all * c->D), 0);
    case_draw(&t, 0, 0, 1);
    case_reference(b, &t);
    operand *x = &t.operands[0];
    int64_t cols = c->all * c->D;
    for (int64_t k = 0; k < c->B * c->T * cols; k++) {
        int64_t i = k % c->D, half = c->size / 2;
        if (k % cols >= c->heads * c->D || i >= c->size) continue; /* exact */
        int64_t other = c->interleaved ? k + 1 - 2 * (i % 2) : i < half ? k + half : k - half;
        x->unit[k] = 2 * (fabs(x->value[k]) + fabs(x->value[other]));
    }
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

/* Full and partial, near and far (an angle in float would be off by 2^-11 there), odd heads. */
static void test_rotary(void **state)
{
    static const rotary_case cases[] = {
        {1, 1, 1, 1, 2, 2, 0, 10000, false, false, {0, 0, 0, 0}},
        {1, 2, 4, 3, 530, 530, 0, 10000, false, false, {0, 0, 0, 0}},
        {2, 5, 4, 3, 6, 6, 0, 10000, false, false, {0, 0, 0, 0}},
        {2, 7, 6, 4, 10, 4, 3, 500, false, false, {0, 0, 0, 0}},
        {1, 33, 3, 2, 64, 64, 0, 1e6, false, false, {0, 0, 0, 0}},
        {3, 2, 3, 2, 17, 16, 9, 10000, false, false, {0, 0, 0, 0}},
        {1, 3, 2, 2, 256, 256, 0, 10000, false, false, {0, 0, 0, 0}},
        {1, 4, 3, 2, 80, 32, 8190, 10000, false, false, {0, 0, 0, 0}},
        {2, 3, 2, 0, 4, 4, 0, 10, false, false, {0, 0, 0, 0}},
        {1, 5, 2, 1, 4, 0, 0, 10000, false, false, {0, 0, 0, 0}},
        {1, 9, 3, 2, 12, 12, 5, 10000, false, false, {4, 0, 0, 0}},
        {2,
         7,
         3,
         2,
         64,
         64,
         100,
         5e5,
         false,
         false,
         {8, 1, 4, 8192}}, /* waves of all three kinds */
        {1, 5, 2, 2, 20, 10, 3, 10000, false, false, {32, 1, 4, 64}},
    };
    for (int i = 0; i < COUNT(cases); i++)
        for (int form = 0; form < 4; form++) {
            rotary_case c = cases[i];
            c.interleaved = form & 1, c.inverse = form & 2;
            check_rotary(*state, &c);
        }
    bench_report(*state, "rotary");
}

/* ---- gate ---- */

typedef struct {
    int64_t R, N, pad_x, pad_out;
    activation act;
    double spread;
} gate_case;

enum { G_X, G_OUT };

static void call_gate(device *dev, const tensor *t, const void *options)
{
    OP(gate, dev, STREAM_COMPUTE, .out = t[G_OUT], .x = t[G_X],
       .act = ((const gate_case *)options)->act);
}

static void call_gate_grad(device *dev, const tensor *t, const void *options)
{
    OP(gate_grad, dev, STREAM_COMPUTE, .x = t[G_X], .dout = t[G_OUT],
       .act = ((const gate_case *)options)->act);
}

static void check_gate(bench *b, const gate_case *c, bool backward)
{
    op_case t;
    case_begin(b, &t, backward ? call_gate_grad : call_gate, c,
               "gate%s R=%lld N=%lld ld+%lld,+%lld act=%d spread=%g", backward ? "_grad" : "",
               (long long)c->R, (long long)c->N, (long long)c->pad_x, (long long)c->pad_out, c->act,
               c->spread);
    case_operand(&t, G_X, "x", backward ? ADDED : GIVEN, WORK, SHAPE(c->R, 2 * c->N), c->pad_x);
    case_operand(&t, G_OUT, "out", backward ? GIVEN : WRITTEN, WORK, SHAPE(c->R, c->N), c->pad_out);
    case_draw(&t, G_X, 0, c->spread);
    if (backward) case_draw(&t, G_OUT, 0, 1);
    case_reference(b, &t);
    operand *o = t.operands;
    for (int64_t k = 0; k < c->R * c->N; k++) {
        int64_t g = k / c->N * 2 * c->N + k % c->N, u = g + c->N;
        double x = o[G_X].value[g], y = o[G_X].value[u];
        /* An exponential's argument (1.6 |x| + 0.07 |x|^3, x^2 / 2 or |x|) is off by its size.  The
         * reference's own 1 + tanh cancels: 1e-16, which is 1e-9 in this unit.  act' is a sum of
         * terms up to 1 and up to |x|. */
        double size = fabs(x), relative = 2 + 2 * size + 0.1 * size * size * size;
        double act = fabs(ref_act(c->act, x)) * relative + 1e-9 * size + UNDERFLOW_UNIT;
        if (!backward) {
            o[G_OUT].unit[k] = act * fabs(y);
            continue;
        }
        double d = fabs(o[G_OUT].value[k]);
        o[G_X].unit[g] = d * fabs(y) * (1 + fabs(x)) + UNDERFLOW_UNIT;
        o[G_X].unit[u] = d * act;
    }
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_gate(void **state)
{
    static const int64_t sizes[][2] = {{1, 1}, {5, 3}, {33, 17}, {7, 64}, {3, 768}};
    for (int i = 0; i < COUNT(sizes); i++)
        for (activation act = ACT_GELU_TANH; act <= ACT_SILU; act++)
            for (int form = 0; form < 8; form++) {
                gate_case c = {sizes[i][0],      sizes[i][1], form & 1 ? 4 : 0,
                               form & 2 ? 3 : 0, act,         form & 4 ? 10 : 1};
                check_gate(*state, &c, false);
                check_gate(*state, &c, true);
            }
    bench_report(*state, "gate, gate_grad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_head_norm),
                                       cmocka_unit_test(test_head_norm_grad),
                                       cmocka_unit_test(test_rotary), cmocka_unit_test(test_gate)};
    return RUN_IN_ALL_TYPES(tests);
}
