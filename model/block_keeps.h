/* block_keeps.h - which tensors of a block forward leaves for backward.
 *
 *     wanted gradients (params/params.h) --> what backward reads  --+
 *                                                                 |--> what forward keeps
 *     --recompute (recompute.h) ---------> what it makes again  --+    (and what that is made from)
 */
#ifndef REGRAD_KEPT_H
#define REGRAD_KEPT_H

#include "model/block.h"

/* The tensors of a block_state, as bits of a set; qkv means lse and heads, too. */
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
    ACT = 512
};

/* The norm whose output both branches read. */
static inline bool one_norm(const model_config *c)
{
    return c->residual == RESIDUAL_PARALLEL_ONE_NORM;
}

/* What forward leaves: what backward reads and does not make again, and what it makes that from. */
unsigned kept_by_forward(const run *r, const model_config *c, const recompute_plan *plan, int layer,
                         const block_ids *ids);

/* What stays in backward when it has been read.  Norms are made again for each reader: they cost
 * little, and what lies beside them is large. */
unsigned kept_in_backward(const run *r, const model_config *c, const recompute_plan *plan,
                          int layer, const block_ids *ids);

#endif
