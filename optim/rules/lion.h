/* lion.h - Lion (Chen et al.: "Symbolic discovery of optimization algorithms", NeurIPS 2023):
 *
 *   p <- p (1 - lr wd)
 *   c <- b1 m + (1-b1) g
 *   p <- p - lr sign(c)            sign(0) = 0
 *   m <- b2 m + (1-b2) g
 *
 * Both c and the new m need the old m and g, so the pass-by-pass form needs space for c.  See
 * lion_substituted.h for the published way around it; the fused form holds the old m in a register.
 */
#ifndef REGRAD_RULE_LION_H
#define REGRAD_RULE_LION_H

#include "core/rule.h"

RULE_INFO lion_info = {
    .name = "lion",
    .summary = "sign of an interpolated momentum: one state",
    .state = {"exp_avg"},
    .n_states = 1,
    .n_passes = 6,
    .needs_temp = true,
    .r_passes = "lion_substituted",
    .sees = BY_ELEMENT,
    .options = HAS_BETA1 | HAS_BETA2,
    .lr = 1e-4,
    .beta = {0.9, 0.99},
    .weight_decay = 0.0,
};

HOST_DEVICE float rule_sign(float c)
{
    return c > 0.0f ? 1.0f : c < 0.0f ? -1.0f : c; /* keeps 0 and NaN */
}

HOST_DEVICE int lion_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->g = x->g * h->clip;
        return LANE_G;
    case 1:
        x->p = x->p * (1.0f - x->wd);
        return LANE_P;
    case 2:
        x->t = h->beta[0] * x->s[0] + h->rest[0] * x->g;
        return LANE_T;
    case 3:
        x->t = rule_sign(x->t);
        return LANE_T;
    case 4:
        x->p = x->p - h->lr * x->t;
        return LANE_P;
    case 5:
        x->s[0] = h->beta[1] * x->s[0] + h->rest[1] * x->g;
        return LANE_S0;
    default:
        return 0;
    }
}

#endif
