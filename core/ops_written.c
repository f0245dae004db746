/* ops_written.c - what each operation writes, for the watch of a device (core/ops.h). */
#include "core/ops_internal.h"

int written_fill(const fill_op *o, tensor *w)
{
    return w[0] = o->x, 1;
}
int written_copy(const copy_op *o, tensor *w)
{
    return w[0] = o->dst, 1;
}
int written_embedding(const embedding_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_embedding_grad(const embedding_grad_op *o, tensor *w)
{
    return w[0] = o->dwte.t, w[1] = o->dwpe.t, 2;
}
int written_norm(const norm_op *o, tensor *w)
{
    return w[0] = o->mean, w[1] = o->rstd, w[2] = o->out, 3;
}
int written_norm_grad(const norm_grad_op *o, tensor *w)
{
    return w[0] = o->dx, w[1] = o->dw.t, w[2] = o->db.t, 3;
}
int written_linear(const linear_op *o, tensor *w)
{
    return w[0] = o->pre, w[1] = o->out, 2;
}
int written_activate(const activate_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_linear_dx(const linear_dx_op *o, tensor *w)
{
    return w[0] = o->dx, 1;
}
int written_linear_dw(const linear_dw_op *o, tensor *w)
{
    return w[0] = o->dw.t, w[1] = o->db.t, 2;
}
int written_add(const add_op *o, tensor *w)
{
    return w[0] = o->x, 1;
}
int written_matmul(const matmul_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_normalize(const normalize_op *o, tensor *w)
{
    return w[0] = o->x, 1;
}
int written_attention(const attention_op *o, tensor *w)
{
    return w[0] = o->out, w[1] = o->lse, 2;
}
int written_attention_grad(const attention_grad_op *o, tensor *w)
{
    return w[0] = o->dqkv, 1;
}
int written_attention_cached(const attention_cached_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_head_norm(const head_norm_op *o, tensor *w)
{
    return w[0] = o->x, 1;
}
int written_head_norm_grad(const head_norm_grad_op *o, tensor *w)
{
    return w[0] = o->dx, w[1] = o->dw1.t, w[2] = o->dw2.t, 3;
}
int written_rotary(const rotary_op *o, tensor *w)
{
    return w[0] = o->x, 1;
}
int written_gate(const gate_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_gate_grad(const gate_grad_op *o, tensor *w)
{
    return w[0] = o->x, 1;
}
int written_classify(const classify_op *o, tensor *w)
{
    return w[0] = o->losses, w[1] = o->logits, 2;
}
int written_loss(const loss_op *o, tensor *w)
{
    return w[0] = o->sum, 1;
}
int written_sumsq(const sumsq_op *o, tensor *w)
{
    return w[0] = o->n ? o->items[0].slot : (tensor){0}, 1;
}
int written_clip(const clip_op *o, tensor *w)
{
    return w[0] = o->slots, 1;
}
int written_optim(const optim_op *o, tensor *w)
{
    return w[0] = o->n ? o->items[0].p : (tensor){0}, 1;
}
int written_nonfinite(const nonfinite_op *o, tensor *w)
{
    return w[0] = (tensor){0}, (void)o, 0;
}

int written_patches(const patches_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_positions(const positions_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_positions_grad(const positions_grad_op *o, tensor *w)
{
    return w[0] = o->dx, w[1] = o->dfirst.t, w[2] = o->dpositions.t, 3;
}
int written_pool(const pool_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_pool_grad(const pool_grad_op *o, tensor *w)
{
    return w[0] = o->dx, 1;
}
int written_scale_samples(const scale_samples_op *o, tensor *w)
{
    return w[0] = o->out, 1;
}
int written_classify_soft(const classify_soft_op *o, tensor *w)
{
    return w[0] = o->losses, w[1] = o->logits, 2;
}
