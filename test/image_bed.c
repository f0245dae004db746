/* image_bed.c - see image_bed.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "test/image_bed.h"
#include "test/formula.h"
#include "test/long.h"
#include "test/ref.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- open, close ---- */

static void place(image_bed *b)
{
    params_place(&b->p, b->arena);
    b->in = b->kind->place_batch(b->m, b->arena, b->batch, 0);
    b->loss = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
    b->hits = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("hits", 0));
    b->logits = arena_keep(b->arena, KIND_BATCH, b->p.type, SHAPE(b->batch, b->config.vocab),
                           NAME("out", 0));
}

static loss_sink sink_of(const image_bed *b)
{
    return (loss_sink){.sum = b->loss, .hits = b->hits, .scale = 1.0 / (double)b->batch};
}

void image_bed_train(image_bed *b)
{
    loss_sink sink = sink_of(b);
    arena_begin(b->arena, "train");
    params_begin_step(&b->r, 1);
    b->kind->train(&b->r, b->m, &b->in, &sink);
    params_end_step(&b->r);
    arena_end(b->arena);
}

double image_bed_loss(image_bed *b)
{
    loss_sink sink = sink_of(b);
    arena_begin(b->arena, "eval");
    b->kind->evaluate(&b->r, b->m, &b->in, &sink);
    arena_end(b->arena);
    return present(b->loss) && !arena_recording(b->arena) ? *(double *)b->loss.data : 0;
}

void image_bed_predict(image_bed *b)
{
    arena_begin(b->arena, "predict");
    b->kind->predict(&b->r, b->m, &b->in, b->logits);
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

/* Parameter k of those that are no states: see test/golden/vit.py, convnext.py, resnet.py. */
static void fill_parameters(image_bed *b)
{
    uint32_t k = 0;
    for (int i = 0; i < b->p.n; i++) {
        const param *row = &b->p.row[i];
        init_kind init = row->spec.init;
        bool about_one = init == INIT_ONE || init == INIT_VALUE;
        double amplitude = row->spec.state ? 0 : row->spec.shape.rank > 1 ? 0.4 : 0.2;
        for (int64_t j = 0; j < row->count; j++)
            set_element(row->value, j, (double)formula_value(k, (uint32_t)j, amplitude, about_one));
        k += !row->spec.state;
    }
}

static void fill_batch(image_bed *b)
{
    int64_t classes = b->config.vocab;
    for (int64_t j = 0; j < tensor_count(b->in.inputs); j++)
        set_element(b->in.inputs, j, (double)formula_value(999, (uint32_t)j, 2, 0));
    for (uint32_t i = 0; i < b->batch; i++) {
        int64_t label = formula_hash(998, i) % (uint32_t)classes;
        for (int64_t k = 0; k < classes; k++)
            set_element(b->in.targets, i * classes + k,
                        b->v.smoothing / (double)classes + (k == label ? 1 - b->v.smoothing : 0));
    }
    for (int64_t j = 0; present(b->in.noise) && j < tensor_count(b->in.noise); j++)
        set_element(b->in.noise, j, formula_hash(997, (uint32_t)j) % 2 * 2);
}

void image_bed_open(image_bed *b, const training_policy *how, device *dev, dtype type)
{
    device null = device_null();
    b->dev = &null;
    b->p = (params){.type = type, .policy = GRADS_OWN};
    must(arena_create(&block_kinds, &b->arena));
    arena_attach(b->arena, &null);
    b->r = (runtime){.dev = &null, .arena = b->arena, .params = &b->p};
    must(b->kind->create(&b->config, how, &b->p, &b->m));
    place(b);
    image_bed_train(b);
    b->p.training = false;
    image_bed_loss(b);
    image_bed_predict(b);
    must(device_status(&null));
    must(arena_plan(b->arena));
    must(arena_commit(b->arena, dev, true));
    b->r.dev = b->dev = dev;
    place(b);
    fill_parameters(b);
    fill_batch(b);
}

void image_bed_close(image_bed *b)
{
    must(device_status(b->dev));
    assert_true(arena_canary_intact(b->arena));
    b->kind->destroy(b->m);
    params_free(&b->p);
    arena_destroy(b->arena);
}

/* ---- golden values ---- */

static const double *values(const image_bed *b, const golden *g, const char *what, const char *name,
                            int64_t *n)
{
    char key[120];
    const double *x;
    snprintf(key, sizeof key, "%s.%s%s%s", b->v.name, what, *name ? "." : "", name);
    must(golden_get(g, key, &x, n));
    return x;
}

void image_bed_close_to(const char *name, int64_t i, double got, double want, double scale,
                        double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (scale + fabs(want))))
        fail_msg("%s[%lld]: got %.12g, want %.12g, scale %.3g, tolerance %.3g", name, (long long)i,
                 got, want, scale, tolerance);
}

static void compare(const image_bed *b, const golden *g, const param *row, double tolerance)
{
    char name[100];
    int64_t n, first = b->v.full ? 0 : 2;
    tensor is = row->spec.state ? row->value : row->gradient;
    param_text(row, name, sizeof name);
    const double *want = values(b, g, b->v.full ? "grad" : "short", name, &n);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < row->count; i++) {
        double x = element(is, i);
        sum += x;
        squares += x * x;
    }
    /* Softmax does not see the keys' bias, nor a sequence of one position any query: what is there
     * is noise of its neighbours. */
    double rms = sqrt(squares / (double)row->count), scale = strstr(name, "qkv") ? 1e-2 : rms;
    if (b->v.full) {
        assert_int_equal(n, row->count);
    } else {
        image_bed_close_to(name, -1, sum, want[0], scale * (double)row->count, tolerance);
        image_bed_close_to(name, -2, squares, want[1], squares, 2 * tolerance);
    }
    for (int64_t i = first; i < n && i - first < row->count; i++)
        image_bed_close_to(name, i - first, element(is, i - first), want[i], scale, tolerance);
}

void image_bed_hold(image_bed *b, const golden *g, double tolerance)
{
    assert_int_equal(b->p.n, (int)image_bed_number(b, g, "tensors"));
    image_bed_train(b);
    must(device_status(b->dev));
    image_bed_close_to(b->v.name, 0, *(double *)b->loss.data, image_bed_number(b, g, "loss"), 0,
                       tolerance);
    for (int k = 0; k < b->p.n; k++)
        compare(b, g, &b->p.row[k], tolerance);
}

void image_bed_on_devices(void (*hold)(device *dev, dtype type, double tolerance))
{
    device dev = ref_device();
    hold(&dev, F64, 1e-8); /* the file has ten digits */
    for (int threads = 1; threads <= 2; threads++) {
        must(cpu_device(threads, &dev));
        hold(&dev, F32, 6e-5); /* as in test_gpt.c */
        cpu_close(&dev);
    }
}

double image_bed_number(const image_bed *b, const golden *g, const char *what)
{
    int64_t n;
    return *values(b, g, what, "", &n);
}

void image_bed_compare_logits(const image_bed *b, const golden *g, const char *what,
                              double tolerance)
{
    int64_t n;
    const double *want = values(b, g, what, "", &n);
    assert_int_equal(n, tensor_count(b->logits));
    for (int64_t k = 0; k < n; k++)
        image_bed_close_to(what, k, element(b->logits, k), want[k], 1, tolerance);
}

void image_bed_differences(image_bed *b, double (*loss)(image_bed *b), uint32_t each, double h,
                           double tolerance)
{
    int tensors = 0, every = thin_run() ? 5 : (int)tries(2, 1);
    for (int i = 0; i < b->p.n; i++) {
        const param *row = &b->p.row[i];
        if (row->spec.state || tensors++ % every) continue;
        for (uint32_t k = 0; k < each; k++) {
            int64_t j = formula_hash(77, (uint32_t)i * each + k) % (uint32_t)row->count;
            double *x = (double *)row->value.data + j, old = *x;
            double is = element(row->gradient, j);
            *x = old + h;
            double up = loss(b);
            *x = old - h;
            double down = loss(b);
            *x = old;
            char name[100];
            image_bed_close_to(param_text(row, name, sizeof name), j, is, (up - down) / (2 * h),
                               1e-2, tolerance);
        }
    }
}
