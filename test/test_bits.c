/* test_bits.c - memory techniques change no bits.
 *
 * A tied two-layer model with odd sizes is trained for 10 steps under every gradient policy, in
 * both forms, with and without clipping, with one and with four micro-batches.  Whatever is
 * compared must agree in every parameter, every loss and every gradient norm; and the policy
 * asserted is the one at work.
 *
 * Short: with only one of clipping and micro-batches, each policy in one form; one shape, two
 * threads.  LONG=1: 50 steps, the whole product, on three shapes with one, two and three threads.
 * A sanitizer has seen all that it will see in fewer steps, of each policy in one form, with both
 * clipping and micro-batches or neither, and learns nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/long.h"
#include "test/small_run.h"

#include <math.h>
#include <string.h>

static int steps_of_run(void)
{
    return thin_run() ? 4 : (int)tries(10, 50);
}

typedef struct {
    const char *optim, *impl, *policy;
    const char *clip;
    int accum;
    const char *model; /* NULL: SMALL_MODEL */
} setting;

static bool allowed(const setting *s)
{
    return strcmp(s->policy, "release") || (s->accum == 1 && !strcmp(s->clip, "0"));
}

static small_result train(const setting *s, const char *more)
{
    char arguments[900];
    snprintf(arguments, sizeof arguments,
             "%s --steps %d --warmup 4 --lr 0.003 --weight-decay 0.1 --optim %s "
             "--optim-impl %s --gradients %s --grad-clip %s "
             "--accum %d %s",
             s->model ? s->model : SMALL_MODEL, steps_of_run(), s->optim, s->impl, s->policy,
             s->clip, s->accum, more);
    return small_train(arguments);
}

static void same(const setting *sa, const small_result *a, const setting *sb, const small_result *b)
{
    int64_t at = first_difference(a, b);
    for (int64_t i = 0; at < 0 && i < a->steps; i++)
        if (memcmp(&a->loss[i], &b->loss[i], sizeof(double)) ||
            memcmp(&a->grad_norm[i], &b->grad_norm[i], sizeof(double)))
            at = -2 - i;
    if (at != -1)
        fail_msg("%s %s %s and %s %s %s (clip %s, accum %d) differ at %lld: %.9g, %.9g", sa->optim,
                 sa->impl, sa->policy, sb->optim, sb->impl, sb->policy, sa->clip, sa->accum,
                 (long long)at, at >= 0 ? (double)a->parameters[at] : 0,
                 at >= 0 ? (double)b->parameters[at] : 0);
}

/* Where only one of clipping and accumulation is on, a short run tries each policy in one form; a
 * thin one always. */
static bool in_short_run(const char *clip, int accum, int impl, int policy)
{
    bool clips = strcmp(clip, "0"), accumulates = accum > 1;
    return (clips == accumulates && !thin_run()) || (impl + policy + accumulates) % 2 == 0;
}

/* Everything that must equal `base`, in one form or both. */
static void all_policies_agree(const char *sizes, const char *name, const char *clip, int accum,
                               bool passes_of_r, const char *more)
{
    static const char *const policies[] = {"own", "overlay", "release", "auto"};
    static const char *const impls[] = {"fused", "passes"};
    char reduced[40];
    snprintf(reduced, sizeof reduced, "%s_r", name);
    setting base = {name, "fused", "own", clip, accum, sizes};
    small_result want = train(&base, more);
    assert_int_equal(want.policy, GRADS_OWN);
    for (int r = 0; r < 2; r++)
        for (int impl = 0; impl < 2; impl++)
            for (int policy = 0; policy < 4; policy++) {
                setting s = {r ? reduced : name, impls[impl], policies[policy], clip, accum, sizes};
                if (!allowed(&s) || (r && impl == 1 && !passes_of_r)) continue;
                if (!long_run() && !in_short_run(clip, accum, impl, policy)) continue;
                small_result got = train(&s, more);
                grad_policy expected = policy < 3 ? (grad_policy)policy
                                       : accum == 1 && !strcmp(clip, "0") && impl == 0
                                           ? GRADS_RELEASE
                                           : GRADS_OVERLAY;
                assert_int_equal(got.policy, expected);
                same(&base, &want, &s, &got);
                small_free(&got);
            }
    small_free(&want);
}

static void each_setting(const char *sizes, const char *name, bool passes_of_r)
{
    static const char *const shapes[] = {
        "", "--threads 1 --width 64 --heads 4 --batch 1 --seq 13 --seed 5",
        "--threads 3 --layers 3 --width 10 --heads 1 --batch 5 --seq 3 --schedule wsd --seed 6"};
    static const char *const vit_shapes[] = {
        "", "--threads 1 --width 64 --heads 4 --batch 1 --pool mean --seed 5",
        "--threads 3 --layers 3 --width 10 --heads 1 --batch 5 --schedule wsd --seed 6"};
    for (int64_t i = 0; i < tries(1, 3); i++)
        for (int clip = 0; clip < 2; clip++)
            for (int accum = 1; accum <= 4; accum += 3) {
                if (thin_run() && clip != (accum > 1)) continue;
                all_policies_agree(sizes, name, clip ? "0.5" : "0", accum, passes_of_r,
                                   (sizes ? vit_shapes : shapes)[i]);
            }
}

static void test_adamw(void **state)
{
    (void)state;
    each_setting(NULL, "adamw", true);
}

/* The same for images, with all that is random switched on. */
static void test_images(void **state)
{
    (void)state;
    each_setting(SMALL_VIT "--drop-path 0.3 --mixup 0.5 --random-crop 2 --flip ", "adamw", true);
}

/* The small form of each family, by the six optimizers: _r changes no bits, and by one of them it
 * learns.  LONG=1: under every policy and in both forms, too. */
static void test_families(void **state)
{
    (void)state;
    static const char *const families[] = {"llama",   "qwen",  "qwen2.5", "qwen3",
                                           "gemma",   "bloom", "phi",     "falcon",
                                           "chatglm", "olmo2", "gemma2",  "gemma3"};
    static const char *const names[] = {"adamw", "adan", "lion"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (int k = 0; k < 3; k++) {
            char sizes[200], reduced[40];
            if (thin_run() && k != (int)i % 3) continue;
            snprintf(sizes, sizeof sizes,
                     "--model %s-nano --vocab 59 --batch 2 --seq 18 --threads 2 ", families[i]);
            snprintf(reduced, sizeof reduced, "%s_r", names[k]);
            bool same_passes = strcmp(names[k], "lion"); /* see test_lion */
            if (long_run()) all_policies_agree(sizes, names[k], "0", 1, same_passes, "");
            setting a = {names[k], "fused", "own", "0", 1, sizes};
            setting b = {reduced, "fused", "auto", "0", 1, sizes};
            bool learns = !thin_run() && (long_run() || k == (int)i % 3);
            const char *to_learn = learns ? "--steps 50" : "";
            small_result want = train(&a, to_learn), got = train(&b, to_learn);
            assert_int_equal(got.policy, GRADS_RELEASE);
            same(&a, &want, &b, &got);
            double last = want.loss[want.steps - 1];
            if (learns && !(last < want.loss[0] - 0.2))
                fail_msg("%s-nano, %s: loss %.4f -> %.4f", families[i], names[k], want.loss[0],
                         last);
            small_free(&want);
            small_free(&got);
        }
}

static void test_adan(void **state)
{
    (void)state;
    each_setting(NULL, "adan", true);
}

static void test_muon(void **state)
{
    (void)state;
    each_setting(NULL, "muon", true);
}

static void test_sgd(void **state)
{
    (void)state;
    each_setting(NULL, "sgd", true);
}

/* In one micro-batch adama is adamw; in several its forms agree, on another result than adamw's. */
static void test_adama(void **state)
{
    (void)state;
    static const char *const names[] = {"adama", "adama_r"}, *const impls[] = {"fused", "passes"};
    for (int accum = 1; accum <= 3; accum++) { /* 3: a first, a later and a last one */
        setting base = {
            accum == 1 ? "adamw" : "adama", "fused", accum == 1 ? "own" : "auto", "0", accum, NULL};
        small_result want = train(&base, "");
        for (int i = 0; i < 4; i++) {
            setting s = {names[i / 2], impls[i % 2], i ? "auto" : "release", "0", accum, NULL};
            small_result got = train(&s, "");
            assert_int_equal(got.policy, GRADS_FOLD);
            same(&base, &want, &s, &got);
            small_free(&got);
        }
        setting summed = {"adamw", "fused", "own", "0", accum, NULL};
        small_result other = train(&summed, "");
        assert_int_equal(first_difference(&want, &other) >= 0, accum > 1);
        assert_true(want.loss[0] == other.loss[0]);
        small_free(&other);
        small_free(&want);
    }
}

/* In a batch of few rows the head's gradient is made last where gradients are released
 * (model/gpt.c): of a tied head and of one of its own, in one micro-batch of adama, too. */
static void test_head_gradient_last(void **state)
{
    (void)state;
    static const char *const sizes[] = {
        SMALL_MODEL "--batch 1 ", "--model llama-nano --vocab 59 --batch 1 --seq 18 --threads 2 "};
    for (int i = 0; i < 2; i++) {
        all_policies_agree(sizes[i], "adamw", "0", 1, true, "");
        setting base = {"adamw", "fused", "own", "0", 1, sizes[i]},
                folds = {"adama", "fused", "auto", "0", 1, sizes[i]};
        small_result want = train(&base, ""), got = train(&folds, "");
        assert_int_equal(got.policy, GRADS_FOLD);
        same(&base, &want, &folds, &got);
        small_free(&want);
        small_free(&got);
    }
}

/* lion_r's passes substitute variables: see below. */
static void test_lion(void **state)
{
    (void)state;
    each_setting(NULL, "lion", false);
}

/* Lion_R as published computes c from the new momentum.  In exact arithmetic it is the same;
 * rounded, the sign of a c near zero can flip, and each flip moves a weight by 2 lr, after which
 * the runs drift.  After one step from the same state only such flips can differ. */
static void test_lion_substituted_differs_by_flips(void **state)
{
    (void)state;
    setting plain = {"lion", "passes", "own", "0", 1, NULL},
            published = {"lion_r", "passes", "own", "0", 1, NULL};
    small_result a = train(&plain, ""), b = train(&published, "");
    int64_t differ = 0;
    double most = 0, sum_a = 0, sum_b = 0;
    for (int64_t i = 0; i < a.n; i++) {
        double d = fabs((double)a.parameters[i] - (double)b.parameters[i]);
        differ += d > 0;
        if (d > most) most = d;
    }
    for (int64_t i = a.steps > 10 ? a.steps - 10 : 0; i < a.steps; i++) {
        sum_a += a.loss[i];
        sum_b += b.loss[i];
    }
    print_message("lion_r passes against lion: %lld of %lld parameters differ after %lld steps, by "
                  "at most %.3g; mean of the "
                  "last ten losses %.9g and %.9g\n",
                  (long long)differ, (long long)a.n, (long long)a.steps, most, sum_a / 10,
                  sum_b / 10);
    assert_true(fabs(sum_a - sum_b) / sum_a < 0.02);
    small_free(&a);
    small_free(&b);
}

/* What is made again in backward is what it was.  Five layers: sqrt makes inputs again in
 * chains. */
static void test_recompute(void **state)
{
    (void)state;
    static const char *const levels[] = {"norms",
                                         "gelu",
                                         "attention",
                                         "block",
                                         "sqrt",
                                         "sqrt:1-4,norms:0",
                                         "gelu:0,block:2,sqrt:3-4"};
    static const char *const models[] = {SMALL_MODEL "--layers 5 --batch 6 ",
                                         SMALL_VIT "--layers 5 --drop-path 0.3 --batch 6 "};
    static const char *const more[] = {"--optim adamw_r", "--optim adamw --accum 2",
                                       "--optim adan_r --grad-clip 0.5"};
    for (int m = 0; m < 2; m++)
        for (int64_t k = 0; k < tries(1, 3); k++) {
            char arguments[500];
            size_t peak = 0;
            int steps = thin_run() ? 3 : 8;
            snprintf(arguments, sizeof arguments, "%s %s --steps %d --lr 0.003 ", models[m],
                     more[k], steps);
            small_result want = small_train(arguments);
            for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
                setting none = {"recompute", "none", "", "", 0, NULL},
                        level = {"recompute", levels[i], "", "", 0, NULL};
                snprintf(arguments, sizeof arguments, "%s %s --steps %d --lr 0.003 --recompute %s",
                         models[m], more[k], steps, levels[i]);
                small_result got = small_train(arguments);
                same(&none, &want, &level, &got);
                assert_true(got.peak < want.peak);
                /* each level keeps less; but clipping keeps all gradients, and then the peak is
                 * where the last block is made again, which takes more the more of it is made */
                if (i < 5 && k < 2) assert_true(!peak || got.peak < peak);
                peak = got.peak;
                small_free(&got);
            }
            small_free(&want);
        }
}

/* Stored in less than 32 bits: gradients anywhere, and a second run, give the same bits. */
static void low_precision(const char *sizes, const char *optim, const char *form)
{
    static const char *const policies[] = {"own", "overlay", "release"};
    for (int clip = 0; clip < 2; clip++)
        for (int accum = 1; accum <= 4; accum += 3) {
            if (thin_run() && clip != (accum > 1)) continue;
            setting base = {optim, "fused", "own", clip ? "0.5" : "0", accum, sizes};
            small_result want = train(&base, form);
            for (int policy = 0; policy < 3; policy++) {
                setting s = base;
                s.policy = policies[policy];
                if (!allowed(&s) || (!long_run() && clip != (accum > 1) && policy != 1)) continue;
                small_result got = train(&s, form);
                same(&base, &want, &s, &got);
                small_free(&got);
            }
            small_free(&want);
        }
}

static void test_low_precision(void **state)
{
    (void)state;
    low_precision(NULL, "adamw", "--dtype bf16");
    low_precision(NULL, "adamw", "--dtype bf16 --master split8 --state int8 --state-of all");
    low_precision(NULL, "adan", "--dtype bf16 --master none --state bf16 --state-of all");
    low_precision(NULL, "lion", "--state int8 --state-of all");
    low_precision(SMALL_VIT "--drop-path 0.3 --mixup 0.5 ", "adamw",
                  "--dtype bf16 --state int8 --state-of all");
}

/* The 16 bits that a bf16 weight lacks are as good as all 32; 8 of them are not the same. */
static void test_split16_is_a_master(void **state)
{
    (void)state;
    static const char *const optims[] = {"adamw", "adan", "lion", "sgd"};
    static const char *const masters[] = {"fp32", "split16", "split8", "none"};
    for (int i = 0; i < 4; i++) {
        setting s = {optims[i], "fused", "own", "0", 1, NULL};
        small_result r[4];
        int n = long_run() || i == 0 ? 4 : 2;
        for (int m = 0; m < n; m++) {
            char form[100];
            snprintf(form, sizeof form, "--dtype bf16 --master %s %s", masters[m],
                     i % 2 ? "--state int8 --state-of all" : "");
            r[m] = train(&s, form);
            assert_true(m == 0 || r[m].peak < r[m - 1].peak);
            if (m > 1) assert_true(first_difference(&r[0], &r[m]) >= 0);
        }
        same(&s, &r[0], &s, &r[1]);
        for (int m = 0; m < n; m++)
            small_free(&r[m]);
    }
}

/* The block's other forms: gated, with norms of heads, with branches side by side, in windows (of
 * 16). */
static void test_recompute_of_families(void **state)
{
    (void)state;
    static const char *const models[] = {"llama",   "qwen3", "bloom",  "phi",
                                         "chatglm", "olmo2", "gemma2", "gemma3"};
    static const char *const levels[] = {"none", "norms", "gelu", "attention", "block", "sqrt"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        small_result want = {0};
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
            char arguments[300];
            setting none = {"recompute", "none", "", "", 0, NULL},
                    level = {"recompute", levels[i], "", "", 0, NULL};
            if (thin_run() && i % 3 != m % 3 && i) continue;
            snprintf(arguments, sizeof arguments,
                     "--model %s-nano --layers 4 --context 20 --vocab 59 --batch 3 --seq 18 "
                     "--threads 2 --optim adamw_r --steps 4 --lr 0.003 --recompute %s",
                     models[m], levels[i]);
            small_result got = small_train(arguments);
            if (i) {
                same(&none, &want, &level, &got);
                small_free(&got);
            } else
                want = got;
        }
        small_free(&want);
    }
}

static void test_run_twice(void **state)
{
    (void)state;
    setting s = {"adamw_r", "fused", "auto", "0", 1, NULL};
    small_result a = train(&s, ""), b = train(&s, "");
    same(&s, &a, &s, &b);
    small_result c = train(&s, "--seed 2");
    assert_true(first_difference(&a, &c) >= 0); /* the comparison can fail */
    small_free(&a);
    small_free(&b);
    small_free(&c);
}

/* Four micro-batches of 3 are one batch of 12: the same gradient up to rounding. */
static void test_accumulation_is_one_batch(void **state)
{
    (void)state;
    small_result a = small_train(SMALL_MODEL "--steps 3 --lr 0.001 --accum 4");
    small_result b = small_train(SMALL_MODEL "--steps 3 --lr 0.001 --batch 12");
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(a.loss[i] - b.loss[i]) < 1e-5 * a.loss[i]);
        assert_true(fabs(a.grad_norm[i] - b.grad_norm[i]) < 1e-4 * a.grad_norm[i]);
    }
    small_free(&a);
    small_free(&b);
}

/* From what knows nothing (ln 59) to what knows at least how often each token comes. */
static void test_it_learns(void **state)
{
    (void)state;
    const char *const names[] = {"adamw",
                                 "adan",
                                 "lion",
                                 "sgd",
                                 "adama --accum 4",
                                 "muon",
                                 "adamw --dtype bf16 --master split8 --state int8 --state-of all",
                                 "adamw --dtype bf16 --master none --state bf16 --state-of all"};
    const char *const lr[] = {"0.003", "0.01", "0.003", "0.3", "0.003", "0.02", "0.003", "0.003"};
    for (int i = 0; i < 8; i++) {
        char arguments[300];
        snprintf(arguments, sizeof arguments, SMALL_MODEL "--steps %d --optim %s --lr %s",
                 thin_run() ? 3 : 300, names[i], lr[i]);
        small_result r = small_train(arguments);
        if (!thin_run() && !(r.loss[r.steps - 1] < r.loss[0] - 0.4))
            fail_msg("%s: loss %.4f -> %.4f", names[i], r.loss[0], r.loss[r.steps - 1]);
        small_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_adama),
        cmocka_unit_test(test_head_gradient_last),
        cmocka_unit_test(test_adan),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_muon),
        cmocka_unit_test(test_lion),
        cmocka_unit_test(test_lion_substituted_differs_by_flips),
        cmocka_unit_test(test_recompute_of_families),
        cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_low_precision),
        cmocka_unit_test(test_split16_is_a_master),
        cmocka_unit_test(test_run_twice),
        cmocka_unit_test(test_accumulation_is_one_batch),
        cmocka_unit_test(test_it_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
