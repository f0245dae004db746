/* op_case.c - see op_case.h */
#include "test/op_case.h"

#include "base/bf16.h"
#include "base/rng.h"
#include "test/long.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Under AddressSanitizer, reading beyond a tensor is a failure too.  Devices compute in memory of
 * this process: the CPU, and the emulator of CUDA. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes)   ((void)(memory), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) ((void)(memory), (void)(bytes))
#endif

double summed(int64_t n, double squares)
{
    return sqrt((double)n * squares);
}

double rounded_between(const bench *b)
{
    bool rounds = b->work == BF16 && rig_rounds_between();
    return rounds ? BF16_ROUNDOFF / (BOUND_C * FLT_EPSILON) : 0;
}

double summed_up(int64_t n, double sum)
{
    return sqrt((double)n) * fabs(sum);
}

static void *array(int64_t n, size_t size)
{
    void *p = calloc((size_t)(n ? n : 1), size);
    if (!p) fail_msg("out of memory");
    return p;
}

void bench_report(bench *b, const char *op)
{
    print_message("%s: %d cases, worst error %.3f of the bound (%s)\n", op, b->cases, b->worst,
                  b->worst_case);
    b->cases = 0;
    b->worst = 0;
    b->worst_case[0] = 0;
}

/* ---- making a case ---- */

void case_begin(const bench *b, op_case *t, case_call *call, const void *options, const char *name,
                ...)
{
    *t = (op_case){.call = call, .options = options, .seed = 1, .work = b->work};
    va_list args;
    va_start(args, name);
    vsnprintf(t->name, sizeof t->name, name, args);
    va_end(args);
    for (const char *c = t->name; *c; c++) /* each case draws numbers of its own */
        t->seed = t->seed * 31 + (unsigned char)*c;
}

void case_operand(op_case *t, int i, const char *name, operand_role role, operand_kind kind,
                  shape dims, int64_t pad)
{
    assert_true(i < MAX_OPERANDS && t->operands[i].role == ABSENT);
    tensor full = tensor_of(NULL, F64, dims);
    operand *o = &t->operands[i];
    *o = (operand){.name = name,
                   .role = role,
                   .kind = kind,
                   .dims = dims,
                   .pad = pad,
                   .rows = tensor_rows(full),
                   .cols = tensor_cols(full)};
    o->value = array(o->rows * o->cols, sizeof(double));
    o->want = array(o->rows * o->cols, sizeof(double));
    o->unit = array(o->rows * o->cols, sizeof(double));
}

void case_round(op_case *t, int i)
{
    operand *o = &t->operands[i];
    for (int64_t k = 0; k < o->rows * o->cols; k++)
        o->value[k] = o->kind == WORK && t->work == BF16
                          ? (double)float_of_bf16(bf16_of_float((float)o->value[k]))
                          : (double)(float)o->value[k];
}

void case_draw(op_case *t, int i, double mean, double deviation)
{
    operand *o = &t->operands[i];
    double four[4]; /* normal_at, for its neighbours as well */
    for (int64_t k = 0; k < o->rows * o->cols; k++) {
        if (k % 4 == 0)
            rng_normal4(t->seed * MAX_OPERANDS + (uint64_t)i, RNG_TEST, (uint64_t)k / 4, four);
        o->value[k] = mean + deviation * four[k % 4];
    }
    case_round(t, i);
}

void case_draw_index(op_case *t, int i, int64_t below)
{
    operand *o = &t->operands[i];
    for (int64_t k = 0; k < o->rows * o->cols; k++)
        o->value[k] = floor((double)below * rng_uniform(t->seed * MAX_OPERANDS + (uint64_t)i,
                                                        RNG_TEST, (uint64_t)k));
}

void case_draw_documents(op_case *t, int i)
{
    operand *o = &t->operands[i];
    int64_t end = 0; /* of a document */
    for (int64_t k = 0, begin = 0; k < o->rows * o->cols; k++) {
        if (k == end || k % o->cols == 0) {
            double u = rng_uniform(t->seed * MAX_OPERANDS + (uint64_t)i, RNG_TEST, (uint64_t)k);
            begin = k;
            end = k + 1 + (int64_t)(u * u * (double)o->cols);
        }
        o->value[k] = (double)(begin % o->cols);
    }
}

void case_end(op_case *t)
{
    for (int i = 0; i < MAX_OPERANDS; i++) {
        free(t->operands[i].value);
        free(t->operands[i].want);
        free(t->operands[i].unit);
    }
    *t = (op_case){0};
}

/* ---- memory of one run ---- */

/* All operands of a run, one after the other between guards: what was put there and what came
 * back. */
typedef struct {
    unsigned char *before, *after;
    size_t bytes;
    struct {
        size_t first; /* byte of element (0,0) */
        dtype type;
    } at[MAX_OPERANDS];
} image;

static double load(const void *from, dtype type)
{
    float narrow;
    double wide;
    uint16_t half;
    int32_t index;
    switch (type) {
    case F32:
        memcpy(&narrow, from, sizeof narrow);
        return (double)narrow;
    case BF16:
        memcpy(&half, from, sizeof half);
        return (double)float_of_bf16(half);
    case F64:
        memcpy(&wide, from, sizeof wide);
        return wide;
    default:
        memcpy(&index, from, sizeof index);
        return index;
    }
}

static void store(void *to, dtype type, double value)
{
    float narrow = (float)value;
    uint16_t half = bf16_of_float(narrow);
    int32_t index = type == I32 ? (int32_t)value : 0;
    switch (type) {
    case F32:
        memcpy(to, &narrow, sizeof narrow);
        break;
    case BF16:
        memcpy(to, &half, sizeof half);
        break;
    case F64:
        memcpy(to, &value, sizeof value);
        break;
    default:
        memcpy(to, &index, sizeof index);
        break;
    }
}

/* Bytes from the image's start to element (r,c) of operand i. */
static size_t element(const op_case *t, const image *m, int i, int64_t r, int64_t c)
{
    const operand *o = &t->operands[i];
    return m->at[i].first + (size_t)(r * (o->cols + o->pad) + c) * dtype_size(m->at[i].type);
}

static bool owns_memory(const operand *o)
{
    return o->role != ABSENT && !o->shares;
}

static bool is_output(const operand *o)
{
    return o->role == WRITTEN || o->role == ADDED;
}

static dtype type_of(const operand *o, dtype work)
{
    switch (o->kind) {
    case WORK:
        return work;
    case STAT:
        return stat_type(work);
    case INDEX:
        return I32;
    default:
        return U8;
    }
}

/* Places every operand, shifted by so many of its elements (16 bytes for each of them where
 * there are only bytes). */
static void image_plan(const op_case *t, dtype work, int shift, image *m)
{
    m->bytes = RIG_GUARD;
    for (int i = 0; i < MAX_OPERANDS; i++) {
        const operand *o = &t->operands[i];
        dtype type = type_of(o, work);
        m->at[i].type = type;
        if (!owns_memory(o)) continue;
        m->at[i].first = m->bytes + (size_t)shift * (o->kind == BYTES ? 16 : dtype_size(type));
        m->bytes = rig_aligned(
            m->at[i].first + (size_t)(o->rows * (o->cols + o->pad)) * dtype_size(type) + RIG_GUARD);
    }
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (t->operands[i].shares) m->at[i].first = m->at[t->operands[i].shares - 1].first;
}

static image image_make(const op_case *t, dtype work, int shift)
{
    image m;
    image_plan(t, work, shift, &m);
    m.before = array((int64_t)m.bytes, 1);
    m.after = array((int64_t)m.bytes, 1);
    memset(m.before, 0xff, m.bytes);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        const operand *o = &t->operands[i];
        if (o->role != GIVEN && o->role != ADDED) continue;
        for (int64_t r = 0; r < o->rows; r++)
            for (int64_t c = 0; c < o->cols; c++)
                store(m.before + element(t, &m, i, r, c), m.at[i].type, o->value[r * o->cols + c]);
    }
    return m;
}

static void image_free(image *m)
{
    free(m->before);
    free(m->after);
}

/* Forbids the guards: everything but the operands. */
static void forbid(const op_case *t, const image *m, char *memory)
{
    ASAN_POISON_MEMORY_REGION(memory, m->bytes);
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (owns_memory(&t->operands[i])) {
            size_t bytes = element(t, m, i, t->operands[i].rows, 0) - m->at[i].first;
            ASAN_UNPOISON_MEMORY_REGION(memory + m->at[i].first, bytes);
        }
}

/* Runs the operation on memory of its own. */
static image launch(const bench *b, const op_case *t, rig *on, int shift)
{
    tensor tensors[MAX_OPERANDS] = {0};
    image m = image_make(t, on == &b->ref ? F64 : b->work, shift);
    assert_true(m.bytes <= on->bytes);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        if (t->operands[i].role == ABSENT) continue;
        tensors[i] =
            tensor_of((char *)on->memory + m.at[i].first, m.at[i].type, t->operands[i].dims);
        tensors[i].ld += t->operands[i].pad;
    }
    tensor full = tensor_of(on->memory, U8, SHAPE((int64_t)m.bytes));
    rig_select(b, on);
    op_put(&on->dev, STREAM_COMPUTE, full, m.before);
    op_sync(&on->dev, STREAM_COMPUTE);
    forbid(t, &m, on->memory);
    t->call(&on->dev, tensors, t->options);
    op_sync(&on->dev, STREAM_COMPUTE);
    ASAN_UNPOISON_MEMORY_REGION(on->memory, m.bytes);
    op_get(&on->dev, STREAM_COMPUTE, m.after, full);
    op_sync(&on->dev, STREAM_COMPUTE);
    rig_well(on, t->name);
    return m;
}

/* ---- what is checked ---- */

/* Which operand a byte belongs to: the last that begins before it, guard in front included. */
static int operand_at(const op_case *t, const image *m, size_t byte)
{
    int found = 0;
    size_t best = 0;
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (owns_memory(&t->operands[i]) && m->at[i].first < byte + RIG_GUARD / 2 &&
            m->at[i].first >= best) {
            best = m->at[i].first;
            found = i;
        }
    return found;
}

/* Guards, padding and inputs are bit for bit as before: `before`, with the elements of outputs
 * taken from `after`, must be `after`. */
static void check_untouched(const op_case *t, const rig *on, image *m)
{
    for (int i = 0; i < MAX_OPERANDS; i++) {
        const operand *o = &t->operands[i];
        size_t row = (size_t)o->cols * dtype_size(m->at[i].type);
        for (int64_t r = 0; r < o->rows && (is_output(o) || o->role == SCRATCH); r++)
            memcpy(m->before + element(t, m, i, r, 0), m->after + element(t, m, i, r, 0), row);
    }
    if (!memcmp(m->before, m->after, m->bytes)) return;
    size_t k = 0;
    while (m->before[k] == m->after[k])
        k++;
    const operand *o = &t->operands[operand_at(t, m, k)];
    int64_t ld = o->cols + o->pad, first = (int64_t)m->at[o - t->operands].first;
    int64_t i = ((int64_t)k - first) / (int64_t)dtype_size(m->at[o - t->operands].type);
    fail_msg(
        "%s: %s device, %d threads: wrote to %s (%lld rows of %lld) at row %lld, column %lld: %s",
        t->name, on->dev.ops->name, on->dev.threads, o->name, (long long)o->rows,
        (long long)o->cols, (long long)(i / ld), (long long)(i % ld),
        i < 0 || i >= o->rows * ld ? "outside"
        : i % ld >= o->cols        ? "padding"
                                   : "an input");
}

static void check_values(bench *b, const op_case *t, const rig *on, int i, const image *m)
{
    const operand *o = &t->operands[i];
    for (int64_t r = 0; r < o->rows; r++)
        for (int64_t c = 0; c < o->cols; c++) {
            int64_t k = r * o->cols + c;
            double got = load(m->after + element(t, m, i, r, c), m->at[i].type),
                   off = fabs(got - o->want[k]);
            double bound = BOUND_C * FLT_EPSILON * (o->unit[k] + UNDERFLOW_UNIT);
            if (m->at[i].type == BF16) bound += BF16_ROUNDOFF * (fabs(o->want[k]) + bound);
            if (!(off <= bound))
                fail_msg("%s: %s device, %d threads: %s[%lld,%lld]: got %.9g, want %.9g, off by "
                         "%.3g, bound %.3g",
                         t->name, on->dev.ops->name, on->dev.threads, o->name, (long long)r,
                         (long long)c, got, o->want[k], off, bound);
            if (off / bound <= b->worst) continue;
            b->worst = off / bound;
            snprintf(b->worst_case, sizeof b->worst_case, "%s: %s", t->name, o->name);
        }
}

static void check_same(const op_case *t, const rig *on, int i, const image *first,
                       const image *again)
{
    const operand *o = &t->operands[i];
    dtype type = first->at[i].type;
    for (int64_t r = 0; r < o->rows; r++)
        for (int64_t c = 0; c < o->cols; c++) {
            const unsigned char *x = first->after + element(t, first, i, r, c),
                                *y = again->after + element(t, again, i, r, c);
            if (memcmp(x, y, dtype_size(type)))
                fail_msg(
                    "%s: %s device, %d threads: %s[%lld,%lld]: got %.9g, then %.9g in other memory",
                    t->name, on->dev.ops->name, on->dev.threads, o->name, (long long)r,
                    (long long)c, load(x, type), load(y, type));
        }
}

/* On the emulator, without LONG, most cases of a long list are left out, by the hash of their
 * names: in bf16, which is the same kernels over another element, more than in float; under the
 * race detector, whose reports do not depend on an order of threads, of short lists, too.  On the
 * CPU under the sanitizers (test/long.h) three of four are. */
static bool left_out(const bench *b, const op_case *t)
{
    uint64_t hash = t->seed * 0x9e3779b97f4a7c15u >> 40;
    if (!rig_slow()) return thin_run() && b->cases >= 20 && hash % 4;
    if (b->cases < 20) return rig_once() && b->cases % 5;
    return hash % (rig_once() || b->work == F32 ? 6 : 10);
}

bool case_left_out(bench *b, op_case *t)
{
    if (!left_out(b, t)) return false;
    b->cases++;
    case_end(t);
    return true;
}

void case_reference(bench *b, op_case *t)
{
    if (left_out(b, t)) return;
    image m = launch(b, t, &b->ref, 0);
    check_untouched(t, &b->ref, &m);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        operand *o = &t->operands[i];
        for (int64_t r = 0; is_output(o) && r < o->rows; r++)
            for (int64_t c = 0; c < o->cols; c++)
                o->want[r * o->cols + c] = load(m.after + element(t, &m, i, r, c), m.at[i].type);
    }
    image_free(&m);
}

/* One more run, on a device with other threads; `first` is what came before. */
static void compare_with(bench *b, const op_case *t, rig *on, const image *first)
{
    image m = launch(b, t, on, 0);
    check_untouched(t, on, &m);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        if (!is_output(&t->operands[i])) continue;
        check_values(b, t, on, i, &m);
        if (!rig_bits_vary()) check_same(t, on, i, first, &m);
    }
    image_free(&m);
}

static int elements_of_shift(const op_case *t)
{
    return t->shift ? t->shift : 1;
}

static void compare_once(bench *b, const op_case *t)
{
    image m = launch(b, t, &b->many, b->cases % 2 * elements_of_shift(t));
    check_untouched(t, &b->many, &m);
    for (int i = 0; i < MAX_OPERANDS; i++)
        if (is_output(&t->operands[i])) check_values(b, t, &b->many, i, &m);
    image_free(&m);
}

/* Who has its turn in other memory.  On the emulator the rigs differ only in the order of threads,
 * and without LONG what comes in other memory comes in another order, too. */
static rig *rig_elsewhere(bench *b, bool by_turns)
{
    if (!by_turns) return &b->many;
    return b->cases % 5 == 0 ? &b->odd : &b->one;
}

void case_compare(bench *b, op_case *t)
{
    bool by_turns = rig_slow() && !t->layout_matters;
    rig *elsewhere = rig_elsewhere(b, by_turns);
    if (rig_once() || left_out(b, t)) {
        if (!left_out(b, t)) compare_once(b, t);
        b->cases++;
        return;
    }
    image m = launch(b, t, &b->many, 0), shifted = launch(b, t, elsewhere, elements_of_shift(t));
    check_untouched(t, &b->many, &m);
    check_untouched(t, elsewhere, &shifted);
    for (int i = 0; i < MAX_OPERANDS; i++) {
        if (!is_output(&t->operands[i])) continue;
        check_values(b, t, &b->many, i, &m);
        if (t->layout_matters)
            check_values(b, t, elsewhere, i, &shifted);
        else
            check_same(t, elsewhere, i, &m, &shifted);
    }
    if (!by_turns && (!rig_slow() || b->cases % 2)) compare_with(b, t, &b->one, &m);
    if (b->cases++ % 5 == 0 && !by_turns) compare_with(b, t, &b->odd, &m);
    image_free(&m);
    image_free(&shifted);
}

/* ---- NaN ---- */

static void check_poison(const op_case *t, const rig *on, const image *m, const char *poisoned)
{
    for (int i = 0; i < MAX_OPERANDS; i++) {
        const operand *o = &t->operands[i];
        for (int64_t k = 0; is_output(o) && k < o->rows * o->cols; k++) {
            double got = load(m->after + element(t, m, i, k / o->cols, k % o->cols), m->at[i].type);
            if (isnan(o->want[k]) && !isnan(got))
                fail_msg("%s: %s device: NaN in %s: %s[%lld,%lld]: got %.9g, want NaN", t->name,
                         on->dev.ops->name, poisoned, o->name, (long long)(k / o->cols),
                         (long long)(k % o->cols), got);
        }
    }
}

void case_poison(bench *b, op_case *t)
{
    int64_t total = 0;
    if (rig_once() || (rig_slow() && b->cases % 4) || left_out(b, t)) return;
    for (int i = 0; i < MAX_OPERANDS; i++)
        total += t->operands[i].rows * t->operands[i].cols;
    for (int i = 0; i < MAX_OPERANDS && total < 3000; i++) {
        const operand *o = &t->operands[i];
        if ((o->role != GIVEN && o->role != ADDED) || o->kind == INDEX) continue;
        double *victim = &o->value[t->seed % (uint64_t)(o->rows * o->cols)], saved = *victim;
        *victim = NAN;
        case_reference(b, t);
        image m = launch(b, t, &b->many, 0);
        check_poison(t, &b->many, &m, o->name);
        image_free(&m);
        *victim = saved;
    }
}
