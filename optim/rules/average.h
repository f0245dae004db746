/* average.h - the exponential moving average of the weights, as an update rule of its own: p is the
 * average, g the weight that the optimizer's rule has just left.
 *
 *   p <- p + rest (g - p)          rest = 1 - decay; 1: p is g, bit for bit
 *
 * So the average is kept wherever the optimizer runs, in the forms of weights (optim/averages.h).
 */
#ifndef REGRAD_RULE_AVERAGE_H
#define REGRAD_RULE_AVERAGE_H

#include "core/rule.h"

RULE_INFO average_info = {
    .name = "average",
    .summary = "the exponential moving average of weights",
    .n_passes = 1,
    .sees = BY_ELEMENT,
    .inner = true,
};

HOST_DEVICE int average_pass(int pass, lane *x, const hyper *h)
{
    if (pass) return 0;
    x->p = h->average_rest < 1 ? x->p + h->average_rest * (x->g - x->p) : x->g;
    return LANE_P;
}

#endif
