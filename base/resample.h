/* resample.h - the weights with which a row of n numbers is resampled to another length.
 *
 * Each output is a weighted mean of the inputs around its position.  When the row shrinks, the
 * kernel widens with the scale, so that no input is skipped ("antialias").  This is how PIL resizes
 * images and how PyTorch interpolates with antialias=True; positions outside the row have no
 * weight.
 *
 *     old   | x0 | x1 | x2 | x3 | x4 | x5 |
 *                  \_________/                 kernel about (i + 1/2) n / m
 *     new   |  y0   |  y1   |  y2   |
 */
#ifndef REGRAD_RESAMPLE_H
#define REGRAD_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* A triangle; and the cubic of Keys (1981) with a = -1/2. */
typedef enum { RESAMPLE_BILINEAR, RESAMPLE_BICUBIC } resample_kernel;

/* The largest number of weights of one output, when n numbers become m. */
size_t resample_most(resample_kernel kernel, int64_t n, int64_t m);

/* The weights of output i, which add up to 1, for inputs *from, *from + 1, ...  Returns how
 * many. */
int64_t resample_weights(resample_kernel kernel, int64_t n, int64_t m, int64_t i, int64_t *from,
                         double *weight);

#endif
