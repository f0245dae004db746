/* projection.h - a layer's products: with its matrix, and with those of its adapters (lora.h).
 *
 *     forward    out = act(x W' + bias) + residual + s (x A') B'
 *     backward   dW = dout' x      h = s x A'     g = s dout B      dB = dout' h     dA = g' x
 *                dx = dout W + g A
 *
 * With run.dropout an adapter reads another x, of which elements are left out at random; in
 * backward they are left out again.
 *
 * h is not kept but recomputed from x: it costs r columns where the layer has hundreds.  Backward
 * is in three parts, so that the memory of x and dout can be given back between them:
 *
 *     linear_begin_grad    the gradients of what the layer has; reads x for the last time
 *     linear_input_grad    dx; only if a gradient is wanted below
 *     linear_end_grad      W and A are read no more
 */
#ifndef REGRAD_PROJECTION_H
#define REGRAD_PROJECTION_H

#include "model/lora.h"
#include "params/params.h"

/* Parameter ids of a layer or a norm; bias is -1 without; adapter: see lora_declare. */
typedef struct {
    int weight, bias;
    int adapter[LORA_PARTS];
} weight_ids;

/* (b,t,cols) at the beginning of a block for (b,room,cols) */
tensor take_part(run *r, int64_t b, int64_t t, int64_t room, int64_t cols, block_name name);

/* Places where a training pass leaves elements out. */
enum {
    SITE_EMBEDDING = 0,
    SITE_BRANCHES = 1 /* + 2 layer + branch */,
    SITE_ADAPTERS = 1 << 20 /* + id of A */
};

/* out = residual + x with elements left out at a site; rows are the batch's.  residual may be absent. */
void leave_out(run *r, double rate, uint64_t site, tensor out, tensor x, tensor residual);

/* Is anything left out of the embedding and of branches, or (adapters) of what these read? */
static inline bool leaves_out(const run *r)
{
    return present(r->dropout.start) && r->dropout.rate > 0;
}
static inline bool adapters_leave_out(const run *r)
{
    return present(r->dropout.start) && r->dropout.adapter_rate > 0;
}

/* The hooks of params/params.h of a parameter that a layer may be without: id < 0. */
tensor use_if_any(run *r, int id);
void done_if_any(run *r, int id);
grad begin_if_any(run *r, int id);
void finish_if_any(run *r, int id);

/* Has it an adapter?  Then its activation is an operation of its own: act
 * must be ACT_NONE below. */
bool linear_adapted(weight_ids ids);

/* Whether a gradient is wanted that is made of its input; of the layer or of anything below. */
bool linear_wants_input(const run *r, weight_ids ids);
bool grads_through(const run *r, weight_ids ids);

/* out = act(linear(x)) + residual; residual and pre may be absent.  Of x (b,t,in) with an adapter memory is
 * taken for room >= t. */
void apply_linear_in(run *r, weight_ids ids, tensor out, tensor x, int64_t room, tensor residual,
                     activation act, tensor pre);
/* The same for room = t. */
void apply_linear(run *r, weight_ids ids, tensor out, tensor x, tensor residual, activation act,
                  tensor pre);

/* The part of a layer that is in use between the parts of its backward. */
typedef struct {
    tensor w;
    tensor g[LORA_PARTS]; /* ? (R,r): gradient of x A' */
} linear_grads;

/* x may be absent if linear_wants_input is false. */
linear_grads linear_begin_grad(run *r, weight_ids ids, tensor x, tensor dout);
/* dx (+)= ..., times act'(pre) if there is an act (core/ops.def, linear_dx; not with accumulate) */
void linear_input_grad(run *r, weight_ids ids, linear_grads *g, tensor dx, bool accumulate,
                       tensor dout, tensor pre, activation act);
void linear_end_grad(run *r, weight_ids ids, linear_grads *g);

#endif
