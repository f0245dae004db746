/* sgd.h - stochastic gradient descent with heavy-ball momentum (Polyak 1964), as PyTorch's SGD
 * without dampening, with decoupled weight decay:
 *
 *   p <- p (1 - lr wd);   m <- b1 m + g;   p <- p - lr m
 */
#ifndef REGRAD_RULE_SGD_H
#define REGRAD_RULE_SGD_H

#include "core/rule.h"

RULE_INFO sgd_info = {
    .name = "sgd",
    .summary = "gradient descent with momentum",
    .state = {"momentum_buffer"},
    .n_states = 1,
    .n_passes = 4,
    .sees = BY_ELEMENT,
    .linear = true,
    .options = HAS_BETA1,
    .lr = 1e-2,
    .beta = {0.9},
    .weight_decay = 0.0,
};

HOST_DEVICE int sgd_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->g = x->g * h->clip;
        return LANE_G;
    case 1:
        x->p = x->p * (1.0f - x->wd);
        return LANE_P;
    case 2:
        x->s[0] = h->beta[0] * x->s[0] + x->g;
        return LANE_S0;
    case 3:
        x->p = x->p - h->lr * x->s[0];
        return LANE_P;
    default:
        return 0;
    }
}

#endif
