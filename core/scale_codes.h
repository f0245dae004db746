/* scale_codes.h - the scales of coded blocks (core/block_codes.h) in a byte each, instead of four.
 *
 *     mean = of all scales of a matrix (f32)
 *     group = 256 scales; its size = the largest |scale - mean| in it (f32)
 *     code = the nearest of 256 values between -1 and 1 to (scale - mean) / size
 *     what is read is mean + size * value(code)
 *
 * QLoRA's double quantization (Dettmers et al. 2023, section 3): 0.127 bits for each number of a
 * matrix in blocks of 64, where scales in f32 are 0.5.  The values are those of bitsandbytes, which
 * has the mean taken off before as the paper does (scales are not negative, and the values are for
 * both signs): seven decades, in each so many steps that all together are a byte's ("8-bit
 * approximations for parallelism in deep learning", Dettmers 2015):
 *
 *     10^(e - 6) (0.1 + 0.9 (j + 1/2) / 2^e)      e = 0..6, j = 0..2^e - 1; the same negated; 0; 1
 *
 * A scale that is not finite makes the mean so, and with it all that is read of the matrix.
 */
#ifndef REGRAD_SCALE_CODES_H
#define REGRAD_SCALE_CODES_H

#include "base/host_device.h"

#include <math.h>
#include <stdint.h>

enum { SCALE_GROUP = 256, SCALE_ZERO = 127, SCALE_ONE = 255 };

static inline int64_t scale_groups(int64_t scales)
{
    return (scales + SCALE_GROUP - 1) / SCALE_GROUP;
}

/* They grow with the code. */
HOST_DEVICE float scale_code_value(int code)
{
    const float decades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    int m = code < SCALE_ZERO ? SCALE_ZERO - code : code - SCALE_ZERO, e = 0;
    if (code == SCALE_ZERO || code == SCALE_ONE) return code == SCALE_ONE ? 1.0f : 0.0f;
    while (m >> (e + 1))
        e++;
    float step = ((float)(m - (1 << e)) + 0.5f) / (float)(1 << e);
    float size = decades[e] * fmaf(0.9f, step, 0.1f);
    return code < SCALE_ZERO ? -size : size;
}

/* The nearest to y; of two as near the lower.  A NaN's is 0. */
HOST_DEVICE int scale_code(float y)
{
    int low = 0, high = SCALE_ONE; /* between them the values around y are */
    while (low < high) {
        int middle = (low + high) / 2;
        float between = 0.5f * (scale_code_value(middle) + scale_code_value(middle + 1));
        if (y > between)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A group's sum, for the mean: in order, so that it is the same everywhere. */
HOST_DEVICE float scale_sum(const float *scales, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)scales[i];
    return (float)sum;
}

HOST_DEVICE float scale_mean(const float *sums, int64_t groups, int64_t scales)
{
    double sum = 0;
    for (int64_t g = 0; g < groups; g++)
        sum += (double)sums[g];
    return (float)(sum / (double)scales);
}

/* The codes of a group of n scales; returns its size. */
HOST_DEVICE float scale_pack(const float *scales, int64_t n, float mean, uint8_t *codes)
{
    float size = 0;
    for (int64_t i = 0; i < n; i++)
        size = fmaxf(size, fabsf(scales[i] - mean));
    for (int64_t i = 0; i < n; i++)
        codes[i] = (uint8_t)scale_code(size > 0 ? (scales[i] - mean) / size : 0.0f);
    return size;
}

HOST_DEVICE float scale_unpack(int code, float mean, float size)
{
    return fmaf(size, scale_code_value(code), mean);
}

#endif
