/* block_keeps.c - see block_keeps.h */
#include "model/block_keeps.h"

/* What backward reads: the inputs of the wanted gradients, and of everything that the gradient of
 * the residual stream passes through on its way to those below. */
static unsigned needs(const runtime *r, const model_config *c, const block_ids *ids)
{
    unsigned all = 0;
    bool before = norms_before(c);
    if (norms_after(c) && grads_through(r, ids->post2)) all |= RAW2;
    if (linear_wants_input(r, ids->down)) all |= ACT;
    if (grads_below(r, ids->down.weight)) all |= PRE;
    if (linear_wants_input(r, ids->up)) all |= !before ? MID : one_norm(c) ? NORM1 : NORM2;
    if (c->residual == RESIDUAL_SEQUENTIAL && before && grads_below(r, ids->up.weight))
        all |= MID | STATS2;
    if (c->residual == RESIDUAL_PARALLEL && grads_below(r, ids->up.weight)) all |= X | STATS2;
    if (norms_after(c) && grads_through(r, ids->post1)) all |= RAW1;
    if (linear_wants_input(r, ids->project)) all |= ATT;
    if (grads_below(r, ids->project.weight)) all |= QKV | ATT;
    if (linear_wants_input(r, ids->qkv)) all |= before ? NORM1 : X;
    if (before && grads_below(r, ids->qkv.weight)) all |= X | STATS1;
    return all;
}

/* Which of these are recomputed. */
static unsigned recomputed(recompute_level level)
{
    switch (level) {
    case RECOMPUTE_NONE:
        return 0;
    case RECOMPUTE_NORMS:
        return NORM1 | NORM2;
    case RECOMPUTE_GELU:
        return NORM1 | NORM2 | ACT;
    case RECOMPUTE_ATTENTION:
        return NORM1 | NORM2 | ACT | QKV | ATT;
    default:
        return ~(unsigned)X;
    }
}

unsigned forward_keeps(const runtime *r, const model_config *c, const recompute_plan *plan,
                       int layer, const block_ids *ids)
{
    unsigned again = recomputed(recompute_of(plan, layer)), all = needs(r, c, ids),
             lost = all & again, keeps = all & ~lost;
    bool after =
        c->residual == RESIDUAL_SEQUENTIAL; /* the MLP reads mid; in parallel forms it reads x, as
                                             * attention does */
    bool act_again = lost & ACT && !(keeps & PRE),
         mlp_again = lost & (NORM2 | PRE | RAW2) || act_again;
    if (mlp_again && after && !(again & MID)) keeps |= MID;
    if (lost & (NORM1 | STATS1 | QKV | ATT | RAW1 | MID)) keeps |= X;
    if (mlp_again && (!after || again & MID)) keeps |= X;
    int lowest = norms_before(c) ? ids->norm1.weight : ids->qkv.weight;
    if (recompute_input(plan, layer) && grads_below(r, lowest)) keeps &= ~(unsigned)X;
    return keeps;
}

unsigned backward_keeps(const runtime *r, const model_config *c, const recompute_plan *plan,
                        int layer, const block_ids *ids)
{
    unsigned again = recomputed(recompute_of(plan, layer));
    return X | (needs(r, c, ids) & ~(again & (NORM1 | NORM2)));
}
