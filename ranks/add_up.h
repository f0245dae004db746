/* add_up.h - sums over ranks, in the order of the ranks, whoever brought the numbers. */
#ifndef REGRAD_ADD_UP_H
#define REGRAD_ADD_UP_H

#include "core/tensor.h"
#include "base/error.h"

/* out[i] = the sum of from[r][i] over r = 0 .. ranks - 1, in that order; in double, so that a
 * narrower type is rounded once.  One of them may be out itself.  f32, f64, bf16 */
error *add_up(int threads, tensor out, const void *const *from, int ranks) NODISCARD;

/* A part of a sum: what was added up before; and where the sum is written, unrounded, instead of to
 * `out`, which is then read for its type and length alone. */
typedef struct {
    const double *before; /* ? */
    double *after;        /* ? may be `before` */
} sum_part;

error *add_up_part(int threads, tensor out, const void *const *from, int ranks,
                   sum_part part) NODISCARD;

#endif
