/* block_keeps.h - which tensors of a block forward keeps for backward.
 *
 *     wanted gradients (params/params.h) --> what backward reads  --+
 *                                                                   |--> what forward keeps
 *     --recompute (recompute.h) --> what backward recomputes -------+    (and what that needs)
 */
#ifndef REGRAD_BLOCK_KEEPS_H
#define REGRAD_BLOCK_KEEPS_H

#include "model/block.h"

/* The tensors of a block_state, as bits of a set; qkv includes lse and heads. */
enum {
    X = 1,
    NORM1 = 2,
    STATS1 = 4,
    QKV = 8,
    ATT = 16,
    MID = 32,
    NORM2 = 64,
    STATS2 = 128,
    PRE = 256,
    ACT = 512,
    RAW1 = 1024, /* with its rstd */
    RAW2 = 2048
};

/* The norm whose output both branches read. */
static inline bool one_norm(const model_config *c)
{
    return c->residual == RESIDUAL_PARALLEL_ONE_NORM;
}

/* What forward keeps: what backward reads and does not recompute, and what recomputation starts
 * from. */
unsigned forward_keeps(const runtime *r, const model_config *c, const recompute_plan *plan,
                       int layer, const block_ids *ids);

/* What backward keeps after the first read.  Norms are recomputed for each reader: they are cheap,
 * and what is allocated in between is large. */
unsigned backward_keeps(const runtime *r, const model_config *c, const recompute_plan *plan,
                        int layer, const block_ids *ids);

#endif
