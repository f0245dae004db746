/* test_ops_attention.c - attention, attention_grad and attention_cached on the devices against the
 * reference.
 *
 * Lengths lie around the block sizes of such code (63, 64, 65, 130); head sizes are odd, usual and
 * large; query heads share key heads; rows see all tokens or only those before them.
 *
 * Short: the small cases in every combination, a quarter of the large ones.  LONG=1: all of them,
 * and cases at random, whose sizes nobody chose.
 */
#include "cuda/cuda.h"
#include "test/long.h"
#include "test/ref.h"
#include "test/op_case.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

typedef struct {
    int64_t B, T, H, KV, D;
    bool causal;
    double scale, spread; /* spread: deviation of q and k */
    bool alibi;
    int method; /* of CUDA's */
    int64_t window;
    double cap;
    bool documents; /* rows hold several */
} attention_case;

/* The first key that query i sees in a window. */
static int64_t window_begins(int64_t window, int64_t i)
{
    return window && i >= window ? i - window + 1 : 0;
}

/* The same in its document. */
static int64_t first_seen(const attention_case *c, const operand *starts, int64_t b, int64_t i)
{
    int64_t window = window_begins(c->window, i),
            document = c->documents ? (int64_t)starts->value[b * c->T + i] : 0;
    return window > document ? window : document;
}

static void add_starts(op_case *t, int i, const attention_case *c)
{
    if (!c->documents) return;
    case_operand(t, i, "starts", GIVEN, INDEX, SHAPE(c->B, c->T), 0);
    case_draw_documents(t, i);
}

/* In a case's name; nothing for the device's own. */
static const char *by(const attention_case *c)
{
    static const char *const names[CUDA_ATTENTIONS] = {"", " by cuDNN", " by cuDNN, repeatable"};
    return names[c->method];
}

static double square(double x)
{
    return x * x;
}

/* Where the head's D numbers of token (b,i) start in a (B,T,heads*D) array. */
static int64_t at(const attention_case *c, int64_t heads, int64_t b, int64_t i, int64_t head)
{
    return ((b * c->T + i) * heads + head) * c->D;
}

/* A score and what it is off by, in the unit of op_case.h. */
typedef struct {
    double s, unit;
} score;

static double lean_of(const attention_case *c, int64_t h, int64_t distance)
{
    return c->alibi ? alibi_slope(c->H, h) * (double)distance : 0;
}

/* Query head h against a key `distance` tokens before it. */
static score score_of(const attention_case *c, const double *q, const double *k, int64_t h,
                      int64_t distance)
{
    score x = {0};
    double squares = 0;
    for (int64_t d = 0; d < c->D; d++) {
        x.s += c->scale * q[d] * k[d];
        squares += square(c->scale * q[d] * k[d]);
    }
    double lean = lean_of(c, h, distance), off = 0;
    if (c->cap > 0) { /* the argument's error shrinks; tanh and the product have their own */
        double t = tanh(x.s / c->cap);
        off = (summed(c->D, squares) + 3 * fabs(x.s)) * (1 - t * t) + 6 * fabs(c->cap * t);
        x.s = c->cap * t;
    }
    x.s -= lean;
    x.unit = (c->cap > 0 ? off : summed(c->D, squares)) + fabs(x.s) + 2 * lean;
    return x;
}

/* ---- attention ---- */

enum { OUT, LSE, QKV, STARTS, ROOM };

static void call_attention(device *dev, const tensor *t, const void *options)
{
    const attention_case *c = options;
    OP(attention, dev, STREAM_COMPUTE, .out = t[OUT], .lse = t[LSE], .qkv = t[QKV],
       .starts = t[STARTS], .heads = c->H, .kv_heads = c->KV, .causal = c->causal,
       .alibi = c->alibi, .window = c->window, .scale = c->scale, .cap = c->cap,
       .method = c->method, .workspace = t[ROOM]);
}

/* p_j = exp(s_j - lse) is off by (unit of s_j) + (unit of lse) + |s_j| + |lse| + 1, relatively. */
static void attention_row_units(const bench *rigs, operand *o, const attention_case *c, int64_t b,
                                int64_t h, int64_t i)
{
    int64_t heads = c->H + 2 * c->KV, kv = h / (c->H / c->KV), last = c->causal ? i : c->T - 1;
    int64_t first = first_seen(c, &o[STARTS], b, i);
    double lse = o[LSE].want[(b * c->H + h) * c->T + i], lse_unit = fabs(lse) + 1, squares = 0;
    const double *q = o[QKV].value + at(c, heads, b, i, h);
    double *out = o[OUT].unit + at(c, c->H, b, i, h);
    for (int64_t j = first; j <= last; j++) {
        score x = score_of(c, q, o[QKV].value + at(c, heads, b, j, c->H + kv), h, i - j);
        double p = exp(x.s - lse);
        lse_unit += p * (x.unit + fabs(x.s - lse));
        squares += p * p;
    }
    lse_unit += summed(last + 1, squares);
    o[LSE].unit[(b * c->H + h) * c->T + i] = lse_unit;
    for (int64_t d = 0; d < c->D; d++)
        out[d] = 0;
    for (int64_t j = first; j <= last; j++) {
        const double *v = o[QKV].value + at(c, heads, b, j, c->H + c->KV + kv);
        score x = score_of(c, q, o[QKV].value + at(c, heads, b, j, c->H + kv), h, i - j);
        double p = exp(x.s - lse), relative = x.unit + lse_unit + fabs(x.s) + fabs(lse) + 1;
        relative += rounded_between(rigs);
        for (int64_t d = 0; d < c->D; d++)
            out[d] += fabs(v[d]) * (p * relative + UNDERFLOW_UNIT);
    }
}

/* cuDNN wants its operands on 16 bytes, and room. */
static void add_room(op_case *t, int i, const attention_case *c, bool backward)
{
    attention_sizes s = {.batch = c->B, .heads = c->H, .length = c->T, .head_size = c->D};
    int64_t bytes = attention_workspace(&cuda_kind, c->method, &s, backward);
    if (!bytes) return;
    case_operand(t, i, "workspace", SCRATCH, BYTES, SHAPE(bytes), 0);
    t->shift = 8;
}

static void check_attention(bench *b, const attention_case *c)
{
    op_case t;
    case_begin(b, &t, call_attention, c,
               "attention%s B=%lld T=%lld H=%lld KV=%lld D=%lld%s%s%s scale=%.3g spread=%g "
               "window=%lld cap=%g",
               by(c), (long long)c->B, (long long)c->T, (long long)c->H, (long long)c->KV,
               (long long)c->D, c->causal ? " causal" : "", c->alibi ? " alibi" : "",
               c->documents ? " documents" : "", c->scale, c->spread, (long long)c->window, c->cap);
    if (case_left_out(b, &t)) return;
    case_operand(&t, OUT, "out", WRITTEN, WORK, SHAPE(c->B, c->T, c->H * c->D), 0);
    case_operand(&t, LSE, "lse", WRITTEN, STAT, SHAPE(c->B, c->H, c->T), 0);
    case_operand(&t, QKV, "qkv", GIVEN, WORK, SHAPE(c->B, c->T, (c->H + 2 * c->KV) * c->D), 0);
    add_starts(&t, STARTS, c);
    add_room(&t, ROOM, c, false);
    case_draw(&t, QKV, 0, c->spread);
    case_reference(b, &t);
    for (int64_t row = 0; row < c->B * c->H * c->T; row++)
        attention_row_units(b, t.operands, c, row / (c->H * c->T), row / c->T % c->H, row % c->T);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

/* ---- attention_grad ---- */

enum { DQKV, DOUT, G_OUT, G_QKV, G_LSE, G_SCRATCH, G_STARTS, G_ROOM };

static void call_attention_grad(device *dev, const tensor *t, const void *options)
{
    const attention_case *c = options;
    OP(attention_grad, dev, STREAM_COMPUTE, .dqkv = t[DQKV], .dout = t[DOUT], .out = t[G_OUT],
       .qkv = t[G_QKV], .lse = t[G_LSE], .starts = t[G_STARTS], .scratch = t[G_SCRATCH],
       .heads = c->H, .kv_heads = c->KV, .causal = c->causal, .alibi = c->alibi,
       .window = c->window, .scale = c->scale, .cap = c->cap, .method = c->method,
       .workspace = t[G_ROOM]);
}

/* Sums of squares of the terms of each dqkv element; the errors of the terms
 * go to unit directly. */
static void attention_grad_row_units(const bench *rigs, operand *o, const attention_case *c,
                                     int64_t b, int64_t h, int64_t i, double *squares)
{
    int64_t heads = c->H + 2 * c->KV, kv = h / (c->H / c->KV), last = c->causal ? i : c->T - 1;
    int64_t first = first_seen(c, &o[G_STARTS], b, i);
    double lse = o[G_LSE].value[(b * c->H + h) * c->T + i], r = 0, r_squares = 0;
    const double *out = o[G_OUT].value + at(c, c->H, b, i, h),
                 *dout = o[DOUT].value + at(c, c->H, b, i, h);
    int64_t qi = at(c, heads, b, i, h);
    for (int64_t d = 0; d < c->D; d++) {
        r += dout[d] * out[d];
        r_squares += square(dout[d] * out[d]);
    }
    for (int64_t j = first; j <= last; j++) {
        int64_t kj = at(c, heads, b, j, c->H + kv), vj = at(c, heads, b, j, c->H + c->KV + kv);
        const double *qkv = o[G_QKV].value;
        score x = score_of(c, qkv + qi, qkv + kj, h, i - j);
        double p = exp(x.s - lse), relative = x.unit + fabs(x.s) + fabs(lse) + 1, dp = 0,
               dp_squares = 0;
        for (int64_t d = 0; d < c->D; d++) {
            dp += dout[d] * qkv[vj + d];
            dp_squares += square(dout[d] * qkv[vj + d]);
        }
        double ds = p * (dp - r) * c->scale, p_unit = p * relative + UNDERFLOW_UNIT;
        double t = c->cap > 0 ? (x.s + lean_of(c, h, i - j)) / c->cap : 0, slope = 1 - t * t;
        double slope_unit = c->cap > 0 ? 2 * fabs(t) * x.unit / c->cap + 4 : 0; /* 1 - t, 1 + t */
        double ds_unit =
            fabs(c->scale) * slope *
                (fabs(dp - r) * p_unit + p * (summed(c->D, dp_squares) + summed(c->D, r_squares))) +
            fabs(ds) * slope_unit + rounded_between(rigs) * fabs(ds * slope);
        ds *= slope;
        p_unit += p * rounded_between(rigs);
        for (int64_t d = 0; d < c->D; d++) {
            o[DQKV].unit[qi + d] += ds_unit * fabs(qkv[kj + d]);
            o[DQKV].unit[kj + d] += ds_unit * fabs(qkv[qi + d]);
            o[DQKV].unit[vj + d] += p_unit * fabs(dout[d]);
            squares[qi + d] += square(ds * qkv[kj + d]);
            squares[kj + d] += square(ds * qkv[qi + d]);
            squares[vj + d] += square(p * dout[d]);
        }
    }
}

static void attention_grad_units(const bench *rigs, operand *o, const attention_case *c)
{
    int64_t n = o[DQKV].rows * o[DQKV].cols;
    double *squares = calloc((size_t)n, sizeof *squares);
    assert_non_null(squares);
    for (int64_t row = 0; row < c->B * c->H * c->T; row++)
        attention_grad_row_units(rigs, o, c, row / (c->H * c->T), row / c->T % c->H, row % c->T,
                                 squares);
    for (int64_t k = 0; k < n;
         k++) /* a query sums T terms, a key or value T for each head that shares it */
        o[DQKV].unit[k] +=
            summed(k % o[DQKV].cols < c->H * c->D ? c->T : c->T * c->H / c->KV, squares[k]);
    free(squares);
}

static void check_attention_grad(bench *b, const attention_case *c)
{
    op_case t;
    case_begin(b, &t, call_attention_grad, c,
               "attention_grad%s B=%lld T=%lld H=%lld KV=%lld D=%lld%s%s%s scale=%.3g spread=%g "
               "window=%lld cap=%g",
               by(c), (long long)c->B, (long long)c->T, (long long)c->H, (long long)c->KV,
               (long long)c->D, c->causal ? " causal" : "", c->alibi ? " alibi" : "",
               c->documents ? " documents" : "", c->scale, c->spread, (long long)c->window, c->cap);
    if (case_left_out(b, &t)) return;
    case_operand(&t, DQKV, "dqkv", WRITTEN, WORK, SHAPE(c->B, c->T, (c->H + 2 * c->KV) * c->D), 0);
    case_operand(&t, DOUT, "dout", GIVEN, WORK, SHAPE(c->B, c->T, c->H * c->D), 0);
    case_operand(&t, G_OUT, "out", GIVEN, WORK, SHAPE(c->B, c->T, c->H * c->D), 0);
    case_operand(&t, G_QKV, "qkv", GIVEN, WORK, SHAPE(c->B, c->T, (c->H + 2 * c->KV) * c->D), 0);
    case_operand(&t, G_LSE, "lse", GIVEN, STAT, SHAPE(c->B, c->H, c->T), 0);
    case_operand(&t, G_SCRATCH, "scratch", SCRATCH, STAT, SHAPE(c->B, c->H, c->T), 0);
    add_starts(&t, G_STARTS, c);
    add_room(&t, G_ROOM, c, true);
    case_draw(&t, DOUT, 0, 1);
    case_draw(&t, G_QKV, 0, c->spread);
    /* out and lse as the forward operation would have left them */
    attention_case plain = *c;
    plain.method = ATTENTION_OWN;
    tensor forward[] = {tensor_of(t.operands[G_OUT].value, F64, t.operands[G_OUT].dims),
                        tensor_of(t.operands[G_LSE].value, F64, t.operands[G_LSE].dims),
                        tensor_of(t.operands[G_QKV].value, F64, t.operands[G_QKV].dims),
                        {0},
                        {0}};
    int32_t starts[3 * 400];
    assert_true(c->B * c->T <= COUNT(starts));
    for (int64_t k = 0; c->documents && k < c->B * c->T; k++)
        starts[k] = (int32_t)t.operands[G_STARTS].value[k];
    if (c->documents) forward[STARTS] = tensor_of(starts, I32, SHAPE(c->B, c->T));
    call_attention(&b->ref.dev, forward, &plain);
    case_round(&t, G_OUT);
    case_round(&t, G_LSE);
    case_reference(b, &t);
    attention_grad_units(b, t.operands, c);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

/* ---- attention_cached ---- */

typedef struct {
    int64_t B, T, H, KV, D, P, position; /* P: places of the cache */
    double scale, spread;
    bool alibi;
    int64_t window;
    double cap;
} cached_case;

enum { C_OUT, C_QKV, C_KEYS, C_VALUES };

/* Stands in the cache's rows that the operation may not read. */
static const double forbidden = 1e30;

static void call_attention_cached(device *dev, const tensor *t, const void *options)
{
    const cached_case *c = options;
    OP(attention_cached, dev, STREAM_COMPUTE, .out = t[C_OUT], .qkv = t[C_QKV], .keys = t[C_KEYS],
       .values = t[C_VALUES], .heads = c->H, .position = c->position, .alibi = c->alibi,
       .window = c->window, .scale = c->scale, .cap = c->cap);
}

/* As attention_row_units, with the keys and values as the reference has left them. */
static void cached_row_units(operand *o, const cached_case *c, int64_t b, int64_t h, int64_t i)
{
    int64_t kv = h / (c->H / c->KV), first = (b * c->KV + kv) * c->P * c->D;
    int64_t token = b * c->T + i, last = c->position + i;
    const double *q = o[C_QKV].value + (token * (c->H + 2 * c->KV) + h) * c->D;
    const double *k = o[C_KEYS].want + first, *v = o[C_VALUES].want + first;
    double *out = o[C_OUT].unit + (token * c->H + h) * c->D;
    attention_case one = {
        .H = c->H, .D = c->D, .scale = c->scale, .alibi = c->alibi, .cap = c->cap};
    int64_t first_key = window_begins(c->window, last);
    double max = -INFINITY, sum = 0, squares = 0;
    for (int64_t j = first_key; j <= last; j++)
        max = fmax(max, score_of(&one, q, k + j * c->D, h, last - j).s);
    for (int64_t j = first_key; j <= last; j++)
        sum += exp(score_of(&one, q, k + j * c->D, h, last - j).s - max);
    double lse = max + log(sum), lse_unit = fabs(lse) + 1;
    for (int64_t j = first_key; j <= last; j++) {
        score x = score_of(&one, q, k + j * c->D, h, last - j);
        double p = exp(x.s - lse);
        lse_unit += p * (x.unit + fabs(x.s - lse));
        squares += p * p;
    }
    lse_unit += summed(last + 1, squares);
    for (int64_t j = first_key; j <= last; j++) {
        score x = score_of(&one, q, k + j * c->D, h, last - j);
        double p = exp(x.s - lse), relative = x.unit + lse_unit + fabs(x.s) + fabs(lse) + 1;
        for (int64_t d = 0; d < c->D; d++)
            out[d] += fabs(v[j * c->D + d]) * (p * relative + UNDERFLOW_UNIT);
    }
}

/* What is new or not yet there must not be read. */
static void forbid_rest(operand *o, const cached_case *c)
{
    for (int64_t r = 0; r < c->B * c->KV * c->P; r++)
        for (int64_t d = 0; d < c->D && r % c->P >= c->position; d++)
            o->value[r * c->D + d] = forbidden;
}

static void check_attention_cached(bench *b, const cached_case *c)
{
    op_case t;
    shape cache = SHAPE(c->B, c->KV, c->P, c->D);
    case_begin(b, &t, call_attention_cached, c,
               "attention_cached B=%lld T=%lld at %lld of %lld H=%lld KV=%lld D=%lld scale=%.3g "
               "spread=%g window=%lld cap=%g",
               (long long)c->B, (long long)c->T, (long long)c->position, (long long)c->P,
               (long long)c->H, (long long)c->KV, (long long)c->D, c->scale, c->spread,
               (long long)c->window, c->cap);
    if (case_left_out(b, &t)) return;
    case_operand(&t, C_OUT, "out", WRITTEN, WORK, SHAPE(c->B, c->T, c->H * c->D), 0);
    case_operand(&t, C_QKV, "qkv", GIVEN, WORK, SHAPE(c->B, c->T, (c->H + 2 * c->KV) * c->D), 0);
    case_operand(&t, C_KEYS, "keys", ADDED, WORK, cache, 0);
    case_operand(&t, C_VALUES, "values", ADDED, WORK, cache, 0);
    case_draw(&t, C_QKV, 0, c->spread);
    case_draw(&t, C_KEYS, 0, c->spread);
    case_draw(&t, C_VALUES, 0, c->spread);
    forbid_rest(&t.operands[C_KEYS], c);
    forbid_rest(&t.operands[C_VALUES], c);
    case_round(&t, C_KEYS);
    case_round(&t, C_VALUES);
    case_reference(b, &t);
    for (int64_t row = 0; row < c->B * c->H * c->T; row++)
        cached_row_units(t.operands, c, row / (c->H * c->T), row / c->T % c->H, row % c->T);
    case_compare(b, &t); /* the caches have no unit: they must be exact */
    case_poison(b, &t);
    case_end(&t);
}

/* One token and many, with nothing before them, with little and with several blocks of it; the
 * cache full and not. */
static void each_cached_case(bench *b)
{
    static const int64_t tokens[] = {1, 2, 31, 33, 70}, positions[] = {0, 1, 5, 127, 128, 200},
                         head_sizes[] = {1, 8, 17, 64, 80};
    static const struct {
        int64_t B, H, KV;
    } heads[] = {{2, 1, 1}, {1, 3, 3}, {2, 3, 1}, {1, 6, 2}};
    const char *every = getenv("LONG");
    for (int t = 0; t < COUNT(tokens); t++)
        for (int p = 0; p < COUNT(positions); p++)
            for (int d = 0; d < COUNT(head_sizes); d++)
                for (int h = 0; h < COUNT(heads); h++) {
                    if ((t + p + 2 * d + h) % 3 && !(every && *every == '1')) continue;
                    int64_t end = tokens[t] + positions[p];
                    cached_case c = {heads[h].B,
                                     tokens[t],
                                     heads[h].H,
                                     heads[h].KV,
                                     head_sizes[d],
                                     end + (d + h) % 3 * 7,
                                     positions[p],
                                     1 / sqrt((double)head_sizes[d]),
                                     1,
                                     .alibi = (t + p + d) % 3 == 0};
                    check_attention_cached(b, &c);
                }
}

static void each_cached_extreme(bench *b)
{
    static const cached_case cases[] = {
        {1, 1, 3, 1, 17, 300, 299, 1, 4, .alibi = true},
        {1, 40, 3, 1, 17, 300, 150, 1, 4, .alibi = false},
        {2, 1, 2, 2, 64, 64, 60, 0.5, 3, .alibi = false},
        {1, 5, 1, 1, 8, 9, 4, 30, 1, .alibi = false},
        {1, 130, 2, 1, 8, 400, 0, 0.3, 1, .alibi = true},
        {1, 1, 2, 1, 5, 1000, 600, 1, 4, .alibi = false},
        {1, 3, 2, 1, 600, 40, 17, 0.05, 1, .alibi = false},
        {1, 1, 3, 1, 17, 300, 299, 1, 4, .alibi = true, .window = 7, .cap = 5},
        {1, 40, 3, 1, 17, 300, 150, 1, 4, .alibi = false, .window = 1, .cap = 50},
        {2, 70, 2, 2, 8, 300, 200, 0.5, 3, .alibi = false, .window = 130},
        {1, 130, 2, 1, 8, 400, 0, 0.3, 1, .alibi = true, .window = 33},
        {1, 5, 1, 1, 8, 9, 4, 30, 1, .alibi = false, .cap = 20}};
    for (int i = 0; i < COUNT(cases); i++)
        if (cases[i].D <= rig_most_head()) check_attention_cached(b, &cases[i]);
}

/* Token after token, or in pieces: the same as attention over the whole at once. */
static void test_cached_is_attention(void **state)
{
    enum { B = 2, T = 23, H = 4, KV = 2, D = 5, WIDTH = (H + 2 * KV) * D };
    static double qkv[B * T * WIDTH], part[B * T * WIDTH], want[B * T * H * D], out[B * T * H * D],
        lse[B * T * H], keys[B * T * KV * D], values[B * T * KV * D];
    device *dev = &((bench *)*state)->ref.dev;
    for (int i = 0; i < B * T * WIDTH; i++)
        qkv[i] = sin(1.7 * i) + cos(0.3 * i * i);
    OP(attention, dev, STREAM_COMPUTE, .out = tensor_of(want, F64, SHAPE(B, T, H * D)),
       .lse = tensor_of(lse, F64, SHAPE(B, H, T)), .qkv = tensor_of(qkv, F64, SHAPE(B, T, WIDTH)),
       .heads = H, .kv_heads = KV, .causal = true, .scale = 0.7);
    for (int64_t piece = 1; piece <= T; piece += 5)
        for (int64_t first = 0; first < T; first += piece) {
            int64_t n = T - first < piece ? T - first : piece;
            for (int64_t k = 0; k < B * n * WIDTH; k++)
                part[k] = qkv[(k / (n * WIDTH) * T + first) * WIDTH + k % (n * WIDTH)];
            OP(attention_cached, dev, STREAM_COMPUTE,
               .out = tensor_of(out, F64, SHAPE(B, n, H * D)),
               .qkv = tensor_of(part, F64, SHAPE(B, n, WIDTH)),
               .keys = tensor_of(keys, F64, SHAPE(B, KV, T, D)),
               .values = tensor_of(values, F64, SHAPE(B, KV, T, D)), .heads = H, .position = first,
               .scale = 0.7);
            rig_well(&((bench *)*state)->ref, "attention_cached");
            for (int64_t k = 0; k < B * n * H * D; k++) {
                int64_t at_full = (k / (n * H * D) * T + first) * H * D + k % (n * H * D);
                assert_true(fabs(out[k] - want[at_full]) < 1e-13);
            }
        }
}

static void test_attention_cached(void **state)
{
    each_cached_case(*state);
    bench_report(*state, "attention_cached");
    each_cached_extreme(*state);
    bench_report(*state, "attention_cached, extremes");
}

/* ---- cases ---- */

static void each_case(bench *b, void (*case_of)(bench *, const attention_case *))
{
    static const int64_t lengths[] = {1, 2, 63, 64, 65, 130},
                         head_sizes[] = {1, 8, 17, 64, 80, 128};
    static const struct {
        int64_t B, H, KV;
    } heads[] = {{2, 1, 1}, {1, 3, 3}, {1, 3, 1}, {1, 6, 2}};
    for (int t = 0; t < COUNT(lengths); t++)
        for (int d = 0; d < COUNT(head_sizes); d++)
            for (int h = 0; h < COUNT(heads); h++)
                for (int causal = 0; causal < 2; causal++) {
                    bool large = lengths[t] * head_sizes[d] > 1500;
                    bool part = (t + d + h + causal) % 4 == 0 && !(rig_slow() && heads[h].H > 3);
                    if (large && !long_run() && !part) continue;
                    attention_case c = {heads[h].B,
                                        lengths[t],
                                        heads[h].H,
                                        heads[h].KV,
                                        head_sizes[d],
                                        causal,
                                        1 / sqrt((double)head_sizes[d]),
                                        1,
                                        .alibi = causal && (t + d) % 3 == 0};
                    case_of(b, &c);
                }
}

/* Scores up to +-200 (exp without the maximum overflows), a scale of its own, longer texts.  The
 * race detector takes every fifth, the odd ones not aligned: a head of 256 that is copied 16 bytes
 * at a time is the tenth. */
static void each_extreme(bench *b, void (*case_of)(bench *, const attention_case *))
{
    static const attention_case cases[] = {
        {1, 65, 3, 1, 17, true, 1, 4, .alibi = true},
        {1, 65, 3, 1, 17, false, 1, 4, .alibi = false},
        {2, 33, 2, 2, 64, true, 0.5, 3, .alibi = false},
        {1, 5, 1, 1, 8, true, 30, 1, .alibi = false},
        {1, 300, 2, 1, 8, true, 0.3, 1, .alibi = true},
        {1, 257, 2, 1, 8, false, 0.3, 1, .alibi = false},
        {1, 300, 2, 2, 17, true, 1, 4, .alibi = false},
        {1, 600, 2, 1, 5, false, 1, 4, .alibi = false},
        {1, 520, 1, 1, 5, true, 1, 4, .alibi = true},
        {1, 40, 2, 1, 300, true, 0.06, 1, .alibi = false},
        {1, 70, 2, 1, 256, true, 0.06, 1, .alibi = false},
        {1, 20, 2, 1, 200, true, 0.07, 1, .alibi = true},
        {1, 21, 1, 1, 100, true, 0.1, 1, .alibi = true},
        {1, 37, 2, 2, 200, false, 0.07, 1, .alibi = false},
        {2, 130, 2, 1, 96, false, 0.1, 1, .alibi = false},
        {1, 65, 1, 1, 32, true, -0.2, 1, .alibi = false},
        {1, 65, 2, 1, 17, true, 0.3, 2, .window = 1},
        {1, 65, 2, 1, 17, true, 0.3, 2, .window = 64},
        {1, 130, 2, 1, 8, true, 0.3, 1, .alibi = true, .window = 33, .cap = 2},
        {2, 300, 2, 2, 8, true, 0.3, 1, .window = 150},
        {1, 300, 1, 1, 5, true, 1, 2, .window = 5, .cap = 50},
        {1, 33, 2, 1, 64, false, 0.5, 2, .cap = 5},
        {1, 40, 2, 1, 256, true, 0.06, 1, .window = 20, .cap = 50},
        {2, 70, 4, 2, 24, true, 1, 3, .window = 31, .cap = 4},
        {1, 9, 2, 1, 64, true, 0.2, 1, .documents = true},
        {2, 130, 4, 2, 64, true, 0.2, 1, .documents = true},
        {1, 300, 2, 1, 8, true, 0.3, 1, .documents = true},
        {2, 200, 1, 1, 17, true, 1, 4, .alibi = true, .documents = true},
        {1, 65, 2, 2, 128, true, 0.1, 1, .documents = true},
        {1, 70, 3, 1, 96, true, 0.1, 1, .documents = true, .window = 30},
        {1, 150, 1, 1, 256, true, 0.06, 1, .documents = true},
        {3, 290, 2, 1, 5, true, 1, 2, .documents = true},
        {2, 130, 2, 1, 24, true, 0.5, 2, .documents = true, .cap = 4},
        {1, 300, 2, 1, 64, true, 0.2, 1, .window = 100},
        {1, 400, 1, 1, 40, true, 0.2, 1, .window = 9, .documents = true},
        {1, 40, 2, 1, 256, true, 0.06, 1, .alibi = true, .window = 20},
        {2, 64, 2, 2, 80, true, -0.1, 1, .documents = true},
    };
    for (int i = 0; i < COUNT(cases); i++)
        if (cases[i].D <= rig_most_head()) case_of(b, &cases[i]);
}

static int64_t draw(uint64_t which, uint64_t part, int64_t least, int64_t most)
{
    double u = rng_uniform(5, RNG_TEST, which * 8 + part);
    return least + (int64_t)(u * u * (double)(most - least + 1)); /* small ones more often */
}

/* Has a rig room for it, in double as the reference has it? */
static bool has_memory(const attention_case *c)
{
    int64_t numbers = c->B * c->T * (4 * (c->H + c->KV) * c->D + 2 * c->H), guards = 1 << 14;
    return numbers * (int64_t)sizeof(double) + guards <= (int64_t)rig_memory();
}

static void each_random(bench *b, void (*case_of)(bench *, const attention_case *))
{
    for (uint64_t i = 0; i < (uint64_t)tries(0, 300); i++) {
        int64_t KV = draw(i, 0, 1, 4), D = draw(i, 1, 1, 130);
        attention_case c = {.B = draw(i, 2, 1, 4),
                            .T = draw(i, 3, 1, 200),
                            .H = KV * draw(i, 4, 1, 4),
                            .KV = KV,
                            .D = D,
                            .causal = i % 2,
                            .window = i % 8 == 1 ? draw(i, 6, 1, 100) : 0,
                            .cap = i % 3 == 1 ? (double)draw(i, 7, 1, 50) : 0,
                            .documents = i % 4 == 3,
                            .scale = 1 / sqrt((double)D),
                            .spread = (double)draw(i, 5, 1, 3)};
        if (has_memory(&c)) case_of(b, &c);
    }
}

/* What cuDNN takes: bf16, heads of 8 times something that share no keys. */
static void each_cudnn_case(bench *b, void (*case_of)(bench *, const attention_case *))
{
    static const int64_t lengths[] = {1, 2, 33, 130}, head_sizes[] = {8, 64, 80, 128};
    if (b->work != BF16 || !rig_has_cudnn()) return;
    for (int t = 0; t < COUNT(lengths); t++)
        for (int d = 0; d < COUNT(head_sizes); d++)
            for (int form = 0; form < 4; form++) {
                if (lengths[t] * head_sizes[d] > 3000 && !long_run()) continue;
                attention_case c = {.B = 1 + d % 2,
                                    .T = lengths[t],
                                    .H = 1 + form,
                                    .KV = 1 + form,
                                    .D = head_sizes[d],
                                    .causal = form % 2,
                                    .scale = 1 / sqrt((double)head_sizes[d]),
                                    .spread = 1,
                                    .method = form / 2 ? CUDA_ATTENTION_CUDNN_REPEATABLE
                                                       : CUDA_ATTENTION_CUDNN};
                case_of(b, &c);
            }
}

static void test_cudnn(void **state)
{
    each_cudnn_case(*state, check_attention);
    bench_report(*state, "attention by cuDNN");
    each_cudnn_case(*state, check_attention_grad);
    bench_report(*state, "attention_grad by cuDNN");
}

static void test_attention(void **state)
{
    each_case(*state, check_attention);
    bench_report(*state, "attention");
    each_extreme(*state, check_attention);
    bench_report(*state, "attention, extremes");
    each_random(*state, check_attention);
    bench_report(*state, "attention, at random");
}

static void test_attention_grad(void **state)
{
    each_case(*state, check_attention_grad);
    bench_report(*state, "attention_grad");
    each_extreme(*state, check_attention_grad);
    bench_report(*state, "attention_grad, extremes");
    each_random(*state, check_attention_grad);
    bench_report(*state, "attention_grad, at random");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention), cmocka_unit_test(test_attention_grad),
        cmocka_unit_test(test_cudnn), cmocka_unit_test(test_attention_cached),
        cmocka_unit_test(test_cached_is_attention)};
    return RUN_IN_ALL_TYPES(tests);
}
