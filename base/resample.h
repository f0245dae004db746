/* resample.h - by what weights a row of n numbers becomes one of another length.
 *
 * Each number of the new row is a mean of the old ones about its place, by a kernel; when the row
 * shrinks the kernel is as wide as the scale, so that nothing between two samples is missed
 * ("antialias").  This is how PIL resizes pictures and PyTorch interpolates with antialias=True;
 * what is outside of the row has no weight.
 *
 *     old   | x0 | x1 | x2 | x3 | x4 | x5 |
 *                  \_________/                 kernel about (i + 1/2) n / m
 *     new   |  y0   |  y1   |  y2   |
 */
#ifndef REGRAD_RESAMPLE_H
#define REGRAD_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* A triangle; the cubic of Keys (1981) with a = -1/2. */
typedef enum { RESAMPLE_BILINEAR, RESAMPLE_BICUBIC } resample_kernel;

/* The largest number of weights of one place, when n numbers become m. */
size_t resample_most(resample_kernel kernel, int64_t n, int64_t m);

/* The weights of new place i, which add up to 1: of the old numbers *from, *from + 1,
 * ...  Returns how many. */
int64_t resample_weights(resample_kernel kernel, int64_t n, int64_t m, int64_t i, int64_t *from,
                         double *weight);

#endif
