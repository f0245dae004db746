/* newton_schulz.h - a matrix made orthogonal by products alone, in little space.
 *
 * Of x = U S V^T nearly U V^T is wanted.  Five times (Jordan et al. 2024; the coefficients are theirs,
 * chosen so that every singular value in (0,1] comes to about 1, quickly rather than exactly: what
 * remains is between 0.7 and 1.2):
 *
 *   x <- x / (|x| + eps)
 *   A = x x^T;   x <- a x + (b A + c A^2) x         a, b, c = 3.4445, -4.7750, 2.0315
 *
 * With more rows than columns A is x^T x and stands on the right: the same numbers without a
 * transpose.  Each column (row) of the new x needs the same column of the old x alone, so x is
 * replaced in place, panel by panel:
 *
 *     x  (R,C), R <= C       +-----+-----+-----+      panel = copy of the next columns of x
 *                            | new | new | old |      those columns <- a (themselves) + B panel
 *                            +-----+-----+-----+
 *     space: A, B (k,k) and a panel of about a quarter of that, k = min(R,C): 2.25 k^2 numbers
 *
 * The last product has the factor sqrt(max(1, R/C)) in its coefficients.  All is in the working
 * type, float; the published program rounds x to bfloat16 before and works in that, which is faster
 * on a GPU and loses what is below 2^-8 of the largest singular values.
 */
#ifndef REGRAD_NEWTON_SCHULZ_H
#define REGRAD_NEWTON_SCHULZ_H

#include "params/params.h"

/* x (R,C) contiguous, in place; squares (1) f64 is left with |x|^2.  The space is taken from the
 * arena under `name` and given back.  With no steps x stays as it is and no space is needed. */
void newton_schulz(run *r, tensor x, tensor squares, double eps, int64_t steps, block_name name);

#endif
