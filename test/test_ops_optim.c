/* test_ops_optim.c - the optimizer step on the devices, bit for bit.
 *
 * Every rule of optim/rules/all.h is run over many tensors of odd sizes for some steps in these
 * forms, and each must leave the same bits in every parameter and state:
 *
 *     host      the rule's passes, called element by element by this file
 *     fused     one pass over memory; leaves g as it was; its slot = sumsq of g
 *     passes    the intermediate in a tensor of its own, on g, or on a state (where the rule says)
 *     each with 2 threads, with 1 and with 5
 *
 * Short: 5 threads without clipping only; on the emulator three steps, each form with one other
 * order of threads, and with clipping the fused one only.  LONG=1: all of it with every clip
 * factor, and more of these.  With the sanitizers (so on the emulator, too) the largest tensors
 * are smaller: still some segments of a sum and some blocks of a kernel, with a rest.
 */
#include "test/long.h"
#include "test/rig.h"

#include "base/rng.h"
#include "test/formula.h"
#include "optim/registry.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
enum { LARGEST = 20001, SECOND = 9001 };
#else
enum { LARGEST = 300001, SECOND = 70001 };
#endif

enum {
    ITEMS = 100,
    LARGE = 6,
    STEPS = 5,
    TOTAL = LARGEST + SECOND + 2000,
    ARRAYS = 1 + MAX_STATES /* p and the states */
};

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

/* The first, and one that is not (the race detector), or two (the emulator); elsewhere more. */
static int steps(void)
{
    return rig_once() ? 2 : rig_slow() ? 3 : STEPS;
}

static int64_t item_size(int i)
{
    static const int64_t large[LARGE] = {1, 7, 64, 1000, SECOND, LARGEST};
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
        x[i / TOTAL][i % TOTAL] = i % 13 ? (float)normal_at(1, RNG_TEST, i) : 0;
    drawn = true;
    return x[step + 1];
}

static hyper numbers_of_step(const rule_info *info, int step, float clip)
{
    double lr = info->lr * (1 - 0.1 * step);
    hyper h = {.lr = (float)lr,
               .lr_wd = (float)(0.1 * lr),
               .eps = (float)info->eps,
               .average_rest = step ? 0.25f : 1,
               .clip = clip,
               .grad_norm = 1,
               .first = step == 0,
               .ok = 1};
    h.others = (others_numbers){.lr = (float)(0.1 * lr), .lr_wd = (float)(0.01 * lr), .eps = h.eps};
    for (int k = 0; k < 2; k++) {
        h.others.beta[k] = (float)info->beta[k];
        h.others.rest[k] = (float)(1 - info->beta[k]);
        h.others.debias[k] = (float)(1 - pow(info->beta[k], step + 1));
    }
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

/* Factor of its learning rate: none, a half, another one. */
static float lr_scale(int item)
{
    static const float scales[] = {0, 0.5f, 0.123f};
    return scales[item % 3];
}

/* The step's numbers for an item. */
static hyper numbers_of_item(const hyper *step, int item)
{
    hyper h = *step;
    float by = lr_scale(item) == 0 ? 1 : lr_scale(item);
    h.lr *= by, h.lr_wd *= by, h.others.lr *= by, h.others.lr_wd *= by;
    return h;
}

/* ---- the host's form ---- */

static void run_on_host(int rule, float clip, result *r)
{
    memset(r, 0, sizeof *r);
    memcpy(r->x[0], numbers(-1), sizeof r->x[0]);
    for (int step = 0; step < steps(); step++) {
        hyper all = numbers_of_step(infos[rule], step, clip);
        for (int i = 0; i < ITEMS; i++) {
            const hyper h = numbers_of_item(&all, i);
            for (int64_t k = item_start(i), end = k + item_size(i); k < end; k++) {
                lane x = {.p = r->x[0][k],
                          .g = numbers(step)[k],
                          .t = NAN,
                          .wd = decays(i) ? h.lr_wd : 0};
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
}

/* ---- the device's forms ---- */

/* One array of all items for each member; the items are parts of them. */
typedef struct {
    tensor p, g, state[MAX_STATES], temp, slots;
    optim_item items[ITEMS];
} fleet;

static tensor part(tensor full, int i)
{
    return present(full) ? tensor_of((float *)full.data + item_start(i), F32, SHAPE(item_size(i)))
                         : full;
}

static void make_fleet(rig *on, int rule, form how, fleet *f)
{
    static const float zeros[TOTAL];
    static double nothing[TOTAL];
    const rule_info *info = infos[rule];
    memset(nothing, 0xff, sizeof nothing);
    *f = (fleet){.p = rig_put(on, F32, SHAPE(TOTAL), numbers(-1)),
                 .g = rig_put(on, F32, SHAPE(TOTAL), nothing)};
    for (int k = 0; k < info->n_states; k++)
        f->state[k] = rig_put(on, F32, SHAPE(TOTAL), zeros);
    if (how == FUSED) f->slots = rig_put(on, F64, SHAPE(ITEMS), nothing);
    bool temp = (how == PASSES && info->needs_temp) || (how == FUSED && info->sees == BY_MATRIX);
    if (temp) f->temp = rig_put(on, F32, SHAPE(TOTAL), nothing);
    if (how == PASSES_REUSED) f->temp = f->g;
    for (int k = 0; k < MAX_STATES; k++)
        if (how == PASSES_REUSED && info->r_temp == (unsigned)LANE_S0 << k) f->temp = f->state[k];
    for (int i = 0; i < ITEMS; i++) {
        f->items[i] = (optim_item){.p = part(f->p, i),
                                   .g = part(f->g, i),
                                   .temp = part(f->temp, i),
                                   .decay = decays(i),
                                   .lr_scale = lr_scale(i)};
        for (int k = 0; k < MAX_STATES; k++)
            f->items[i].state[k] = part(f->state[k], i);
        if (how == FUSED) f->items[i].slot = tensor_of((double *)f->slots.data + i, F64, SHAPE(1));
    }
}

/* The fused form leaves g and takes the sums of its squares, as sumsq does. */
static void check_fused(rig *on, const char *rule, const fleet *f, int step, double *slots)
{
    static float g[TOTAL];
    double sums[ITEMS] = {0};
    tensor others = rig_put(on, F64, SHAPE(ITEMS), sums);
    rig_get(on, f->g, g);
    if (memcmp(g, numbers(step), sizeof g)) fail_msg("%s: the fused form changed g", rule);
    sumsq_item squares[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        squares[i] =
            (sumsq_item){tensor_of((double *)others.data + i, F64, SHAPE(1)), f->items[i].g};
    OP(sumsq, &on->dev, STREAM_COMPUTE, .items = squares, .n = ITEMS);
    rig_get(on, others, sums);
    rig_get(on, f->slots, slots);
    for (int i = 0; i < ITEMS; i++)
        if (memcmp(&slots[i], &sums[i], sizeof *slots))
            fail_msg("%s: tensor %d: slot %.17g, but sumsq %.17g", rule, i, slots[i], sums[i]);
}

static void run_on_device(rig *on, int rule, form how, float clip, result *r)
{
    static fleet f;
    const char *name = infos[rule]->name;
    memset(r, 0, sizeof *r);
    make_fleet(on, rule, how, &f);
    for (int step = 0; step < steps(); step++) {
        hyper h = numbers_of_step(infos[rule], step, clip), after;
        tensor step_numbers = rig_put(on, U8, SHAPE(sizeof h), &h);
        op_put(&on->dev, STREAM_COMPUTE, f.g, numbers(step));
        OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(rule), .fused = how == FUSED,
           .hyper = step_numbers, .items = f.items, .n = ITEMS);
        rig_get(on, step_numbers, &after);
        assert_memory_equal(&after, &h, sizeof h);
        if (how == FUSED && (step == 0 || step == steps() - 1))
            check_fused(on, name, &f, step, r->slot[step]);
        rig_well(on, name);
    }
    rig_get(on, f.p, r->x[0]);
    for (int k = 0; k < infos[rule]->n_states; k++)
        rig_get(on, f.state[k], r->x[1 + k]);
    rig_clear(on);
}

static void check_same(int rule, form how, float clip, const rig *on, const result *got,
                       const result *want)
{
    for (int a = 0; a < 1 + infos[rule]->n_states && memcmp(got->x, want->x, sizeof got->x); a++)
        for (int i = 0; i < ITEMS; i++)
            for (int64_t k = 0, at = item_start(i); k < item_size(i); k++, at++)
                if (memcmp(&got->x[a][at], &want->x[a][at], sizeof(float)))
                    fail_msg("optim %s (%s), clip %g, %s device, %d threads: %s of tensor %d (%lld "
                             "elements), element %lld: "
                             "got %.9g, want %.9g",
                             infos[rule]->name, form_names[how], (double)clip, on->dev.ops->name,
                             on->dev.threads, a ? infos[rule]->state[a - 1] : "p", i,
                             (long long)item_size(i), (long long)k, (double)got->x[a][at],
                             (double)want->x[a][at]);
}

static bool has_form(int rule, form how)
{
    return how != PASSES_REUSED || infos[rule]->r_temp;
}

/* Also with other threads: k is 0 for one thread (the emulator: downwards), 1
 * for five (any order)? */
static bool wants_other(int rule, form how, int clip, int k)
{
    if (rig_once()) return false;
    if (long_run()) return true;
    return rig_slow() ? clip == 0 && (rule + (int)how) % 2 == k : clip == 0 || k == 0;
}

static void test_forms(void **state)
{
    static result want, many, other;
    static const float clips[] = {1, 0.37f, 1e-6f, 0.999f};
    bench *b = *state;
    assert_true(item_start(ITEMS) <= TOTAL);
    for (int rule = 0; rule < RULE_COUNT; rule++)
        for (int64_t c = 0; c < (rig_once() ? 1 : tries(2, 4)); c++) {
            run_on_host(rule, clips[c], &want);
            for (form how = FUSED; how <= PASSES_REUSED; how++) {
                if (!has_form(rule, how) || (rig_slow() && c && how != FUSED)) continue;
                run_on_device(&b->many, rule, how, clips[c], &many);
                check_same(rule, how, clips[c], &b->many, &many, &want);
                rig *others[] = {&b->one, &b->odd};
                for (int k = 0; k < 2; k++) {
                    if (!wants_other(rule, how, (int)c, k)) continue;
                    run_on_device(others[k], rule, how, clips[c], &other);
                    check_same(rule, how, clips[c], others[k], &other, &want);
                    assert_memory_equal(other.slot, many.slot, sizeof other.slot);
                }
            }
        }
}

/* Some rules only change the states: those of a micro-batch that is not the last. */
static bool moves_p(int rule)
{
    const hyper h = {.ok = 1};
    lane x = {0};
    int written = 0;
    for (int pass = 0; pass < infos[rule]->n_passes; pass++)
        written |= rules[rule](pass, &x, &h);
    return written & LANE_P;
}

/* The rules must have moved something, or equal bits would mean little. */
static void test_rules_differ(void **state)
{
    (void)state;
    static result a, b;
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        run_on_host(rule, 1, &a);
        run_on_host(rule, 0.37f, &b);
        assert_int_equal(memcmp(a.x[0], numbers(-1), sizeof a.x[0]) != 0, moves_p(rule));
        if (infos[rule]->n_states) /* clipping reaches them */
            assert_memory_not_equal(a.x[1], b.x[1], sizeof a.x[1]);
        for (int64_t k = 0; k < item_start(ITEMS); k++)
            assert_true(isfinite(a.x[0][k]) && isfinite(b.x[0][k]));
    }
}

/* After a loss that is NaN nothing changes any more. */
static void not_ok_on(rig *on)
{
    static float after[TOTAL];
    static const float zeros[TOTAL];
    static fleet f;
    for (int rule = 0; rule < RULE_COUNT; rule++)
        for (form how = FUSED; how <= PASSES_REUSED; how++) {
            if (!has_form(rule, how)) continue;
            hyper h = numbers_of_step(infos[rule], 0, 0.5f);
            h.ok = 0;
            make_fleet(on, rule, how, &f);
            tensor step_numbers = rig_put(on, U8, SHAPE(sizeof h), &h);
            op_put(&on->dev, STREAM_COMPUTE, f.g, numbers(0));
            OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(rule), .fused = how == FUSED,
               .hyper = step_numbers, .items = f.items, .n = ITEMS);
            rig_well(on, "optim");
            rig_get(on, f.p, after);
            assert_memory_equal(after, numbers(-1), sizeof after);
            rig_get(on, f.g, after);
            assert_memory_equal(after, numbers(0), sizeof after);
            for (int k = 0; k < infos[rule]->n_states; k++) {
                rig_get(on, f.state[k], after);
                assert_memory_equal(after, zeros, sizeof after);
            }
            rig_clear(on);
        }
}

static void test_not_ok(void **state)
{
    bench *b = *state;
    not_ok_on(&b->many);
    if (!rig_slow()) not_ok_on(&b->one);
}

/* No items are no work; a slot may be absent. */
static void test_optional(void **state)
{
    bench *b = *state;
    rig *on = &b->many;
    static float got[TOTAL];
    static fleet f;
    hyper h = numbers_of_step(&sgd_info, 0, 1);
    make_fleet(on, RULE_sgd, PASSES, &f);
    tensor step_numbers = rig_put(on, U8, SHAPE(sizeof h), &h);
    op_put(&on->dev, STREAM_COMPUTE, f.g, numbers(0));
    OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(RULE_sgd), .fused = true,
       .hyper = step_numbers);
    OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(RULE_sgd), .fused = false,
       .hyper = step_numbers);
    rig_get(on, f.p, got);
    assert_memory_equal(got, numbers(-1), sizeof got);
    f.items[0].decay = false;
    OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(RULE_sgd), .fused = true,
       .hyper = step_numbers, .items = f.items, .n = 1);
    rig_well(on, "optim without slot");
    rig_get(on, f.p, got);
    for (int64_t i = 0; i < TOTAL; i++) /* the first step of sgd, on the first tensor only */
        assert_true(got[i] ==
                    (i < item_size(0) ? numbers(-1)[i] - h.lr * numbers(0)[i] : numbers(-1)[i]));
    rig_clear(on);
}

/* lion_substituted.h's sign is that of b1 m + (1-b1) g more often than if it were found from the
 * gradient's end, where the published program does not begin. */
static void test_lion_begins_at_the_momentum(void **state)
{
    (void)state;
    enum { N = 1000000 };
    const hyper h = numbers_of_step(&lion_substituted_info, 0, 1);
    int64_t wrong = 0, wrong_from_g = 0;
    for (uint64_t i = 0; i < N; i++) {
        float m = (float)normal_at(2, RNG_TEST, i); /* and g nearly opposite, so that they cancel */
        float g = (float)(-9 * m * (1 + 3e-6 * normal_at(3, RNG_TEST, i)));
        double exact = (double)h.beta[0] * m + (double)h.rest[0] * g;
        lane x = {.g = g, .s = {m}};
        for (int pass = 0; pass < 4; pass++)
            lion_substituted_pass(pass, &x, &h);
        float from_g = g + h.beta[0] / h.beta[1] * (x.s[0] - g);
        wrong += ((double)x.g > 0) != (exact > 0);
        wrong_from_g += ((double)from_g > 0) != (exact > 0);
    }
    print_message("of %d signs near zero %lld are wrong, and %lld would be\n", N, (long long)wrong,
                  (long long)wrong_from_g);
    assert_true(wrong > 0 && 4 * wrong < 3 * wrong_from_g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lion_begins_at_the_momentum), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_rules_differ), cmocka_unit_test(test_not_ok),
        cmocka_unit_test(test_optional)};
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
