/* matrix.c - products of matrices as they are, and a matrix divided by its norm: what optimizers do
 * that see a whole matrix.  Each thread has a tile of the output, as in linear.c. */
#include "cpu/cpu_internal.h"

#include <math.h>

/* Multiplications below which waking threads takes longer than they save. */
enum { SMALL = 1 << 16 };

void cpu_matmul(device *dev, int stream, const matmul_op *o)
{
    (void)stream;
    int64_t k = o->x_transposed ? tensor_rows(o->x) : tensor_cols(o->x);
    bool small = tensor_count(o->out) * k < SMALL;
    grid g = grid_over(tensor_rows(o->out), tensor_cols(o->out), small ? 1 : dev->threads);
#pragma omp parallel for num_threads(dev->threads) schedule(dynamic) if (!small)
    for (int64_t i = 0; i < g.count; i++) {
        tile t = grid_tile(g, i);
        panel x = o->x_transposed ? at(o->x, 0, t.row) : at(o->x, t.row, 0),
              y = o->y_transposed ? at(o->y, t.col, 0) : at(o->y, 0, t.col);
        blas_product(cpu_blas(dev), o->x_transposed, o->y_transposed, t.rows, t.cols, k,
                     (float)o->alpha, x, y, (float)o->beta, row(o->out, t.row) + t.col, o->out.ld);
    }
}

void cpu_normalize(device *dev, int stream, const normalize_op *o)
{
    (void)stream;
    float *x = floats(o->x);
    int64_t n = tensor_count(o->x);
    float factor = (float)(1.0 / (sqrt(*(const double *)o->squares.data) + o->eps));
#pragma omp parallel for simd num_threads(dev->threads) if (n >= SMALL)
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}
