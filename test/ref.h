/* ref.h - the reference device: what every other device is held against.
 *
 * Working type F64, one thread, plain loops that follow the formulas of core/ops.def line by line.
 * It is itself held against central differences and values worked by hand (test_ops_ref.c).  It has
 * no optim: update rules are shared by all devices, so there is nothing to be different from.
 *
 *     formulas in core/ops.def <-- read --  ref.c, ref_*.c      <-- central differences
 *                                                |
 *                                     every device in float, within a bound (op_case.h)
 */
#ifndef REGRAD_TEST_REF_H
#define REGRAD_TEST_REF_H

#include "core/ops.h"

/* Owns nothing; memory is the host's, so tensors may lie in any array of doubles. */
device ref_device(void);

/* act(x) and its derivative (Hendrycks, Gimpel 2016: "Gaussian error linear units"):
 * tanh form 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), erf form 0.5 x (1 +
 * erf(x/sqrt(2))); silu x / (1 + exp(-x)).
 */
double ref_act(activation act, double x);
double ref_act_grad(activation act, double x);

/* Row r, column c of a tensor of doubles (vectors are one row). */
static inline double *ref_at(tensor t, int64_t r, int64_t c)
{
    return (double *)t.data + r * t.ld + c;
}

/* The operations by name (there is no ref_optim). */
#define OPERATION(name) void ref_##name(device *dev, int stream, const name##_op *o);
#include "core/ops.def"

#endif
