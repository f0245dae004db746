/* adama.h - AdamA, Adam accumulation (Zhang et al.: "Adam Accumulation to reduce memory footprints
 * of both activations and gradients for large-scale DNN training", ECAI 2023), with AdamW's decay:
 *
 *   with K micro-batches, g_i the gradient of (loss of micro-batch i) / K:
 *     m <- b1 m + (1-b1) g_1          v <- b2 v + (1-b2) g_1^2         micro-batch 1
 *     m <-    m + (1-b1) g_i          v <-    v + (1-b2) g_i^2         micro-batches 2 ... K
 *     p as AdamW does it, with t counting steps                        after the last
 *
 * Each g_i is accumulated in m and v as soon as it is complete, tensor by tensor, and its space is
 * freed. So K micro-batches need gradient space for one layer, as one micro-batch with release
 * does:
 *
 *     backward of micro-batch i    | g of layer l -> m, v | g of layer l-1 -> m, v | ...
 *     AdamW with accumulation      | g g g g g g g g g g g g  all of them, until the last | update
 *
 * What equals AdamW over the sum g = g_1 + ... + g_K, and what does not:
 *   K = 1    every bit is the same.
 *   m        the same number, being linear in g; rounded K times instead of summed first.
 *   v        has g_1^2 + ... + g_K^2 where AdamW has (g_1 + ... + g_K)^2.  Where micro-gradients are
 *            mostly noise (independent, mean 0) both have the same expected value.  Where they agree
 *            v is up to K times smaller, and so a step is up to sqrt(K) longer: with mean mu and
 *            variance s^2 of a micro-batch's own gradient (K g_i), v sees (mu^2 + s^2) / K, AdamW's
 *            mu^2 + s^2 / K.  Hence changing K changes the training, even at the same K * batch.
 *
 * The global norm of g is known only when it is too late to clip: clipping is refused.  The
 * gradient norm that is reported for K > 1 is the root of the sum of all |g_i|^2: what v sees.
 * When the loss becomes infinite or NaN in micro-batch i > 1, m and v already contain i - 1
 * gradients; p is unchanged, and the run ends.
 */
#ifndef REGRAD_RULE_ADAMA_H
#define REGRAD_RULE_ADAMA_H

#include "optim/rules/adamw.h"

/* A rule, for all micro-batches or one of several, and those that it consists of. */
#define ADAMA_PART(name_, summary_, passes_, temp_, ...)                                           \
    {                                                                                              \
        .name = name_, .summary = summary_, .state = {"exp_avg", "exp_avg_sq"}, .n_states = 2,     \
        .n_passes = passes_, .needs_temp = temp_, .r_temp = temp_ ? LANE_G : 0,                    \
        .fold = {__VA_ARGS__}, .sees = BY_ELEMENT, .squares = LANE_S1,                             \
        .options = HAS_BETA1 | HAS_BETA2 | HAS_EPS, .lr = 1e-3, .beta = {0.9, 0.999}, .eps = 1e-8, \
        .weight_decay = 1e-2                                                                       \
    }

RULE_INFO adama_info =
    ADAMA_PART("adama", "AdamW that accumulates each micro-batch straight into its states", 9, true,
               "adama_first", "adama_later", "adama_last");

/* All micro-batches there are. */
HOST_DEVICE int adama_pass(int pass, lane *x, const hyper *h)
{
    return adamw_pass(pass, x, h);
}

RULE_INFO adama_first_info =
    ADAMA_PART("adama_first", "AdamA's first micro-batch: into m and v", 3, false, 0);

HOST_DEVICE int adama_first_pass(int pass, lane *x, const hyper *h)
{
    return pass == 0 ? adamw_pass(0, x, h) : pass < 3 ? adamw_pass(pass + 1, x, h) : 0;
}

RULE_INFO adama_last_info = ADAMA_PART(
    "adama_last", "AdamA's last micro-batch: into m and v, and p is updated", 9, true, 0);

HOST_DEVICE int adama_last_pass(int pass, lane *x, const hyper *h)
{
    switch (pass) {
    case 2:
        x->s[0] = x->s[0] + h->rest[0] * x->g;
        return LANE_S0;
    case 3:
        x->s[1] = x->s[1] + h->rest[1] * x->g * x->g;
        return LANE_S1;
    default:
        return adamw_pass(pass, x, h);
    }
}

RULE_INFO adama_later_info =
    ADAMA_PART("adama_later", "AdamA's other micro-batches: into m and v", 3, false, 0);

HOST_DEVICE int adama_later_pass(int pass, lane *x, const hyper *h)
{
    return pass == 0 ? adamw_pass(0, x, h) : pass < 3 ? adama_last_pass(pass + 1, x, h) : 0;
}

#undef ADAMA_PART

#endif
