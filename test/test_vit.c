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

#include "test/formula.h"
#include "test/image_bed.h"
#include "test/ref.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { L = 2, H = 3, C = 24, PATCH = 3, CHANNELS = 2, V = 7, B = 3 };

typedef struct {
    image_variant v;
    int64_t height, width;
    bool mean;
} variant;

static const variant variants[] = {
    {{.name = "cls", .full = true}, 9, 15, false},
    {{.name = "mean"}, 12, 6, true},
    {{.name = "smooth", .smoothing = 0.1}, 9, 15, false},
    {{.name = "drop", .drop = true}, 9, 15, false},
    {{.name = "one"}, 3, 3, false},
};

enum { VARIANTS = sizeof variants / sizeof *variants };

static golden *g;

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
    return v->v.drop ? &dropping : &plain_training;
}

static void open_bed(image_bed *b, const variant *v, device *dev, dtype type)
{
    *b = (image_bed){.kind = &image_kind, .config = config_of(v), .batch = B, .v = v->v};
    image_bed_open(b, training_of(v), dev, type);
}

/* ---- against PyTorch ---- */

/* Samples whose label has the largest of these logits. */
static int hits_of(const double *logits)
{
    int hits = 0;
    for (uint32_t i = 0; i < B; i++, logits += V) {
        bool best = true;
        for (int k = 0; k < V; k++)
            best = best && logits[k] <= logits[formula_hash(998, i) % V];
        hits += best;
    }
    return hits;
}

static void hold(device *dev, dtype type, double tolerance)
{
    for (int i = 0; i < VARIANTS; i++) {
        image_bed b;
        char name[40];
        const double *logits;
        int64_t n;
        open_bed(&b, &variants[i], dev, type);
        snprintf(name, sizeof name, "%s.logits", b.v.name);
        must(golden_get(g, name, &logits, &n));
        image_bed_hold(&b, g, tolerance);
        if (!b.v.drop) { /* evaluation leaves nothing out */
            image_bed_predict(&b);
            image_bed_compare_logits(&b, g, "logits", tolerance);
            image_bed_close_to("evaluation", i, image_bed_loss(&b), image_bed_number(&b, g, "loss"),
                               0, tolerance);
        }
        assert_true(*(double *)b.hits.data == hits_of(logits));
        image_bed_close(&b);
    }
}

static void test_against_pytorch(void **state)
{
    (void)state;
    image_bed_on_devices(hold);
}

static void test_gradients_by_differences(void **state)
{
    (void)state;
    device dev = ref_device();
    for (int which = 0; which < 2; which++) { /* class token, mean */
        image_bed b;
        open_bed(&b, &variants[which], &dev, F64);
        image_bed_train(&b);
        image_bed_differences(&b, image_bed_loss, 6, 1e-5, 1e-6);
        image_bed_close(&b);
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
    must(image_kind.create(&c, &plain_training, &p, &m));
    int64_t n = params_count(&p);
    image_kind.destroy(m);
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
    must(image_kind.create(&c, training_of(&variants[3]), &p, &m));
    image_kind.draw(m, 5, 0, N, all);
    image_kind.draw(m, 5, 100, 7, some);
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
    image_kind.destroy(m);
    params_free(&p);
}

static int enter(void **state)
{
    (void)state;
    must(golden_open("test/golden/vit.txt", &g));
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
        cmocka_unit_test(test_against_pytorch),  cmocka_unit_test(test_gradients_by_differences),
        cmocka_unit_test(test_parameter_counts), cmocka_unit_test(test_sizes_that_cannot_be),
        cmocka_unit_test(test_drawing),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
