/* adamw.h - AdamW (Loshchilov, Hutter: "Decoupled weight decay regularization", ICLR 2019), in
 * the order of PyTorch's multi-tensor form:
 *
 *   p <- p (1 - lr wd)
 *   m <- b1 m + (1-b1) g                                      first moment
 *   v <- b2 v + (1-b2) g^2                                    second moment
 *   p <- p - lr/(1-b1^t) m / ( sqrt(v)/sqrt(1-b2^t) + eps )   eps after the corrected root
 *
 * After the update of v, g is not read again: AdamW_R (Dong, Lin, PRCV 2024) puts the denominator
 * there instead of in N elements of its own.
 */
#ifndef REGRAD_RULE_ADAMW_H
#define REGRAD_RULE_ADAMW_H

#include "core/rule.h"

RULE_INFO adamw_info = {
    .name = "adamw",
    .summary = "Adam with decoupled weight decay",
    .state = {"exp_avg", "exp_avg_sq"},
    .n_states = 2,
    .n_passes = 9,
    .needs_temp = true,
    .r_temp = LANE_G,
    .sees = BY_ELEMENT,
    .squares = LANE_S1,
    .options = HAS_BETA1 | HAS_BETA2 | HAS_EPS,
    .lr = 1e-3,
    .beta = {0.9, 0.999},
    .eps = 1e-8,
    .weight_decay = 1e-2,
};

HOST_DEVICE int adamw_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->g = x->g * h->clip;
        return LANE_G;
    case 1:
        x->p = x->p * (1.0f - x->wd);
        return LANE_P;
    case 2:
        x->s[0] = h->beta[0] * x->s[0] + h->rest[0] * x->g;
        return LANE_S0;
    case 3:
        x->s[1] = h->beta[1] * x->s[1] + h->rest[1] * x->g * x->g;
        return LANE_S1;
    case 4:
        x->t = x->s[1];
        return LANE_T;
    case 5:
        x->t = sqrtf(x->t);
        return LANE_T;
    case 6:
        x->t = x->t / sqrtf(h->debias[1]);
        return LANE_T;
    case 7:
        x->t = x->t + h->eps;
        return LANE_T;
    case 8:
        x->p = x->p - h->lr / h->debias[0] * (x->s[0] / x->t);
        return LANE_P;
    default:
        return 0;
    }
}

#endif
