/* test_resnet.c - wide residual networks against PyTorch's layers (golden/resnet.py), against
 * central differences, and in whole runs: what changes no bit changes none, what is frozen stays,
 * running numbers are in files and in checkpoints.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/params_file.h"
#include "test/long.h"
#include "test/image_bed.h"
#include "test/ref.h"
#include "test/scratch.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH, CHANNELS, CLASSES, BATCH, HIGH, WIDE, STAGE, GROUPS = STAGE + 3, SIZES };

static golden *g;
static int64_t size[SIZES];

static const image_variant variants[] = {
    {.name = "batch"}, {.name = "group"}, {.name = "smooth", .smoothing = 0.1}};

enum { VARIANTS = sizeof variants / sizeof *variants };

static model_config config_of(const image_variant *v)
{
    model_config c = {.name = "golden",
                      .width = size[WIDTH],
                      .patch = 1,
                      .channels = size[CHANNELS],
                      .vocab = size[CLASSES],
                      .image_height = size[HIGH],
                      .image_width = size[WIDE],
                      .norm = strcmp(v->name, "group") ? NORM_BATCH : NORM_GROUP};
    memcpy(c.stage, size + STAGE, 3 * sizeof *c.stage);
    must(image_config(&c));
    return c;
}

static void open_bed(image_bed *b, const image_variant *v, device *dev, dtype type)
{
    *b = (image_bed){.kind = &image_kind, .config = config_of(v), .batch = size[BATCH], .v = *v};
    image_bed_open(b, &plain_training, dev, type);
}

/* ---- against PyTorch ---- */

static void hold(device *dev, dtype type, double tolerance)
{
    for (int i = 0; i < VARIANTS; i++) {
        image_bed b;
        open_bed(&b, &variants[i], dev, type);
        image_bed_hold(&b, g, tolerance);
        for (int k = 0; k < b.p.n; k++)
            assert_true(b.p.row[k].spec.state == !b.p.row[k].trainable);
        image_bed_predict(&b);
        image_bed_compare_logits(&b, g, "eval", tolerance);
        image_bed_close(&b);
    }
}

static void test_against_torch(void **state)
{
    (void)state;
    image_bed_on_devices(hold);
}

static double train_loss(image_bed *b)
{
    image_bed_train(b);
    return *(double *)b->loss.data;
}

/* Of a batch's own means: the loss of training.  The gradients are read before they are made
 * again. */
static void test_gradients_by_differences(void **state)
{
    (void)state;
    for (int i = 0; i < (thin_run() ? 1 : 2); i++) {
        device dev = ref_device();
        image_bed b;
        open_bed(&b, &variants[i], &dev, F64);
        image_bed_train(&b);
        image_bed_differences(&b, train_loss, 1, 1e-6, 1e-5);
        image_bed_close(&b);
    }
}

/* ---- presets ---- */

static void test_parameter_counts(void **state)
{
    (void)state;
    static const char *const names[] = {"wrn-16-4", "wrn-28-2", "wrn-28-10"};
    const double *want;
    int64_t n;
    must(golden_get(g, "counts", &want, &n));
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++) {
        model_config c, derived;
        params p = {.type = F32};
        model *m;
        must(preset_find(&image_presets, names[i], &c));
        derived = c;
        must(image_config(&derived));
        assert_null(config_difference(&c, &derived));
        must(image_kind.create(&c, &plain_training, &p, &m));
        assert_int_equal(params_count(&p), (int64_t)want[i]);
        /* norms and the head's bias are vectors */
        assert_true(config_parameters(&c) < want[i] && config_parameters(&c) > 0.98 * want[i]);
        image_kind.destroy(m);
        params_free(&p);
    }
}

/* ---- runs ---- */

#define SMALL_WRN                                                                                  \
    "--model wrn-10-1 --width 16 --image-size 11x9 --channels 3 --classes 7 --batch 3 "            \
    "--threads 2 --steps 3 --warmup 0 --lr 0.003 --schedule constant "

/* What is made again, where gradients lie, how many threads: the same bits, running statistics
 * included. */
static void test_same_bits(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", "--recompute norms"},
        {"", "--recompute block"},
        {"", "--recompute sqrt --threads 1"},
        {"--norm group", "--norm group --recompute block --threads 5"},
        {"--optim adamw", "--optim adamw_r"},
        {"--optim adamw", "--optim adamw --gradients overlay"},
        {"--optim adan", "--optim adan_r --recompute norms"},
        {"--optim lion", "--optim lion_r --recompute block"},
        {"--optim muon --accum 2", "--optim muon --accum 2 --workers 0"},
        {"--accum 2 --optim adama", "--accum 2 --optim adama_r --recompute block"},
        {"--dtype bf16", "--dtype bf16 --recompute block"},
        {"--sparsity 0.5", "--sparsity 0.5 --recompute norms"},
        {"--freeze *conv1* --freeze *bn*", "--freeze *conv1* --freeze *bn* --recompute block"},
        {"--train-only *Shortcut*", "--train-only *Shortcut* --recompute norms"},
        {"--train-only *bn1*", "--train-only *bn1* --recompute block"},
    };
    /* a sanitizer sees in one step what it sees in three */
    small_same_runs(thin_run() ? SMALL_WRN "--steps 1 " : SMALL_WRN, pairs,
                    sizeof pairs / sizeof *pairs);
    small_result a = small_train(SMALL_WRN), b = small_train(SMALL_WRN "--norm group");
    assert_true(a.loss[0] != b.loss[0]);
    small_free(&a);
    small_free(&b);
}

/* Each level plans less than the one before. */
static void test_recompute_saves(void **state)
{
    (void)state;
    static const char *const levels[] = {"none", "norms", "block"};
    size_t before = SIZE_MAX;
    for (int i = 0; i < 3; i++) {
        int64_t n;
        char words[400];
        snprintf(words, sizeof words, "--model wrn-16-4 --image-size 16 --batch 32 --recompute %s",
                 levels[i]);
        size_t peak = small_plan(words, &n).peak;
        if (peak >= before) fail_msg("%s: %zu bytes, before %zu", levels[i], peak, before);
        before = peak;
    }
}

/* Non-zeros, which no product reads as they are stored, want no workspace of a product; and those
 * of a small image, which has few pixels where there are many channels, want none. */
static void test_sparsity_saves(void **state)
{
    (void)state;
    int64_t n;
    size_t dense = small_plan("--model wrn-10-1 --batch 32", &n).peak,
           thin = small_plan("--model wrn-10-1 --batch 32 --sparsity 0.75", &n).peak;
    if (thin >= dense) fail_msg("%zu bytes, of all weights %zu", thin, dense);
    small_result r = small_train(
        "--model wrn-10-1 --image-size 28 --channels 1 --classes 7 --batch 1 --steps 1");
    assert_int_equal(r.room, 0);
    small_free(&r);
}

/* What is frozen stays and lets the rest be as it was; what only it would read is not kept. */
static void test_freezing(void **state)
{
    (void)state;
#define PLANNED "--model wrn-16-4 --image-size 16 --batch 256 "
    int64_t n;
    size_t all = small_plan(PLANNED, &n).peak,
           convs = small_plan(PLANNED "--freeze *conv1.weight --freeze *conv2.weight", &n).peak,
           top = small_plan(PLANNED "--train-only block3* --train-only bn1* --train-only fc*", &n)
                     .peak,
           head = small_plan(PLANNED "--train-only fc*", &n).peak;
    if (!(head < top && top < convs && convs < all))
        fail_msg("%zu, %zu, %zu, %zu", all, convs, top, head);
    small_run s;
    step_result r;
    small_open(&s, SMALL_WRN "--freeze block1* --train-only block*");
    float before[3];
    const param *row = s.t->params.row;
    for (int step = 0; step < 2; step++) {
        const float *now[] = {row[0].value.data, NULL, NULL};
        for (int i = 0; i < s.t->params.n; i++) {
            if (!strcmp(row[i].spec.name, "block1.layer.0.conv2.weight"))
                now[1] = row[i].value.data;
            if (!strcmp(row[i].spec.name, "block2.layer.0.conv1.weight"))
                now[2] = row[i].value.data;
        }
        for (int i = 0; i < 3; i++) {
            if (step) assert_true((before[i] == *now[i]) == (i < 2));
            before[i] = *now[i];
        }
        if (!step) must(trainer_step(s.t, s.data, 1, 1e-2, &r));
    }
    small_close(&s);
}

/* The first step's gradients do not know what is frozen: a norm's weight that is trained alone
 * moves as it does among all.  (Adam's first step is a sign; sgd's is the gradient.) */
static void test_frozen_gradients(void **state)
{
    (void)state;
    static const char *const patterns[] = {"*bn1*", "*bn2.bias", "*Shortcut*", "conv1*",
                                           "block2*conv2*"};
    small_run a, b;
    step_result r;
    small_open(&a, SMALL_WRN "--optim sgd");
    must(trainer_step(a.t, a.data, 1, 1e-1, &r));
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        char words[400];
        int moved = 0;
        snprintf(words, sizeof words, SMALL_WRN "--optim sgd --train-only %s", patterns[k]);
        small_open(&b, words);
        must(trainer_step(b.t, b.data, 1, 1e-1, &r));
        for (int i = 0; i < b.t->params.n; i++) {
            const param *x = &a.t->params.row[i], *y = &b.t->params.row[i];
            if (!y->trainable) continue;
            moved++;
            if (memcmp(x->value.data, y->value.data, (size_t)x->count * sizeof(float)))
                fail_msg("%s: %s differs", patterns[k], x->spec.name);
        }
        assert_true(moved > 0);
        small_close(&b);
    }
    small_close(&a);
}

static const param *row_named(const small_run *s, const char *name)
{
    for (int i = 0; i < s->t->params.n; i++)
        if (!strcmp(s->t->params.row[i].spec.name, name)) return &s->t->params.row[i];
    fail_msg("no %s", name);
    return NULL;
}

/* Running statistics go with the batches in training, f32 in any case, and stay in evaluation,
 * which reads them; a model's file has them, and loads again. */
static void test_running_numbers(void **state)
{
    (void)state;
    static const char *const path = "saved.safetensors", *const name =
                                                             "block2.layer.0.bn1.running_mean";
    small_run a, b;
    step_result r;
    eval_result one, two, other;
    float before, after;
    small_open(&a, SMALL_WRN "--dtype bf16 --eval-batches 2");
    const param *row = row_named(&a, name);
    assert_true(row->value.type == F32 && !row->trainable);
    before = *(float *)row->value.data;
    must(trainer_step(a.t, a.data, 1, 1e-2, &r));
    after = *(float *)row->value.data;
    assert_true(before == 0 && after != 0);
    must(trainer_evaluate(a.t, a.data, &one));
    assert_true(*(float *)row->value.data == after);
    must(params_write(path, &a.t->params, &a.dev, NULL));
    small_open(&b, SMALL_WRN "--dtype bf16 --eval-batches 2 --load saved.safetensors");
    must(trainer_evaluate(b.t, b.data, &two));
    assert_true(one.loss == two.loss);
    *(float *)row_named(&b, name)->value.data += 1;
    must(trainer_evaluate(b.t, b.data, &other));
    assert_true(one.loss != other.loss);
    small_close(&b);
    small_close(&a);
}

/* However a step is cut, it moves the running numbers by a tenth: here towards the 0 that a stem of
 * zeros gives. */
static void test_running_numbers_of_micro_batches(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n += 2) {
        small_run s;
        step_result r;
        char words[400];
        snprintf(words, sizeof words, SMALL_WRN "--accum %d", n);
        small_open(&s, words);
        const param *stem = row_named(&s, "conv1.weight"),
                    *var = row_named(&s, "block1.layer.0.bn1.running_var");
        memset(stem->value.data, 0, (size_t)stem->count * sizeof(float));
        must(trainer_step(s.t, s.data, 1, 1e-2, &r));
        float now = *(float *)var->value.data;
        if (!(fabsf(now - 0.9F) < 1e-6F)) fail_msg("%d micro-batches: %g", n, (double)now);
        small_close(&s);
    }
}

static void test_it_learns(void **state)
{
    (void)state;
    static const char *const norms[] = {"batch", "group"};
    for (int i = 0; i < 2; i++) {
        small_run s;
        eval_result after;
        step_result r;
        char words[400];
        snprintf(words, sizeof words,
                 SMALL_WRN "--norm %s --batch 10 --steps 60 --workers 0 --eval-batches 0",
                 norms[i]);
        small_open(&s, words);
        for (int64_t step = 1; step <= (thin_run() ? 2 : 60); step++)
            must(trainer_step(s.t, s.data, step, 4e-3, &r));
        must(trainer_evaluate(s.t, s.data, &after));
        if (!thin_run() && !(after.accuracy > 0.9))
            fail_msg("%s: accuracy %.3f, loss %.3f", norms[i], after.accuracy, after.loss);
        small_close(&s);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    options o;
    char text[SMALL_TEXT];
    static const char *const cases[][2] = {
        {"--model wrn-28-2 --patch 2", "pixel by pixel"},
        {"--model wrn-28-2 --image-size 3", "stages halve it"},
        {"--model wrn-28-2 --norm layer", "must be batch or group"},
        {"--model vit-nano/4 --norm group", "LayerNorms only"},
        {"--model convnext-t --norm batch", "LayerNorms only"},
        {"--model wrn-28-2 --drop-path 0.1", "no such branches"},
        {"--model wrn-28-3", "unknown model"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error *e = small_parse(cases[i][0], text, &o);
        assert_non_null(e);
        if (!strstr(error_text(e), cases[i][1])) fail_msg("%s", error_text(e));
        error_free(e);
    }
}

static int enter(void **state)
{
    const double *v;
    int64_t n;
    must(golden_open("test/golden/resnet.txt", &g));
    must(golden_get(g, "config", &v, &n));
    assert_int_equal(n, SIZES);
    for (int i = 0; i < SIZES; i++)
        size[i] = (int64_t)v[i];
    return scratch_enter(state);
}

static int leave(void **state)
{
    golden_free(g);
    return scratch_leave(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_torch),
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_parameter_counts),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_recompute_saves),
        cmocka_unit_test(test_freezing),
        cmocka_unit_test(test_frozen_gradients),
        cmocka_unit_test(test_running_numbers),
        cmocka_unit_test(test_running_numbers_of_micro_batches),
        cmocka_unit_test(test_sparsity_saves),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("resnet", tests, enter, leave);
}
