/* adan.h - Adan (Xie, Zhou, Li, Lin, Yan: "Adan: Adaptive Nesterov momentum algorithm", TPAMI
 * 2024), with the bias corrections and the proximal weight decay of its authors' program:
 *
 *   D <- g - g_prev                                (0 in the first step)
 *   m <- b1 m + (1-b1) g                           gradients
 *   d <- b2 d + (1-b2) D                           differences
 *   n <- b3 n + (1-b3) (g + b2 D)^2                squares
 *   q <- sqrt(n)/sqrt(1-b3^t) + eps
 *   p <- (p - lr/(1-b1^t) m/q - lr b2/(1-b2^t) d/q) / (1 + lr wd)
 *   g_prev <- g                                    (the clipped one)
 *
 * The betas are decay rates (1 - the paper's).  D and g + b2 D use the space of g_prev.  After the
 * update of n that space is dead until the last pass: Adan_R puts q there.
 */
#ifndef REGRAD_RULE_ADAN_H
#define REGRAD_RULE_ADAN_H

#include "core/rule.h"

RULE_INFO adan_info = {
    .name = "adan",
    .summary = "adaptive Nesterov momentum from gradient differences",
    .state = {"exp_avg", "exp_avg_diff", "exp_avg_sq", "prev_grad"},
    .n_states = 4,
    .n_passes = 13,
    .needs_temp = true,
    .r_temp = LANE_S3,
    .sees = BY_ELEMENT,
    .squares = LANE_S2,
    .copies = LANE_S3,
    .options = HAS_BETA1 | HAS_BETA2 | HAS_BETA3 | HAS_EPS,
    .lr = 1e-3,
    .beta = {0.98, 0.92, 0.99},
    .eps = 1e-8,
    .weight_decay = 0.0,
};

HOST_DEVICE int adan_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->g = x->g * h->clip;
        return LANE_G;
    case 1:
        x->s[3] = h->first ? 0.0f : x->g - x->s[3];
        return LANE_S3;
    case 2:
        x->s[0] = h->beta[0] * x->s[0] + h->rest[0] * x->g;
        return LANE_S0;
    case 3:
        x->s[1] = h->beta[1] * x->s[1] + h->rest[1] * x->s[3];
        return LANE_S1;
    case 4:
        x->s[3] = x->s[3] * h->beta[1] + x->g;
        return LANE_S3;
    case 5:
        x->s[2] = h->beta[2] * x->s[2] + h->rest[2] * x->s[3] * x->s[3];
        return LANE_S2;
    case 6:
        x->t = x->s[2];
        return LANE_T;
    case 7:
        x->t = sqrtf(x->t);
        return LANE_T;
    case 8:
        x->t = x->t / sqrtf(h->debias[2]) + h->eps;
        return LANE_T;
    case 9:
        x->p = x->p - h->lr / h->debias[0] * (x->s[0] / x->t);
        return LANE_P;
    case 10:
        x->p = x->p - h->lr * h->beta[1] / h->debias[1] * (x->s[1] / x->t);
        return LANE_P;
    case 11:
        x->p = x->p / (1.0f + x->wd);
        return LANE_P;
    case 12:
        x->s[3] = x->g;
        return LANE_S3;
    default:
        return 0;
    }
}

#endif
