/* trial.c - see trial.h */
#include "test/trial.h"

#include "core/rng.h"
#include "cpu/cpu.h"
#include "test/ref.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { GUARD = 64 };

double summed(int64_t n, double squares)
{
    return sqrt((double)n * squares);
}

static void *array(int64_t n, size_t size)
{
    void *p = calloc((size_t)(n ? n : 1), size);
    if (!p) fail_msg("out of memory");
    return p;
}

void bench_well(device *dev, const char *what)
{
    error *e = device_status(dev);
    if (e) fail_msg("%s: %s", what, error_text(e));
}

dtype bench_type(const device *dev)
{
    return dev->ops->working_types >> F32 & 1 ? F32 : F64;
}

/* ---- the devices under test ---- */

int bench_open(void **state)
{
    bench *b = array(1, sizeof *b);
    b->ref = ref_device();
    error *e = cpu_device(2, &b->many);
    if (!e) e = cpu_device(1, &b->one);
    if (e) return error_report("test", e);
    *state = b;
    return 0;
}

int bench_close(void **state)
{
    bench *b = *state;
    cpu_close(&b->many);
    cpu_close(&b->one);
    free(b);
    return 0;
}

void bench_report(bench *b, const char *op)
{
    print_message("%s: %d cases, worst error %.3f of the bound (%s)\n", op, b->cases, b->worst, b->worst_case);
    b->cases = 0;
    b->worst = 0;
    b->worst_case[0] = 0;
}

/* ---- making a trial ---- */

void trial_begin(trial *t, trial_call *call, const void *options, const char *name, ...)
{
    *t = (trial){.call = call, .options = options, .seed = 1};
    va_list args;
    va_start(args, name);
    vsnprintf(t->name, sizeof t->name, name, args);
    va_end(args);
    for (const char *c = t->name; *c; c++) /* each case draws numbers of its own */
        t->seed = t->seed * 31 + (unsigned char)*c;
}

void trial_operand(trial *t, int i, const char *name, operand_role role, operand_kind kind, shape dims, int64_t pad)
{
    assert_true(i < MAX_OPERANDS && t->operands[i].role == ABSENT);
    tensor whole = tensor_of(NULL, F64, dims);
    operand *o = &t->operands[i];
    *o = (operand){.name = name, .role = role, .kind = kind, .dims = dims, .pad = pad,
                   .rows = tensor_rows(whole), .cols = tensor_cols(whole)};
    o->value = array(o->rows * o->cols, sizeof(double));
    o->want = array(o->rows * o->cols, sizeof(double));
    o->unit = array(o->rows * o->cols, sizeof(double));
}

void trial_round(trial *t, int i)
{
    operand *o = &t->operands[i];
    for (int64_t k = 0; k < o->rows * o->cols; k++)
        o->value[k] = (float)o->value[k];
}

void trial_draw(trial *t, int i, double mean, double deviation)
{
    operand *o = &t->operands[i];
    for (int64_t k = 0; k < o->rows * o->cols; k++)
        o->value[k] = mean + deviation * rng_normal(t->seed * MAX_OPERANDS + (uint64_t)i, RNG_TEST, (uint64_t)k);
    trial_round(t, i);
}

void trial_draw_index(trial *t, int i, int64_t below)
{
    operand *o = &t->operands[i];
    for (int64_t k = 0; k < o->rows * o->cols; k++)
        o->value[k] = floor((double)below * rng_uniform(t->seed * MAX_OPERANDS + (uint64_t)i, RNG_TEST, (uint64_t)k));
}

void trial_end(trial *t)
{
    for (int i = 0; i < MAX_OPERANDS; i++) {
        free(t->operands[i].value);
        free(t->operands[i].want);
        free(t->operands[i].unit);
    }
    *t = (trial){0};
}

/* ---- memory of one run ---- */

typedef struct {
    void *memory;          /* the device's */
    unsigned char *before; /* host copies, guards included */
    unsigned char *after;
    size_t bytes;
    int64_t first; /* element (0,0), counted from the start of the memory */
    dtype type;
} image;

static int home(const trial *t, int i)
{
    return t->operands[i].shares ? t->operands[i].shares - 1 : i;
}

static bool owns_memory(const trial *t, int i)
{
    return t->operands[i].role != ABSENT && !t->operands[i].shares;
}

static void store(void *base, dtype type, int64_t index, double value)
{
    switch (type) {
    case F32: ((float *)base)[index] = (float)value; break;
    case F64: ((double *)base)[index] = value; break;
    default: ((int32_t *)base)[index] = (int32_t)value; break;
    }
}

static double load(const void *base, dtype type, int64_t index)
{
    switch (type) {
    case F32: return (double)((const float *)base)[index];
    case F64: return ((const double *)base)[index];
    default: return ((const int32_t *)base)[index];
    }
}

static image image_make(device *dev, const operand *o, int shift)
{
    dtype work = bench_type(dev);
    int64_t ld = o->cols + o->pad;
    image m = {.type = o->kind == WORK ? work : o->kind == STAT ? stat_type(work) : I32, .first = GUARD + shift};
    m.bytes = (size_t)(2 * GUARD + 1 + o->rows * ld) * dtype_size(m.type);
    m.before = array((int64_t)m.bytes, 1);
    m.after = array((int64_t)m.bytes, 1);
    memset(m.before, 0xff, m.bytes);
    for (int64_t r = 0; r < o->rows && (o->role == GIVEN || o->role == ADDED); r++)
        for (int64_t c = 0; c < o->cols; c++)
            store(m.before, m.type, m.first + r * ld + c, o->value[r * o->cols + c]);
    error *e = dev->ops->alloc(dev, m.bytes, &m.memory);
    if (e) fail_msg("%s", error_text(e));
    return m;
}

static tensor image_tensor(const image *m, const operand *o)
{
    tensor x = tensor_of((char *)m->memory + (size_t)m->first * dtype_size(m->type), m->type, o->dims);
    x.ld += o->pad;
    return x;
}

static void images_free(device *dev, image *images)
{
    for (int i = 0; i < MAX_OPERANDS; i++) {
        if (images[i].memory) dev->ops->release(dev, images[i].memory);
        free(images[i].before);
        free(images[i].after);
    }
}

/* Runs the operation on memory of its own, shifted by so many elements. */
static void launch(const trial *t, device *dev, int shift, image *images)
{
    tensor tensors[MAX_OPERANDS] = {0};
    memset(images, 0, MAX_OPERANDS * sizeof *images);
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (owns_memory(t, i)) {
            images[i] = image_make(dev, &t->operands[i], shift);
            dev->ops->put(dev, STREAM_COMPUTE, images[i].memory, images[i].before, images[i].bytes);
        }
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (t->operands[i].role != ABSENT) tensors[i] = image_tensor(&images[home(t, i)], &t->operands[i]);
    t->call(dev, tensors, t->options);
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (owns_memory(t, i)) dev->ops->get(dev, STREAM_COMPUTE, images[i].after, images[i].memory, images[i].bytes);
    op_sync(dev, STREAM_COMPUTE);
    bench_well(dev, t->name);
}

/* ---- what is checked ---- */

/* May the operation change the elements of this memory? */
static bool may_change(const trial *t, int i)
{
    for (int k = 0; k < MAX_OPERANDS; k++)
        if (t->operands[k].role != ABSENT && home(t, k) == i && t->operands[k].role != GIVEN) return true;
    return false;
}

/* Guards, padding and inputs are bit for bit as before. */
static void check_untouched(const trial *t, const device *dev, int i, const image *m)
{
    const operand *o = &t->operands[i];
    size_t size = dtype_size(m->type);
    int64_t ld = o->cols + o->pad, total = (int64_t)(m->bytes / size);
    bool elements = may_change(t, i);
    for (int64_t k = 0; k < total; k++) {
        int64_t at = k - m->first, row = at < 0 ? -1 : at / ld, col = at < 0 ? at : at % ld;
        if (elements && row >= 0 && row < o->rows && col < o->cols) continue;
        if (memcmp(m->before + (size_t)k * size, m->after + (size_t)k * size, size))
            fail_msg("%s: %s device, %d threads: wrote to %s at row %lld, column %lld, which is %s", t->name,
                     dev->ops->name, dev->threads, o->name, (long long)row, (long long)col,
                     row < 0 || row >= o->rows ? "outside" : col >= o->cols ? "padding" : "an input");
    }
}

static void check_values(bench *b, const trial *t, const device *dev, int i, const image *m)
{
    const operand *o = &t->operands[i];
    for (int64_t r = 0; r < o->rows; r++)
        for (int64_t c = 0; c < o->cols; c++) {
            int64_t k = r * o->cols + c;
            double got = load(m->after, m->type, m->first + r * (o->cols + o->pad) + c);
            double bound = BOUND_C * FLT_EPSILON * (o->unit[k] + UNDERFLOW_UNIT), off = fabs(got - o->want[k]);
            if (!(off <= bound))
                fail_msg("%s: %s device, %d threads: %s[%lld,%lld]: got %.9g, want %.9g, off by %.3g, bound %.3g",
                         t->name, dev->ops->name, dev->threads, o->name, (long long)r, (long long)c, got, o->want[k],
                         off, bound);
            if (off / bound <= b->worst) continue;
            b->worst = off / bound;
            snprintf(b->worst_case, sizeof b->worst_case, "%s: %s", t->name, o->name);
        }
}

static void check_same(const trial *t, const device *dev, int i, const image *first, const image *again)
{
    const operand *o = &t->operands[i];
    size_t size = dtype_size(first->type);
    for (int64_t r = 0; r < o->rows; r++)
        for (int64_t c = 0; c < o->cols; c++) {
            int64_t at = r * (o->cols + o->pad) + c;
            if (memcmp(first->after + (size_t)(first->first + at) * size, again->after + (size_t)(again->first + at) * size, size))
                fail_msg("%s: %s device, %d threads: %s[%lld,%lld]: got %.9g, then %.9g in other memory", t->name,
                         dev->ops->name, dev->threads, o->name, (long long)r, (long long)c,
                         load(first->after, first->type, first->first + at), load(again->after, again->type, again->first + at));
        }
}

static bool is_output(const operand *o)
{
    return o->role == WRITTEN || o->role == ADDED;
}

void trial_reference(bench *b, trial *t)
{
    image images[MAX_OPERANDS];
    launch(t, &b->ref, 0, images);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        operand *o = &t->operands[i];
        const image *m = &images[home(t, i)];
        if (owns_memory(t, i)) check_untouched(t, &b->ref, i, m);
        for (int64_t r = 0; is_output(o) && r < o->rows; r++)
            for (int64_t c = 0; c < o->cols; c++)
                o->want[r * o->cols + c] = load(m->after, m->type, m->first + r * (o->cols + o->pad) + c);
    }
    images_free(&b->ref, images);
}

void trial_compare(bench *b, trial *t)
{
    image images[MAX_OPERANDS], shifted[MAX_OPERANDS], single[MAX_OPERANDS];
    launch(t, &b->many, 0, images);
    launch(t, &b->many, 1, shifted);
    launch(t, &b->one, 0, single);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        const operand *o = &t->operands[i];
        int h = home(t, i);
        if (owns_memory(t, i)) {
            check_untouched(t, &b->many, i, &images[i]);
            check_untouched(t, &b->many, i, &shifted[i]);
            check_untouched(t, &b->one, i, &single[i]);
        }
        if (!is_output(o)) continue;
        check_values(b, t, &b->many, i, &images[h]);
        check_same(t, &b->many, i, &images[h], &shifted[h]);
        check_values(b, t, &b->one, i, &single[h]);
    }
    images_free(&b->many, images);
    images_free(&b->many, shifted);
    images_free(&b->one, single);
    b->cases++;
}

/* ---- for operations that are tried by hand ---- */

enum { GUARD_BYTES = 256 };

tensor bench_put(device *dev, dtype type, shape dims, const void *host)
{
    tensor t = tensor_of(NULL, type, dims);
    size_t bytes = tensor_bytes(t);
    unsigned char *all = array((int64_t)bytes + 2 * GUARD_BYTES, 1);
    memset(all, 0xff, bytes + 2 * GUARD_BYTES);
    memcpy(all + GUARD_BYTES, host, bytes);
    void *memory;
    error *e = dev->ops->alloc(dev, bytes + 2 * GUARD_BYTES, &memory);
    if (e) fail_msg("%s", error_text(e));
    dev->ops->put(dev, STREAM_COMPUTE, memory, all, bytes + 2 * GUARD_BYTES);
    op_sync(dev, STREAM_COMPUTE);
    free(all);
    t.data = (char *)memory + GUARD_BYTES;
    return t;
}

void bench_get(device *dev, tensor t, void *host)
{
    size_t bytes = tensor_bytes(t);
    unsigned char *all = array((int64_t)bytes + 2 * GUARD_BYTES, 1);
    dev->ops->get(dev, STREAM_COMPUTE, all, (char *)t.data - GUARD_BYTES, bytes + 2 * GUARD_BYTES);
    op_sync(dev, STREAM_COMPUTE);
    for (size_t i = 0; i < GUARD_BYTES; i++)
        if (all[i] != 0xff || all[GUARD_BYTES + bytes + i] != 0xff) fail_msg("%s device: wrote outside of a tensor", dev->ops->name);
    memcpy(host, all + GUARD_BYTES, bytes);
    free(all);
}

void bench_free(device *dev, tensor t)
{
    if (present(t)) dev->ops->release(dev, (char *)t.data - GUARD_BYTES);
}
