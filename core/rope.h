/* rope.h - the frequencies of rotary position embeddings for contexts longer than the one a model
 * was first trained with; the same on every device.
 *
 *     linear   f / factor                                           (Chen et al. 2023, arXiv 2306.15595)
 *     waves    by wavelength w = 2 pi / f relative to the original context (published in July 2024 with
 *              models of 128k tokens):
 *
 *         w < context / high                    f          high frequencies are unchanged
 *         w > context / low                     f / factor
 *         between                               (1 - t) f / factor + t f,  t = (context / w - low) / (high - low)
 */
#ifndef REGRAD_ROPE_H
#define REGRAD_ROPE_H

#include "base/host_device.h"

#include <stdbool.h>

typedef struct {
    double factor;    /* 0: frequencies are unchanged */
    double low, high; /* 0: linear */
    double context;   /* the context the model was first trained with */
} rope_scaling;

HOST_DEVICE double rope_scaled(double f, rope_scaling s)
{
    if (!(s.factor > 0)) return f;
    if (!(s.high > 0)) return f / s.factor;
    double waves = s.context * f / 6.283185307179586; /* in the original context */
    if (waves > s.high) return f;
    if (waves < s.low) return f / s.factor;
    double t = (waves - s.low) / (s.high - s.low);
    return (1 - t) * f / s.factor + t * f;
}

#endif
