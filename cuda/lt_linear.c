/* lt_linear.c - the products: y = act(x w^T + bias) + residual, and the gradients of x, w and b.
 *
 * cublasLt adds bias and residual in its epilogue.  An activation is a separate pass over (R,N), 2
 * or 3 times an element's size each: the library's GELU is applied to the sum before it is rounded
 * to `pre`, ours to the rounded value.  Its derivative is of `pre` in both; so in bf16 the gradient
 * of the tanh form is part of the product, if `pre` is aligned as the library requires. */
#include "cuda/cuda_internal.h"

static void *address(tensor t)
{
    return present(t) ? t.data : NULL;
}

void cuda_linear(device *dev, int stream, const linear_op *o)
{
    bool act = o->act != ACT_NONE;
    tensor sum = present(o->pre) ? o->pre : o->out;
    int64_t rows = tensor_rows(o->out), cols = tensor_cols(o->out);
    product p = {.rows = rows,
                 .cols = cols,
                 .inner = tensor_cols(o->w),
                 .type = o->w.type,
                 .x = address(o->x),
                 .y = address(o->w),
                 .c = act ? NULL : address(o->residual),
                 .bias = address(o->bias),
                 .d = address(sum),
                 .ldx = o->x.ld,
                 .ldy = o->w.ld,
                 .ldc = o->residual.ld,
                 .ldd = sum.ld,
                 .y_transposed = true};
    if (o->narrow)
        cuda_product_narrow(dev, stream, &p, (narrow_form){E4M3, o->codes, o->scale},
                            (narrow_form){.format = E4M3});
    cuda_product(dev, stream, &p);
    if (!act) return;
    cuda_apply(dev, stream,
               &(apply_call){.rows = rows,
                             .cols = cols,
                             .act = o->act,
                             .type = o->out.type,
                             .x = address(sum),
                             .residual = address(o->residual),
                             .y = address(o->out),
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
                             .type = o->out.type,
                             .x = address(o->x),
                             .y = address(o->out),
                             .ldx = o->x.ld,
                             .ldy = o->out.ld});
}

/* The whole of it by cublasLt, if it can. */
static bool linear_dx_with_gelu(device *dev, int stream, const linear_dx_op *o, const product *sum)
{
    if (o->act != ACT_GELU_TANH || o->w.type != BF16 || o->accumulate || sum->narrow) return false;
    product p = *sum;
    p.gelu_of = address(o->pre), p.ld_gelu = o->pre.ld;
    return cuda_product(dev, stream, &p);
}

void cuda_linear_dx(device *dev, int stream, const linear_dx_op *o)
{
    product p = {.rows = tensor_rows(o->dx),
                 .cols = tensor_cols(o->dx),
                 .inner = tensor_cols(o->dout),
                 .type = o->dout.type,
                 .x = address(o->dout),
                 .y = address(o->w),
                 .c = o->accumulate ? address(o->dx) : NULL,
                 .d = address(o->dx),
                 .ldx = o->dout.ld,
                 .ldy = o->w.ld,
                 .ldc = o->dx.ld,
                 .ldd = o->dx.ld};
    if (o->narrow)
        cuda_product_narrow(dev, stream, &p, (narrow_form){E5M2, o->codes, o->scale},
                            (narrow_form){.format = E4M3});
    if (linear_dx_with_gelu(dev, stream, o, &p)) return;
    cuda_product(dev, stream, &p);
    if (o->act != ACT_NONE) cuda_apply_grad(dev, stream, o->act, o->dx, o->pre);
}

/* The sums over rows that make db are an epilogue of the product that makes dw: dout is not read
 * again. The library overwrites db, and cannot accumulate. */
static bool linear_dw_with_db(device *dev, int stream, const linear_dw_op *o, const product *dw)
{
    if (!present(o->db.t) || o->db.accumulate || dw->narrow) return false;
    product p = *dw;
    p.x_sums = o->db.t.data;
    return cuda_product(dev, stream, &p);
}

void cuda_linear_dw(device *dev, int stream, const linear_dw_op *o)
{
    tensor dw = o->dw.t;
    if (!present(dw)) {
        cuda_column_sums(dev, stream, o->db, o->dout);
        return;
    }
    product p = {.rows = tensor_rows(dw),
                 .cols = tensor_cols(dw),
                 .inner = tensor_rows(o->dout),
                 .type = o->dout.type,
                 .x = address(o->dout),
                 .y = address(o->x),
                 .c = o->dw.accumulate ? address(dw) : NULL,
                 .d = address(dw),
                 .ldx = o->dout.ld,
                 .ldy = o->x.ld,
                 .ldc = dw.ld,
                 .ldd = dw.ld,
                 .x_transposed = true};
    if (o->narrow)
        cuda_product_narrow(dev, stream, &p, (narrow_form){E5M2, o->turned_dout, o->scale_dout},
                            (narrow_form){E4M3, o->turned_x, o->scale_x});
    if (linear_dw_with_db(dev, stream, o, &p)) return;
    if (present(o->db.t)) cuda_column_sums(dev, stream, o->db, o->dout);
    cuda_product(dev, stream, &p);
}

void cuda_matmul(device *dev, int stream, const matmul_op *o)
{
    product p = {.rows = tensor_rows(o->out),
                 .cols = tensor_cols(o->out),
                 .inner = o->x_transposed ? tensor_rows(o->x) : tensor_cols(o->x),
                 .type = o->out.type,
                 .x = address(o->x),
                 .y = address(o->y),
                 .c = o->beta != 0 ? address(o->out) : NULL,
                 .d = address(o->out),
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
