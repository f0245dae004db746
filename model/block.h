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
 * This is the sequential form.  In the parallel ones both branches read x, each through its own
 * norm or both through norm1:
 *
 *      x --> norm1 -> qkv -> attention -> project -> (+ x) = mid
 *      x --> norm2 -> up -> act ----------> down -> (+ mid) = out
 *
 * There may also be norms after the branches (post1, post2), in addition to those before them or
 * instead:
 *
 *      x --> qkv -> attention -> project = raw1 -> post1 -> (+ x) = mid
 *      mid --> up -> act ----------> down = raw2 -> post2 -> (+ mid) = out         raw1 raw2
 *
 * With a gate, up computes two halves, and act is act(first) * second.  All options are in
 * model/config.h; no family is named here.
 *
 * The residual additions and the activation are part of the products (core/ops.def, linear).  In
 * backward one tensor, the gradient of the residual stream, is carried down and accumulated in
 * place. Each step frees what it reads for the last time, to make room for the next gradient; only
 * then does it call param_done, so that a weight's update (under release) finds that room, too.
 *
 * Forward does not keep what no wanted gradient needs (params/params.h), nor what is to be
 * recomputed (recompute.h).  It is written as functions that compute one tensor each; backward
 * calls the same functions for whatever is missing.
 */
#ifndef REGRAD_BLOCK_H
#define REGRAD_BLOCK_H

#include "params/params.h"
#include "model/config.h"
#include "model/projection.h"
#include "model/training_policy.h"

typedef struct {
    weight_ids norm1, qkv, project, post1, norm2, up, down, post2; /* norms: if present */
    int q_norm, k_norm;                                            /* -1 if absent */
} block_ids;

/* What forward keeps for backward. */
typedef struct {
    tensor x;                   /* (B,T,C): the block's input */
    tensor norm1, mean1, rstd1; /* (B,T,C), (B,T) */
    tensor qkv;                 /* (B,T,(H+2KV)D), queries and keys after norms and rotations */
    tensor heads;               /* (B,T,(H+KV)D): queries and keys before their norms */
    tensor att, lse;            /* (B,T,HD), (B,H,T) */
    tensor raw1, raw_rstd1;     /* (B,T,C), (B,T): what post1 reads */
    tensor mid;                 /* (B,T,C) */
    tensor norm2, mean2, rstd2;
    tensor pre, act; /* (B,T,inner); pre twice as wide when gated */
    tensor raw2, raw_rstd2;
    /* ? inputs of qkv, project, up and down, kept in 8 bits in place of norm1, norm2 and act, and
     * beside att */
    narrow_input qkv_in, project_in, up_in, down_in;
    tensor out;  /* (B,T,C): becomes the next block's x, which then owns it */
    tensor drop; /* ? (2,B) stat, set by the model: the factor of each branch */
} block_state;

/* All of them that a block may keep: neither out nor drop. */
enum { BLOCK_KEPT = 26 };
void block_kept(block_state *s, tensor *all[BLOCK_KEPT]);

/* Adds the block's rows to the table. */
error *block_declare(const model_config *c, const lora_plan *lora, int layer, params *p,
                     block_ids *ids) NODISCARD;

typedef enum {
    BLOCK_INFER, /* keep only out */
    BLOCK_TRAIN, /* keep in s what backward needs */
    BLOCK_AGAIN  /* keep only x and out */
} block_purpose;

/* x (B,T,C) -> s->out.  The block takes ownership of x. */
void block_forward(runtime *r, const model_config *c, const training_policy *how, int layer,
                   const block_ids *ids, tensor x, block_purpose why, block_state *s);

/* KV cache of a layer for up to P positions of B sequences. */
typedef struct {
    tensor keys, values; /* (B,KV,P,D) */
} block_cache;

block_cache block_cache_take(runtime *r, const model_config *c, int layer, int64_t b, int64_t p);
void block_cache_drop(runtime *r, block_cache *kv);

/* The same forward for tokens position .. position + T of sequences whose earlier tokens are in the
 * cache; adds these.  All blocks of the arena have the size for T = room, so that a recorded
 * program serves any T up to that. */
void block_decode(runtime *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                  const block_cache *kv, int64_t position, int64_t room, block_state *s);

/* Whether a gradient is wanted in this block or below it: if not, forward keeps nothing, and
 * backward can stop above it. */
bool block_wanted(const runtime *r, const model_config *c, const block_ids *ids);

/* d (B,T,C): gradient of out on entry, of x on return (undefined if no gradient below is wanted).
 * s->x must be present if it is needed.  Frees all of s but out. */
void block_backward(runtime *r, const model_config *c, const training_policy *how, int layer,
                    const block_ids *ids, tensor d, block_state *s);

/* ---- all blocks of a model, in sequence (block_stack.c) ---- */

/* x (B,T,C), whose ownership they take, through all blocks; returns the last one's output.  noise:
 * ? (2L,B), the factor of each branch. */
tensor blocks_forward(runtime *r, const model_config *c, const training_policy *how,
                      const block_ids *ids, tensor x, tensor noise, block_purpose why,
                      block_state *s);
/* Down to the lowest block with a wanted gradient; d as above. */
void blocks_backward(runtime *r, const model_config *c, const training_policy *how,
                     const block_ids *ids, tensor d, block_state *s);

/* ---- shared with the ends of the models ---- */

error *declare(params *p, param_spec spec, int *id) NODISCARD;
/* One called front + rest. */
enum { DECLARED_NAME = 160 };
error *declare_named(params *p, const char *front, const char *rest, param_spec spec,
                     int *id) NODISCARD;
error *declare_norm(const model_config *c, params *p, tensor_names names, int layer,
                    weight_ids *ids) NODISCARD;

/* out = norm(x); mean and rstd may be absent */
void apply_norm(runtime *r, const model_config *c, weight_ids ids, tensor out, tensor x,
                tensor mean, tensor rstd);
void apply_norm_grad(runtime *r, const model_config *c, weight_ids ids, tensor dx, bool accumulate,
                     tensor dout, tensor x, tensor mean, tensor rstd);

#endif
