/* test_vit.c - the ViT as a whole against PyTorch, against central differences, and its presets.
 *
 * As test_gpt.c: golden values (test/golden/vit.py) on the reference in F64 and on the CPU in F32,
 * by the same code of the model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "model/model.h"
#include "test/formula.h"
#include "test/golden.h"
#include "test/ref.h"
#include "test/small_run.h"

#include <math.h>
#include <string.h>

enum { L = 2, H = 3, C = 24, PATCH = 3, CHANNELS = 2, V = 7, B = 3 };

typedef struct {
    const char *name;
    int64_t height, width;
    bool mean, drop, full;
    double smoothing;
} variant;

static const variant variants[] = {
    {.name = "cls", .height = 9, .width = 15, .full = true},
    {.name = "mean", .height = 12, .width = 6, .mean = true},
    {.name = "smooth", .height = 9, .width = 15, .smoothing = 0.1},
    {.name = "drop", .height = 9, .width = 15, .drop = true},
    {.name = "one", .height = 3, .width = 3},
};

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
    b->in = vit_kind.place_batch(b->m, b->arena, B, 0);
    b->loss = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
    b->hits = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("hits", 0));
    b->logits = arena_keep(b->arena, KIND_BATCH, b->p.type, SHAPE(B, V), NAME("out", 0));
}

static loss_sink sink_of(bed *b)
{
    return (loss_sink){.sum = b->loss, .hits = b->hits, .scale = 1.0 / B};
}

static void train_once(bed *b)
{
    loss_sink sink = sink_of(b);
    arena_begin(b->arena, "train");
    params_begin_step(&b->r, 1);
    vit_kind.train(&b->r, b->m, &b->in, &sink);
    params_end_step(&b->r);
    arena_end(b->arena);
}

static void evaluate_once(bed *b)
{
    loss_sink sink = sink_of(b);
    arena_begin(b->arena, "eval");
    vit_kind.evaluate(&b->r, b->m, &b->in, &sink);
    arena_end(b->arena);
}

static void predict_once(bed *b)
{
    arena_begin(b->arena, "predict");
    vit_kind.predict(&b->r, b->m, &b->in, b->logits);
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
    return formula_hash(998, b) % V;
}

/* By formula: see test/golden/vit.py. */
static void load(bed *b)
{
    for (int i = 0; i < b->p.n; i++) {
        const param *row = &b->p.row[i];
        double amplitude = row->spec.shape.rank > 1 ? 0.4 : 0.2,
               middle = row->spec.init == INIT_ONE;
        for (int64_t j = 0; j < row->count; j++)
            set_element(row->value, j,
                        (double)formula_value((uint32_t)i, (uint32_t)j, amplitude, middle));
    }
    for (int64_t j = 0; j < tensor_count(b->in.inputs); j++)
        set_element(b->in.inputs, j, (double)formula_value(999, (uint32_t)j, 2, 0));
    for (uint32_t i = 0; i < B; i++)
        for (int64_t k = 0; k < V; k++)
            set_element(b->in.targets, i * V + k,
                        b->v->smoothing / V + (k == label_of(i) ? 1 - b->v->smoothing : 0));
    for (int64_t j = 0; present(b->in.noise) && j < tensor_count(b->in.noise); j++)
        set_element(b->in.noise, j, formula_hash(997, (uint32_t)j) % 2 * 2);
}

static model_config config_of(const variant *v)
{
    model_config c = {.name = "golden",
                      .layers = L,
                      .heads = H,
                      .width = C,
                      .inner = 2 * C,
                      .patch = PATCH,
                      .channels = CHANNELS,
                      .vocab = V,
                      .image_height = v->height,
                      .image_width = v->width,
                      .mean_pool = v->mean};
    must(vit_config(&c));
    return c;
}

static const training_policy *training_of(const variant *v)
{
    static const training_policy dropping = {.drop_path = 0.5};
    return v->drop ? &dropping : &plain_training;
}

static void open_bed(bed *b, const variant *v, device *dev, dtype type)
{
    device null = device_null();
    model_config c = config_of(v);
    *b = (bed){.v = v, .dev = &null};
    b->p.type = type;
    b->p.policy = GRADS_OWN;
    must(arena_create(&block_kinds, &b->arena));
    arena_attach(b->arena, &null);
    b->r = (run){.dev = &null, .arena = b->arena, .params = &b->p};
    must(vit_kind.create(&c, training_of(v), &b->p, &b->m));
    place(b);
    train_once(b);
    b->p.training = false;
    evaluate_once(b);
    predict_once(b);
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
    vit_kind.destroy(b->m);
    params_free(&b->p);
    arena_destroy(b->arena);
}

static double loss_of(bed *b)
{
    evaluate_once(b);
    return *(double *)b->loss.data;
}

/* ---- against PyTorch ---- */

static const double *values(golden *g, const variant *v, const char *what, const char *name,
                            int64_t *n)
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

static void compare_gradient(golden *g, const variant *v, const param *row, double tolerance)
{
    char name[100];
    int64_t n;
    const double *want =
        values(g, v, v->full ? "grad" : "short", param_text(row, name, sizeof name), &n);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < row->count; i++) {
        double x = element(row->gradient, i);
        sum += x;
        squares += x * x;
    }
    /* Softmax does not see the keys' bias, nor a sequence of one position any query: what is there
     * is noise of its neighbours. */
    double rms = sqrt(squares / (double)row->count), scale = strstr(name, "qkv") ? 1e-2 : rms;
    if (v->full) {
        assert_int_equal(n, row->count);
        for (int64_t i = 0; i < n; i++)
            close_enough(name, i, element(row->gradient, i), want[i], scale, tolerance);
        return;
    }
    close_enough(name, -1, sum, want[0], scale * (double)row->count, tolerance);
    close_enough(name, -2, squares, want[1], squares, 2 * tolerance);
    for (int64_t i = 2; i < n; i++)
        close_enough(name, i - 2, element(row->gradient, i - 2), want[i], scale, tolerance);
}

static void compare_logits(golden *g, bed *b, double tolerance)
{
    int64_t n, hits = 0;
    const double *want = values(g, b->v, "logits", "", &n);
    assert_int_equal(n, B * V);
    for (uint32_t i = 0; i < B; i++) {
        bool best = true;
        for (int64_t k = 0; k < V; k++)
            best = best && want[i * V + k] <= want[i * V + label_of(i)];
        hits += best;
    }
    if (!b->v->drop) { /* evaluation leaves nothing out */
        predict_once(b);
        for (int64_t i = 0; i < n; i++)
            close_enough("logits", i, element(b->logits, i), want[i], 1, tolerance);
        evaluate_once(b);
    }
    assert_true(*(double *)b->hits.data == (double)hits);
}

static void against_golden(device *dev, dtype type, double tolerance)
{
    golden *g;
    must(golden_open("test/golden/vit.txt", &g));
    for (int i = 0; i < VARIANTS; i++) {
        const variant *v = &variants[i];
        bed b;
        int64_t n;
        open_bed(&b, v, dev, type);
        assert_int_equal(b.p.n, (int)*values(g, v, "tensors", "", &n));
        train_once(&b);
        must(device_status(dev));
        double want = *values(g, v, "loss", "", &n), got = *(double *)b.loss.data;
        close_enough("loss", i, got, want, 0, tolerance);
        for (int k = 0; k < b.p.n; k++)
            compare_gradient(g, v, &b.p.row[k], tolerance);
        compare_logits(g, &b, tolerance);
        if (!v->drop) close_enough("evaluation", i, loss_of(&b), want, 0, tolerance);
        close_bed(&b);
    }
    golden_free(g);
}

static void test_reference_against_pytorch(void **state)
{
    (void)state;
    device dev = ref_device();
    against_golden(&dev, F64, 1e-8); /* the file has ten digits */
}

static void test_cpu_against_pytorch(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        device dev;
        must(cpu_device(threads, &dev));
        against_golden(&dev, F32, 6e-5); /* as in test_gpt.c */
        cpu_close(&dev);
    }
}

/* ---- against central differences ---- */

static void test_gradients_by_differences(void **state)
{
    (void)state;
    enum { PER_TENSOR = 6 };
    const double h = 1e-5;
    device dev = ref_device();
    for (int which = 0; which < 2; which++) { /* class token, mean */
        bed b;
        open_bed(&b, &variants[which], &dev, F64);
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
}

/* ---- presets ---- */

static int64_t parameters_of(const char *name, int64_t classes)
{
    model_config c;
    params p = {.type = F32};
    model *m;
    must(preset_find(&image_presets, name, &c));
    if (classes) c.vocab = classes;
    model_config derived = c;
    must(vit_config(&derived));
    assert_int_equal(derived.context, c.context);
    assert_int_equal(derived.inner, c.inner);
    assert_int_equal(derived.head_size, c.head_size);
    must(vit_kind.create(&c, &plain_training, &p, &m));
    int64_t n = params_count(&p);
    vit_kind.destroy(m);
    params_free(&p);
    return n;
}

/* timm's counts with 1000 classes, to the last parameter where they are widely printed. */
static void test_parameter_counts(void **state)
{
    (void)state;
    assert_int_equal(parameters_of("vit-tiny/16", 0), 5717416);
    assert_int_equal(parameters_of("vit-s/16", 0), 22050664);
    assert_int_equal(parameters_of("vit-s/32", 0), 22878952);
    assert_int_equal(parameters_of("vit-b/16", 0), 86567656);
    assert_int_equal(parameters_of("vit-b/32", 0), 88224232);
    assert_int_equal(parameters_of("vit-l/16", 0), 304326632);
    assert_int_equal(parameters_of("vit-l/32", 0), 306535400);
    assert_int_equal(parameters_of("vit-h/14", 0), 632045800);
    assert_int_equal(parameters_of("vit-g/14", 0) / 100000, 10126); /* 1012.6 M */
    /* a class is a row of the head and a bias */
    assert_int_equal(parameters_of("vit-b/32", 0) - parameters_of("vit-b/32", 10), 990 * 769);
}

static void test_sizes_that_cannot_be(void **state)
{
    (void)state;
    model_config c = config_of(&variants[0]);
    c.image_width = 16;
    error *e = vit_config(&c);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "--patch 3"));
    assert_non_null(strstr(error_text(e), "9 x 16"));
    error_free(e);
    e = preset_find(&image_presets, "vit-b-32", &c);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "vit-b/32"));
    error_free(e);
}

/* ---- stochastic depth ---- */

/* What is drawn depends on the sample's number alone; branches stay as often as they should, and on
 * average nothing is lost. */
static void test_drawing(void **state)
{
    (void)state;
    enum { N = 4000, LAYERS = 3 };
    static float all[2 * LAYERS * N], some[2 * LAYERS * 7];
    model_config c = config_of(&variants[3]);
    params p = {.type = F32};
    model *m;
    c.layers = LAYERS;
    must(vit_kind.create(&c, training_of(&variants[3]), &p, &m));
    vit_kind.draw(m, 5, 0, N, all);
    vit_kind.draw(m, 5, 100, 7, some);
    for (int k = 0; k < 2 * LAYERS; k++) {
        double sum = 0, drop = 0.5 * (k / 2) / (LAYERS - 1);
        for (int i = 0; i < N; i++) {
            float x = all[k * N + i];
            assert_true(x == 0 || fabs((double)x * (1 - drop) - 1) < 1e-6);
            sum += (double)x;
        }
        /* variance of one: drop / (1 - drop) */
        assert_true(fabs(sum / N - 1) <= 5 * sqrt(drop / (1 - drop) / N));
        for (int i = 0; i < 7; i++)
            assert_true(some[k * 7 + i] == all[k * N + 100 + i]);
    }
    vit_kind.destroy(m);
    params_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_against_pytorch),
        cmocka_unit_test(test_cpu_against_pytorch),
        cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_parameter_counts),
        cmocka_unit_test(test_sizes_that_cannot_be),
        cmocka_unit_test(test_drawing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
