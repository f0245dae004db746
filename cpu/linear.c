/* linear.c - the products: y = act(x w^T + b) + residual, and the gradients of x, w and b.
 *
 * sgemm adds to what is in its output anyway, so bias and residual are written there before.  A
 * thread has a tile of the output to itself, from that first writing to the activation:
 *
 *      bias + residual  ->  += x w^T  ->  act
 *
 * A tile is multiplied whole: cut into chunks that fit a cache it would save less in the activation
 * than sgemm loses by arranging the weights anew for each chunk.  (In bf16: linear_bf16.c.)
 */
#include "cpu/cpu_internal.h"
#include "cpu/vector.h"

/* y = f(x), and dx *= f(x), over n numbers */
#define APPLY(f)                                                                                   \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = f(x[i]);                            \
    return
#define APPLY_GRAD(f)                                                                              \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] *= f(x[i]);                          \
    return

void activate(activation act, int64_t n, const float *x, float *y)
{
    switch (act) {
    case ACT_NONE:
        return;
    case ACT_GELU_TANH:
        APPLY(gelu_tanh);
    case ACT_GELU_ERF:
        APPLY(gelu_erf);
    case ACT_SILU:
        APPLY(silu);
    }
}

void activate_grad(activation act, int64_t n, const float *x, float *dx)
{
    switch (act) {
    case ACT_NONE:
        return;
    case ACT_GELU_TANH:
        APPLY_GRAD(gelu_tanh_grad);
    case ACT_GELU_ERF:
        APPLY_GRAD(gelu_erf_grad);
    case ACT_SILU:
        APPLY_GRAD(silu_grad);
    }
}

static void add_row(int64_t n, const float *x, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

/* ---- forward ---- */

/* sum = bias + residual, whichever there are; false if neither */
static bool begin_sum(const linear_op *o, tensor sum, bool residual, tile t)
{
    if (!present(o->bias) && !residual) return false;
    for (int64_t r = t.row; r < t.row + t.rows; r++) {
        float *y = row(sum, r) + t.col;
        const float *first = residual ? row(o->residual, r) : floats(o->bias);
        memcpy(y, first + t.col, (size_t)t.cols * sizeof *y);
        if (residual && present(o->bias)) add_row(t.cols, floats(o->bias) + t.col, y);
    }
    return true;
}

static void finish_sum(const linear_op *o, tensor sum, tile t)
{
    for (int64_t r = t.row; r < t.row + t.rows; r++) {
        float *y = row(o->out, r) + t.col;
        activate(o->act, t.cols, row(sum, r) + t.col, y);
        if (present(o->residual)) add_row(t.cols, row(o->residual, r) + t.col, y);
    }
}

static void linear_tile(const blas *b, const linear_op *o, tile t)
{
    bool act = o->act != ACT_NONE;
    tensor sum = present(o->pre) ? o->pre : o->out;
    bool begun = begin_sum(o, sum, !act && present(o->residual), t);
    blas_xyt(b, t.rows, t.cols, tensor_cols(o->w), at(o->x, t.row, 0), at(o->w, t.col, 0), begun,
             row(sum, t.row) + t.col, sum.ld);
    if (act) finish_sum(o, sum, t);
}

void cpu_linear(device *dev, int stream, const linear_op *o)
{
    (void)stream;
    if (o->w.type == BF16) {
        linear_bf16(dev, o);
        return;
    }
    grid g = grid_over(tensor_rows(o->out), tensor_cols(o->out), dev->threads);
#pragma omp parallel for num_threads(dev->threads) schedule(dynamic)
    for (int64_t i = 0; i < g.count; i++)
        linear_tile(cpu_blas(dev), o, grid_tile(g, i));
}

static void activate_row(const activate_op *o, int64_t r)
{
    enum { ROOM = 1024 };
    float part[ROOM];
    for (int64_t c = 0; c < tensor_cols(o->x); c += ROOM) {
        int64_t n = min64(ROOM, tensor_cols(o->x) - c);
        load_row(o->x.type, place(o->x, r, c), n, part);
        activate(o->act, n, part, part);
        store_row(o->x.type, place(o->out, r, c), n, part);
    }
}

void cpu_activate(device *dev, int stream, const activate_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++)
        activate_row(o, r);
}

/* ---- backward ---- */

static void linear_dx_tile(const blas *b, const linear_dx_op *o, tile t)
{
    blas_xy(b, t.rows, t.cols, tensor_rows(o->w), at(o->dout, t.row, 0), at(o->w, 0, t.col),
            o->accumulate, row(o->dx, t.row) + t.col, o->dx.ld);
    if (o->act == ACT_NONE) return;
    for (int64_t r = t.row; r < t.row + t.rows; r++)
        activate_grad(o->act, t.cols, row(o->pre, r) + t.col, row(o->dx, r) + t.col);
}

void cpu_linear_dx(device *dev, int stream, const linear_dx_op *o)
{
    (void)stream;
    if (o->w.type == BF16) {
        linear_dx_bf16(dev, o);
        return;
    }
    grid g = grid_over(tensor_rows(o->dx), tensor_cols(o->dx), dev->threads);
#pragma omp parallel for num_threads(dev->threads) schedule(dynamic)
    for (int64_t i = 0; i < g.count; i++)
        linear_dx_tile(cpu_blas(dev), o, grid_tile(g, i));
}

enum { COLUMNS = 1024, AT_ONCE = 8 };

/* db (+)= sum of rows, in n <= COLUMNS columns from c; eight rows at once, in order */
static void column_sums(const linear_dw_op *o, int64_t c, int64_t n)
{
    float sum[COLUMNS] = {0}, *db = floats(o->db.t) + c;
    int64_t rows = tensor_rows(o->dout), ld = o->dout.ld, r = 0;
    for (; r + AT_ONCE <= rows; r += AT_ONCE) {
        const float *d = row(o->dout, r) + c;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += ((d[i] + d[i + ld]) + (d[i + 2 * ld] + d[i + 3 * ld])) +
                      ((d[i + 4 * ld] + d[i + 5 * ld]) + (d[i + 6 * ld] + d[i + 7 * ld]));
    }
    for (; r < rows; r++)
        add_row(n, row(o->dout, r) + c, sum);
    if (!o->db.accumulate) memset(db, 0, (size_t)n * sizeof *db);
    add_row(n, sum, db);
}

void cpu_linear_dw(device *dev, int stream, const linear_dw_op *o)
{
    (void)stream;
    if (o->dout.type == BF16) {
        linear_dw_bf16(dev, o);
        return;
    }
    tensor dw = o->dw.t;
    int64_t n = tensor_cols(o->dout), strip = min64(COLUMNS, (n / dev->threads + 64) / 64 * 64);
    grid g = present(dw) ? grid_over(n, tensor_cols(dw), dev->threads) : (grid){0};
#pragma omp parallel num_threads(dev->threads)
    {
        if (present(o->db.t)) {
#pragma omp for nowait
            for (int64_t c = 0; c < n; c += strip)
                column_sums(o, c, min64(strip, n - c));
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < g.count; i++) {
            tile t = grid_tile(g, i);
            blas_xty(cpu_blas(dev), t.rows, t.cols, tensor_rows(o->dout), at(o->dout, 0, t.row),
                     at(o->x, 0, t.col), o->dw.accumulate, row(dw, t.row) + t.col, dw.ld);
        }
    }
}
