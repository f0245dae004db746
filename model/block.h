/* block.h - one transformer block, forward and backward.
 *
 *      x ----------------------------+                         kept for backward
 *      |                             |
 *    norm1 -> qkv -> attention -> project -> (+) = mid         x norm1 qkv att lse mid
 *                                             |
 *      mid ---------------------------+       |
 *      |                              |       |
 *    norm2 -> up -> act ----------> down -> (+) = out          norm2 pre act
 *
 * That is the sequential form.  In the parallel ones both branches read x, each through a norm of
 * its own or both through norm1:
 *
 *      x --> norm1 -> qkv -> attention -> project -> (+ x) = mid
 *      x --> norm2 -> up -> act ----------> down -> (+ mid) = out
 *
 * Norms may also lie after the branches (post1, post2), with those before them or instead:
 *
 *      x --> qkv -> attention -> project = raw1 -> post1 -> (+ x) = mid
 *      mid --> up -> act ----------> down = raw2 -> post2 -> (+ mid) = out         raw1 raw2
 *
 * With a gate, up puts out two halves, and act is act(first) * second.  All options are in
 * model/config.h; no family is named here.
 *
 * The residual additions and the activation are part of the products (core/ops.def, linear).  In
 * backward one tensor, the gradient of the residual stream, is carried down and added to in place.
 * Each step gives back what it has read last, so that the next gradient can be there; only then is
 * a weight done, so that its update (under release) finds that room, too.
 *
 * Of what is kept, forward leaves out what no gradient needs that is wanted (params/params.h), and
 * what is to be recomputed (recompute.h).  Forward is written as pieces that make one tensor each;
 * backward calls the same pieces for what is not there.
 */
#ifndef REGRAD_BLOCK_H
#define REGRAD_BLOCK_H

#include "params/params.h"
#include "model/config.h"
#include "model/projection.h"
#include "model/training_policy.h"

typedef struct {
    weight_ids norm1, qkv, project, post1, norm2, up, down, post2; /* norms: where there are */
    int q_norm, k_norm;                                            /* -1 without */
} block_ids;

/* What forward keeps for backward. */
typedef struct {
    tensor x;                   /* (B,T,C): the block's input */
    tensor norm1, mean1, rstd1; /* (B,T,C), (B,T) */
    tensor qkv;                 /* (B,T,(H+2KV)D), queries and keys with norms and rotations */
    tensor heads;               /* (B,T,(H+KV)D): queries and keys before their norms */
    tensor att, lse;            /* (B,T,HD), (B,H,T) */
    tensor raw1, raw_rstd1;     /* (B,T,C), (B,T): what post1 reads */
    tensor mid;                 /* (B,T,C) */
    tensor norm2, mean2, rstd2;
    tensor pre, act; /* (B,T,inner); pre twice as wide when gated */
    tensor raw2, raw_rstd2;
    tensor out;  /* (B,T,C): the next block's x, whose it is then */
    tensor drop; /* ? (2,B) stat, set by the model: what each branch is multiplied by */
} block_state;

/* Adds the block's rows to the table. */
error *block_declare(const model_config *c, const lora_plan *lora, int layer, params *p,
                     block_ids *ids) NODISCARD;

typedef enum {
    BLOCK_INFER, /* nothing stays but out */
    BLOCK_TRAIN, /* s holds what backward needs */
    BLOCK_AGAIN  /* only x stays, and out */
} block_purpose;

/* x (B,T,C) -> s->out.  x is the block's from now on. */
void block_forward(run *r, const model_config *c, const training_policy *how, int layer,
                   const block_ids *ids, tensor x, block_purpose why, block_state *s);

/* Keys and values of a layer for up to P places of B sequences. */
typedef struct {
    tensor keys, values; /* (B,KV,P,D) */
} block_cache;

block_cache block_cache_take(run *r, const model_config *c, int layer, int64_t b, int64_t p);
void block_cache_drop(run *r, block_cache *kv);

/* The same forward for tokens position .. position + T of sequences whose earlier ones are in the
 * cache, to which these are added.  All blocks of the arena have the size for T = room, so that a
 * recorded program serves any T up to that. */
void block_decode(run *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                  const block_cache *kv, int64_t position, int64_t room, block_state *s);

/* Whether a gradient is wanted in this block or below it: else forward keeps nothing, and backward
 * need not come here. */
bool block_wanted(const run *r, const model_config *c, const block_ids *ids);

/* d (B,T,C): gradient of out on entry, of x on return (anything, if no gradient below is wanted).
 * s->x must be there if it is needed.  Drops all of s but out. */
void block_backward(run *r, const model_config *c, const training_policy *how, int layer,
                    const block_ids *ids, tensor d, block_state *s);

/* ---- all of a model's blocks, one on the other (block_stack.c) ---- */

/* x (B,T,C), which is theirs from now on, through all blocks; the last one's output.  noise: ?
 * (2L,B), what each branch is multiplied by. */
tensor blocks_forward(run *r, const model_config *c, const training_policy *how,
                      const block_ids *ids, tensor x, tensor noise, block_purpose why,
                      block_state *s);
/* Down to the lowest block that a gradient is wanted of; d as above. */
void blocks_backward(run *r, const model_config *c, const training_policy *how,
                     const block_ids *ids, tensor d, block_state *s);

/* ---- shared with the ends of the models ---- */

error *declare(params *p, param_spec spec, int *id) NODISCARD;
error *declare_norm(const model_config *c, params *p, tensor_names names, int layer,
                    weight_ids *ids) NODISCARD;

/* out = norm(x); mean and rstd may be absent */
void apply_norm(run *r, const model_config *c, weight_ids ids, tensor out, tensor x, tensor mean,
                tensor rstd);
void apply_norm_grad(run *r, const model_config *c, weight_ids ids, tensor dx, bool accumulate,
                     tensor dout, tensor x, tensor mean, tensor rstd);

#endif
