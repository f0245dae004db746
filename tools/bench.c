/* bench.c - how close a training step comes to the machine's limits.
 *
 *   bench [options of train_gpt]        one JSON object on stdout
 *   bench_vit [options of train_vit]    the same
 *
 * In turn, `rounds` times: a few training steps; the step's matrix products alone; the optimizer
 * alone and a loop over its arrays without arithmetic; and between all of them a loop of only fused
 * multiply-adds.  So a drift of the machine's speed affects all alike.
 *
 *     fma         the processor's peak (cpu_burn)
 *     products    every dense product of a step (forward, input gradient, weight gradient, the
 *                 classifier in the step's chunks) on buffers of the step's size and number; of
 *                 transformers alone
 *     stream      p, m, v are read and written in place and g is read (cpu_stream)
 */
#include "base/clock.h"
#include "cpu/cpu.h"
#include "base/process_memory.h"
#include "train/task.h"

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

/* May be restarted: times add up. */
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

/* n zeros, in large pages like the arena of a run; freed by the device. */
static error *numbers(device *dev, float **out, int64_t n)
{
    void *memory;
    size_t bytes = (size_t)n * sizeof(float);
    TRY(dev->ops->alloc(dev, bytes, &memory));
    memset(memory, 0, bytes);
    *out = memory;
    return NULL;
}

/* ---- the products of a step, alone ---- */

typedef struct {
    device *dev;
    const model_config *c;
    int64_t batch, rows;
    float *weights;               /* per layer as many as in the model, for each layer */
    float *x, *y;                 /* activations: rows x widest, for each layer */
    float *head, *dhead, *logits; /* (V,C), (V,C), (chunk,V) */
    float *patches, *embedding;   /* images: (B N, Ch p p), (C, Ch p p) */
    int64_t widest, layer_weights, chunk;
    int64_t classified; /* rows that the head sees */
    int64_t pixels;     /* per patch, all channels; 0 for text */
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
    *p = (products){.dev = dev,
                    .c = c,
                    .batch = o->batch,
                    .rows = o->batch * o->seq,
                    .classified = o->batch * t->kind->targets(t->model, o->seq),
                    .pixels = c->channels * c->patch * c->patch};
    block_shapes shapes = shapes_of(c);
    for (int i = 0; i < 4; i++) {
        const int64_t *s = shapes.size[i];
        p->layer_weights += s[0] * s[1];
        for (int k = 0; k < 2; k++)
            if (s[k] > p->widest) p->widest = s[k];
    }
    int64_t ld;
    p->chunk = classifier_rows(c, DEFAULT_LOGITS_MIB, p->classified, F32, &ld);
    int64_t acts = p->rows * p->widest * c->layers;
    TRY(numbers(p->dev, &p->weights, p->layer_weights * c->layers));
    TRY(numbers(p->dev, &p->x, acts));
    TRY(numbers(p->dev, &p->y, p->rows * p->widest));
    TRY(numbers(p->dev, &p->head, c->vocab * c->width));
    TRY(numbers(p->dev, &p->dhead, c->vocab * c->width));
    TRY(numbers(p->dev, &p->logits, p->chunk * c->vocab));
    if (p->pixels) {
        TRY(numbers(p->dev, &p->patches, p->rows * p->pixels));
        TRY(numbers(p->dev, &p->embedding, c->width * p->pixels));
    }
    for (int64_t i = 0; i < acts; i++)
        p->x[i] = 1e-3f * (float)(i % 997);
    for (size_t i = 0; i < (size_t)(p->layer_weights * c->layers); i++)
        p->weights[i] = 1e-3f * (float)(i % 991);
    return NULL;
}

static void products_close(products *p)
{
    float *all[] = {p->weights, p->x, p->y, p->head, p->dhead, p->logits, p->patches, p->embedding};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        p->dev->ops->release(p->dev, all[i]);
}

typedef enum { FORWARD, INPUT, WEIGHT } product_kind;

/* out = x w', dx = dout w or dw (+)= dout' x; its time is added to *sum */
static void one_product(products *p, double *sum, product_kind kind, bool accumulate, int64_t rows,
                        int64_t n, int64_t k, float *x, float *w, float *out)
{
    tensor tx = tensor_of(x, F32, SHAPE(rows, k)), tw = tensor_of(w, F32, SHAPE(n, k)),
           to = tensor_of(out, F32, SHAPE(rows, n));
    double start = clock_now();
    if (kind == FORWARD) OP(linear, p->dev, 0, .out = to, .x = tx, .w = tw);
    if (kind == INPUT) OP(linear_dx, p->dev, 0, .dx = tx, .dout = to, .w = tw);
    if (kind == WEIGHT) OP(linear_dw, p->dev, 0, .dw = {tw, accumulate}, .x = tx, .dout = to);
    *sum += clock_now() - start;
    p->flops += 2.0 * (double)rows * (double)n * (double)k;
}

static void layer_products(products *p, double *sum, product_kind kind, int64_t layer)
{
    const model_config *c = p->c;
    block_shapes shapes = shapes_of(c);
    float *w = p->weights + layer * p->layer_weights, *x = p->x + layer * p->rows * p->widest;
    for (int i = 0; i < 4; i++) {
        int64_t out = shapes.size[i][0], in = shapes.size[i][1];
        one_product(p, sum, kind, false, p->rows, out, in, x, w, p->y);
        w += out * in;
    }
}

/* The first product of a ViT; the images' gradient is not needed. */
static void patch_product(products *p, double *sum, product_kind kind)
{
    const model_config *c = p->c;
    int64_t rows = p->batch * (c->context - (c->mean_pool ? 0 : 1));
    if (p->pixels)
        one_product(p, sum, kind, false, rows, c->width, p->pixels, p->patches, p->embedding, p->y);
}

static double dense_products(products *p)
{
    double sum = 0;
    p->flops = 0;
    patch_product(p, &sum, FORWARD);
    for (int64_t l = 0; l < p->c->layers; l++)
        layer_products(p, &sum, FORWARD, l);
    for (int64_t first = 0; first < p->classified; first += p->chunk) {
        int64_t n = p->classified - first < p->chunk ? p->classified - first : p->chunk;
        float *x = p->x + first * p->c->width;
        one_product(p, &sum, FORWARD, false, n, p->c->vocab, p->c->width, x, p->head, p->logits);
        one_product(p, &sum, WEIGHT, first > 0, n, p->c->vocab, p->c->width, x, p->dhead,
                    p->logits);
        one_product(p, &sum, INPUT, false, n, p->c->vocab, p->c->width, x, p->head, p->logits);
    }
    for (int64_t l = p->c->layers - 1; l >= 0; l--) {
        layer_products(p, &sum, WEIGHT, l);
        layer_products(p, &sum, INPUT, l);
    }
    patch_product(p, &sum, WEIGHT);
    return sum;
}

/* Products of attention: two forward, four backward (a fifth recomputes the scores and is not
 * counted), below the diagonal if it is causal. */
static double attention_flops(const products *p, int64_t seq)
{
    const model_config *c = p->c;
    double pairs = c->patch ? (double)(c->context * c->context) : (double)(seq * (seq + 1)) / 2;
    return 12.0 * pairs * (double)(c->heads * c->head_size * p->batch * c->layers);
}

/* ---- the optimizer alone ---- */

typedef struct {
    float *a[4]; /* p g m v */
    int64_t n;
} arrays;

static error *arrays_open(arrays *x, device *dev, int64_t n)
{
    *x = (arrays){.n = n};
    for (int i = 0; i < 4; i++) {
        TRY(numbers(dev, &x->a[i], n));
        for (int64_t j = 0; j < n; j++)
            x->a[i][j] = 1e-3f * (float)(j % 101);
    }
    return NULL;
}

static void arrays_close(arrays *x, device *dev)
{
    for (int i = 0; i < 4; i++)
        dev->ops->release(dev, x->a[i]);
}

static double stream_loop(arrays *x, device *dev)
{
    double start = clock_now();
    cpu_stream(dev, x->a, x->n);
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
    OP(optim, dev, 0, .rule = rule_at(RULE_adamw), .fused = true,
       .hyper = tensor_of(&h, U8, SHAPE(sizeof h)), .items = &item, .n = 1);
    return clock_now() - start;
}

/* ---- main ---- */

typedef struct {
    times step, dense, fused, stream, fma;
    stopwatch by_op; /* over the steps of all rounds */
    size_t peak, resident;
    double dense_flops, step_flops; /* of a micro-batch's dense products; of a step's products */
} figures;

/* Meaningless samples: random tokens, or random pixels and classes.  They cost next to nothing,
 * like prefetched data in a training run. */
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

/* FLOP/s of the processor now, in a few milliseconds */
static double fma_rate(device *dev)
{
    double start = clock_now(), flops = cpu_burn(dev, 400);
    return flops / (clock_now() - start);
}

static error *run_rounds(trainer *t, source *data, device *dev, figures *f)
{
    products p = {0};
    arrays x;
    step_result r;
    int64_t step = 1;
    bool transformer = !t->o->model.stage[0];
    TRY(trainer_step(t, data, step++, 1e-4, &r)); /* not counted: first touch */
    f->resident = resident_bytes();
    if (transformer) TRY(products_open(&p, t, dev));
    TRY(arrays_open(&x, dev, params_count(&t->params)));
    for (int round = 0; round < ROUNDS; round++) {
        add(&f->fma, fma_rate(dev));
        double begin = clock_now();
        for (int i = 0; i < STEPS || (clock_now() - begin < 0.5 && i < MAX_TIMES / ROUNDS); i++) {
            double start = clock_now();
            TRY(trainer_step(t, data, step++, 1e-4, &r));
            add(&f->step, clock_now() - start);
        }
        add(&f->fma, fma_rate(dev));
        stopwatch_start(&f->by_op, dev);
        TRY(trainer_step(t, data, step++, 1e-4, &r));
        stopwatch_stop(&f->by_op, dev);
        begin = clock_now();
        for (int i = 0; i < 2 || (clock_now() - begin < 0.5 && i < MAX_TIMES / ROUNDS); i++) {
            if (transformer) add(&f->dense, dense_products(&p));
            for (int k = 0; k < 3; k++) {
                add(&f->fused, fused_step(&x, dev));
                add(&f->stream, stream_loop(&x, dev));
            }
        }
    }
    add(&f->fma, fma_rate(dev));
    f->dense_flops = p.flops;
    f->step_flops = t->work.flops;
    if (transformer)
        f->step_flops = (p.flops + attention_flops(&p, t->o->seq)) * (double)t->o->accum;
    if (transformer) products_close(&p);
    arrays_close(&x, dev);
    return device_status(dev);
}

static void print_figures(const options *o, const trainer *t, device *dev, const figures *f)
{
    char about[200];
    double step = median(f->step), fma = median(f->fma);
    printf("{\"model\":\"%s\",\"parameters\":%lld,\"batch\":%lld,\"seq\":%lld,\"optim\":\"%s\","
           "\"device\":\"%s\",\"step_ms\":%.3f,\"%s_per_s\":%.1f,",
           o->model.name, (long long)params_count(&t->params), (long long)o->batch,
           (long long)o->seq, o->optim_name, cpu_describe(dev, about, sizeof about), step * 1e3,
           the_task->unit, (double)(o->batch * the_task->units(o) * o->accum) / step);
    printf("\"fma_gflops\":%.1f,\"step_of_fma\":%.4f,", fma * 1e-9, f->step_flops / fma / step);
    if (f->dense.n) {
        double dense = median(f->dense), rate = f->dense_flops / dense;
        printf("\"products_ms\":%.3f,\"products_gflops\":%.1f,\"products_of_fma\":%.4f,",
               dense * 1e3, rate * 1e-9, rate / fma);
    }
    printf("\"fused_ms\":%.3f,\"stream_ms\":%.3f,\"fused_of_stream\":%.4f,\"plan_bytes\":%zu,"
           "\"resident_bytes\":%zu,\"ops_ms\":{",
           median(f->fused) * 1e3, median(f->stream) * 1e3, median(f->stream) / median(f->fused),
           arena_peak(t->arena), f->resident);
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
    TRY(cpu_use_kernel(&dev, o.cpu_kernel));
    TRY(cpu_use_products(&dev, o.products));
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
