/* newton_schulz.h - orthogonalizes a matrix by matrix products, in little memory.
 *
 * The aim is approximately U V^T of x = U S V^T.  Five iterations (Jordan et al. 2024; with their
 * coefficients, chosen so that every singular value in (0,1] approaches 1, quickly rather than
 * exactly: the result is between 0.7 and 1.2):
 *
 *   x <- x / (|x| + eps)
 *   A = x x^T;   x <- a x + (b A + c A^2) x         a, b, c = 3.4445, -4.7750, 2.0315
 *
 * With more rows than columns A is x^T x and multiplies from the right: the same numbers without a
 * transpose.  Each column (row) of the new x depends only on the same column of the old x, so x is
 * replaced in place, panel by panel:
 *
 *     x  (R,C), R <= C       +-----+-----+-----+      panel = copy of the next columns of x
 *                            | new | new | old |      those columns <- a (themselves) + B panel
 *                            +-----+-----+-----+
 *     space: A, B (k,k) and a panel of about a quarter of that, k = min(R,C): 2.25 k^2 numbers
 *
 * The factor sqrt(max(1, R/C)) is part of the last product's coefficients.  Everything is computed
 * in f32; the published program rounds x to bfloat16 first, which is faster on a GPU and loses what
 * is below 2^-8 of the largest singular values.
 */
#ifndef REGRAD_NEWTON_SCHULZ_H
#define REGRAD_NEWTON_SCHULZ_H

#include "params/params.h"

/* x (R,C) contiguous, in place; squares (1) f64 is left with |x|^2.  The workspace is taken from
 * the arena under `name` and freed.  With 0 steps x is unchanged and no workspace is needed. */
void newton_schulz(runtime *r, tensor x, tensor squares, double eps, int64_t steps,
                   block_name name);

#endif
