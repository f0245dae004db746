/* linear.c - y = act(x w^T + b) + residual, and the gradients of x, w and b: product.h does
 * everything but b's gradient, a sum over rows. */
#include "cpu/cpu_internal.h"
#include "cpu/vector.h"

/* y = f(x), and dx *= f'(x), over n numbers */
#define APPLY(f)      _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = f(x[i])
#define APPLY_GRAD(f) _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] *= f##_grad(x[i])

void activate(activation act, int64_t n, const float *x, float *y)
{
    FOR_ACTIVATION(act, APPLY);
}

void activate_grad(activation act, int64_t n, const float *x, float *dx)
{
    FOR_ACTIVATION(act, APPLY_GRAD);
}

/* ---- forward ---- */

void cpu_linear(device *dev, int stream, const linear_op *o)
{
    (void)stream;
    product p = {
        .m = tensor_rows(o->out),
        .n = tensor_cols(o->out),
        .k = tensor_cols(o->w),
        .a = operand_of(o->x),
        .b = transposed(o->w),
        .out = o->out,
        .alpha = 1,
        .bias = o->bias,
        .residual = o->residual,
        .pre = o->pre,
        .act = o->act,
    };
    if (o->narrow)
        product_narrow(dev, &p, (narrow_form){E4M3, o->codes, o->scale},
                       (narrow_form){.format = E4M3});
    product_run(dev, &p);
}

static void activate_row(const activate_op *o, int64_t r)
{
    enum { ROOM = 1024 };
    float part[ROOM];
    for (int64_t c = 0; c < tensor_cols(o->x); c += ROOM) {
        int64_t n = min64(ROOM, tensor_cols(o->x) - c);
        load_row(o->x.type, element_at(o->x, r, c), n, part);
        activate(o->act, n, part, part);
        store_row(o->x.type, element_at(o->out, r, c), n, part);
    }
}

static void activate_range(const void *op, int64_t first, int64_t end)
{
    for (int64_t r = first; r < end; r++)
        activate_row(op, r);
}

CPU_ROWS(activate, x)

/* ---- backward ---- */

void cpu_linear_dx(device *dev, int stream, const linear_dx_op *o)
{
    (void)stream;
    product p = {
        .m = tensor_rows(o->dx),
        .n = tensor_cols(o->dx),
        .k = tensor_rows(o->w),
        .a = operand_of(o->dout),
        .b = operand_of(o->w),
        .out = o->dx,
        .alpha = 1,
        .beta = o->accumulate ? 1 : 0,
        .slope_at = o->act == ACT_NONE ? (tensor){0} : o->pre,
        .act = o->act,
    };
    if (o->narrow)
        product_narrow(dev, &p, (narrow_form){E5M2, o->codes, o->scale},
                       (narrow_form){.format = E4M3});
    product_run(dev, &p);
}

enum { COLUMNS = 64, AT_ONCE = 8 };

/* sum (n) += rows [r, r + rows) of dout from column c on, rows at most AT_ONCE, in order */
ROW_FN void add_rows(const linear_dw_op *o, int64_t r, int64_t rows, int64_t c, int64_t n,
                     float *sum, int type)
{
    float some[COLUMNS] = {0}; /* in groups: fewer roundings */
    for (int64_t i = r; i < r + rows; i++) {
        const void *d = element_at(o->dout, i, c);
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            some[k] += load(type, d, k);
    }
#pragma omp simd
    for (int64_t k = 0; k < n; k++)
        sum[k] += some[k];
}

/* db (+)= sum of rows, in n <= COLUMNS columns from c */
ROW_FN void column_sums(const linear_dw_op *o, int64_t c, int64_t n, int type)
{
    float sum[COLUMNS] = {0};
    int64_t rows = tensor_rows(o->dout);
    for (int64_t r = 0; r < rows; r += AT_ONCE)
        add_rows(o, r, min64(AT_ONCE, rows - r), c, n, sum, type);
    void *db = element_at(o->db.t, 0, c);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, db, i, o->db.accumulate ? load(type, db, i) + sum[i] : sum[i]);
}

static void column_range(const void *op, int64_t first, int64_t end)
{
    const linear_dw_op *o = op;
    int64_t n = tensor_cols(o->dout);
    for (int64_t c = first * COLUMNS; c < min64(end * COLUMNS, n); c += COLUMNS)
        FOR_WORKING_TYPE(o->dout.type, if (n - c < COLUMNS) column_sums(o, c, n - c, TYPE);
                         else column_sums(o, c, COLUMNS, TYPE));
}

void cpu_linear_dw(device *dev, int stream, const linear_dw_op *o)
{
    (void)stream;
    int64_t n = tensor_cols(o->dout), strips = (n + COLUMNS - 1) / COLUMNS;
    if (present(o->db.t))
        pool_for(cpu_threads(dev), strips, rows_at_once(COLUMNS * tensor_rows(o->dout)),
                 column_range, o);
    if (!present(o->dw.t)) return;
    product p = {
        .m = n,
        .n = tensor_cols(o->dw.t),
        .k = tensor_rows(o->dout),
        .a = transposed(o->dout),
        .b = operand_of(o->x),
        .out = o->dw.t,
        .alpha = 1,
        .beta = o->dw.accumulate ? 1 : 0,
    };
    if (o->narrow)
        product_narrow(dev, &p, (narrow_form){E5M2, o->turned_dout, o->scale_dout},
                       (narrow_form){E4M3, o->turned_x, o->scale_x});
    product_run(dev, &p);
}
