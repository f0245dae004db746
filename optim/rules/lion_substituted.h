/* lion_substituted.h - the passes of Lion_R as published (Dong, Lin, PRCV 2024): m is updated first
 * and c is recovered from the new m, so that c can use the gradient's space:
 *
 *   p <- p (1 - lr wd)
 *   m <- b2 m + (1-b2) g
 *   g <- m - (1 - b1/b2) (m - g)   = b1 m_old + (1-b1) g in exact arithmetic
 *   p <- p - lr sign(g)
 *
 * The third line is torch.lerp(g, m, b1/b2), which the authors' program (adonis-dym/
 * memory_reduced_optimizer, Lion_R.py) calls.  It begins at the nearer end: below a weight of 1/2
 * it is g + b1/b2 (m - g), which with b1/b2 near 1 would give a wrong sign more often.
 * Rounded, c differs in its last bits, so a sign near zero can flip and move a weight by 2 lr.
 * Needs b2 > 0; b1 > b2 extrapolates.
 */
#ifndef REGRAD_RULE_LION_SUBSTITUTED_H
#define REGRAD_RULE_LION_SUBSTITUTED_H

#include "optim/rules/lion.h"

RULE_INFO lion_substituted_info = {
    .name = "lion_substituted",
    .summary = "the passes of Lion_R as published",
    .state = {"exp_avg"},
    .n_states = 1,
    .n_passes = 6,
    .sees = BY_ELEMENT,
    .options = HAS_BETA1 | HAS_BETA2,
    .lr = 1e-4,
    .beta = {0.9, 0.99},
    .weight_decay = 0.0,
};

HOST_DEVICE float rule_between(float from, float to, float weight)
{
    float way = to - from;
    return weight < 0.5f ? from + weight * way : to - (1.0f - weight) * way;
}

HOST_DEVICE int lion_substituted_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->g = x->g * h->clip;
        return LANE_G;
    case 1:
        x->p = x->p * (1.0f - x->wd);
        return LANE_P;
    case 2:
        x->s[0] = h->beta[1] * x->s[0] + h->rest[1] * x->g;
        return LANE_S0;
    case 3:
        x->g = rule_between(x->g, x->s[0], h->beta[0] / h->beta[1]);
        return LANE_G;
    case 4:
        x->g = rule_sign(x->g);
        return LANE_G;
    case 5:
        x->p = x->p - h->lr * x->g;
        return LANE_P;
    default:
        return 0;
    }
}

#endif
