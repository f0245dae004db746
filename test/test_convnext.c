/* test_convnext.c - ConvNeXt against timm (golden/convnext.py), against central differences, and in
 * whole runs: what changes no bit changes none, what is frozen stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/params_file.h"
#include "model/model.h"
#include "test/long.h"
#include "test/image_bed.h"
#include "test/ref.h"
#include "test/scratch.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH, PATCH, CHANNELS, CLASSES, BATCH, HIGH, WIDE, STAGE, SIZES = STAGE + 4 };

static golden *g;
static int64_t size[SIZES];

static const image_variant variants[] = {
    {.name = "plain"}, {.name = "smooth", .smoothing = 0.1}, {.name = "drop", .drop = true}};

enum { VARIANTS = sizeof variants / sizeof *variants };

static model_config config_of(void)
{
    model_config c = {.name = "golden",
                      .width = size[WIDTH],
                      .patch = size[PATCH],
                      .channels = size[CHANNELS],
                      .vocab = size[CLASSES],
                      .image_height = size[HIGH],
                      .image_width = size[WIDE]};
    memcpy(c.stage, size + STAGE, sizeof c.stage);
    must(convnext_config(&c));
    return c;
}

static void open_bed(image_bed *b, const image_variant *v, const training_policy *how, device *dev,
                     dtype type)
{
    *b = (image_bed){.kind = &image_kind, .config = config_of(), .batch = size[BATCH], .v = *v};
    image_bed_open(b, how, dev, type);
}

/* ---- against timm ---- */

static void hold(device *dev, dtype type, double tolerance)
{
    static const training_policy dropping = {.drop_path = 0.5};
    for (int i = 0; i < VARIANTS; i++) {
        const image_variant *v = &variants[i];
        image_bed b;
        open_bed(&b, v, v->drop ? &dropping : &plain_training, dev, type);
        image_bed_hold(&b, g, tolerance);
        if (!v->drop) {
            image_bed_predict(&b);
            image_bed_compare_logits(&b, g, "logits", tolerance);
            image_bed_close_to("evaluation", i, image_bed_loss(&b), image_bed_number(&b, g, "loss"),
                               0, tolerance);
        }
        image_bed_close(&b);
    }
}

static void test_against_timm(void **state)
{
    (void)state;
    image_bed_on_devices(hold);
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    device dev = ref_device();
    image_bed b;
    open_bed(&b, &variants[0], &plain_training, &dev, F64);
    image_bed_train(&b);
    image_bed_differences(&b, image_bed_loss, 2, 1e-5, 1e-6);
    image_bed_close(&b);
}

/* ---- presets ---- */

static void test_parameter_counts(void **state)
{
    (void)state;
    static const char *const names[] = {"convnext-t", "convnext-s", "convnext-b", "convnext-l",
                                        "convnext-xl"};
    const double *want;
    int64_t n;
    must(golden_get(g, "counts", &want, &n));
    assert_int_equal(n, 5);
    for (int i = 0; i < 5; i++) {
        model_config c, derived;
        params p = {.type = F32};
        model *m;
        must(preset_find(&image_presets, names[i], &c));
        derived = c;
        must(convnext_config(&derived));
        assert_null(config_difference(&c, &derived));
        must(image_kind.create(&c, &plain_training, &p, &m));
        assert_int_equal(params_count(&p), (int64_t)want[i]);
        image_kind.destroy(m);
        params_free(&p);
    }
}

/* ---- runs ---- */

#define SMALL_CONV                                                                                 \
    "--model convnext-micro/2 --patch 2 --width 8 --image-size 18x22 --channels 3 --classes 7 "    \
    "--batch 3 --threads 2 --steps 3 --warmup 0 --lr 0.003 --schedule constant "

/* What is made again, where gradients lie and who waits for data: the same bits. */
static void test_same_bits(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", "--recompute norms"},
        {"--drop-path 0.4", "--drop-path 0.4 --recompute gelu"},
        {"", "--recompute attention"},
        {"--drop-path 0.4", "--drop-path 0.4 --recompute block"},
        {"", "--recompute sqrt"},
        {"", "--recompute block:0-4,norms:6-9"},
        {"--optim adamw", "--optim adamw_r"},
        {"--optim adamw", "--optim adamw --gradients overlay"},
        {"--optim adan", "--optim adan_r"},
        {"--optim lion", "--optim lion_r"},
        {"--optim lion", "--optim lion_r --recompute block"},
        {"--optim muon --accum 2", "--optim muon --accum 2 --workers 0"},
        {"--freeze *conv_dw* --freeze *norm*",
         "--freeze *conv_dw* --freeze *norm* --recompute gelu"},
    };
    /* a sanitizer sees in one step what it sees in three */
    small_same_runs(thin_run() ? SMALL_CONV "--steps 1 " : SMALL_CONV, pairs,
                    sizeof pairs / sizeof *pairs);
}

/* Each level plans less than the one before. */
static void test_recompute_saves(void **state)
{
    (void)state;
    static const char *const levels[] = {"none", "norms", "gelu", "block"};
    size_t before = SIZE_MAX;
    for (int i = 0; i < 4; i++) {
        int64_t n;
        char words[400];
        snprintf(words, sizeof words, SMALL_CONV "--batch 16 --recompute %s", levels[i]);
        size_t peak = small_plan(words, &n).peak;
        if (peak >= before) fail_msg("%s: %zu bytes, before %zu", levels[i], peak, before);
        before = peak;
    }
}

/* Freezing all but the head keeps nothing of the blocks; freezing convolutions alone
 * drops what only they read. */
static void test_freezing_saves(void **state)
{
    (void)state;
    int64_t n;
    size_t all = small_plan(SMALL_CONV "--batch 16", &n).peak,
           without = small_plan(SMALL_CONV "--batch 16 --freeze *conv_dw*", &n).peak,
           head = small_plan(SMALL_CONV "--batch 16 --train-only head.*", &n).peak;
    if (!(head < without && without < all)) fail_msg("%zu, %zu, %zu", all, without, head);
    small_result a = small_train(SMALL_CONV "--freeze stages.0* --freeze stem*"),
                 b = small_train(SMALL_CONV);
    assert_true(a.loss[0] == b.loss[0] && a.loss[2] != b.loss[2]);
    small_free(&a);
    small_free(&b);
}

/* What a run writes loads again, under timm's names and under Hugging Face's; of other
 * classes all but the head. */
static void write_theirs(small_run *s, const char *path)
{
    static const char *const parts[][2] = {{"stem.0", "convnext.embeddings.patch_embeddings"},
                                           {"stem.1", "convnext.embeddings.layernorm"},
                                           {"head.norm", "convnext.layernorm"},
                                           {"head.fc", "classifier"},
                                           {"stages", "convnext.encoder.stages"},
                                           {"downsample", "downsampling_layer"},
                                           {"blocks", "layers"},
                                           {".norm.", ".layernorm."},
                                           {"conv_dw", "dwconv"},
                                           {"mlp.fc1", "pwconv1"},
                                           {"mlp.fc2", "pwconv2"},
                                           {"gamma", "layer_scale_parameter"}};
    static char names[200][200];
    static named_tensor list[200];
    for (int i = 0; i < s->t->params.n; i++) {
        char text[200], *at;
        param_text(&s->t->params.row[i], text, sizeof text);
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            if ((at = strstr(text, parts[k][0])) && !(k == 7 && !strncmp(text, "convnext.l", 10))) {
                char rest[200];
                snprintf(rest, sizeof rest, "%s", at + strlen(parts[k][0]));
                snprintf(at, sizeof text - (size_t)(at - text), "%s%s", parts[k][1], rest);
            }
        snprintf(names[i], sizeof names[i], "%s", text);
        list[i] = (named_tensor){.name = names[i], .value = s->t->params.row[i].value};
    }
    must(safetensors_write(path, list, s->t->params.n, &s->dev, NULL));
}

static void test_files(void **state)
{
    (void)state;
    static const char *const paths[] = {"saved.safetensors", "theirs.safetensors"};
    small_run a, b;
    step_result r;
    small_open(&a, SMALL_CONV "--seed 7");
    must(trainer_step(a.t, a.data, 1, 1e-2, &r));
    must(params_write(paths[0], &a.t->params, &a.dev, NULL));
    write_theirs(&a, paths[1]);
    for (int i = 0; i < 4; i++) {
        char words[500], name[100];
        bool other = i & 1; /* classes */
        snprintf(words, sizeof words, SMALL_CONV "%s --load %s", other ? "--classes 4" : "",
                 paths[i / 2]);
        small_open(&b, words);
        for (int k = 0; k < a.t->params.n; k++) {
            const param *x = &a.t->params.row[k], *y = &b.t->params.row[k];
            param_text(x, name, sizeof name);
            if (other && !strncmp(name, "head.fc", 7)) continue;
            if (memcmp(x->value.data, y->value.data, (size_t)x->count * sizeof(float)))
                fail_msg("%s: %s differs", paths[i / 2], name);
        }
        small_close(&b);
    }
    small_close(&a);
}

static void test_it_learns(void **state)
{
    (void)state;
    small_run s;
    eval_result after;
    step_result r;
    small_open(&s,
               SMALL_CONV "--batch 10 --steps 150 --workers 0 --eval-batches 0 --drop-path 0.1");
    for (int64_t step = 1; step <= 150; step++)
        must(trainer_step(s.t, s.data, step, 4e-3, &r));
    must(trainer_evaluate(s.t, s.data, &after));
    if (!(after.accuracy > 0.9)) fail_msg("accuracy %.3f, loss %.3f", after.accuracy, after.loss);
    small_close(&s);
}

static void test_refusals(void **state)
{
    (void)state;
    options o;
    char text[SMALL_TEXT];
    static const char *const cases[][2] = {
        {"--model convnext-t --patch 5", "does not divide"},
        {"--model convnext-t --patch 4 --image-size 16", "stages halve it"},
        {"--model convnext-m --patch 4", "unknown model"}};
    for (int i = 0; i < 3; i++) {
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
    must(golden_open("test/golden/convnext.txt", &g));
    must(golden_get(g, "config", &v, &n));
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
        cmocka_unit_test(test_against_timm),
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_parameter_counts),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_recompute_saves),
        cmocka_unit_test(test_freezing_saves),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("convnext", tests, enter, leave);
}
