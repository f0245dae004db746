/* linear.c - the products: y = act(x w^T + bias) + residual, and the gradients of x, w and b.
 *
 * cublasLt adds bias and residual on its way; an activation is a pass of its own over (R,N) (12 or
 * 16 bytes for each element), because the library's GELU does not leave what this table asks for:
 * `pre` with any distance between its rows, and a residual behind it. */
#include "cuda/internal.h"

static float *floats(tensor t)
{
    return present(t) ? (float *)t.data : NULL;
}

void cuda_linear(device *dev, int stream, const linear_op *o)
{
    bool act = o->act != ACT_NONE;
    tensor sum = present(o->pre) ? o->pre : o->out;
    int64_t rows = tensor_rows(o->out), cols = tensor_cols(o->out);
    product p = {.rows = rows,
                 .cols = cols,
                 .inner = tensor_cols(o->w),
                 .x = floats(o->x),
                 .y = floats(o->w),
                 .c = act ? NULL : floats(o->residual),
                 .bias = floats(o->bias),
                 .d = floats(sum),
                 .ldx = o->x.ld,
                 .ldy = o->w.ld,
                 .ldc = o->residual.ld,
                 .ldd = sum.ld,
                 .y_transposed = true};
    cuda_product(dev, stream, &p);
    if (!act) return;
    cuda_apply(dev, stream,
               &(apply_call){.rows = rows,
                             .cols = cols,
                             .act = o->act,
                             .x = floats(sum),
                             .residual = floats(o->residual),
                             .y = floats(o->out),
                             .ldx = sum.ld,
                             .ldr = o->residual.ld,
                             .ldy = o->out.ld});
}

void cuda_activate(device *dev, int stream, const activate_op *o)
{
    cuda_apply(dev, stream,
               &(apply_call){.rows = tensor_rows(o->x),
                             .cols = tensor_cols(o->x),
                             .act = o->act,
                             .x = floats(o->x),
                             .y = floats(o->out),
                             .ldx = o->x.ld,
                             .ldy = o->out.ld});
}

void cuda_linear_dx(device *dev, int stream, const linear_dx_op *o)
{
    product p = {.rows = tensor_rows(o->dx),
                 .cols = tensor_cols(o->dx),
                 .inner = tensor_cols(o->dout),
                 .x = floats(o->dout),
                 .y = floats(o->w),
                 .c = o->accumulate ? floats(o->dx) : NULL,
                 .d = floats(o->dx),
                 .ldx = o->dout.ld,
                 .ldy = o->w.ld,
                 .ldc = o->dx.ld,
                 .ldd = o->dx.ld};
    cuda_product(dev, stream, &p);
    if (o->act != ACT_NONE) cuda_apply_grad(dev, stream, o->act, o->dx, o->pre);
}

void cuda_linear_dw(device *dev, int stream, const linear_dw_op *o)
{
    tensor dw = o->dw.t;
    if (present(o->db.t)) cuda_column_sums(dev, stream, o->db, o->dout);
    if (!present(dw)) return;
    product p = {.rows = tensor_rows(dw),
                 .cols = tensor_cols(dw),
                 .inner = tensor_rows(o->dout),
                 .x = floats(o->dout),
                 .y = floats(o->x),
                 .c = o->dw.accumulate ? floats(dw) : NULL,
                 .d = floats(dw),
                 .ldx = o->dout.ld,
                 .ldy = o->x.ld,
                 .ldc = dw.ld,
                 .ldd = dw.ld,
                 .x_transposed = true};
    cuda_product(dev, stream, &p);
}

void cuda_matmul(device *dev, int stream, const matmul_op *o)
{
    product p = {.rows = tensor_rows(o->out),
                 .cols = tensor_cols(o->out),
                 .inner = o->x_transposed ? tensor_rows(o->x) : tensor_cols(o->x),
                 .x = floats(o->x),
                 .y = floats(o->y),
                 .c = o->beta != 0 ? floats(o->out) : NULL,
                 .d = floats(o->out),
                 .ldx = o->x.ld,
                 .ldy = o->y.ld,
                 .ldc = o->out.ld,
                 .ldd = o->out.ld,
                 .x_transposed = o->x_transposed,
                 .y_transposed = o->y_transposed,
                 .scaled = true,
                 .alpha = (float)o->alpha,
                 .beta = (float)o->beta};
    cuda_product(dev, stream, &p);
}
