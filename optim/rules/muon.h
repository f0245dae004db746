/* muon.h - Muon (Jordan et al.: "Muon: An optimizer for hidden layers in neural networks", 2024):
 * the orthogonalized momentum of whole matrices:
 *
 *   m <- mu m + (1-mu) g                       momentum
 *   u <- mu m + (1-mu) g                       Nesterov's look ahead
 *   X <- nearly U V^T of u = U S V^T           Newton-Schulz: optim/newton_schulz.h
 *   p <- p (1 - lr wd) - lr sqrt(max(1, rows/cols)) X
 *
 * The first two lines are the rule muon, whose result u is in the intermediate; the last is the
 * rule muon_apply, whose gradient is X, scaled.  As proposed by its authors, Muon trains only the
 * weights between hidden layers; embeddings, the head, gains and biases use AdamW, muon_others,
 * with hyperparameters of its own (the options --adam-...).  Q, k and v of one stored matrix count
 * as three matrices: they are three maps, and how they are stored must not affect training.
 *
 * Once u is computed, g is not read again: muon_r puts u there.
 */
#ifndef REGRAD_RULE_MUON_H
#define REGRAD_RULE_MUON_H

#include "optim/rules/adamw.h"

RULE_INFO muon_info = {
    .name = "muon",
    .summary = "orthogonal momentum for hidden matrices, AdamW for the rest",
    .state = {"momentum_buffer"},
    .n_states = 1,
    .n_passes = 3,
    .needs_temp = true,
    .r_temp = LANE_G,
    .sees = BY_MATRIX,
    .others = "muon_others",
    .apply = "muon_apply",
    .options = HAS_BETA1 | HAS_EPS | HAS_OTHERS,
    .lr = 2e-2,
    .beta = {0.95},
    .eps = 1e-7,
    .weight_decay = 0.0,
};

HOST_DEVICE int muon_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->g = x->g * h->clip;
        return LANE_G;
    case 1:
        x->s[0] = h->beta[0] * x->s[0] + h->rest[0] * x->g;
        return LANE_S0;
    case 2:
        x->t = h->beta[0] * x->s[0] + h->rest[0] * x->g;
        return LANE_T | LANE_RESULT;
    default:
        return 0;
    }
}

/* What g is has been clipped and scaled. */
RULE_INFO muon_apply_info = {
    .name = "muon_apply",
    .summary = "Muon's last line: a step along an orthogonal matrix",
    .n_passes = 2,
    .sees = BY_ELEMENT,
    .lr = 2e-2,
};

HOST_DEVICE int muon_apply_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 0:
        x->p = x->p * (1.0f - x->wd);
        return LANE_P;
    case 1:
        x->p = x->p - h->lr * x->g;
        return LANE_P;
    default:
        return 0;
    }
}

RULE_INFO muon_others_info = {
    .name = "muon_others",
    .summary = "AdamW for what Muon does not train",
    .state = {"exp_avg", "exp_avg_sq"},
    .n_states = 2,
    .n_passes = 9,
    .needs_temp = true,
    .r_temp = LANE_G,
    .sees = BY_ELEMENT,
    .options = HAS_BETA1 | HAS_BETA2 | HAS_EPS,
    .lr = 3e-4,
    .beta = {0.9, 0.95},
    .eps = 1e-10,
    .weight_decay = 0.0,
};

HOST_DEVICE int muon_others_pass(int pass, lane *x, const hyper *h)
{
    const others_numbers *o = &h->others;
    const hyper own = {.lr = o->lr,
                       .beta = {o->beta[0], o->beta[1], 0},
                       .rest = {o->rest[0], o->rest[1], 0},
                       .debias = {o->debias[0], o->debias[1], 0},
                       .eps = o->eps,
                       .clip = h->clip};
    lane y = *x;
    y.wd = x->wd > 0 ? o->lr_wd : 0;
    int written = adamw_pass(pass, &y, &own);
    y.wd = x->wd;
    *x = y;
    return written;
}

#endif
