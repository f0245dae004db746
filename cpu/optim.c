/* optim.c - the optimizer step and the sums around it: squares, clipping, loss.
 *
 * Each rule of optim/rules/all.h is compiled here into two forms of loop: one with all its passes
 * in registers, and one loop per pass.  Both perform the same operations with the same rounding:
 * this file is compiled with -ffp-contract=off.
 *
 * Tensors are divided into at most SEGMENTS segments by their element count alone; threads share
 * the segments of many tensors, so a sum over a tensor has the same bits for any number of threads:
 *
 *      tensor    |  segment 0  |  segment 1  |  segment 2 |      sums added in this order
 *      segment   | block | block | block ...                     in LANES interleaved double sums
 *      block     | part | part | part ...
 *
 * The sum of g^2 of a part is computed just before its update, which then finds g in the L1 cache.
 */
#include "cpu/cpu_internal.h"
#include "core/segment.h"
#include "cpu/stored.h"
#include "optim/rules/all.h"

#include <math.h>
#include <string.h>

enum { LANES = SEGMENT_LANES, BLOCK = SEGMENT_BLOCK, GROUP = 16 };

/* Elements that are summed and then updated.  The sum reads one array and waits for it, the update
 * reads the others and computes: in short turns the processor looks ahead from one into the other.
 * 256 is what paid on Zen 1 (docs/bench-cpu.md); AVX-512 has what it was measured with. */
#ifdef __AVX512F__
enum { PART = BLOCK };
#else
enum { PART = 256 };
#endif
_Static_assert(PART % LANES == 0, "a sum's lanes are the same in each part");

/* ---- sums of squares ---- */

/* lanes[k] += x[j]^2 for j = k, k + LANES, ... of n numbers */
ROW_FN void add_squares_of(double *lanes, const void *x, int64_t n, int type)
{
    double sum[LANES];
    memcpy(sum, lanes, sizeof sum);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (int k = 0; k < LANES; k++)
            sum[k] += (double)load(type, x, i + k) * (double)load(type, x, i + k);
    for (int k = 0; i + k < n; k++)
        sum[k] += (double)load(type, x, i + k) * (double)load(type, x, i + k);
    memcpy(lanes, sum, sizeof sum);
}

/* The same of n elements of a tensor from `first`. */
static void add_squares(double *lanes, tensor x, int64_t first, int64_t n)
{
    FOR_WORKING_TYPE(x.type, add_squares_of(lanes, element_at(x, 0, first), n, TYPE));
}

static double add_up(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

typedef struct {
    tensor x;
    double *part;
} squares_of;

static void squares_range(const void *context, int64_t first, int64_t end)
{
    const squares_of *s = context;
    int64_t n = tensor_count(s->x);
    for (int64_t i = first; i < end; i++) {
        double lanes[LANES] = {0};
        int64_t start = segment_start(n, i);
        add_squares(lanes, s->x, start, segment_start(n, i + 1) - start);
        s->part[i] = add_up(lanes, LANES);
    }
}

static double sum_of_squares(const device *dev, tensor x)
{
    int64_t count = segment_count(tensor_count(x));
    double part[SEGMENTS];
    pool_for(cpu_threads(dev), count, 1, squares_range, &(squares_of){x, part});
    return add_up(part, count);
}

void cpu_sumsq(device *dev, int stream, const sumsq_op *o)
{
    (void)stream;
    for (int64_t i = 0; i < o->n; i++)
        *(double *)o->items[i].slot.data = sum_of_squares(dev, o->items[i].x);
}

void cpu_clip(device *dev, int stream, const clip_op *o)
{
    (void)dev, (void)stream;
    hyper *h = o->hyper.data;
    double norm = sqrt(add_up(o->slots.data, tensor_count(o->slots)));
    h->grad_norm = (float)norm;
    h->clip = o->max_norm > 0 && norm > o->max_norm ? (float)(o->max_norm / norm) : 1.0f;
}

void cpu_sum(device *dev, int stream, const sum_op *o)
{
    (void)dev, (void)stream;
    double part[LOSS_LANES] = {0}, sum = 0, *out = o->sum.data;
    for (int64_t i = 0; i < tensor_count(o->x); i++)
        part[i % LOSS_LANES] +=
            o->x.type == F32 ? (double)floats(o->x)[i] : ((const double *)o->x.data)[i];
    for (int k = 0; k < LOSS_LANES; k++)
        sum += part[k];
    *out = (o->accumulate ? *out : 0) + o->scale * sum;
    if (present(o->hyper) && !isfinite(*out)) ((hyper *)o->hyper.data)->ok = 0;
}

/* ---- rules ---- */

/* The arrays of one item, or of a part of it; an absent one points to p, and is never written. */
typedef struct {
    float *p, *g, *s[MAX_STATES], *t;
    float wd;
} arrays;

/* The elements from `start` on as f32: in place, or decoded. */
static float *part_of(tensor t, int64_t start, float *decoded_part)
{
    return t.type == F32 ? floats(t) + start : decoded_part;
}

static arrays arrays_of(const optim_item *it, const hyper *h, int64_t start, decoded *d)
{
    arrays a = {.p = part_of(it->p, start, d ? d->p : NULL),
                .g = part_of(it->g, start, d ? d->g : NULL),
                .wd = it->decay ? h->lr_wd : 0};
    a.t = part_of(it->temp, start, a.p);
    for (int k = 0; k < MAX_STATES; k++)
        a.s[k] = present(it->state[k]) ? part_of(it->state[k], start, d ? d->s[k] : NULL) : a.p;
    return a;
}

static arrays arrays_from(arrays a, int64_t start)
{
    a.p += start, a.g += start, a.t += start;
    for (int k = 0; k < MAX_STATES; k++)
        a.s[k] += start;
    return a;
}

typedef void fused_fn(arrays a, const hyper *h, int64_t n);
typedef void pass_fn(int pass, arrays a, const hyper *h, int64_t n);

#define LOAD(i)                                                                                    \
    {                                                                                              \
        a.p[i], a.g[i], {a.s[0][i], a.s[1][i], a.s[2][i], a.s[3][i]}, a.t[i], a.wd                 \
    }

/* Every argument is a compile-time constant: what a rule does not read is not loaded, what it does
 * not write is not stored. */
#define RULE_LOOPS(name)                                                                           \
    static void name##_fused(arrays a, const hyper *hp, int64_t n)                                 \
    {                                                                                              \
        const hyper h = *hp;                                                                       \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                        \
        {                                                                                          \
            lane x = LOAD(i);                                                                      \
            EACH_PASS(FUSED_PASS, name)                                                            \
            a.p[i] = x.p;                                                                          \
            if (name##_info.n_states > 0) a.s[0][i] = x.s[0];                                      \
            if (name##_info.n_states > 1) a.s[1][i] = x.s[1];                                      \
            if (name##_info.n_states > 2) a.s[2][i] = x.s[2];                                      \
            if (name##_info.n_states > 3) a.s[3][i] = x.s[3];                                      \
            if (name##_info.sees == BY_MATRIX) a.t[i] = x.t;                                       \
        }                                                                                          \
    }                                                                                              \
    static void name##_one(int pass, arrays a, const hyper *hp, int64_t n)                         \
    {                                                                                              \
        const hyper h = *hp;                                                                       \
        switch (pass) {                                                                            \
            EACH_PASS(PASS_LOOP, name)                                                             \
        }                                                                                          \
    }

#define EACH_PASS(X, name)                                                                         \
    X(name, 0)                                                                                     \
    X(name, 1)                                                                                     \
    X(name, 2)                                                                                     \
    X(name, 3)                                                                                     \
    X(name, 4)                                                                                     \
    X(name, 5)                                                                                     \
    X(name, 6)                                                                                     \
    X(name, 7)                                                                                     \
    X(name, 8) X(name, 9) X(name, 10) X(name, 11) X(name, 12) X(name, 13) X(name, 14) X(name, 15)

#define FUSED_PASS(name, k)                                                                        \
    if (k < name##_info.n_passes) name##_pass(k, &x, &h);

#define PASS_LOOP(name, k)                                                                         \
    case k:                                                                                        \
        if (k >= name##_info.n_passes) return;                                                     \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                        \
        {                                                                                          \
            lane x = LOAD(i);                                                                      \
            int written = name##_pass(k, &x, &h);                                                  \
            if (written & LANE_P) a.p[i] = x.p;                                                    \
            if (written & LANE_G) a.g[i] = x.g;                                                    \
            if (written & LANE_T) a.t[i] = x.t;                                                    \
            if (written & LANE_S0) a.s[0][i] = x.s[0];                                             \
            if (written & LANE_S1) a.s[1][i] = x.s[1];                                             \
            if (written & LANE_S2) a.s[2][i] = x.s[2];                                             \
            if (written & LANE_S3) a.s[3][i] = x.s[3];                                             \
        }                                                                                          \
        return;

OPTIM_RULES(RULE_LOOPS)

typedef struct {
    fused_fn *fused;
    pass_fn *pass;
} rule_loops;

static const rule_loops loops[] = {
#define RULE_ENTRY(name) {name##_fused, name##_one},
    OPTIM_RULES(RULE_ENTRY)
#undef RULE_ENTRY
};

/* ---- the step ---- */

static int64_t segments_of(const optim_item *it)
{
    return segment_count(tensor_count(it->p));
}

/* The largest number that any item has. */
static int64_t most_segments(const optim_item *items, int64_t n)
{
    int64_t most = 0;
    for (int64_t i = 0; i < n; i++)
        most = segments_of(&items[i]) > most ? segments_of(&items[i]) : most;
    return most;
}

/* One segment of an item, block by block; returns its sum of g^2 if that is wanted. */
static double fused_segment(const rule_loops *rule, const optim_item *it, const hyper *h,
                            int64_t segment)
{
    int64_t n = tensor_count(it->p), end = segment_start(n, segment + 1);
    double lanes[LANES] = {0};
    for (int64_t at = segment_start(n, segment); at < end; at += BLOCK) {
        int64_t count = min64(BLOCK, end - at);
        decoded d;
        decode_block(it, at, count, &d);
        arrays all = arrays_of(it, h, at, &d);
        for (int64_t k = 0; k < count; k += PART) {
            int64_t n_part = min64(PART, count - k);
            if (present(it->slot)) add_squares(lanes, it->g, at + k, n_part);
            rule->fused(arrays_from(all, k), h, n_part);
        }
        encode_block(it, h, at, count, &d);
    }
    return add_up(lanes, LANES);
}

/* Segments of several items, the same number of each, whether they exist or not.  They are numbered
 * across the items: so consecutive ones, which a thread takes together, have a share of each item,
 * even if one is larger than all others (an embedding).
 *
 *      item 0 (4 segments)   0  3  6  9
 *      item 1 (2)            1  4
 *      item 2 (1)            2
 */
typedef struct {
    const rule_loops *rule;
    int pass;
    const hyper *h;
    const optim_item *items;
    int64_t n;                /* items */
    double (*part)[SEGMENTS]; /* sums of g^2 */
} segments;

static void fused_range(const void *context, int64_t first, int64_t end)
{
    const segments *s = context;
    for (int64_t at = first; at < end; at++) {
        int64_t i = at % s->n, k = at / s->n;
        if (k >= segments_of(&s->items[i])) continue;
        hyper h = hyper_scaled(*s->h, s->items[i].lr_scale);
        s->part[i][k] = fused_segment(s->rule, &s->items[i], &h, k);
    }
}

/* At most GROUP items: first their segments in parallel, then their slots. */
static void fused_group(const device *dev, const rule_loops *rule, const hyper *h,
                        const optim_item *items, int64_t n)
{
    double part[GROUP][SEGMENTS];
    segments s = {.rule = rule, .h = h, .items = items, .n = n, .part = part};
    pool_for(cpu_threads(dev), n * most_segments(items, n), 1, fused_range, &s);
    for (int64_t i = 0; i < n; i++)
        if (present(items[i].slot))
            *(double *)items[i].slot.data = add_up(part[i], segments_of(&items[i]));
}

static void pass_range(const void *context, int64_t first, int64_t end)
{
    const segments *s = context;
    for (int64_t at = first; at < end; at++) {
        const optim_item *it = &s->items[at % s->n];
        int64_t k = at / s->n;
        if (k >= segments_of(it)) continue;
        int64_t n = tensor_count(it->p), start = segment_start(n, k);
        int64_t length = segment_start(n, k + 1) - start;
        hyper h = hyper_scaled(*s->h, it->lr_scale);
        s->rule->pass(s->pass, arrays_of(it, &h, start, NULL), &h, length);
    }
}

static void pass_over_all(const device *dev, const rule_loops *rule, const optim_op *o,
                          const hyper *h, int pass)
{
    segments s = {.rule = rule, .pass = pass, .h = h, .items = o->items, .n = o->n};
    pool_for(cpu_threads(dev), o->n * most_segments(o->items, o->n), 1, pass_range, &s);
}

void cpu_optim(device *dev, int stream, const optim_op *o)
{
    (void)stream;
    const hyper *h = o->hyper.data;
    int number = rule_named(o->rule->name);
    if (number == RULE_COUNT) {
        device_fail(dev, internal_error("optim: no rule is called %s", o->rule->name));
        return;
    }
    const rule_loops *rule = &loops[number];
    if (!h->ok) return;
    if (o->fused) {
        for (int64_t i = 0; i < o->n; i += GROUP)
            fused_group(dev, rule, h, o->items + i, min64(GROUP, o->n - i));
        return;
    }
    for (int pass = 0; pass < o->rule->n_passes; pass++)
        pass_over_all(dev, rule, o, h, pass);
}
