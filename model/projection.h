/* projection.h - a linear layer: the product with its matrix, and those with its adapters (lora.h).
 *
 *     forward    out = act(x W' + bias) + residual + s (x A') B'
 *     backward   dW = dout' x      h = s x A'     g = s dout B      dB = dout' h     dA = g' x
 *                dx = dout W + g A
 *
 * With runtime.dropout an adapter reads x with elements dropped; in backward the same ones are
 * dropped again.
 *
 * h is not kept but recomputed from x: it has r columns where the layer has hundreds.  Backward has
 * three parts, so that the memory of x and dout can be freed between them:
 *
 *     linear_begin_grad    the gradients of the layer's parameters; reads x for the last time
 *     linear_input_grad    dx; only if a gradient is wanted below
 *     linear_end_grad      W and A are no longer needed
 */
#ifndef REGRAD_PROJECTION_H
#define REGRAD_PROJECTION_H

#include "model/lora.h"
#include "params/params.h"

/* Parameter ids of a layer or a norm; bias is -1 if absent; adapter: see lora_declare. */
typedef struct {
    int weight, bias;
    int adapter[LORA_PARTS];
} weight_ids;

/* A weight (N,...) as a matrix of N rows; absent if it is. */
tensor as_matrix(tensor w);

/* The first (b,t,cols) of a block for (b,room,cols) */
tensor take_part(runtime *r, int64_t b, int64_t t, int64_t room, int64_t cols, block_name name);

/* Where a training pass applies dropout. */
enum {
    SITE_EMBEDDING = 0,
    SITE_BRANCHES = 1 /* + 2 layer + branch */,
    SITE_ADAPTERS = 1 << 20 /* + id of A */
};

/* out = residual + dropout(x) at a site; rows are the batch's.  residual may be absent. */
void leave_out(runtime *r, double rate, uint64_t site, tensor out, tensor x, tensor residual);

/* Is there dropout on the embedding and the branches, or (adapters) on the adapters' inputs? */
static inline bool leaves_out(const runtime *r)
{
    return present(r->dropout.start) && r->dropout.rate > 0;
}
static inline bool adapters_leave_out(const runtime *r)
{
    return present(r->dropout.start) && r->dropout.adapter_rate > 0;
}

/* The hooks of params/params.h for an optional parameter: id < 0 if absent. */
tensor use_if_any(runtime *r, int id);
void done_if_any(runtime *r, int id);
grad begin_if_any(runtime *r, int id);
void finish_if_any(runtime *r, int id);

/* Does it have an adapter?  Then its activation is a separate operation: act must be ACT_NONE
 * below. */
bool linear_adapted(weight_ids ids);

/* Whether a gradient is wanted that depends on its input: the layer's own or one below. */
bool linear_wants_input(const runtime *r, weight_ids ids);
bool grads_through(const runtime *r, weight_ids ids);

/* out = act(linear(x)) + residual; residual and pre may be absent.  With an adapter, memory is
 * allocated for room >= t. */
void apply_linear_in(runtime *r, weight_ids ids, tensor out, tensor x, int64_t room,
                     tensor residual, activation act, tensor pre);

/* What backward needs of a layer's input, in 8 bits. */
typedef struct {
    tensor turned, scale; /* ? (K,R') u8, and its factor (core/ops.def, narrow) */
} narrow_input;

/* Does this layer keep its input for backward in 8 bits, in place of x? */
bool linear_keeps_narrow(const runtime *r, weight_ids ids);
/* As apply_linear, but of x, or made(x), in 8 bits; the transposed codes are in *keep for
 * backward. */
void apply_linear_keeping(runtime *r, weight_ids ids, tensor out, tensor x, activation made,
                          narrow_input *keep, tensor residual, activation act, tensor pre);
void narrow_input_drop(runtime *r, narrow_input *n);
/* As apply_linear_in, for room = t. */
void apply_linear(runtime *r, weight_ids ids, tensor out, tensor x, tensor residual, activation act,
                  tensor pre);

/* The parameters of a layer in use between the parts of its backward. */
typedef struct {
    tensor w;
    tensor g[LORA_PARTS]; /* ? (R,r): gradient of x A' */
    tensor codes, scale;  /* ? dout in 8 bits */
} linear_grads;

/* A factor of dout that is still missing: act'(pre).  Only where linear_keeps_narrow. */
typedef struct {
    tensor pre; /* ? */
    activation act;
} late_slope;

/* x may be absent if linear_wants_input is false, or the input was kept in 8 bits. */
linear_grads linear_begin_grad(runtime *r, weight_ids ids, tensor x, const narrow_input *kept,
                               tensor dout, late_slope slope);
/* dx (+)= ..., times act'(pre) if there is an act (core/ops.def, linear_dx; not when
 * accumulating) */
void linear_input_grad(runtime *r, weight_ids ids, linear_grads *g, tensor dx, bool accumulate,
                       tensor dout, tensor pre, activation act);
void linear_end_grad(runtime *r, weight_ids ids, linear_grads *g);

#endif
