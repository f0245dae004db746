/* narrow.c - operands of a product rounded to 8 bits (core/narrow.h), for comparing curves: no CPU
 * multiplies them faster.  Numbers of both formats are numbers of bf16, too, so a product has them
 * as such, and is the one of bf16: its sum has exactly the terms that a matrix unit for 8 bits
 * would add up. */
#include "cpu/cpu_internal.h"

/* A stored operand, row by row. */
typedef struct {
    const operand *from;
    uint16_t *to; /* (rows,cols) */
    int64_t rows, cols;
    fp8_format format;
    float scale;
    uint32_t *amax;
    uint8_t *codes, *turned; /* ? (rows,cols), (cols,side): of operation narrow */
    int64_t side;
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

/* Finds the scale of w, and returns what the rounded numbers must be multiplied by: NaN if w is not
 * finite. */
static float find_scale(device *dev, narrowing *w)
{
    uint32_t amax = 0;
    w->amax = &amax;
    pool_for(cpu_threads(dev), w->rows, rows_at_once(w->cols), amax_range, w);
    bool finite = amax < 0x7f80;
    int k = finite ? narrow_exponent(w->format, amax) : 0;
    w->scale = power_of_2(k);
    return finite ? power_of_2(-k) : NAN;
}

/* ---- codes ---- */

static uint8_t code_at(const narrowing *w, int64_t r, int64_t c)
{
    return r < w->rows ? fp8_of_float(w->format, float_of_bf16(row_of(w, r)[c]) * w->scale) : 0;
}

/* NARROW_UNIT rows at a time: as many bytes side by side in the transpose */
static void code_range(const void *context, int64_t first, int64_t end)
{
    const narrowing *w = context;
    for (int64_t r0 = first * NARROW_UNIT; r0 < end * NARROW_UNIT; r0 += NARROW_UNIT)
        for (int64_t c = 0; c < w->cols; c++)
            for (int64_t r = r0; r < r0 + NARROW_UNIT; r++) {
                uint8_t code = code_at(w, r, c);
                if (w->codes && r < w->rows) w->codes[r * w->cols + c] = code;
                if (w->turned) w->turned[c * w->side + r] = code;
            }
}

void cpu_narrow(device *dev, int stream, const narrow_op *o)
{
    (void)stream;
    operand x = operand_of(o->x);
    narrowing w = {.from = &x,
                   .rows = tensor_rows(o->x),
                   .cols = tensor_cols(o->x),
                   .format = o->format,
                   .codes = o->codes.data,
                   .turned = o->turned.data,
                   .side = narrow_side(tensor_rows(o->x))};
    *(float *)o->scale.data = find_scale(dev, &w);
    pool_for(cpu_threads(dev), w.side / NARROW_UNIT, rows_at_once(NARROW_UNIT * w.cols), code_range,
             &w);
}

/* ---- operands of products ---- */

typedef struct {
    const uint8_t *from;
    uint16_t *to;
    const uint16_t *number; /* of each code */
} widening;

static void widen_range(const void *context, int64_t first, int64_t end)
{
    const widening *w = context;
    for (int64_t i = first; i < end; i++)
        w->to[i] = w->number[w->from[i]];
}

static void widen_codes(device *dev, tensor codes, fp8_format format, uint16_t *to)
{
    uint16_t number[256];
    for (int i = 0; i < 256; i++)
        number[i] = bf16_of_float(float_of_fp8(format, (uint8_t)i));
    widening w = {codes.data, to, number};
    pool_for(cpu_threads(dev), tensor_count(codes), rows_at_once(1), widen_range, &w);
}

/* x (rows,cols) in 8 bits, in `to`; returns what it must be multiplied by.  Codes have the numbers
 * that are summed over side by side: with `down` those are the rows of x. */
static float narrow_operand(device *dev, operand *x, int64_t rows, int64_t cols, narrow_form form,
                            bool down, uint16_t *to)
{
    bool by_rows = x->col == 1;
    if (present(form.codes)) {
        int64_t ld = tensor_cols(form.codes);
        widen_codes(dev, form.codes, form.format, to);
        *x = (operand){to, down ? 1 : ld, down ? ld : 1, BF16};
        return *(const float *)form.scale.data;
    }
    narrowing w = {.from = x,
                   .to = to,
                   .rows = by_rows ? rows : cols,
                   .cols = by_rows ? cols : rows,
                   .format = form.format};
    float back = find_scale(dev, &w);
    pool_for(cpu_threads(dev), w.rows, rows_at_once(w.cols), round_range, &w);
    *x = (operand){to, by_rows ? w.cols : 1, by_rows ? 1 : w.cols, BF16};
    return back;
}

static size_t count_of(narrow_form form, int64_t rows, int64_t cols)
{
    return (size_t)(present(form.codes) ? tensor_count(form.codes) : rows * cols);
}

void product_narrow(device *dev, product *p, narrow_form a, narrow_form b)
{
    tensor room = ((const cpu_state *)dev->state)->narrow;
    size_t of_a = count_of(a, p->m, p->k), of_b = count_of(b, p->k, p->n);
    bool any = present(a.codes) || present(b.codes);
    if (!any && (!present(room) || p->a.type != BF16)) return;
    if (!present(room) || NARROW_HEAD + (of_a + of_b) * sizeof(uint16_t) > tensor_bytes(room)) {
        device_fail(dev, internal_error("a product of %zu and %zu numbers in 8 bits: lent were %zu "
                                        "bytes",
                                        of_a, of_b, present(room) ? tensor_bytes(room) : 0));
        return;
    }
    uint16_t *to = (uint16_t *)((char *)room.data + NARROW_HEAD);
    float back_a = narrow_operand(dev, &p->a, p->m, p->k, a, false, to),
          back_b = narrow_operand(dev, &p->b, p->k, p->n, b, true, to + of_a);
    p->alpha = back_a * back_b;
}
