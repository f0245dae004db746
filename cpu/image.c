/* image.c - what a vision transformer has at its ends: patches, positions, pooling; and a branch
 * that is scaled sample by sample (stochastic depth).
 *
 * All of it only moves numbers once.  Threads share samples, or columns where samples are summed: no
 * two write the same element, and the order of a sum is always the same.
 */
#include "cpu/internal.h"

#include <string.h>

void cpu_patches(device *dev, int stream, const patches_op *o)
{
    (void)stream;
    int64_t channels = o->images.dim[1], high = o->images.dim[2], wide = o->images.dim[3];
    int64_t h = o->height, w = o->width, down = high / h, across = wide / w,
            size = channels * h * w;
    int64_t strips = o->images.dim[0] * down; /* a strip: one row of patches of one image */
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t s = 0; s < strips; s++) {
        const float *image = floats(o->images) + s / down * channels * high * wide;
        float *out = floats(o->out) + s * across * size;
        for (int64_t line = 0; line < channels * h; line++) {
            const float *in = image + (line / h * high + s % down * h + line % h) * wide;
            for (int64_t j = 0; j < across; j++)
                memcpy(out + j * size + line * w, in + j * w, (size_t)w * sizeof *out);
        }
    }
}

void cpu_positions(device *dev, int stream, const positions_op *o)
{
    (void)stream;
    int64_t length = o->out.dim[1], n = o->out.dim[2], rows = o->out.dim[0] * length;
    int64_t first = length - o->x.dim[1];
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++) {
        int64_t b = r / length, t = r % length;
        const float *x = t < first ? floats(o->first) + t * n
                                   : floats(o->x) + (b * (length - first) + t - first) * n;
        const float *position = floats(o->positions) + t * n;
        float *out = floats(o->out) + r * n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = x[i] + position[i];
    }
}

/* Adds n numbers, or writes them over what is there. */
static void give(grad g, int64_t at, const float *sum, int64_t n)
{
    float *to = floats(g.t) + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = g.accumulate ? to[i] + sum[i] : sum[i];
}

enum { COLUMNS = 256 };

/* The sum over samples of some of the columns of position t. */
static void position_grad(const positions_grad_op *o, int64_t t, int64_t c, int64_t n)
{
    float sum[COLUMNS] = {0};
    int64_t length = o->dout.dim[1], width = o->dout.dim[2], at = t * width + c;
    for (int64_t b = 0; b < o->dout.dim[0]; b++) {
        const float *d = floats(o->dout) + b * length * width + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += d[i];
    }
    if (present(o->dpositions.t)) give(o->dpositions, at, sum, n);
    if (present(o->dfirst.t) && t < length - o->dx.dim[1]) give(o->dfirst, at, sum, n);
}

void cpu_positions_grad(device *dev, int stream, const positions_grad_op *o)
{
    (void)stream;
    int64_t length = o->dout.dim[1], n = o->dout.dim[2], kept = o->dx.dim[1];
    int64_t strips = (n + COLUMNS - 1) / COLUMNS;
#pragma omp parallel num_threads(dev->threads)
    {
#pragma omp for nowait
        for (int64_t s = 0; s < length * strips; s++) {
            int64_t c = s % strips * COLUMNS;
            position_grad(o, s / strips, c, min64(COLUMNS, n - c));
        }
#pragma omp for
        for (int64_t b = 0; b < o->dout.dim[0]; b++)
            memmove(floats(o->dx) + b * kept * n,
                    floats(o->dout) + (b * length + length - kept) * n,
                    (size_t)(kept * n) * sizeof(float));
    }
}

void cpu_pool(device *dev, int stream, const pool_op *o)
{
    (void)stream;
    int64_t length = o->x.dim[1], n = o->x.dim[2];
    float part = 1.0f / (float)length;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t b = 0; b < o->x.dim[0]; b++) {
        const float *x = floats(o->x) + b * length * n;
        float *out = floats(o->out) + b * n;
        memcpy(out, x, (size_t)n * sizeof *out);
        for (int64_t t = 1; t < length && !o->first; t++)
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                out[i] += x[t * n + i];
        for (int64_t i = 0; i < n && !o->first; i++)
            out[i] *= part;
    }
}

void cpu_pool_grad(device *dev, int stream, const pool_grad_op *o)
{
    (void)stream;
    int64_t length = o->dx.dim[1], n = o->dx.dim[2], rows = o->dx.dim[0] * length;
    float part = o->first ? 1.0f : 1.0f / (float)length;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++) {
        const float *d = floats(o->dout) + r / length * n;
        float *dx = floats(o->dx) + r * n;
        if (o->first && r % length) {
            memset(dx, 0, (size_t)n * sizeof *dx);
            continue;
        }
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = d[i] * part;
    }
}

void cpu_scale_samples(device *dev, int stream, const scale_samples_op *o)
{
    (void)stream;
    int64_t length = o->x.dim[1], n = o->x.dim[2], rows = o->x.dim[0] * length;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++) {
        float scale = floats(o->scale)[r / length], *out = floats(o->out) + r * n;
        const float *x = floats(o->x) + r * n;
        const float *residual = present(o->residual) ? floats(o->residual) + r * n : NULL;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = scale * x[i] + (residual ? residual[i] : 0);
    }
}
