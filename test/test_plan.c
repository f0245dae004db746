/* test_plan.c - the plan is the run.
 *
 * For models, optimizers, forms and policies: bytes planned = bytes of the one allocation =
 * high-water mark of the addresses allocated, canary intact; copies of N as promised; and the
 * plans of big models are quick and need no memory.
 *
 * Short: what can be added to an optimizer (micro-batches, clipping, a policy, samples) one at a
 * time; bounds on every preset with AdamW, and with Muon under one policy of each.  LONG=1: those
 * all together, on three shapes; bounds on every preset, with every optimizer and more batch sizes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/process_memory.h"
#include "test/long.h"
#include "test/small_run.h"

#include <math.h>
#include <string.h>

/* The CPU device's alloc, with the bytes asked of it noted. */
static size_t asked;
static int allocations;
static error *(*device_alloc)(device *, size_t, void **);

static error *noting_alloc(device *dev, size_t bytes, void **out)
{
    asked = bytes;
    allocations++;
    return device_alloc(dev, bytes, out);
}

/* The peak may be in any program of the plan. */
static void sample_and_predict(trainer *t, source *data)
{
    static float logits[1 << 16];
    const int32_t token = 1;
    assert_true(t->o->batch * t->o->model.vocab <= 1 << 16);
    if (t->o->images.predict > 0) must(trainer_predict(t, data, 0, logits));
    if (!present(t->decoder.tokens)) return;
    t->params.training = false;
    decoder_begin(&t->decoder);
    for (int64_t i = 0; i < t->decoder.room; i++)
        decoder_push(&t->decoder, &token, 1);
    must(decoder_next(&t->decoder, logits));
    decoder_end(&t->decoder);
}

static void run_and_compare(const char *arguments)
{
    small_run s;
    small_open(&s, arguments); /* commits once by itself ... */
    device_ops noting = *s.dev.ops;
    trainer *t;
    device_alloc = noting.alloc;
    noting.alloc = noting_alloc;
    device dev = s.dev;
    dev.ops = &noting;
    allocations = 0;
    must(trainer_plan(&s.o, s.o.task->kind, &t)); /* ... and once more, watched */
    size_t planned = arena_peak(t->arena);
    must(trainer_commit(t, &dev, true));
    for (int64_t step = 1; step <= 2; step++) {
        step_result r;
        must(trainer_step(t, s.data, step, 1e-3, &r));
    }
    eval_result result;
    must(trainer_evaluate(t, s.data, &result));
    sample_and_predict(t, s.data);
    assert_int_equal(allocations, 1);
    assert_true(asked >= planned && asked - planned <= 256); /* the canary */
    if (arena_high_water(t->arena) != planned)
        fail_msg("%s: %zu bytes planned, %zu allocated", arguments, planned,
                 arena_high_water(t->arena));
    assert_true(arena_canary_intact(t->arena));
    assert_true(arena_load(t->arena) <= planned);
    trainer_destroy(t);
    small_close(&s);
}

static void each_combination(const char *optim, const char *form)
{
    static const char *const shapes[] = {"", "--batch 1 --seq 1 --threads 1",
                                         "--layers 3 --heads 1 --width 8 --vocab 300 --threads 3"};
    static const char *const accum[] = {"1", "2", "5"}, *const clip[] = {"0", "1"};
    bool folds = !strncmp(optim, "adama", 5);
    static const char *const policies[] = {"own", "overlay", "release", "auto"};
    for (int k = 0; k < 3; k++)
        for (int a = 0; a < 3; a++)
            for (int c = 0; c < 2; c++)
                for (int p = 0; p < 4; p++)
                    for (int sample = 0; sample < 2; sample++) {
                        bool refused =
                            folds ? c || p < GRADS_RELEASE : p == GRADS_RELEASE && (a || c);
                        if (refused) continue; /* by name */
                        char arguments[400];
                        snprintf(arguments, sizeof arguments,
                                 SMALL_MODEL "--optim %s --optim-impl %s --accum %s --grad-clip %s "
                                             "--gradients %s --sample-every %d %s",
                                 optim, form, accum[a], clip[c], policies[p], sample, shapes[k]);
                        run_and_compare(arguments);
                    }
}

static void test_planned_is_used(void **state)
{
    (void)state;
    static const char *const optims[] = {"adamw", "adamw_r", "adan",  "adan_r",  "lion", "lion_r",
                                         "sgd",   "sgd_r",   "adama", "adama_r", "muon", "muon_r"};
    static const char *const forms[] = {"fused", "passes"};
    static const char *const more[] = {"", "--accum 3", "--grad-clip 1", "--gradients overlay",
                                       "--sample-every 5"};
    for (size_t i = 0; i < sizeof optims / sizeof *optims; i++)
        for (int f = 0; f < 2; f++) {
            for (size_t m = 0; m < sizeof more / sizeof *more; m++) {
                char arguments[400];
                if (thin_run() && (i + (size_t)f + m) % 3) continue;
                if (!strncmp(optims[i], "adama", 5) && (m == 2 || m == 3)) continue; /* refused */
                snprintf(arguments, sizeof arguments, SMALL_MODEL "--optim %s --optim-impl %s %s",
                         optims[i], forms[f], more[m]);
                run_and_compare(arguments);
            }
            if (long_run()) each_combination(optims[i], forms[f]);
        }
}

static void test_planned_is_used_in_low_precision(void **state)
{
    (void)state;
    static const char *const more[] = {
        "--dtype bf16",
        "--dtype bf16 --master split16 --sample-every 5 --accum 3",
        "--dtype bf16 --master split8 --state int8 --state-of all --optim adamw_r",
        "--dtype bf16 --master none --state bf16 --state-of all --optim adan --gradients overlay",
        "--state int8 --optim adama --accum 3",
        "--heads 2 --width 32 --dtype bf16 --products fp8 --accum 3 --sample-every 5",
        "--heads 2 --width 32 --dtype bf16 --products fp8 --batch 1 --seq 1 --recompute sqrt"};
    for (size_t m = 0; m < sizeof more / sizeof *more; m++) {
        char arguments[400];
        snprintf(arguments, sizeof arguments, SMALL_MODEL "%s", more[m]);
        run_and_compare(arguments);
    }
}

static void test_planned_is_used_for_images(void **state)
{
    (void)state;
    static const char *const more[] = {"--optim adamw_r --drop-path 0.3",
                                       "--optim adamw_r --pool mean --predict 5",
                                       "--optim adan --optim-impl passes --grad-clip 1",
                                       "--optim lion_r --accum 3 --eval-batches 2",
                                       "--optim sgd --gradients overlay --accum 3 --drop-path 0.3",
                                       "--optim adamw --batch 50",
                                       "--dtype bf16 --state int8 --state-of all --predict 5",
                                       "--heads 2 --width 32 --inner 48 --dtype bf16 --products "
                                       "fp8 --predict 5"};
    for (size_t m = 0; m < sizeof more / sizeof *more; m++) {
        char arguments[400];
        snprintf(arguments, sizeof arguments, SMALL_VIT "%s", more[m]);
        run_and_compare(arguments);
    }
}

/* ---- settings at random ---- */

static int choose(uint64_t *at, int n)
{
    return (int)(n * rng_uniform(8, RNG_TEST, (*at)++));
}

/* One of the words that are divided by |, behind a space. */
static void add_word(char *text, size_t room, uint64_t *at, const char *words)
{
    int n = 1;
    for (const char *c = words; *c; c++)
        n += *c == '|';
    for (int skip = choose(at, n); skip; skip--)
        words = strchr(words, '|') + 1;
    size_t used = strlen(text);
    snprintf(text + used, room - used, " %.*s", (int)strcspn(words, "|"), words);
}

static void random_setting(uint64_t i, char *text, size_t room)
{
    static const char *const common[] = {
        "--layers 1|--layers 2|--layers 3|--layers 5",
        "--heads 1 --width 8|--heads 3 --width 33|--heads 2 --width 64",
        "--batch 1|--batch 2|--batch 5|--batch 9",
        "--accum 1|--accum 1|--accum 2|--accum 3",
        "--optim-impl fused|--optim-impl passes",
        "--threads 1|--threads 2|--threads 3",
        "--recompute none|--recompute norms|--recompute gelu|--recompute attention|--recompute "
        "block|--recompute sqrt|--recompute block:0"};
    static const char *const gpt_frozen = "||--freeze wte*|--train-only *ln_*|--train-only "
                                          "h.0.mlp.* --freeze *.bias|--train-only ln_f.*",
                             *const vit_frozen = "||--freeze patch_embed.*|--train-only "
                                                 "*norm*|--train-only head.*|--freeze *.bias";
    uint64_t at = i * 100;
    bool images = choose(&at, 2);
    snprintf(text, room, "%s", images ? SMALL_VIT : SMALL_MODEL);
    for (size_t k = 0; k < sizeof common / sizeof *common; k++)
        add_word(text, room, &at, common[k]);
    add_word(text, room, &at, images ? vit_frozen : gpt_frozen);
    if (strstr(text, " fused")) { /* passes are in fp32 */
        add_word(text, room, &at,
                 "|--dtype bf16|--dtype bf16 --master split16|--dtype bf16 --master split8|"
                 "--dtype bf16 --master none");
        add_word(text, room, &at, "|--state bf16|--state int8");
        add_word(text, room, &at, "|--state-of all");
    }
    add_word(text, room, &at,
             images ? "--drop-path 0.3|--pool mean|--predict 4"
                    : "--seq 1|--seq 7|--sample-every 2");
    if (!strstr(text, "--accum 1") || choose(&at, 2)) {
        add_word(text, room, &at,
                 "--optim adamw|--optim adamw_r|--optim adan|--optim lion_r|--optim sgd_r");
        add_word(text, room, &at, "|--grad-clip 0.5|--gradients overlay|--gradients own");
    } else {
        add_word(text, room, &at,
                 "--optim adama|--optim adama_r|--optim adan_r --gradients release|--optim sgd "
                 "--gradients release");
    }
    /* not with blocks of states, and some matrix must be trained */
    bool none = strstr(text, "--train-only *") || strstr(text, "--train-only ln_f") ||
                strstr(text, "--train-only head") || strstr(text, "int8");
    if (!none)
        add_word(text, room, &at,
                 "||--sparsity 0.5 --regrow-every 1|--sparsity 0.9 --regrow-every 1|"
                 "--sparsity 0.7 --regrow-every 0");
}

static void test_settings_at_random(void **state)
{
    (void)state;
    int64_t n = thin_run() ? 12 : tries(40, 200);
    for (int64_t i = 0; i < n; i++) {
        char arguments[700];
        random_setting((uint64_t)i, arguments, sizeof arguments);
        run_and_compare(arguments);
    }
}

/* Every option of the block: each family's small form. */
static void test_planned_is_used_for_families(void **state)
{
    (void)state;
    static const char *const families[] = {"llama",   "qwen",  "qwen2.5", "qwen3",
                                           "gemma",   "bloom", "phi",     "falcon",
                                           "chatglm", "olmo2", "gemma2",  "gemma3"};
    static const char *const more[] = {"--optim adamw_r", "--optim adan --accum 3 --sample-every 1",
                                       "--optim lion_r --grad-clip 1 --sample-every 1"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (size_t m = 0; m < sizeof more / sizeof *more; m++) {
            char arguments[400];
            if (thin_run() && m != i % 3) continue;
            snprintf(arguments, sizeof arguments,
                     "--model %s-nano --vocab 59 --context 20 --batch 2 --seq 18 --threads 2 %s",
                     families[i], more[m]);
            run_and_compare(arguments);
        }
}

/* ---- copies of N ---- */

static void test_copies_of_n(void **state)
{
    (void)state;
    static const struct {
        const char *optim;
        int passes, passes_r, fused, fused_r; /* fused_r: without the live gradient */
    } table[] = {
        {"adamw", 5, 4, 4, 3}, {"adan", 7, 6, 6, 5}, {"lion", 4, 3, 3, 2}, {"sgd", 3, 3, 3, 2}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int column = 0; column < 4; column++) {
            const int want[] = {table[i].passes, table[i].passes_r, table[i].fused,
                                table[i].fused_r};
            char arguments[300];
            int64_t n;
            snprintf(arguments, sizeof arguments,
                     "--model gpt2-124m --batch 4 --seq 64 --optim %s%s --optim-impl %s",
                     table[i].optim, column % 2 ? "_r" : "", column < 2 ? "passes" : "fused");
            arena_summary s = small_plan(arguments, &n);
            double copies =
                (double)(s.most[KIND_PARAMETER] + s.most[KIND_STATE] + s.most[KIND_INTERMEDIATE]) /
                (4.0 * (double)n);
            double gradients = (double)s.most[KIND_GRADIENT] / (4.0 * (double)n);
            if (column < 3) copies += gradients;
            if (fabs(copies - want[column]) > 0.001)
                fail_msg("%s: %.4f copies of N, promised %d", arguments, copies, want[column]);
            /* the largest live gradient is the tied embedding's, with one
             * layer's largest beside it */
            if (column == 3) assert_true(gradients < 0.34);
        }
}

static void test_overlay_and_release_lower_the_peak(void **state)
{
    (void)state;
    int64_t n;
    size_t own = small_plan("--model gpt2-124m --batch 4 --seq 64 --gradients own", &n).peak;
    size_t overlay =
        small_plan("--model gpt2-124m --batch 4 --seq 64 --gradients overlay", &n).peak;
    size_t release =
        small_plan("--model gpt2-124m --batch 4 --seq 64 --gradients release", &n).peak;
    assert_true(release < overlay && overlay < own);
}

typedef struct {
    int64_t gradient, kept; /* times: when the first is taken, until when the second is there */
} meeting;

static void look_at(void *context, const block_info *b)
{
    meeting *m = context;
    if (b->kind == KIND_GRADIENT && !strcmp(b->name, "wte.weight")) m->gradient = b->start;
    if (!strcmp(b->name, "h0.pre")) m->kept = b->end;
}

/* Whether the embedding's gradient is taken when the blocks' activations are gone. */
static bool head_waits(const char *arguments)
{
    options o;
    trainer *t;
    char text[SMALL_TEXT];
    must(small_parse(arguments, text, &o));
    must(trainer_plan(&o, o.task->kind, &t));
    meeting m = {0};
    arena_visit(t->arena, look_at, &m);
    assert_true(m.gradient > 0 && m.kept > 0);
    trainer_destroy(t);
    options_free(&o);
    return m.gradient > m.kept;
}

/* The head's gradient is made last where its logits are less memory than it, and than the
 * activations, and are made at once: the peak is less by almost the difference. */
static void test_head_gradient_waits(void **state)
{
    (void)state;
    static const char few[] = "--model gpt2-124m --batch 4 --seq 64 --optim adamw_r";
    assert_true(head_waits(few));
    assert_false(
        head_waits("--model gpt2-124m --batch 4 --seq 64 --optim adamw_r --logits-mib 32"));
    assert_false(head_waits("--model gpt2-124m --batch 4 --seq 256 --optim adamw_r "
                            "--logits-mib 512"));
    assert_false(head_waits("--model gpt2-124m --batch 4 --seq 64 --optim adamw_r "
                            "--layers 1"));
    int64_t n;
    size_t waits = small_plan(few, &n).peak,
           early = small_plan(
                       "--model gpt2-124m --batch 4 --seq 64 --optim adamw_r --logits-mib 32", &n)
                       .peak;
    assert_true(waits + ((size_t)100 << 20) < early);
}

/* In every family sqrt keeps few of the blocks' inputs, which block keeps. */
static void test_sqrt_recomputes_inputs(void **state)
{
    (void)state;
    static const char *const families[] = {"gpt",  "llama", "bloom",  "phi",   "falcon",
                                           "neox", "olmo2", "gemma2", "gemma3"};
    static const char *const levels[] = {"block", "sqrt"};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t most[2];
        for (int k = 0; k < 2; k++) {
            char arguments[200];
            int64_t n;
            snprintf(arguments, sizeof arguments,
                     "--model %s-nano --layers 36 --vocab 64 --batch 4 --seq 64 --recompute %s",
                     families[i], levels[k]);
            most[k] = small_plan(arguments, &n).most[KIND_ACTIVATION];
        }
        size_t inputs = 36 * 4 * 64 * 64 * sizeof(float);
        if (most[1] + inputs / 2 > most[0])
            fail_msg("%s: %zu bytes of activations with sqrt, %zu with block", families[i], most[1],
                     most[0]);
    }
}

/* Micro-batches of adama need what one micro-batch needs, and with release that is all it has: 3
 * copies of N and the live gradient. */
static void test_adama_needs_one_layer(void **state)
{
    (void)state;
    static const char *const forms[] = {"adama --optim-impl fused", "adama_r --optim-impl fused",
                                        "adama_r --optim-impl passes"};
    char arguments[200];
    int64_t n;
    size_t adamw =
               small_plan("--model gpt2-124m --batch 4 --seq 64 --optim adamw --accum 4", &n).peak,
           one = small_plan("--model gpt2-124m --batch 4 --seq 64 --gradients release", &n).peak;
    for (int accum = 1; accum <= 4; accum++)
        for (int i = 0; i < 3; i++) {
            snprintf(arguments, sizeof arguments,
                     "--model gpt2-124m --batch 4 --seq 64 --accum %d --optim %s", accum, forms[i]);
            arena_summary s = small_plan(arguments, &n);
            double held = (double)(s.most[KIND_PARAMETER] + s.most[KIND_STATE]);
            if (fabs(held / (4.0 * (double)n) - 3) > 0.001 || s.most[KIND_INTERMEDIATE] ||
                s.most[KIND_GRADIENT] > (size_t)(0.34 * 4.0 * (double)n))
                fail_msg("%s: %.4f copies of N, %zu and %zu bytes", arguments,
                         held / (4.0 * (double)n), s.most[KIND_INTERMEDIATE],
                         s.most[KIND_GRADIENT]);
            assert_true(s.peak >= one && s.peak - one <= 4096); /* the sums of the norms */
            assert_true((double)s.peak < 0.85 * (double)adamw);
        }
}

/* To the byte, but for the red zones that a sanitizer's build puts behind blocks. */
static void assert_bytes(size_t got, int64_t wanted)
{
#ifdef __SANITIZE_ADDRESS__
    assert_in_range(got, wanted, wanted + wanted / 1000);
#else
    assert_int_equal(got, wanted);
#endif
}

/* Of the hidden matrices one state, of the others two; a gradient of its own or the largest live
 * one; and for the products three matrices' worth at most, of one matrix. */
static void test_muon_copies(void **state)
{
    (void)state;
    int64_t n;
    const int64_t c = 768, hidden = 12 * 12 * c * c;
    arena_summary plain = small_plan("--model gpt2-124m --batch 4 --seq 64 --optim muon", &n),
                  reduced = small_plan("--model gpt2-124m --batch 4 --seq 64 --optim muon_r", &n);
    assert_bytes(plain.most[KIND_STATE], 4 * (2 * n - hidden));
    assert_int_equal(reduced.most[KIND_STATE], plain.most[KIND_STATE]);
    assert_bytes(plain.most[KIND_GRADIENT], 4 * n);
    assert_true((double)reduced.most[KIND_GRADIENT] < 0.34 * 4 * (double)n);
    assert_bytes(reduced.most[KIND_INTERMEDIATE], 4 * (2 * c * c + c * (c / 4)));
    assert_bytes(plain.most[KIND_INTERMEDIATE], 4 * (6 * c * c + c * (c / 4)));
}

static void near_the_bound(const char *name, const char *policy, const char *optim,
                           const char *form, int sequences)
{
    char arguments[300];
    int64_t n;
    snprintf(arguments, sizeof arguments,
             "--model %s --batch %d --gradients %s --optim %s --optim-impl %s", name, sequences,
             policy, optim, form);
    arena_summary s = small_plan(arguments, &n);
    if ((double)s.peak > 1.01 * (double)s.load)
        fail_msg("%s: peak %zu, lower bound %zu", arguments, s.peak, s.load);
    size_t sum = s.gaps;
    for (int k = 0; k < KIND_COUNT; k++)
        sum += s.by_kind[k];
    assert_int_equal(sum, s.peak);
}

/* Each model with every policy, or with one of them: the next with the next. */
static void near_the_bounds(const preset_list *list, const char *optim, bool only_one)
{
    static const char *const policies[] = {"own", "overlay", "release"};
    for (int m = 0; m < list->n; m++)
        for (int p = 0; p < 3; p++)
            if (!only_one || p == m % 3)
                near_the_bound(list->row[m].name, policies[p], optim, "fused", 2);
}

static void test_near_the_lower_bound(void **state)
{
    (void)state;
    static const char *const policies[] = {"own", "overlay", "release"};
    near_the_bounds(&text_presets, "adamw", thin_run());
    near_the_bounds(&image_presets, "adamw", thin_run());
    /* its products' blocks come and go in between */
    near_the_bounds(&text_presets, "muon_r", !long_run());
    near_the_bounds(&image_presets, "muon_r", !long_run());
    if (!long_run()) return;
    static const char *const optims[] = {"adamw_r", "adan", "lion_r", "sgd"};
    for (int m = 0; m < text_presets.n; m++)
        for (int p = 0; p < 3; p++)
            for (int o = 0; o < 4; o++)
                for (int n = 1; n <= 16; n *= 4) {
                    near_the_bound(text_presets.row[m].name, policies[p], optims[o], "fused", n);
                    near_the_bound(text_presets.row[m].name, policies[p], optims[o], "passes", n);
                }
}

static void test_big_models_plan_quickly(void **state)
{
    (void)state;
    int64_t n;
    size_t before = resident_bytes();
    double start = clock_now();
    arena_summary s = small_plan("--model gpt3-13b --batch 8", &n);
    double took = clock_now() - start;
    assert_true(n > 12000000000);
    assert_true(s.peak > (size_t)16 * (size_t)n); /* adamw: four copies of four bytes */
    print_message("gpt3-13b: %.1f GiB planned in %.3f s with %.1f MiB\n",
                  (double)s.peak / 1073741824.0, took,
                  (double)(resident_bytes() - before) / 1048576.0);
    assert_true(resident_bytes() < before + (64u << 20));
}

/* With --products fp8, a layer of GPT-2 keeps its norms' outputs and its activation function's, 6
 * numbers of the width for each token, in a byte each instead of two, and attention's, which its
 * gradient reads in bf16, in a byte beside those: 5 bytes less.  Once for all layers there is room
 * for the operands of a product: w and dx or x of the MLP. */
static void test_kept_in_8_bits(void **state)
{
    (void)state;
    enum { ROWS = 16 * 1024, WIDTH = 768, LAYERS = 12, SMALL = 1 << 17 };
    const char *arguments = "--model gpt2-124m --batch 16 --seq 1024 --dtype bf16 --device cuda "
                            "--attention flash --logits-mib 4096 ";
    char narrow[200];
    int64_t n;
    snprintf(narrow, sizeof narrow, "%s--products fp8", arguments);
    size_t wide = small_plan(arguments, &n).peak, least = small_plan(narrow, &n).peak;
    size_t fewer = (size_t)LAYERS * 5 * ROWS * WIDTH, more = narrow_room(1, ROWS, 4 * WIDTH, WIDTH);
    print_message("bf16 %zu, fp8 %zu: %zu less in activations, %zu more in room\n", wide, least,
                  fewer, more);
    assert_true(least + fewer >= wide + more && least + fewer <= wide + more + SMALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planned_is_used),
        cmocka_unit_test(test_planned_is_used_in_low_precision),
        cmocka_unit_test(test_planned_is_used_for_images),
        cmocka_unit_test(test_planned_is_used_for_families),
        cmocka_unit_test(test_settings_at_random),
        cmocka_unit_test(test_copies_of_n),
        cmocka_unit_test(test_overlay_and_release_lower_the_peak),
        cmocka_unit_test(test_head_gradient_waits),
        cmocka_unit_test(test_sqrt_recomputes_inputs),
        cmocka_unit_test(test_adama_needs_one_layer),
        cmocka_unit_test(test_muon_copies),
        cmocka_unit_test(test_near_the_lower_bound),
        cmocka_unit_test(test_big_models_plan_quickly),
        cmocka_unit_test(test_kept_in_8_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
