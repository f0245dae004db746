/* bench.c - how near a training step is to the machine's limits.
 *
 *   bench [options of train_gpt]        one JSON object on stdout
 *   bench_vit [options of train_vit]    the same
 *
 * In turn, `rounds` times: a few training steps; the step's matrix products alone; the optimizer
 * alone and a loop over its arrays without arithmetic.  So a drift of the machine's speed meets all
 * alike.
 *
 *   products    every dense product of a step (forward, input gradient, weight gradient, the
 * classifier in the step's chunks) by OpenBLAS on buffers as large and as many as the step's, timed
 * one by one both ways: threads inside sgemm, and one sgemm a thread on a tile of the output; the
 * faster counts attention   its six products (two forward, four backward) per head as full T x T
 * sgemm, heads in parallel stream      p, m, v are read and written in place and g is read, with
 * one addition each: the memory traffic of adamw without its arithmetic
 */
#include "base/clock.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "base/process_memory.h"
#include "train/task.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, STEPS = 3, MAX_TIMES = 64 };

typedef struct {
    double v[MAX_TIMES];
    int n;
} times;

static void add(times *t, double seconds)
{
    if (t->n < MAX_TIMES) t->v[t->n++] = seconds;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(times t)
{
    if (!t.n) return 0;
    qsort(t.v, (size_t)t.n, sizeof *t.v, ascending);
    return t.n % 2 ? t.v[t.n / 2] : 0.5 * (t.v[t.n / 2 - 1] + t.v[t.n / 2]);
}

/* ---- where a step's time goes ---- */

/* A device's operations, timed; dev->ops points at `ops`. */
typedef struct {
    device_ops ops;
    const device_ops *real;
    struct {
#define OPERATION(name) double name;
#include "core/ops.def"
    } seconds;
} stopwatch;

#define OPERATION(name)                                                                            \
    static void timed_##name(device *dev, int stream, const name##_op *o)                          \
    {                                                                                              \
        stopwatch *w = (stopwatch *)(size_t)dev->ops;                                              \
        double start = clock_now();                                                                \
        w->real->name(dev, stream, o);                                                             \
        w->seconds.name += clock_now() - start;                                                    \
    }
#include "core/ops.def"

/* May be started again: times add up. */
static void stopwatch_start(stopwatch *w, device *dev)
{
    w->ops = *dev->ops;
    w->real = dev->ops;
#define OPERATION(name) w->ops.name = timed_##name;
#include "core/ops.def"
    dev->ops = &w->ops;
}

static void stopwatch_stop(stopwatch *w, device *dev)
{
    dev->ops = w->real;
}

/* "linear":1.5,... in ms per step */
static void print_seconds(const stopwatch *w, int steps)
{
    const char *comma = "";
#define OPERATION(name)                                                                            \
    if (w->seconds.name > 0) {                                                                     \
        printf("%s\"" #name "\":%.3f", comma, w->seconds.name / steps * 1e3);                      \
        comma = ",";                                                                               \
    }
#include "core/ops.def"
}

/* ---- the products of a step, alone ---- */

typedef struct {
    const blas *b;
    device *dev;
    const model_config *c;
    int64_t batch, seq, rows, threads;
    float *weights;               /* as many as the model has in a layer, for each layer */
    float *x, *y;                 /* activations: rows x widest, for each layer */
    float *head, *dhead, *logits; /* (V,C), (V,C), (chunk,V) */
    float *patches, *embedding;   /* images: (B N, Ch p p), (C, Ch p p) */
    int64_t widest, layer_weights, chunk;
    int64_t classified; /* rows that the head sees */
    int64_t pixels;     /* of a patch, all colours; 0 for text */
    double flops;
} products;

/* The block's four products, as (out, in): qkv, project, up (with gate), down. */
typedef struct {
    int64_t size[4][2];
} block_shapes;

static block_shapes shapes_of(const model_config *c)
{
    int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    return (block_shapes){{{q + 2 * kv, c->width},
                           {c->width, q},
                           {c->gated ? 2 * c->inner : c->inner, c->width},
                           {c->width, c->inner}}};
}

static error *products_open(products *p, const trainer *t, device *dev)
{
    const options *o = t->o;
    const model_config *c = &o->model;
    *p = (products){.b = cpu_blas(dev),
                    .dev = dev,
                    .c = c,
                    .batch = o->batch,
                    .seq = o->seq,
                    .rows = o->batch * o->seq,
                    .classified = o->batch * t->kind->targets(t->model, o->seq),
                    .pixels = c->channels * c->patch * c->patch,
                    .threads = dev->threads};
    block_shapes shapes = shapes_of(c);
    for (int i = 0; i < 4; i++) {
        const int64_t *s = shapes.size[i];
        p->layer_weights += s[0] * s[1];
        for (int k = 0; k < 2; k++)
            if (s[k] > p->widest) p->widest = s[k];
    }
    int64_t ld;
    p->chunk = classifier_rows(c, DEFAULT_LOGITS_MIB, p->classified, F32, &ld);
    size_t acts = (size_t)(p->rows * p->widest * c->layers);
    TRY(alloc_array(&p->weights, (size_t)(p->layer_weights * c->layers), sizeof(float)));
    TRY(alloc_array(&p->x, acts, sizeof(float)));
    TRY(alloc_array(&p->y, (size_t)(p->rows * p->widest), sizeof(float)));
    TRY(alloc_array(&p->head, (size_t)(c->vocab * c->width), sizeof(float)));
    TRY(alloc_array(&p->dhead, (size_t)(c->vocab * c->width), sizeof(float)));
    TRY(alloc_array(&p->logits, (size_t)(p->chunk * c->vocab), sizeof(float)));
    if (p->pixels) {
        TRY(alloc_array(&p->patches, (size_t)(p->rows * p->pixels), sizeof(float)));
        TRY(alloc_array(&p->embedding, (size_t)(c->width * p->pixels), sizeof(float)));
    }
    for (size_t i = 0; i < acts; i++)
        p->x[i] = 1e-3f * (float)(i % 997);
    for (size_t i = 0; i < (size_t)(p->layer_weights * c->layers); i++)
        p->weights[i] = 1e-3f * (float)(i % 991);
    return NULL;
}

static void products_close(products *p)
{
    float *all[] = {p->weights, p->x, p->y, p->head, p->dhead, p->logits, p->patches, p->embedding};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

typedef enum { FORWARD, INPUT, WEIGHT } product_kind;

/* out = x w', dx = dout w or dw (+)= dout' x, by the library's own threads or by tiles. */
static double one_product(products *p, product_kind kind, bool tiles, bool accumulate, int64_t rows,
                          int64_t n, int64_t k, float *x, float *w, float *out)
{
    tensor tx = tensor_of(x, F32, SHAPE(rows, k)), tw = tensor_of(w, F32, SHAPE(n, k)),
           to = tensor_of(out, F32, SHAPE(rows, n));
    int r = (int)rows, in = (int)n, ik = (int)k;
    double start = clock_now();
    if (tiles) {
        if (kind == FORWARD) OP(linear, p->dev, 0, .out = to, .x = tx, .w = tw);
        if (kind == INPUT) OP(linear_dx, p->dev, 0, .dx = tx, .dout = to, .w = tw);
        if (kind == WEIGHT) OP(linear_dw, p->dev, 0, .dw = {tw, accumulate}, .x = tx, .dout = to);
    } else {
        p->b->set_threads((int)p->threads);
        if (kind == FORWARD)
            p->b->sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, in, ik, 1, x, ik, w, ik, 0, out,
                        in);
        if (kind == INPUT)
            p->b->sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, r, ik, in, 1, out, in, w, ik, 0,
                        x, ik);
        if (kind == WEIGHT)
            p->b->sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, in, ik, r, 1, out, in, x, ik,
                        accumulate, w, ik);
    }
    return clock_now() - start;
}

/* Times of all products by the library's threads and by tiles. */
typedef struct {
    double threads, tiles;
} two_ways;

static void both_ways(products *p, two_ways *sum, product_kind kind, bool accumulate, int64_t rows,
                      int64_t n, int64_t k, float *x, float *w, float *out)
{
    sum->threads += one_product(p, kind, false, accumulate, rows, n, k, x, w, out);
    sum->tiles += one_product(p, kind, true, accumulate, rows, n, k, x, w, out);
    p->flops += 2.0 * (double)rows * (double)n * (double)k;
}

static void layer_products(products *p, two_ways *sum, product_kind kind, int64_t layer)
{
    const model_config *c = p->c;
    block_shapes shapes = shapes_of(c);
    float *w = p->weights + layer * p->layer_weights, *x = p->x + layer * p->rows * p->widest;
    for (int i = 0; i < 4; i++) {
        int64_t out = shapes.size[i][0], in = shapes.size[i][1];
        both_ways(p, sum, kind, false, p->rows, out, in, x, w, p->y);
        w += out * in;
    }
}

/* The product in front of a ViT; no one asks for the images' gradient. */
static void patch_product(products *p, two_ways *sum, product_kind kind)
{
    const model_config *c = p->c;
    int64_t rows = p->batch * (c->context - (c->mean_pool ? 0 : 1));
    if (p->pixels)
        both_ways(p, sum, kind, false, rows, c->width, p->pixels, p->patches, p->embedding, p->y);
}

static double dense_products(products *p)
{
    two_ways sum = {0};
    p->flops = 0;
    patch_product(p, &sum, FORWARD);
    for (int64_t l = 0; l < p->c->layers; l++)
        layer_products(p, &sum, FORWARD, l);
    for (int64_t first = 0; first < p->classified; first += p->chunk) {
        int64_t n = p->classified - first < p->chunk ? p->classified - first : p->chunk;
        float *x = p->x + first * p->c->width;
        both_ways(p, &sum, FORWARD, false, n, p->c->vocab, p->c->width, x, p->head, p->logits);
        both_ways(p, &sum, WEIGHT, first > 0, n, p->c->vocab, p->c->width, x, p->dhead, p->logits);
        both_ways(p, &sum, INPUT, false, n, p->c->vocab, p->c->width, x, p->head, p->logits);
    }
    for (int64_t l = p->c->layers - 1; l >= 0; l--) {
        layer_products(p, &sum, WEIGHT, l);
        layer_products(p, &sum, INPUT, l);
    }
    patch_product(p, &sum, WEIGHT);
    return sum.threads < sum.tiles ? sum.threads : sum.tiles;
}

/* Scores and values forward; dV, dP, dQ, dK backward: each head's T x T in
 * a thread's own buffer. */
static double attention_products(products *p)
{
    int64_t t = p->seq, d = p->c->head_size, heads = p->c->heads, kv_heads = p->c->kv_heads;
    int64_t ld = (heads + 2 * kv_heads) * d, sharing = heads / kv_heads;
    float *scores;
    error *e = alloc_array(&scores, (size_t)(p->threads * t * t), sizeof *scores);
    if (e) {
        error_free(e);
        return 0;
    }
    double start = clock_now();
#pragma omp parallel for collapse(3) num_threads((int)p->threads)
    for (int64_t l = 0; l < p->c->layers; l++)
        for (int64_t b = 0; b < p->batch; b++)
            for (int64_t h = 0; h < heads; h++) {
                float *s = scores + omp_get_thread_num() * t * t;
                float *base = p->x + l * p->rows * p->widest + b * t * ld,
                      *out = p->y + b * t * ld + h * d;
                panel q = {base + h * d, ld}, k = {base + (heads + h / sharing) * d, ld},
                      v = {base + (heads + kv_heads + h / sharing) * d, ld}, ps = {s, t};
                blas_xyt(p->b, t, t, d, q, k, 0, s, t);
                blas_xy(p->b, t, d, t, ps, v, 0, out, ld);
                blas_xty(p->b, t, d, t, ps, q, 0, out, ld);
                blas_xyt(p->b, t, t, d, q, v, 0, s, t);
                blas_xy(p->b, t, d, t, ps, k, 0, out, ld);
                blas_xty(p->b, t, d, t, ps, q, 0, out, ld);
            }
    double seconds = clock_now() - start;
    free(scores);
    p->flops += 12.0 * (double)(p->rows * t * d * heads * p->c->layers);
    return seconds;
}

/* ---- the optimizer alone ---- */

typedef struct {
    float *a[4]; /* p g m v */
    int64_t n;
} arrays;

static error *arrays_open(arrays *x, int64_t n)
{
    *x = (arrays){.n = n};
    for (int i = 0; i < 4; i++) {
        TRY(alloc_array(&x->a[i], (size_t)n, sizeof(float)));
#pragma omp parallel for
        for (int64_t j = 0; j < n; j++)
            x->a[i][j] = 1e-3f * (float)(j % 101);
    }
    return NULL;
}

static void arrays_close(arrays *x)
{
    for (int i = 0; i < 4; i++)
        free(x->a[i]);
}

static double stream_loop(arrays *x)
{
    float *p = x->a[0], *g = x->a[1], *m = x->a[2], *v = x->a[3];
    double start = clock_now();
#pragma omp parallel for simd
    for (int64_t i = 0; i < x->n; i++) {
        float d = g[i];
        m[i] = m[i] + d;
        v[i] = v[i] + d;
        p[i] = p[i] + d;
    }
    return clock_now() - start;
}

static double fused_step(arrays *x, device *dev)
{
    hyper h = {.lr = 1e-4f,
               .lr_wd = 1e-6f,
               .beta = {0.9f, 0.999f},
               .rest = {0.1f, 0.001f},
               .debias = {0.1f, 0.001f},
               .eps = 1e-8f,
               .clip = 1,
               .ok = 1};
    double squares;
    shape s = SHAPE(x->n);
    optim_item item = {.p = tensor_of(x->a[0], F32, s),
                       .g = tensor_of(x->a[1], F32, s),
                       .decay = true,
                       .slot = tensor_of(&squares, F64, SHAPE(1)),
                       .state = {tensor_of(x->a[2], F32, s), tensor_of(x->a[3], F32, s)}};
    double start = clock_now();
    OP(optim, dev, 0, .rule = RULE_adamw, .fused = true,
       .hyper = tensor_of(&h, U8, SHAPE(sizeof h)), .items = &item, .n = 1);
    return clock_now() - start;
}

/* ---- main ---- */

typedef struct {
    times step, dense, attention, fused, stream;
    stopwatch by_op; /* over the steps of all rounds */
    size_t peak, resident;
    double flops;
} figures;

/* Samples without meaning: random tokens, or random pixels and classes.  They cost next to nothing,
 * as a training run has its data ready ahead. */
typedef struct {
    source base;
    const options *o;
} noise_source;

/* Knuth's multiplicative hash: in [0,1) */
static double noise(int64_t i)
{
    return 0x1p-32 * (double)((uint32_t)i * 2654435761u);
}

static void noise_text(const options *o, int64_t first, int64_t n, int32_t *inputs,
                       int32_t *targets)
{
    for (int64_t i = 0; i < n; i++) {
        inputs[i] = (int32_t)(noise(first + i) * (double)o->model.vocab);
        targets[i] = (int32_t)(noise(first + i + 1) * (double)o->model.vocab);
    }
}

static error *noise_read(source *base, int64_t first, int64_t count, void *inputs, void *targets)
{
    const options *o = ((noise_source *)base)->o;
    const model_config *c = &o->model;
    if (!c->patch) {
        noise_text(o, first * o->seq, count * o->seq, inputs, targets);
        return NULL;
    }
    float *pixels = inputs, *weights = targets;
    int64_t size = c->channels * c->image_height * c->image_width;
    for (int64_t i = 0; i < count * size; i++)
        pixels[i] = 2 * (float)noise(first * size + i) - 1;
    memset(weights, 0, (size_t)(count * c->vocab) * sizeof *weights);
    for (int64_t i = 0; i < count; i++)
        weights[i * c->vocab + (first + i) % c->vocab] = 1;
    return NULL;
}

static const source_ops noise_ops = {.read = noise_read};

static error *run_rounds(trainer *t, source *data, device *dev, figures *f)
{
    products p;
    arrays x;
    step_result r;
    int64_t step = 1;
    TRY(trainer_step(t, data, step++, 1e-4, &r)); /* not counted: first touch */
    f->resident = resident_bytes();
    TRY(products_open(&p, t, dev));
    TRY(arrays_open(&x, params_count(&t->params)));
    for (int round = 0; round < ROUNDS; round++) {
        double begin = clock_now();
        for (int i = 0; i < STEPS || (clock_now() - begin < 0.5 && i < MAX_TIMES / ROUNDS); i++) {
            double start = clock_now();
            TRY(trainer_step(t, data, step++, 1e-4, &r));
            add(&f->step, clock_now() - start);
        }
        stopwatch_start(&f->by_op, dev);
        TRY(trainer_step(t, data, step++, 1e-4, &r));
        stopwatch_stop(&f->by_op, dev);
        begin = clock_now();
        for (int i = 0; i < 2 || (clock_now() - begin < 0.5 && i < MAX_TIMES / ROUNDS); i++) {
            add(&f->dense, dense_products(&p));
            add(&f->attention, attention_products(&p));
            f->flops = p.flops;
            for (int k = 0; k < 3; k++) {
                add(&f->fused, fused_step(&x, dev));
                add(&f->stream, stream_loop(&x));
            }
        }
    }
    products_close(&p);
    arrays_close(&x);
    return device_status(dev);
}

static void print_figures(const options *o, const trainer *t, device *dev, const figures *f)
{
    char about[200];
    double step = median(f->step), dense = median(f->dense), attention = median(f->attention);
    printf("{\"model\":\"%s\",\"parameters\":%lld,\"batch\":%lld,\"seq\":%lld,\"optim\":\"%s\","
           "\"device\":\"%s\","
           "\"step_ms\":%.3f,\"%s_per_s\":%.1f,\"dense_ms\":%.3f,\"attention_ms\":%.3f,"
           "\"products_gflops\":%.1f,"
           "\"of_limit\":%.4f,\"fused_ms\":%.3f,\"stream_ms\":%.3f,\"fused_of_stream\":%.4f,\"plan_"
           "bytes\":%zu,\"resident_bytes\":%zu,\"ops_ms\":{",
           o->model.name, (long long)params_count(&t->params), (long long)o->batch,
           (long long)o->seq, o->optim_name, cpu_describe(dev, about, sizeof about), step * 1e3,
           the_task->unit, (double)(o->batch * the_task->units(o) * o->accum) / step, dense * 1e3,
           attention * 1e3, f->flops / (dense + attention) * 1e-9,
           (dense + attention) * (double)o->accum / step, median(f->fused) * 1e3,
           median(f->stream) * 1e3, median(f->stream) / median(f->fused), arena_peak(t->arena),
           f->resident);
    print_seconds(&f->by_op, ROUNDS);
    puts("}}");
}

static error *bench(int argc, char **argv)
{
    options o;
    trainer *t;
    device dev;
    figures f = {0};
    noise_source data = {.base = {.ops = &noise_ops, .count = INT64_MAX}, .o = &o};
    TRY(options_parse(the_task, argc, argv, &o));
    o.eval_every = o.sample_every = 0;
    TRY(trainer_plan(&o, the_task->kind, &t));
    TRY(cpu_device((int)o.threads, &dev));
    TRY(trainer_commit(t, &dev, false));
    error *e = run_rounds(t, &data.base, &dev, &f);
    if (!e) print_figures(&o, t, &dev, &f);
    trainer_destroy(t);
    cpu_close(&dev);
    return e;
}

int main(int argc, char **argv)
{
    error *e = bench(argc, argv);
    return e ? error_report("bench", e) : 0;
}
