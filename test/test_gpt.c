/* test_gpt.c - the GPT as a whole against PyTorch, and against central differences.
 *
 *   golden values (PyTorch, float64) -- loss, logits, every gradient --> reference device, F64
 *                                                                  \--> CPU device, F32
 *   central differences of the loss  -- chosen elements -------------> reference device
 *
 * The model's code is the same in all of them; only the operation table differs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "model/kind.h"
#include "test/formula.h"
#include "test/golden.h"
#include "test/ref.h"
#include "test/small_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { L = 2, H = 3, C = 24, T = 11, CONTEXT = 13, B = 3, V = 59 };

/* A model with its memory on a device, outside of any trainer. */
typedef struct {
    device *dev;
    arena *arena;
    params p;
    run r;
    model *m;
    batch in;
    tensor loss;
} bench_model;

static void place(bench_model *b)
{
    params_place(&b->p, b->arena);
    b->in = gpt_kind.place_batch(b->m, b->arena, B, T);
    b->loss = arena_keep(b->arena, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
}

static void train_once(bench_model *b)
{
    loss_sink sink = {.sum = b->loss, .scale = 1.0 / (B * T)};
    arena_begin(b->arena, "train");
    params_begin_step(&b->r, 1);
    gpt_kind.train(&b->r, b->m, &b->in, &sink);
    params_end_step(&b->r);
    arena_end(b->arena);
}

static void evaluate_once(bench_model *b)
{
    loss_sink sink = {.sum = b->loss, .scale = 1.0 / (B * T)};
    arena_begin(b->arena, "eval");
    gpt_kind.evaluate(&b->r, b->m, &b->in, &sink);
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

/* Weights, tokens and targets by formula: see test/golden/gpt.py. */
static void load(bench_model *b)
{
    for (int i = 0; i < b->p.n; i++) {
        const param *row = &b->p.row[i];
        bool matrix = row->spec.shape.rank == 2;
        double amplitude = matrix ? 0.4 : 0.2, middle = row->spec.init == INIT_ONE;
        for (int64_t j = 0; j < row->count; j++)
            set_element(row->value, j,
                        (double)formula_value((uint32_t)i, (uint32_t)j, amplitude, middle));
    }
    int32_t *inputs = b->in.inputs.data, *targets = b->in.targets.data;
    for (uint32_t s = 0; s < B; s++)
        for (uint32_t t = 0; t < T; t++) {
            inputs[s * T + t] = (int32_t)(formula_hash(999, s * (T + 1) + t) % V);
            targets[s * T + t] = (int32_t)(formula_hash(999, s * (T + 1) + t + 1) % V);
        }
}

static void open_model(bench_model *b, const model_config *c, device *dev, dtype type)
{
    device null = device_null();
    *b = (bench_model){.dev = &null};
    b->p.type = type;
    b->p.policy = GRADS_OWN;
    must(arena_create(&b->arena));
    arena_attach(b->arena, &null);
    b->r = (run){.dev = &null, .arena = b->arena, .params = &b->p};
    must(gpt_kind.create(c, &b->p, &b->m));
    place(b);
    train_once(b);
    b->p.training = false;
    evaluate_once(b);
    must(arena_plan(b->arena));
    must(arena_commit(b->arena, dev, true));
    b->r.dev = b->dev = dev;
    place(b);
    load(b);
}

static void close_model(bench_model *b)
{
    must(device_status(b->dev));
    assert_true(arena_canary_intact(b->arena));
    gpt_kind.destroy(b->m);
    params_free(&b->p);
    arena_destroy(b->arena);
}

static double loss_of(bench_model *b)
{
    evaluate_once(b);
    return *(double *)b->loss.data;
}

/* ---- against PyTorch ---- */

typedef struct {
    const char *name;
    bool full; /* whole gradients are in the file; else sum, sum of squares and 8 elements */
    activation act;
    bool bias, tied;
} variant;

static const variant variants[] = {
    {"base", true, ACT_GELU_TANH, true, true},
    {"erf", false, ACT_GELU_ERF, true, true},
    {"untied", false, ACT_GELU_TANH, true, false},
    {"nobias", false, ACT_GELU_TANH, false, true},
};

static model_config config_of(const variant *v)
{
    model_config c = gpt_config("golden", L, H, C, CONTEXT, V);
    c.act = v->act;
    if (!v->bias) c.bias = (biases){0};
    c.tied = v->tied;
    return c;
}

static const double *values(golden *g, const char *which, const char *what, const char *name,
                            int64_t *n)
{
    char key[120];
    const double *v;
    snprintf(key, sizeof key, "%s.%s%s%s", which, what, *name ? "." : "", name);
    must(golden_get(g, key, &v, n));
    return v;
}

/* |got - want| <= tolerance * (rms of the tensor + |want|): gradients of one tensor are sums of
 * like terms. */
static void close_enough(const char *name, int64_t i, double got, double want, double rms,
                         double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (rms + fabs(want))))
        fail_msg("%s[%lld]: got %.12g, want %.12g, rms %.3g, tolerance %.3g", name, (long long)i,
                 got, want, rms, tolerance);
}

static void compare_gradient(golden *g, const variant *v, const param *row, double tolerance)
{
    char name[100];
    int64_t n;
    const double *want =
        values(g, v->name, v->full ? "grad" : "short", param_text(row, name, sizeof name), &n);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < row->count; i++) {
        double x = element(row->gradient, i);
        sum += x;
        squares += x * x;
    }
    double rms = sqrt(squares / (double)row->count);
    /* The keys' bias has no gradient in exact arithmetic: what is there is
     * noise of its neighbours. */
    double floor = strstr(name, "c_attn.bias") ? 1e-3 : rms;
    if (v->full) {
        assert_int_equal(n, row->count);
        for (int64_t i = 0; i < n; i++)
            close_enough(name, i, element(row->gradient, i), want[i], floor, tolerance);
        return;
    }
    close_enough(name, -1, sum, want[0], floor * (double)row->count, tolerance);
    close_enough(name, -2, squares, want[1], squares, 2 * tolerance);
    for (int64_t i = 2; i < n; i++)
        close_enough(name, i - 2, element(row->gradient, i - 2), want[i], floor, tolerance);
}

static void against_golden(device *dev, dtype type, double loss_tolerance, double tolerance)
{
    golden *g;
    must(golden_open("test/golden/gpt.txt", &g));
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const variant *v = &variants[i];
        bench_model b;
        int64_t n;
        model_config c = config_of(v);
        open_model(&b, &c, dev, type);
        assert_int_equal(b.p.n, (int)*values(g, v->name, "tensors", "", &n));
        train_once(&b);
        must(device_status(dev));
        double want = *values(g, v->name, "loss", "", &n), got = *(double *)b.loss.data;
        if (!(fabs(got - want) < loss_tolerance * want))
            fail_msg("%s: loss %.12g, want %.12g", v->name, got, want);
        assert_true(fabs(loss_of(&b) - got) <=
                    loss_tolerance * want); /* evaluation is the same forward */
        for (int k = 0; k < b.p.n; k++)
            compare_gradient(g, v, &b.p.row[k], tolerance);
        close_model(&b);
    }
    golden_free(g);
}

static void test_reference_against_pytorch(void **state)
{
    (void)state;
    device dev = ref_device();
    against_golden(&dev, F64, 1e-9, 1e-8); /* the file has ten digits */
}

/* Float: each of some 40 operations in a row adds 8 eps sqrt(n), n up to 96, in random directions:
 * sqrt(40) * 8 * 1.2e-7 * 10 = 6e-5 of the tensor's size. */
static void test_cpu_against_pytorch(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        device dev;
        must(cpu_device(threads, &dev));
        against_golden(&dev, F32, 1e-5, 6e-5);
        cpu_close(&dev);
    }
}

/* ---- decoding ---- */

typedef struct {
    bench_model b;
    tensor tokens, logits; /* (B,room), (B,V) */
    int64_t room;
    int steps;
} decoding;

static void place_decoding(decoding *d)
{
    place(&d->b);
    d->tokens = arena_keep(d->b.arena, KIND_BATCH, I32, SHAPE(B, d->room), NAME("next", 0));
    d->logits = arena_keep(d->b.arena, KIND_BATCH, F64, SHAPE(B, V), NAME("last logits", 0));
}

static void begin_decoding(decoding *d)
{
    d->steps = 0;
    arena_begin(d->b.arena, "sample");
    gpt_kind.open_caches(&d->b.r, d->b.m, B, CONTEXT);
}

static void end_decoding(decoding *d)
{
    gpt_kind.close_caches(&d->b.r, d->b.m);
    arena_end(d->b.arena);
}

/* Tokens first .. first + n of all sequences. */
static void decode(decoding *d, int64_t first, int64_t n)
{
    decode_step s = {.tokens = tensor_of(d->tokens.data, I32, SHAPE(B, n)),
                     .position = first,
                     .room = d->room,
                     .logits = d->logits};
    arena_iteration(d->b.arena, ++d->steps);
    for (int64_t i = 0; i < B * n && !arena_recording(d->b.arena); i++)
        ((int32_t *)d->tokens.data)[i] =
            ((int32_t *)d->b.in.inputs.data)[i / n * T + first + i % n];
    gpt_kind.decode(&d->b.r, d->b.m, &s);
}

static void open_decoding(decoding *d, const model_config *c, int64_t room, device *dev)
{
    device null = device_null();
    *d = (decoding){.room = room};
    bench_model *b = &d->b;
    b->p.type = F64;
    must(arena_create(&b->arena));
    arena_attach(b->arena, &null);
    b->r = (run){.dev = &null, .arena = b->arena, .params = &b->p};
    must(gpt_kind.create(c, &b->p, &b->m));
    place_decoding(d);
    begin_decoding(d);
    decode(d, 0, room);
    end_decoding(d);
    must(device_status(&null));
    must(arena_plan(b->arena));
    must(arena_commit(b->arena, dev, true));
    b->r.dev = b->dev = dev;
    place_decoding(d);
    load(b);
}

/* All sequences at once, in steps of up to `room` tokens: the logits after each step are PyTorch's
 * (of the first sequence), and each step's are the same however the tokens before were grouped. */
static void test_decoding_against_pytorch(void **state)
{
    (void)state;
    golden *g;
    int64_t n, of;
    device dev = ref_device();
    model_config c = config_of(&variants[0]);
    must(golden_open("test/golden/gpt.txt", &g));
    const double *want = values(g, "base", "logits", "", &of);
    assert_int_equal(of, T * V);
    for (int64_t room = 1; room <= T; room += 5) {
        decoding d;
        open_decoding(&d, &c, room, &dev);
        for (int round = 0; round < 2; round++) { /* the second finds the caches of the first */
            begin_decoding(&d);
            for (int64_t first = 0; first < T; first += n) {
                n = T - first < room ? T - first : room;
                if (room > 1 && first % 3 == 1) n = 1;
                decode(&d, first, n);
                for (int i = 0; i < V; i++)
                    close_enough("logits", (first + n - 1) * V + i, element(d.logits, i),
                                 want[(first + n - 1) * V + i], 1, 1e-8);
            }
            end_decoding(&d);
        }
        close_model(&d.b);
    }
    golden_free(g);
}

/* ---- against central differences ---- */

static void test_gradients_by_differences(void **state)
{
    (void)state;
    enum { PER_TENSOR = 6 };
    const double h = 1e-5;
    device dev = ref_device();
    bench_model b;
    model_config c = config_of(&variants[2]);
    open_model(&b, &c, &dev, F64);
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
    close_model(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_against_pytorch),
        cmocka_unit_test(test_cpu_against_pytorch),
        cmocka_unit_test(test_decoding_against_pytorch),
        cmocka_unit_test(test_gradients_by_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
