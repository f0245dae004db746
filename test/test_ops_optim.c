/* test_ops_optim.c - the optimizer step on the devices, bit for bit.
 *
 * Every rule of optim/rules/all.h is run over many tensors of odd sizes for some steps in these forms,
 * and each must leave the same bits in every parameter and state:
 *
 *     host      the rule's passes, called element by element by this file
 *     fused     one pass over memory; leaves g as it was; its slot = sumsq of g
 *     passes    the intermediate in a tensor of its own, on g, or on a state (where the rule says)
 *     each with 2 threads and with 1
 */
#include "test/trial.h"

#include "core/rng.h"
#include "optim/rules/all.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { ITEMS = 100, LARGE = 5, STEPS = 5, TOTAL = 75000, ARRAYS = 1 + MAX_STATES /* p and the states */ };

static const rule_info *const infos[] = {
#define INFO(name) &name##_info,
    OPTIM_RULES(INFO)
#undef INFO
};

static int (*const rules[])(int pass, lane *x, const hyper *h) = {
#define PASS(name) name##_pass,
    OPTIM_RULES(PASS)
#undef PASS
};

typedef enum { HOST, FUSED, PASSES, PASSES_REUSED } form;

static const char *const form_names[] = {"host", "fused", "passes", "passes, intermediate reused"};

/* What is left after the steps. */
typedef struct {
    float x[ARRAYS][TOTAL];
    double slot[STEPS][ITEMS]; /* fused only */
} result;

static int64_t item_size(int i)
{
    static const int64_t large[LARGE] = {1, 7, 64, 1000, 70001};
    return i < LARGE ? large[i] : 3 + i % 5; /* more tensors than a device may take at a time */
}

static int64_t item_start(int i)
{
    int64_t start = 0;
    for (int k = 0; k < i; k++)
        start += item_size(k);
    return start;
}

/* Parameters (step -1) and the gradients of the steps; some of them exactly zero. */
static const float *numbers(int step)
{
    static float x[STEPS + 1][TOTAL];
    static bool drawn;
    for (uint64_t i = 0; !drawn && i < (uint64_t)(STEPS + 1) * TOTAL; i++)
        x[i / TOTAL][i % TOTAL] = i % 13 ? (float)rng_normal(1, RNG_TEST, i) : 0;
    drawn = true;
    return x[step + 1];
}

static hyper numbers_of_step(const rule_info *info, int step, float clip)
{
    double lr = info->lr * (1 - 0.1 * step);
    hyper h = {.lr = (float)lr, .lr_wd = (float)(0.1 * lr), .eps = (float)info->eps, .clip = clip, .grad_norm = 1, .first = step == 0, .ok = 1};
    for (int k = 0; k < MAX_BETAS; k++) {
        h.beta[k] = (float)info->beta[k];
        h.rest[k] = (float)(1 - info->beta[k]);
        h.debias[k] = (float)(1 - pow(info->beta[k], step + 1));
    }
    return h;
}

static bool decays(int item)
{
    return item % 2 == 0;
}

/* ---- the host's form ---- */

static void run_on_host(int rule, float clip, result *r)
{
    memset(r, 0, sizeof *r);
    memcpy(r->x[0], numbers(-1), sizeof r->x[0]);
    for (int step = 0; step < STEPS; step++) {
        hyper h = numbers_of_step(infos[rule], step, clip);
        for (int i = 0; i < ITEMS; i++)
            for (int64_t k = item_start(i), end = k + item_size(i); k < end; k++) {
                lane x = {.p = r->x[0][k], .g = numbers(step)[k], .t = NAN, .wd = decays(i) ? h.lr_wd : 0};
                for (int s = 0; s < MAX_STATES; s++)
                    x.s[s] = r->x[1 + s][k];
                for (int pass = 0; pass < infos[rule]->n_passes; pass++)
                    rules[rule](pass, &x, &h);
                r->x[0][k] = x.p;
                for (int s = 0; s < infos[rule]->n_states; s++)
                    r->x[1 + s][k] = x.s[s];
            }
    }
}

/* ---- the device's forms ---- */

static void make_items(device *dev, int rule, form how, optim_item *items)
{
    static const float zeros[TOTAL];
    static float nothing[TOTAL];
    static const double no_slot = NAN;
    const rule_info *info = infos[rule];
    memset(nothing, 0xff, sizeof nothing);
    for (int i = 0; i < ITEMS; i++) {
        shape s = SHAPE(item_size(i));
        optim_item *it = &items[i];
        *it = (optim_item){.decay = decays(i), .p = bench_put(dev, F32, s, numbers(-1) + item_start(i)),
                           .g = bench_put(dev, F32, s, nothing)};
        for (int k = 0; k < info->n_states; k++)
            it->state[k] = bench_put(dev, F32, s, zeros);
        if (how == FUSED) it->slot = bench_put(dev, F64, SHAPE(1), &no_slot);
        if (how == PASSES && info->needs_temp) it->temp = bench_put(dev, F32, s, nothing);
        if (how != PASSES_REUSED) continue;
        it->temp = it->g;
        for (int k = 0; k < MAX_STATES; k++)
            if (info->r_temp == (unsigned)LANE_S0 << k) it->temp = it->state[k];
    }
}

static void free_items(device *dev, form how, optim_item *items)
{
    for (int i = 0; i < ITEMS; i++) {
        bench_free(dev, items[i].p);
        bench_free(dev, items[i].g);
        bench_free(dev, items[i].slot);
        for (int k = 0; k < MAX_STATES; k++)
            bench_free(dev, items[i].state[k]);
        if (how == PASSES) bench_free(dev, items[i].temp);
    }
}

/* The fused form leaves g and takes the sum of its squares, as sumsq does. */
static void check_fused(device *dev, const char *rule, const optim_item *it, const float *g, double *slot)
{
    static float after[TOTAL];
    double want;
    tensor other = bench_put(dev, F64, SHAPE(1), &(double){NAN});
    bench_get(dev, it->slot, slot);
    bench_get(dev, it->g, after);
    if (memcmp(after, g, tensor_bytes(it->g))) fail_msg("%s: the fused form changed g", rule);
    OP(sumsq, dev, STREAM_COMPUTE, .slot = other, .x = it->g);
    bench_get(dev, other, &want);
    if (memcmp(slot, &want, sizeof want)) fail_msg("%s: slot %.17g, but sumsq %.17g", rule, *slot, want);
    bench_free(dev, other);
}

static void run_on_device(device *dev, int rule, form how, float clip, result *r)
{
    const char *name = infos[rule]->name;
    optim_item items[ITEMS];
    memset(r, 0, sizeof *r);
    make_items(dev, rule, how, items);
    for (int step = 0; step < STEPS; step++) {
        hyper h = numbers_of_step(infos[rule], step, clip), after;
        tensor numbers_of = bench_put(dev, U8, SHAPE(sizeof h), &h);
        for (int i = 0; i < ITEMS; i++)
            op_put(dev, STREAM_COMPUTE, items[i].g, numbers(step) + item_start(i));
        OP(optim, dev, STREAM_COMPUTE, .rule = rule, .fused = how == FUSED, .hyper = numbers_of, .items = items, .n = ITEMS);
        bench_well(dev, name);
        for (int i = 0; i < ITEMS && how == FUSED; i++)
            check_fused(dev, name, &items[i], numbers(step) + item_start(i), &r->slot[step][i]);
        bench_get(dev, numbers_of, &after);
        assert_memory_equal(&after, &h, sizeof h);
        bench_free(dev, numbers_of);
    }
    for (int i = 0; i < ITEMS; i++) {
        bench_get(dev, items[i].p, r->x[0] + item_start(i));
        for (int k = 0; k < infos[rule]->n_states; k++)
            bench_get(dev, items[i].state[k], r->x[1 + k] + item_start(i));
    }
    free_items(dev, how, items);
}

static void check_same(int rule, form how, float clip, const device *dev, const result *got, const result *want)
{
    for (int a = 0; a < 1 + infos[rule]->n_states; a++)
        for (int i = 0; i < ITEMS; i++)
            for (int64_t k = 0, at = item_start(i); k < item_size(i); k++, at++)
                if (memcmp(&got->x[a][at], &want->x[a][at], sizeof(float)))
                    fail_msg("optim %s (%s), clip %g, %s device, %d threads: %s of tensor %d (%lld elements), element %lld: "
                             "got %.9g, want %.9g",
                             infos[rule]->name, form_names[how], (double)clip, dev->ops->name, dev->threads,
                             a ? infos[rule]->state[a - 1] : "p", i, (long long)item_size(i), (long long)k,
                             (double)got->x[a][at], (double)want->x[a][at]);
}

static bool has_form(int rule, form how)
{
    return how != PASSES_REUSED || infos[rule]->r_temp;
}

static void test_forms(void **state)
{
    static result want, many, one;
    static const float clips[] = {1, 0.37f};
    bench *b = *state;
    assert_true(item_start(ITEMS) <= TOTAL);
    for (int rule = 0; rule < RULE_COUNT; rule++)
        for (int c = 0; c < 2; c++) {
            run_on_host(rule, clips[c], &want);
            for (form how = FUSED; how <= PASSES_REUSED; how++) {
                if (!has_form(rule, how)) continue;
                run_on_device(&b->many, rule, how, clips[c], &many);
                run_on_device(&b->one, rule, how, clips[c], &one);
                check_same(rule, how, clips[c], &b->many, &many, &want);
                check_same(rule, how, clips[c], &b->one, &one, &want);
                assert_memory_equal(one.slot, many.slot, sizeof one.slot);
            }
        }
}

/* The rules must have moved something, or equal bits would mean little. */
static void test_rules_differ(void **state)
{
    (void)state;
    static result a, b;
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        run_on_host(rule, 1, &a);
        run_on_host(rule, 0.37f, &b);
        assert_memory_not_equal(a.x[0], numbers(-1), sizeof a.x[0]);
        assert_memory_not_equal(a.x[1], b.x[1], sizeof a.x[1]); /* clipping reaches the states */
        for (int64_t k = 0; k < item_start(ITEMS); k++)
            assert_true(isfinite(a.x[0][k]) && isfinite(b.x[0][k]));
    }
}

/* After a loss that is NaN nothing changes any more. */
static void not_ok_on(device *dev)
{
    static float after[TOTAL];
    static const float zeros[TOTAL];
    for (int rule = 0; rule < RULE_COUNT; rule++)
        for (form how = FUSED; how <= PASSES_REUSED; how++) {
            if (!has_form(rule, how)) continue;
            optim_item items[ITEMS];
            hyper h = numbers_of_step(infos[rule], 0, 0.5f);
            h.ok = 0;
            make_items(dev, rule, how, items);
            tensor numbers_of = bench_put(dev, U8, SHAPE(sizeof h), &h);
            for (int i = 0; i < ITEMS; i++)
                op_put(dev, STREAM_COMPUTE, items[i].g, numbers(0) + item_start(i));
            OP(optim, dev, STREAM_COMPUTE, .rule = rule, .fused = how == FUSED, .hyper = numbers_of, .items = items, .n = ITEMS);
            bench_well(dev, "optim");
            for (int i = 0; i < ITEMS; i++) {
                bench_get(dev, items[i].p, after);
                assert_memory_equal(after, numbers(-1) + item_start(i), tensor_bytes(items[i].p));
                bench_get(dev, items[i].g, after);
                assert_memory_equal(after, numbers(0) + item_start(i), tensor_bytes(items[i].g));
                for (int k = 0; k < infos[rule]->n_states; k++) {
                    bench_get(dev, items[i].state[k], after);
                    assert_memory_equal(after, zeros, tensor_bytes(items[i].p));
                }
            }
            bench_free(dev, numbers_of);
            free_items(dev, how, items);
        }
}

static void test_not_ok(void **state)
{
    bench *b = *state;
    not_ok_on(&b->many);
    not_ok_on(&b->one);
}

/* No items are no work; a slot may be absent. */
static void test_optional(void **state)
{
    bench *b = *state;
    device *dev = &b->many;
    static float got[TOTAL];
    hyper h = numbers_of_step(&sgd_info, 0, 1);
    tensor numbers_of = bench_put(dev, U8, SHAPE(sizeof h), &h);
    OP(optim, dev, STREAM_COMPUTE, .rule = RULE_sgd, .fused = true, .hyper = numbers_of);
    OP(optim, dev, STREAM_COMPUTE, .rule = RULE_sgd, .fused = false, .hyper = numbers_of);
    shape s = SHAPE(1000);
    optim_item item = {.p = bench_put(dev, F32, s, numbers(-1)), .g = bench_put(dev, F32, s, numbers(0)),
                       .state = {bench_put(dev, F32, s, (float[1000]){0})}};
    OP(optim, dev, STREAM_COMPUTE, .rule = RULE_sgd, .fused = true, .hyper = numbers_of, .items = &item, .n = 1);
    bench_well(dev, "optim without slot");
    bench_get(dev, item.p, got);
    for (int i = 0; i < 1000; i++)
        assert_true(got[i] == numbers(-1)[i] - h.lr * numbers(0)[i]);
    bench_free(dev, item.p), bench_free(dev, item.g), bench_free(dev, item.state[0]), bench_free(dev, numbers_of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_rules_differ),
                                       cmocka_unit_test(test_not_ok), cmocka_unit_test(test_optional)};
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
