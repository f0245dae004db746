/* linear_bf16.c - the products of linear.c for operands in bf16, which are multiplied in f32.
 *
 * A thread has a block of the output on its stack, in f32, and panels of both operands, converted,
 * small enough for the second cache.  What is stored is rounded once, at the end:
 *
 *                     y panel (DEPTH, COLS)
 *                   +--------+
 *      x panel      |        |         for each DEPTH: convert both, sum += x y
 *      (ROWS,DEPTH) +--------+         then: + bias, act, + residual, or + what is there; round
 *      +-------+    |  sum   |
 *      |       |    |        |         A number is converted once for each block that needs it: one
 *      +-------+    +--------+         conversion for 2 ROWS, or 2 COLS, operations.
 *
 * Blocks do not depend on the number of threads, so nor do the bits.
 */
#include "cpu/cpu_internal.h"

#include <string.h>

enum { ROWS = 128, COLS = 128, DEPTH = 256, AT_ONCE = 8, COLUMNS = 1024 };

typedef struct {
    float x[ROWS * DEPTH], y[DEPTH * COLS], sum[ROWS * COLS]; /* 320 KiB */
} workspace;

/* How the operands lie: c = x y with x (m,k), y (k,n); a t after a letter: stored transposed. */
typedef enum { XYT, XY, XTY } form;

/* Block i of (rows, cols), row after row of blocks. */
static tile block_at(int64_t rows, int64_t cols, int64_t i)
{
    int64_t across = (cols + COLS - 1) / COLS;
    tile t = {.row = i / across * ROWS, .col = i % across * COLS};
    t.rows = min64(ROWS, rows - t.row);
    t.cols = min64(COLS, cols - t.col);
    return t;
}

static int64_t blocks(int64_t rows, int64_t cols)
{
    return (rows + ROWS - 1) / ROWS * ((cols + COLS - 1) / COLS);
}

/* w->sum (COLS apart) = a block of the product */
static void multiply(const blas *b, form f, tensor x, tensor y, int64_t depth, tile t, workspace *w)
{
    static void (*const products[])(const blas *, int64_t, int64_t, int64_t, panel, panel, float,
                                    float *, int64_t) = {blas_xyt, blas_xy, blas_xty};
    view vx = view_at(x, 0, 0), vy = view_at(y, 0, 0);
    for (int64_t k = 0; k < depth; k += DEPTH) {
        int64_t d = min64(DEPTH, depth - k);
        panel px =
            f == XTY ? fetch(vx, k, d, t.row, t.rows, w->x) : fetch(vx, t.row, t.rows, k, d, w->x);
        panel py =
            f == XYT ? fetch(vy, t.col, t.cols, k, d, w->y) : fetch(vy, k, d, t.col, t.cols, w->y);
        products[f](b, t.rows, t.cols, d, px, py, k > 0, w->sum, COLS);
    }
}

/* sum += n numbers, converted into `room` */
static void add_row(tensor from, int64_t r, int64_t c, int64_t n, float *room, float *sum)
{
    load_row(from.type, place(from, r, c), n, room);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        sum[i] += room[i];
}

/* ---- forward ---- */

/* The activation's argument is rounded, whether it is kept or not: so it can be made again from it. */
static void activate_rounded(const linear_op *o, tile t, int64_t r, float *y)
{
    uint16_t pre[COLS];
    store_row(BF16, pre, t.cols, y);
    load_row(BF16, pre, t.cols, y);
    if (present(o->pre)) store_row(BF16, place(o->pre, t.row + r, t.col), t.cols, y);
    activate(o->act, t.cols, y, y);
}

static void finish(const linear_op *o, tile t, workspace *w)
{
    float other[COLS];
    for (int64_t r = 0; r < t.rows; r++) {
        float *y = w->sum + r * COLS;
        if (present(o->bias)) add_row(o->bias, 0, t.col, t.cols, other, y);
        if (o->act != ACT_NONE) activate_rounded(o, t, r, y);
        if (present(o->residual)) add_row(o->residual, t.row + r, t.col, t.cols, other, y);
        store_row(BF16, place(o->out, t.row + r, t.col), t.cols, y);
    }
}

void linear_bf16(device *dev, const linear_op *o)
{
    int64_t rows = tensor_rows(o->out), cols = tensor_cols(o->out);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t i = 0; i < blocks(rows, cols); i++) {
        workspace w;
        tile t = block_at(rows, cols, i);
        multiply(cpu_blas(dev), XYT, o->x, o->w, tensor_cols(o->w), t, &w);
        finish(o, t, &w);
    }
}

/* ---- backward ---- */

static void finish_dx(const linear_dx_op *o, tile t, workspace *w)
{
    float other[COLS];
    for (int64_t r = 0; r < t.rows; r++) {
        float *y = w->sum + r * COLS;
        if (o->act != ACT_NONE) {
            load_row(BF16, place(o->pre, t.row + r, t.col), t.cols, other);
            activate_grad(o->act, t.cols, other, y);
        }
        if (o->accumulate) add_row(o->dx, t.row + r, t.col, t.cols, other, y);
        store_row(BF16, place(o->dx, t.row + r, t.col), t.cols, y);
    }
}

void linear_dx_bf16(device *dev, const linear_dx_op *o)
{
    int64_t rows = tensor_rows(o->dx), cols = tensor_cols(o->dx);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t i = 0; i < blocks(rows, cols); i++) {
        workspace w;
        tile t = block_at(rows, cols, i);
        multiply(cpu_blas(dev), XY, o->dout, o->w, tensor_rows(o->w), t, &w);
        finish_dx(o, t, &w);
    }
}

/* db (+)= sum of rows, in n <= COLUMNS columns from c */
static void column_sums(const linear_dw_op *o, int64_t c, int64_t n)
{
    float sum[COLUMNS] = {0}, eight[COLUMNS], other[COLUMNS];
    int64_t rows = tensor_rows(o->dout);
    for (int64_t first = 0; first < rows; first += AT_ONCE) { /* in groups: fewer roundings */
        memset(eight, 0, (size_t)n * sizeof *eight);
        for (int64_t r = first; r < min64(first + AT_ONCE, rows); r++)
            add_row(o->dout, r, c, n, other, eight);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += eight[i];
    }
    if (o->db.accumulate) add_row(o->db.t, 0, c, n, other, sum);
    store_row(BF16, place(o->db.t, 0, c), n, sum);
}

static void finish_dw(const linear_dw_op *o, tile t, workspace *w)
{
    float other[COLS];
    for (int64_t r = 0; r < t.rows; r++) {
        float *y = w->sum + r * COLS;
        if (o->dw.accumulate) add_row(o->dw.t, t.row + r, t.col, t.cols, other, y);
        store_row(BF16, place(o->dw.t, t.row + r, t.col), t.cols, y);
    }
}

void linear_dw_bf16(device *dev, const linear_dw_op *o)
{
    tensor dw = o->dw.t;
    int64_t n = tensor_cols(o->dout), k = present(dw) ? tensor_cols(dw) : 0;
    int64_t strip = min64(COLUMNS, (n / dev->threads + 64) / 64 * 64);
#pragma omp parallel num_threads(dev->threads)
    {
        if (present(o->db.t)) {
#pragma omp for nowait
            for (int64_t c = 0; c < n; c += strip)
                column_sums(o, c, min64(strip, n - c));
        }
#pragma omp for
        for (int64_t i = 0; i < blocks(n, k); i++) {
            workspace w;
            tile t = block_at(n, k, i);
            multiply(cpu_blas(dev), XTY, o->dout, o->x, tensor_rows(o->dout), t, &w);
            finish_dw(o, t, &w);
        }
    }
}
