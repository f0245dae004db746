/* arm64_bits.c - what this processor computes, in lines to compare with another's (test/arm64.sh).
 *
 *      arm64_bits KERNEL  -->  products 0: 5c1e...            of 25 layers, of sizes that are drawn
 *                              gpt: step 1, loss 0x1.6p+2...  whole training runs, to the last bit
 *                              gpt: parameters 83a0...
 *
 * Nothing here needs a library but C's, since a cross compiler comes with no other: samples are
 * made up in memory, and what reads and writes files is not linked (ARM64_BITS in the Makefile).
 */
#include "base/bf16.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "train/task.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 3, MOST_SIDE = 70, MOST_DEPTH = 600, GROUPS = 6, OF_GROUP = 25, WORDS = 60 };

/* FNV-1a, with which a list of anything has one number. */
static uint64_t print_of(uint64_t so_far, const void *x, size_t n)
{
    for (const unsigned char *p = x; n--; p++)
        so_far = (so_far ^ *p) * 0x100000001b3u;
    return so_far;
}

static const uint64_t NO_PRINT = 0xcbf29ce484222325u;

static void must(error *e)
{
    if (!e) return;
    printf("arm64_bits: %s\n", error_text(e));
    exit(1);
}

/* ---- products ---- */

static int64_t draw(uint64_t seed, uint64_t i, int64_t below)
{
    return (int64_t)(rng_uniform(seed, RNG_TEST, i) * (double)below) % below;
}

typedef struct {
    float *f32;
    uint16_t *bf16;
} numbers;

static tensor numbers_of(numbers x, dtype type, int64_t rows, int64_t cols)
{
    return tensor_of(type == F32 ? (void *)x.f32 : (void *)x.bf16, type, SHAPE(rows, cols));
}

static void fill(numbers x, int64_t n, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (int64_t i = 0; i < n; i++) { /* Knuth's: cheap, and good enough for products */
        state = state * 6364136223846793005u + 1442695040888963407u;
        x.f32[i] = (float)((double)(state >> 40) * 0x1p-24 - 0.5);
        x.bf16[i] = bf16_of_float(x.f32[i]);
    }
}

/* A layer's three products of drawn sizes: their print added to `so_far`. */
static uint64_t layer(device *dev, const numbers *x, uint64_t seed, dtype type, uint64_t so_far)
{
    int64_t m = 1 + draw(seed, 0, MOST_SIDE), n = 1 + draw(seed, 1, MOST_SIDE),
            k = 1 + draw(seed, 2, MOST_DEPTH);
    if (!draw(seed, 3, 3)) m = 1 + draw(seed, 4, 16); /* few rows go another way */
    activation act = (activation)draw(seed, 5, ACT_SILU + 1);
    for (int i = 0; i < 3; i++)
        fill(x[i], i == 2 ? MOST_SIDE * MOST_SIDE : MOST_SIDE * MOST_DEPTH, seed * 3 + (uint64_t)i);
    tensor a = numbers_of(x[0], type, m, k), w = numbers_of(x[1], type, n, k),
           out = numbers_of(x[2], type, m, n);
    size_t size = type == F32 ? sizeof(float) : sizeof(uint16_t);
    OP(linear, dev, 0, .out = out, .x = a, .w = w, .act = act);
    so_far = print_of(so_far, out.data, (size_t)(m * n) * size);
    OP(linear_dx, dev, 0, .dx = a, .dout = out, .w = w);
    so_far = print_of(so_far, a.data, (size_t)(m * k) * size);
    OP(linear_dw, dev, 0, .dw = {.t = w, .accumulate = seed % 2}, .dout = out, .x = a);
    return print_of(so_far, w.data, (size_t)(n * k) * size);
}

static void products(const char *kernel)
{
    static float f32[3][MOST_SIDE * MOST_DEPTH];
    static uint16_t bf16[3][MOST_SIDE * MOST_DEPTH];
    numbers x[3];
    for (int i = 0; i < 3; i++)
        x[i] = (numbers){f32[i], bf16[i]};
    for (int group = 0; group < GROUPS; group++) {
        device dev;
        uint64_t print = NO_PRINT;
        must(cpu_device(1 + group % 3, &dev));
        must(device_use(&dev, kernel, "f32"));
        for (int i = 0; i < OF_GROUP; i++)
            print = layer(&dev, x, (uint64_t)(group * OF_GROUP + i), i % 2 ? BF16 : F32, print);
        must(device_status(&dev));
        cpu_close(&dev);
        printf("products %d: %016llx\n", group, (unsigned long long)print);
    }
}

/* ---- runs ---- */

typedef struct {
    source base;
    const options *o;
} made_up;

static error *read_text(const options *o, int64_t first, int64_t count, int32_t *in, int32_t *next)
{
    for (int64_t i = 0; i < count * o->seq; i++) {
        uint64_t at = (uint64_t)(first * o->seq + i);
        in[i] = (int32_t)draw(1, at, o->model.vocab);
        next[i] = (int32_t)draw(1, at + 1, o->model.vocab);
    }
    return NULL;
}

static error *read_images(const options *o, int64_t first, int64_t count, float *in, float *wanted)
{
    const model_config *c = &o->model;
    int64_t size = c->channels * c->image_height * c->image_width;
    for (int64_t i = 0; i < count * size; i++)
        in[i] = (float)rng_uniform(2, RNG_TEST, (uint64_t)(first * size + i)) - 0.5f;
    memset(wanted, 0, (size_t)(count * c->vocab) * sizeof *wanted);
    for (int64_t i = 0; i < count; i++) {
        wanted[i * c->vocab + draw(3, (uint64_t)(first + i), c->vocab)] += 0.75f;
        wanted[i * c->vocab + draw(4, (uint64_t)(first + i), c->vocab)] += 0.25f;
    }
    return NULL;
}

static error *read_made_up(source *s, int64_t first, int64_t count, void *inputs, void *targets)
{
    const options *o = ((made_up *)s)->o;
    return o->task == &text_task ? read_text(o, first, count, inputs, targets)
                                 : read_images(o, first, count, inputs, targets);
}

static void print_parameters(const char *name, trainer *t, device *dev)
{
    uint64_t print = NO_PRINT;
    for (int i = 0; i < t->params.n; i++) {
        const param *row = &t->params.row[i];
        float *values;
        must(alloc_array(&values, (size_t)row->count, sizeof *values));
        op_get_floats(dev, STREAM_COMPUTE, values, row->value);
        op_sync(dev, STREAM_COMPUTE);
        print = print_of(print, values, (size_t)row->count * sizeof *values);
        free(values);
    }
    printf("%s: parameters %016llx\n", name, (unsigned long long)print);
}

static void run(const char *name, const task *kind, const char *kernel, const char *arguments)
{
    static const source_ops ops = {.read = read_made_up};
    char text[600], *word[WORDS] = {(char *)(size_t) "arm64_bits"}, *rest = text;
    int n = 1;
    snprintf(text, sizeof text, "%s --steps %d --lr 0.003 --grad-clip 0.5", arguments, STEPS);
    for (char *w; n < WORDS - 1 && (w = strsep(&rest, " "));)
        word[n++] = w;
    options o;
    trainer *t;
    device dev;
    made_up data = {{.ops = &ops, .count = 1000}, &o};
    must(options_parse(kind, n, word, &o));
    must(trainer_plan(&o, kind->kind, &t));
    must(cpu_device((int)o.threads, &dev));
    must(device_use(&dev, kernel, "f32"));
    must(trainer_commit(t, &dev, true));
    for (int64_t step = 1; step <= STEPS; step++) {
        step_result r;
        must(trainer_step(t, &data.base, step, schedule_lr(&o.schedule, step - 1), &r));
        printf("%s: step %lld, loss %a, gradient %a\n", name, (long long)step, r.loss, r.grad_norm);
    }
    print_parameters(name, t, &dev);
    trainer_destroy(t);
    cpu_close(&dev);
    options_free(&o);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        puts("arm64_bits: name a kernel of the CPU");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    products(argv[1]);
    run("gpt", &text_task, argv[1],
        "--vocab 291 --layers 2 --heads 3 --width 69 --context 37 --batch 2 --seq 37 --threads 2");
    run("gpt bf16", &text_task, argv[1],
        "--vocab 59 --layers 1 --heads 4 --width 76 --context 19 --batch 2 --seq 18 --threads 1 "
        "--dtype bf16");
    run("llama", &text_task, argv[1],
        "--model llama-nano --vocab 59 --batch 1 --seq 33 --threads 3");
    run("gemma, muon", &text_task, argv[1],
        "--model gemma-nano --vocab 59 --batch 1 --seq 13 --threads 1 --optim muon");
    run("vit", &image_task, argv[1],
        "--patch 3 --image-size 9x15 --channels 3 --classes 7 --layers 2 --heads 3 --width 33 "
        "--inner 47 --batch 3 --drop-path 0.3 --threads 2");
    run("convnext", &image_task, argv[1],
        "--model convnext-micro/2 --patch 2 --width 8 --image-size 18x22 --channels 3 --classes 7 "
        "--batch 2 --threads 1");
    return 0;
}
