/* narrow.c - operands of a product rounded to 8 bits (core/narrow.h), for comparing curves: no CPU
 * multiplies them faster.  Numbers of both formats are numbers of bf16, too, so they are stored as
 * such and the product is the one of bf16: its sum has exactly the terms that a matrix unit for 8
 * bits would add up. */
#include "cpu/cpu_internal.h"

/* A stored operand: n rows, row by row. */
typedef struct {
    const operand *from;
    uint16_t *to; /* (rows,cols) */
    int64_t rows, cols;
    fp8_format format;
    float scale;
    uint32_t *amax;
} narrowing;

static const uint16_t *row_of(const narrowing *w, int64_t r)
{
    int64_t ld = w->from->col == 1 ? w->from->row : w->from->col;
    return (const uint16_t *)w->from->data + r * ld;
}

/* Also correct for infinities and NaN: they have the largest bits. */
static void amax_range(const void *context, int64_t first, int64_t end)
{
    const narrowing *w = context;
    uint32_t most = 0;
    for (int64_t r = first; r < end; r++) {
        const uint16_t *x = row_of(w, r);
#pragma omp simd reduction(max : most)
        for (int64_t c = 0; c < w->cols; c++) {
            uint32_t size = x[c] & 0x7fff;
            most = size > most ? size : most;
        }
    }
    uint32_t seen = __atomic_load_n(w->amax, __ATOMIC_RELAXED);
    while (most > seen && !__atomic_compare_exchange_n(w->amax, &seen, most, true, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED))
        ;
}

static void round_range(const void *context, int64_t first, int64_t end)
{
    const narrowing *w = context;
    for (int64_t r = first; r < end; r++) {
        const uint16_t *x = row_of(w, r);
        uint16_t *y = w->to + r * w->cols;
#pragma omp simd
        for (int64_t c = 0; c < w->cols; c++)
            y[c] = bf16_of_float(
                float_of_fp8(w->format, fp8_of_float(w->format, float_of_bf16(x[c]) * w->scale)));
    }
}

/* x (rows,cols) rounded, in `to`; returns what it must be multiplied by, NaN if it is not
 * finite. */
static float narrow_operand(device *dev, operand *x, int64_t rows, int64_t cols, fp8_format format,
                            uint16_t *to)
{
    uint32_t amax = 0;
    bool by_rows = x->col == 1;
    narrowing w = {x, to, by_rows ? rows : cols, by_rows ? cols : rows, format, 1, &amax};
    pool_for(cpu_threads(dev), w.rows, rows_at_once(w.cols), amax_range, &w);
    bool finite = amax < 0x7f80;
    int k = finite ? narrow_exponent(format, amax) : 0;
    w.scale = power_of_2(k);
    pool_for(cpu_threads(dev), w.rows, rows_at_once(w.cols), round_range, &w);
    *x = (operand){to, by_rows ? w.cols : 1, by_rows ? 1 : w.cols, BF16};
    return finite ? power_of_2(-k) : NAN;
}

void product_narrow(device *dev, product *p, fp8_format a, fp8_format b)
{
    tensor room = ((const cpu_state *)dev->state)->narrow;
    size_t of_a = (size_t)(p->m * p->k), of_b = (size_t)(p->k * p->n);
    if (!present(room) || p->a.type != BF16) return;
    if (NARROW_HEAD + (of_a + of_b) * sizeof(uint16_t) > tensor_bytes(room)) {
        device_fail(dev, internal_error("a product of %zu and %zu numbers in 8 bits: lent were %zu "
                                        "bytes",
                                        of_a, of_b, tensor_bytes(room)));
        return;
    }
    uint16_t *to = (uint16_t *)((char *)room.data + NARROW_HEAD);
    float back_a = narrow_operand(dev, &p->a, p->m, p->k, a, to),
          back_b = narrow_operand(dev, &p->b, p->k, p->n, b, to + of_a);
    p->alpha = back_a * back_b;
}
