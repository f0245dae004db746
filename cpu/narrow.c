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
    /* of operation narrow */
    uint8_t *codes, *turned; /* ? (rows,cols), (cols,side) */
    int64_t side;
    tensor pre; /* ? (rows,cols) */
    activation act;
    grad sums;
} narrowing;

static const uint16_t *row_of(const narrowing *w, int64_t r)
{
    int64_t ld = w->from->col == 1 ? w->from->row : w->from->col;
    return (const uint16_t *)w->from->data + r * ld;
}

/* Numbers c .. c + n of row r, n <= CHUNK: of x, of act(x), or of x act'(pre), which are made in
 * room. */
enum { CHUNK = 512 };
static const uint16_t *values_at(const narrowing *w, int64_t r, int64_t c, int64_t n,
                                 uint16_t room[CHUNK])
{
    float v[CHUNK], pre[CHUNK];
    const uint16_t *x = row_of(w, r) + c;
    if (w->act == ACT_NONE) return x;
    load_row(BF16, x, n, v);
    if (present(w->pre)) {
        load_row(BF16, element_at(w->pre, r, c), n, pre);
        activate_grad(w->act, n, pre, v);
    } else {
        activate(w->act, n, v, v);
    }
    store_row(BF16, room, n, v);
    return room;
}

/* Also correct for infinities and NaN: they have the largest bits. */
static void amax_range(const void *context, int64_t first, int64_t end)
{
    const narrowing *w = context;
    uint16_t room[CHUNK];
    uint32_t most = 0;
    for (int64_t r = first; r < end; r++)
        for (int64_t c0 = 0; c0 < w->cols; c0 += CHUNK) {
            int64_t n = min64(CHUNK, w->cols - c0);
            const uint16_t *x = values_at(w, r, c0, n, room);
#pragma omp simd reduction(max : most)
            for (int64_t c = 0; c < n; c++) {
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
    w->amax = NULL;
    bool finite = amax < 0x7f80;
    int k = finite ? narrow_exponent(w->format, amax) : 0;
    w->scale = power_of_2(k);
    return finite ? power_of_2(-k) : NAN;
}

/* ---- codes ---- */

/* n numbers of NARROW_UNIT rows from r0 on, from column c0 on */
static void code_tile(const narrowing *w, int64_t r0, int64_t c0, int64_t n)
{
    uint8_t tile[NARROW_UNIT][CHUNK] = {0};
    uint16_t room[CHUNK];
    for (int64_t r = 0; r < min64(NARROW_UNIT, w->rows - r0); r++) {
        const uint16_t *x = values_at(w, r0 + r, c0, n, room);
#pragma omp simd
        for (int64_t c = 0; c < n; c++)
            tile[r][c] = fp8_of_float(w->format, float_of_bf16(x[c]) * w->scale);
        if (w->codes) memcpy(w->codes + (r0 + r) * w->cols + c0, tile[r], (size_t)n);
    }
    for (int64_t c = 0; w->turned && c < n; c++)
        for (int64_t r = 0; r < NARROW_UNIT; r++)
            w->turned[(c0 + c) * w->side + r0 + r] = tile[r][c];
}

/* NARROW_UNIT rows at a time: as many bytes side by side in the transpose */
static void code_range(const void *context, int64_t first, int64_t end)
{
    const narrowing *w = context;
    for (int64_t r0 = first * NARROW_UNIT; r0 < end * NARROW_UNIT; r0 += NARROW_UNIT)
        for (int64_t c0 = 0; c0 < w->cols; c0 += CHUNK)
            code_tile(w, r0, c0, min64(CHUNK, w->cols - c0));
}

enum { STRIP = 64, AT_ONCE = 8 };

/* Column sums in strips: some rows in float, then their sums, as linear_dw does it. */
static void sums_range(const void *context, int64_t first, int64_t end)
{
    const narrowing *w = context;
    uint16_t room[CHUNK];
    for (int64_t c0 = first * STRIP; c0 < min64(end * STRIP, w->cols); c0 += STRIP) {
        int64_t n = min64(STRIP, w->cols - c0);
        float sum[STRIP] = {0};
        for (int64_t r0 = 0; r0 < w->rows; r0 += AT_ONCE) {
            float some[STRIP] = {0};
            for (int64_t r = r0; r < min64(r0 + AT_ONCE, w->rows); r++) {
                const uint16_t *x = values_at(w, r, c0, n, room);
                for (int64_t c = 0; c < n; c++)
                    some[c] += float_of_bf16(x[c]);
            }
            for (int64_t c = 0; c < n; c++)
                sum[c] += some[c];
        }
        uint16_t *to = (uint16_t *)w->sums.t.data + c0;
        for (int64_t c = 0; c < n; c++)
            to[c] = bf16_of_float(w->sums.accumulate ? float_of_bf16(to[c]) + sum[c] : sum[c]);
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
                   .pre = o->pre,
                   .act = o->act,
                   .sums = o->sums,
                   .codes = o->codes.data,
                   .turned = o->turned.data,
                   .side = narrow_side(tensor_rows(o->x))};
    *(float *)o->scale.data = find_scale(dev, &w);
    pool_for(cpu_threads(dev), w.side / NARROW_UNIT, rows_at_once(NARROW_UNIT * w.cols), code_range,
             &w);
    if (present(o->sums.t))
        pool_for(cpu_threads(dev), (w.cols + STRIP - 1) / STRIP, rows_at_once(STRIP * w.rows),
                 sums_range, &w);
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
