/* matrix.c - plain matrix products, and a matrix divided by its norm: for optimizers that see whole
 * matrices. */
#include "cpu/cpu_internal.h"

#include <math.h>

void cpu_matmul(device *dev, int stream, const matmul_op *o)
{
    (void)stream;
    product_run(dev, &(product){
                         .m = tensor_rows(o->out),
                         .n = tensor_cols(o->out),
                         .k = o->x_transposed ? tensor_rows(o->x) : tensor_cols(o->x),
                         .a = o->x_transposed ? transposed(o->x) : operand_of(o->x),
                         .b = o->y_transposed ? transposed(o->y) : operand_of(o->y),
                         .out = o->out,
                         .alpha = (float)o->alpha,
                         .beta = (float)o->beta,
                     });
}

/* x (n) times a factor */
typedef struct {
    float *x, factor;
} scaling;

static void scale_range(const void *context, int64_t first, int64_t end)
{
    const scaling s = *(const scaling *)context;
#pragma omp simd
    for (int64_t i = first; i < end; i++)
        s.x[i] *= s.factor;
}

void cpu_normalize(device *dev, int stream, const normalize_op *o)
{
    (void)stream;
    scaling s = {floats(o->x), (float)(1.0 / (sqrt(*(const double *)o->squares.data) + o->eps))};
    pool_for(cpu_threads(dev), tensor_count(o->x), rows_at_once(1), scale_range, &s);
}
