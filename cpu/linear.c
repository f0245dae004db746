/* linear.c - the products: y = act(x w^T + b) + residual, its input's and its weights' gradients.
 *
 * sgemm adds to what is in its output anyway, so bias and residual are written there before; the
 * activation is applied to what is still in the cache after.  A thread walks down its tile of the
 * output in chunks of rows:
 *
 *      out   +---------------+
 *            |  bias + res   |  written
 *     chunk  |  += x w^T     |  by sgemm
 *            |  act          |  in place, or pre -> out
 *            +---------------+
 *            |  next chunk   |
 */
#include "cpu/internal.h"
#include "cpu/vector.h"

#include <string.h>

enum { CHUNK = 512 };

/* The part of a tile that is in work. */
static tile chunk_of(tile t, int64_t first)
{
    return (tile){t.row + first, min64(CHUNK, t.rows - first), t.col, t.cols};
}

static void activate(activation act, int64_t n, const float *x, float *y)
{
    if (act == ACT_GELU_TANH) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = gelu_tanh(x[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            y[i] = gelu_erf(x[i]);
    }
}

static void activate_grad(activation act, int64_t n, const float *x, float *dx)
{
    if (act == ACT_GELU_TANH) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] *= gelu_tanh_grad(x[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] *= gelu_erf_grad(x[i]);
    }
}

/* sum = bias + residual, whichever there are; true if there was one */
static bool begin_sum(const linear_op *o, tensor sum, bool residual, tile t)
{
    if (!present(o->bias) && !residual) return false;
    for (int64_t r = t.row; r < t.row + t.rows; r++) {
        float *y = row(sum, r) + t.col;
        const float *b = present(o->bias) ? floats(o->bias) + t.col : NULL;
        const float *res = residual ? row(o->residual, r) + t.col : NULL;
        if (!b)
            memcpy(y, res, (size_t)t.cols * sizeof *y);
        else if (!res)
            memcpy(y, b, (size_t)t.cols * sizeof *y);
        else
#pragma omp simd
            for (int64_t c = 0; c < t.cols; c++)
                y[c] = b[c] + res[c];
    }
    return true;
}

static void finish_sum(const linear_op *o, tensor sum, tile t)
{
    for (int64_t r = t.row; r < t.row + t.rows; r++) {
        float *y = row(o->out, r) + t.col;
        activate(o->act, t.cols, row(sum, r) + t.col, y);
        if (!present(o->residual)) continue;
        const float *res = row(o->residual, r) + t.col;
#pragma omp simd
        for (int64_t c = 0; c < t.cols; c++)
            y[c] += res[c];
    }
}

static void linear_chunk(const blas *b, const linear_op *o, tile t)
{
    bool act = o->act != ACT_NONE;
    tensor sum = act && present(o->pre) ? o->pre : o->out;
    bool begun = begin_sum(o, sum, !act && present(o->residual), t);
    blas_xyt(b, t.rows, t.cols, tensor_cols(o->w), at(o->x, t.row, 0), at(o->w, t.col, 0), begun, row(sum, t.row) + t.col, sum.ld);
    if (act) finish_sum(o, sum, t);
}

void cpu_linear(device *dev, int stream, const linear_op *o)
{
    (void)stream;
    grid g = grid_over(tensor_rows(o->out), tensor_cols(o->out), dev->threads);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t i = 0; i < g.count; i++) {
        tile t = grid_tile(g, i);
        for (int64_t first = 0; first < t.rows && t.cols; first += CHUNK)
            linear_chunk(cpu_blas(dev), o, chunk_of(t, first));
    }
}

static void linear_dx_chunk(const blas *b, const linear_dx_op *o, tile t)
{
    blas_xy(b, t.rows, t.cols, tensor_rows(o->w), at(o->dout, t.row, 0), at(o->w, 0, t.col), o->accumulate, row(o->dx, t.row) + t.col, o->dx.ld);
    if (o->act == ACT_NONE) return;
    for (int64_t r = t.row; r < t.row + t.rows; r++)
        activate_grad(o->act, t.cols, row(o->pre, r) + t.col, row(o->dx, r) + t.col);
}

void cpu_linear_dx(device *dev, int stream, const linear_dx_op *o)
{
    (void)stream;
    grid g = grid_over(tensor_rows(o->dx), tensor_cols(o->dx), dev->threads);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t i = 0; i < g.count; i++) {
        tile t = grid_tile(g, i);
        for (int64_t first = 0; first < t.rows && t.cols; first += CHUNK)
            linear_dx_chunk(cpu_blas(dev), o, chunk_of(t, first));
    }
}

/* db (+)= sum of rows, for COLUMNS columns from c; rows in order */
enum { COLUMNS = 256 };

static void column_sums(const linear_dw_op *o, int64_t c)
{
    float sum[COLUMNS] = {0}, *db = floats(o->db.t) + c;
    int64_t rows = tensor_rows(o->dout), n = min64(COLUMNS, tensor_cols(o->dout) - c);
    for (int64_t r = 0; r < rows; r++) {
        const float *d = row(o->dout, r) + c;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += d[i];
    }
    for (int64_t i = 0; i < n; i++)
        db[i] = o->db.accumulate ? db[i] + sum[i] : sum[i];
}

void cpu_linear_dw(device *dev, int stream, const linear_dw_op *o)
{
    (void)stream;
    tensor dw = o->dw.t;
    int64_t n = tensor_cols(o->dout);
    grid g = present(dw) ? grid_over(n, tensor_cols(dw), dev->threads) : (grid){0};
#pragma omp parallel num_threads(dev->threads)
    {
        if (present(o->db.t)) {
#pragma omp for nowait
            for (int64_t c = 0; c < n; c += COLUMNS)
                column_sums(o, c);
        }
#pragma omp for
        for (int64_t i = 0; i < g.count; i++) {
            tile t = grid_tile(g, i);
            if (t.rows && t.cols)
                blas_xty(cpu_blas(dev), t.rows, t.cols, tensor_rows(o->dout), at(o->dout, 0, t.row), at(o->x, 0, t.col), o->dw.accumulate, row(dw, t.row) + t.col, dw.ld);
        }
    }
}
