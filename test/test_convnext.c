/* test_convnext.c - ConvNeXt against timm (golden/convnext.py), against central differences, and in
 * whole runs: what changes no bit changes none, what is frozen stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "io/params_file.h"
#include "model/model.h"
#include "test/formula.h"
#include "test/golden.h"
#include "test/ref.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH, PATCH, CHANNELS, CLASSES, BATCH, HIGH, WIDE, STAGE, SIZES = STAGE + 4 };

static golden *g;
static int64_t size[SIZES];

typedef struct {
    const char *name;
    double smoothing;
    bool drop;
} variant;

static const variant variants[] = {
    {.name = "plain"}, {.name = "smooth", .smoothing = 0.1}, {.name = "drop", .drop = true}};

enum { VARIANTS = sizeof variants / sizeof *variants };

/* A model with its memory on a device, outside of any trainer. */
typedef struct {
    const variant *v;
    device *dev;
    arena *arena;
    params p;
    run r;
    model *m;
    batch in;
    tensor loss, hits, logits;
} bed;

static void place(bed *b)
{
    params_place(&b->p, b->arena);
    b->in = convnext_kind.place_batch(b->m, b->arena, size[BATCH], 0);
    b->loss = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
    b->hits = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("hits", 0));
    b->logits = arena_keep(b->arena, KIND_BATCH, b->p.type, SHAPE(size[BATCH], size[CLASSES]),
                           NAME("out", 0));
}

static loss_sink sink_of(bed *b)
{
    return (loss_sink){.sum = b->loss, .hits = b->hits, .scale = 1.0 / (double)size[BATCH]};
}

static void train_once(bed *b)
{
    loss_sink sink = sink_of(b);
    arena_begin(b->arena, "train");
    params_begin_step(&b->r, 1);
    convnext_kind.train(&b->r, b->m, &b->in, &sink);
    params_end_step(&b->r);
    arena_end(b->arena);
}

static double loss_of(bed *b)
{
    loss_sink sink = sink_of(b);
    arena_begin(b->arena, "eval");
    convnext_kind.evaluate(&b->r, b->m, &b->in, &sink);
    arena_end(b->arena);
    return present(b->loss) && !arena_recording(b->arena) ? *(double *)b->loss.data : 0;
}

static void predict_once(bed *b)
{
    arena_begin(b->arena, "predict");
    convnext_kind.predict(&b->r, b->m, &b->in, b->logits);
    arena_end(b->arena);
}

static void set_element(tensor t, int64_t i, double x)
{
    if (t.type == F64)
        ((double *)t.data)[i] = x;
    else
        ((float *)t.data)[i] = (float)x;
}

static double element(tensor t, int64_t i)
{
    return t.type == F64 ? ((double *)t.data)[i] : (double)((float *)t.data)[i];
}

static int64_t label_of(uint32_t b)
{
    return formula_hash(998, b) % (uint32_t)size[CLASSES];
}

/* By formula: see test/golden/convnext.py. */
static void load(bed *b)
{
    for (int i = 0; i < b->p.n; i++) {
        const param *row = &b->p.row[i];
        init_kind init = row->spec.init;
        double amplitude = row->spec.shape.rank > 1 ? 0.4 : 0.2;
        for (int64_t j = 0; j < row->count; j++)
            set_element(row->value, j,
                        (double)formula_value((uint32_t)i, (uint32_t)j, amplitude,
                                              init == INIT_ONE || init == INIT_VALUE));
    }
    for (int64_t j = 0; j < tensor_count(b->in.inputs); j++)
        set_element(b->in.inputs, j, (double)formula_value(999, (uint32_t)j, 2, 0));
    for (uint32_t i = 0; i < size[BATCH]; i++)
        for (int64_t k = 0; k < size[CLASSES]; k++)
            set_element(b->in.targets, i * size[CLASSES] + k,
                        b->v->smoothing / (double)size[CLASSES] +
                            (k == label_of(i) ? 1 - b->v->smoothing : 0));
    for (int64_t j = 0; present(b->in.noise) && j < tensor_count(b->in.noise); j++)
        set_element(b->in.noise, j, formula_hash(997, (uint32_t)j) % 2 * 2);
}

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

static void open_bed(bed *b, const variant *v, const training_policy *how, device *dev, dtype type)
{
    device null = device_null();
    model_config c = config_of();
    *b = (bed){.v = v, .dev = &null};
    b->p.type = type;
    b->p.policy = GRADS_OWN;
    must(arena_create(&block_kinds, &b->arena));
    arena_attach(b->arena, &null);
    b->r = (run){.dev = &null, .arena = b->arena, .params = &b->p};
    must(convnext_kind.create(&c, how, &b->p, &b->m));
    place(b);
    train_once(b);
    b->p.training = false;
    loss_of(b);
    predict_once(b);
    must(device_status(&null));
    must(arena_plan(b->arena));
    must(arena_commit(b->arena, dev, true));
    b->r.dev = b->dev = dev;
    place(b);
    load(b);
}

static void close_bed(bed *b)
{
    must(device_status(b->dev));
    assert_true(arena_canary_intact(b->arena));
    convnext_kind.destroy(b->m);
    params_free(&b->p);
    arena_destroy(b->arena);
}

/* ---- against timm ---- */

static const double *values(const variant *v, const char *what, const char *name, int64_t *n)
{
    char key[120];
    const double *x;
    snprintf(key, sizeof key, "%s.%s%s%s", v->name, what, *name ? "." : "", name);
    must(golden_get(g, key, &x, n));
    return x;
}

/* |got - want| <= tolerance * (scale + |want|) */
static void close_enough(const char *name, int64_t i, double got, double want, double scale,
                         double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (scale + fabs(want))))
        fail_msg("%s[%lld]: got %.12g, want %.12g, scale %.3g, tolerance %.3g", name, (long long)i,
                 got, want, scale, tolerance);
}

static void compare_gradient(const variant *v, const param *row, double tolerance)
{
    char name[100];
    int64_t n;
    const double *want = values(v, "short", param_text(row, name, sizeof name), &n);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < row->count; i++) {
        double x = element(row->gradient, i);
        sum += x;
        squares += x * x;
    }
    double rms = sqrt(squares / (double)row->count);
    close_enough(name, -1, sum, want[0], rms * (double)row->count, tolerance);
    close_enough(name, -2, squares, want[1], squares, 2 * tolerance);
    for (int64_t i = 2; i < n && i - 2 < row->count; i++)
        close_enough(name, i - 2, element(row->gradient, i - 2), want[i], rms, tolerance);
}

static void against_golden(device *dev, dtype type, double tolerance)
{
    static const training_policy dropping = {.drop_path = 0.5};
    for (int i = 0; i < VARIANTS; i++) {
        const variant *v = &variants[i];
        bed b;
        int64_t n;
        open_bed(&b, v, v->drop ? &dropping : &plain_training, dev, type);
        assert_int_equal(b.p.n, (int)*values(v, "tensors", "", &n));
        train_once(&b);
        must(device_status(dev));
        double want = *values(v, "loss", "", &n);
        close_enough("loss", i, *(double *)b.loss.data, want, 0, tolerance);
        for (int k = 0; k < b.p.n; k++)
            compare_gradient(v, &b.p.row[k], tolerance);
        if (!v->drop) {
            const double *logits = values(v, "logits", "", &n);
            predict_once(&b);
            for (int64_t k = 0; k < n; k++)
                close_enough("logits", k, element(b.logits, k), logits[k], 1, tolerance);
            close_enough("evaluation", i, loss_of(&b), want, 0, tolerance);
        }
        close_bed(&b);
    }
}

static void test_reference_against_timm(void **state)
{
    (void)state;
    device dev = ref_device();
    against_golden(&dev, F64, 1e-8); /* the file has ten digits */
}

static void test_cpu_against_timm(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        device dev;
        must(cpu_device(threads, &dev));
        against_golden(&dev, F32, 6e-5); /* as in test_gpt.c */
        cpu_close(&dev);
    }
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    enum { PER_TENSOR = 2 };
    const double h = 1e-5;
    device dev = ref_device();
    bed b;
    open_bed(&b, &variants[0], &plain_training, &dev, F64);
    train_once(&b);
    for (int i = 0; i < b.p.n; i++) {
        const param *row = &b.p.row[i];
        for (uint32_t k = 0; k < PER_TENSOR; k++) {
            int64_t j = formula_hash(77, (uint32_t)i * PER_TENSOR + k) % (uint32_t)row->count;
            double *x = (double *)row->value.data + j, old = *x;
            *x = old + h;
            double up = loss_of(&b);
            *x = old - h;
            double down = loss_of(&b);
            *x = old;
            char name[100];
            close_enough(param_text(row, name, sizeof name), j, element(row->gradient, j),
                         (up - down) / (2 * h), 1e-2, 1e-6);
        }
    }
    close_bed(&b);
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

static small_result train(const char *more)
{
    char arguments[600];
    snprintf(arguments, sizeof arguments, SMALL_CONV "%s", more);
    return small_train(arguments);
}

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
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        small_result a = train(pairs[i][0]), b = train(pairs[i][1]);
        if (first_difference(&a, &b) >= 0) fail_msg("%s and %s differ", pairs[i][0], pairs[i][1]);
        small_free(&a);
        small_free(&b);
    }
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
    small_result a = train("--freeze stages.0* --freeze stem*"), b = train("");
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
    static const char *const paths[] = {"/tmp/regrad-convnext.safetensors",
                                        "/tmp/regrad-convnext-hf.safetensors"};
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
    remove(paths[0]);
    remove(paths[1]);
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
    (void)state;
    must(golden_open("test/golden/convnext.txt", &g));
    must(golden_get(g, "config", &v, &n));
    for (int i = 0; i < SIZES; i++)
        size[i] = (int64_t)v[i];
    return 0;
}

static int leave(void **state)
{
    (void)state;
    golden_free(g);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_against_timm),
        cmocka_unit_test(test_cpu_against_timm),
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
