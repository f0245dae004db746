/* cpu_internal.h - shared by the files of the CPU device. */
#ifndef REGRAD_CPU_INTERNAL_H
#define REGRAD_CPU_INTERNAL_H

#include "base/bf16.h"
#include "cpu/blas.h"
#include "cpu/cpu.h"
#include "cpu/kernel.h"
#include "cpu/pool.h"
#include "cpu/product.h"
#include "core/narrow.h"

#define OPERATION(name) void cpu_##name(device *dev, int stream, const name##_op *o);
#include "core/ops.def"

/* How bf16 is multiplied in pairs (unit.h), if it is. */
typedef enum { NO_PAIRS, PAIRS_BY_LANES, PAIRS_BY_AMX } bf16_pairs;

/* A CPU device's state. */
typedef struct {
    pool *pool;
    const char *kernel;
    const cpu_kernel *code;
    bf16_pairs pairs; /* what the kernel can do */
    bool by_blas;     /* f32 products are OpenBLAS's */
    bool in_f32;      /* bf16 products are as those of f32 */
    blas blas;
    tensor room;   /* lent, for products; or absent */
    tensor narrow; /* lent, for operands in 8 bits; or absent: all products are of what is given */
} cpu_state;

static inline pool *cpu_threads(const device *dev)
{
    return ((const cpu_state *)dev->state)->pool;
}

static inline const blas *cpu_blas(const device *dev)
{
    const cpu_state *s = dev->state;
    return s->by_blas ? &s->blas : NULL;
}

static inline bf16_pairs cpu_pairs(const device *dev)
{
    const cpu_state *s = dev->state;
    return s->in_f32 ? NO_PAIRS : s->pairs;
}

static inline tensor cpu_room(const device *dev)
{
    return ((const cpu_state *)dev->state)->room;
}

/* The least number of rows for a thread: with fewer, waking it takes longer than the work. */
static inline int64_t rows_at_once(int64_t cols)
{
    enum { NUMBERS = 8192 };
    return cols < 1 ? NUMBERS : cols < NUMBERS ? NUMBERS / cols : 1;
}

/* The entry of an operation whose NAME_range runs over [0, n), in parts of at least `grain`; over
 * the rows of an operand; and where each row is one call, NAME_range as well. */
#define CPU_ENTRY(name, n, grain)                                                                  \
    void cpu_##name(device *dev, int stream, const name##_op *o)                                   \
    {                                                                                              \
        (void)stream;                                                                              \
        pool_for(cpu_threads(dev), n, grain, name##_range, o);                                     \
    }
#define CPU_ROWS(name, x) CPU_ENTRY(name, tensor_rows(o->x), rows_at_once(tensor_cols(o->x)))
#define CPU_EACH_ROW(name, x, call)                                                                \
    static void name##_range(const void *op, int64_t first, int64_t end)                           \
    {                                                                                              \
        const name##_op *o = op;                                                                   \
        for (int64_t r = first; r < end; r++)                                                      \
            FOR_WORKING_TYPE(o->x.type, call);                                                     \
    }                                                                                              \
    CPU_ROWS(name, x)

/* Has both operands in 8 bits, rounded here where there are no codes, if the memory for it was
 * lent; narrow.c */
void product_narrow(device *dev, product *p, narrow_form a, narrow_form b);

/* limit.c; see cpu.h */
double burn_lanes(device *dev, int64_t n);
void stream_lanes(device *dev, float *const pgmv[4], int64_t n);

/* ---- working numbers: f32, or bf16 that is computed as f32 ----
 *
 * Loops over rows are written once, with load and store: `type` is a constant where they are
 * inlined, so that for f32 nothing remains of them.
 *
 *     FOR_WORKING_TYPE(o->x.type, norm_row(o, r, TYPE))      TYPE: F32, or BF16
 */
#define ROW_FN static inline __attribute__((always_inline))

#define FOR_WORKING_TYPE(type, call)                                                               \
    do {                                                                                           \
        if ((type) == BF16) {                                                                      \
            enum { TYPE = BF16 };                                                                  \
            call;                                                                                  \
        } else {                                                                                   \
            enum { TYPE = F32 };                                                                   \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

ROW_FN float load(int type, const void *x, int64_t i)
{
    return type == BF16 ? float_of_bf16(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

/* Rounds once, to the stored type. */
ROW_FN void store(int type, void *x, int64_t i, float value)
{
    if (type == BF16)
        ((uint16_t *)x)[i] = bf16_of_float(value);
    else
        ((float *)x)[i] = value;
}

/* Element c of row r, whatever the type. */
static inline void *element_at(tensor t, int64_t r, int64_t c)
{
    return (char *)t.data + (size_t)(r * t.ld + c) * dtype_size(t.type);
}

/* Moves n numbers between memory and a panel of floats. */
void load_row(dtype type, const void *from, int64_t n, float *to);
void store_row(dtype type, void *to, int64_t n, const float *from);

/* A matrix of working numbers inside a larger one. */
typedef struct {
    const char *data;
    int64_t ld;
    dtype type;
} view;

static inline view view_at(tensor t, int64_t r, int64_t c)
{
    return (view){element_at(t, r, c), t.ld, t.type};
}

/* Rows [r, r + rows), columns [c, c + cols) as an operand of a product: in place, or (bf16)
 * converted into `room` of rows * cols floats. */
panel fetch(view v, int64_t r, int64_t rows, int64_t c, int64_t cols, float *room);

/* Attention's panels have a maximum head size; if it is exceeded the device fails. */
enum { MOST_HEAD_SIZE = 512 };
bool head_size_fits(device *dev, tensor out, int64_t heads);

/* y = act(x);  dx *= act'(x) */
void activate(activation act, int64_t n, const float *x, float *y);
void activate_grad(activation act, int64_t n, const float *x, float *dx);

static inline void scale_row(float *x, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* Row r of a matrix of floats. */
static inline float *row(tensor t, int64_t r)
{
    return (float *)t.data + r * t.ld;
}

/* The address of an operand's element. */
static inline panel at(tensor t, int64_t r, int64_t c)
{
    return (panel){row(t, r) + c, t.ld};
}

static inline float *floats(tensor t)
{
    return t.data;
}

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
