/* image.c - the input and output of a vision transformer: patches, positions, pooling; and a branch
 * that is scaled per sample (stochastic depth).
 *
 * These operations only move numbers.  Threads share samples, or columns where samples are summed:
 * no two write the same element, and the order of summation is always the same.
 */
#include "cpu/cpu_internal.h"

#include <string.h>

static void patches_range(const void *op, int64_t first, int64_t end)
{
    const patches_op *o = op;
    int64_t channels = o->images.dim[1], high = o->images.dim[2], wide = o->images.dim[3];
    int64_t h = o->height, w = o->width, down = high / h, across = wide / w;
    for (int64_t s = first; s < end; s++) { /* a strip: one row of patches of one image */
        const float *image = floats(o->images) + s / down * channels * high * wide;
        for (int64_t line = 0; line < channels * h; line++) {
            const float *in = image + (line / h * high + s % down * h + line % h) * wide;
            for (int64_t j = 0; j < across; j++)
                store_row(o->out.type, element_at(o->out, s * across + j, line * w), w, in + j * w);
        }
    }
}

CPU_ENTRY(patches, o->images.dim[0] * (o->images.dim[2] / o->height),
          rows_at_once(o->images.dim[1] * o->images.dim[3] * o->height))

ROW_FN void add_two(void *out, const void *x, const void *y, int64_t n, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, out, i, load(type, x, i) + load(type, y, i));
}

static void positions_range(const void *op, int64_t first, int64_t end)
{
    const positions_op *o = op;
    int64_t length = o->out.dim[1], n = o->out.dim[2], added = length - o->x.dim[1];
    for (int64_t r = first; r < end; r++) {
        int64_t b = r / length, t = r % length;
        const void *x = t < added ? element_at(o->first, t, 0)
                                  : element_at(o->x, b * (length - added) + t - added, 0);
        const void *position = element_at(o->positions, t, 0);
        void *out = element_at(o->out, r, 0);
        FOR_WORKING_TYPE(o->out.type, add_two(out, x, position, n, TYPE));
    }
}

CPU_ROWS(positions, out)

/* Adds n numbers, or overwrites. */
ROW_FN void store_sums(grad g, int64_t at, const float *sum, int64_t n, int type)
{
    void *to = element_at(g.t, 0, at);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, to, i, g.accumulate ? load(type, to, i) + sum[i] : sum[i]);
}

enum { COLUMNS = 256 };

ROW_FN void add_to_sum(float *sum, const void *x, int64_t n, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        sum[i] += load(type, x, i);
}

/* Sums some columns of position t over the samples. */
ROW_FN void position_grad(const positions_grad_op *o, int64_t t, int64_t c, int64_t n, int type)
{
    float sum[COLUMNS] = {0};
    int64_t length = o->dout.dim[1], width = o->dout.dim[2], at = t * width + c;
    for (int64_t b = 0; b < o->dout.dim[0]; b++)
        add_to_sum(sum, element_at(o->dout, b * length + t, c), n, type);
    if (present(o->dpositions.t)) store_sums(o->dpositions, at, sum, n, type);
    if (present(o->dfirst.t) && t < length - o->dx.dim[1]) store_sums(o->dfirst, at, sum, n, type);
}

static int64_t strips_of(int64_t n)
{
    return (n + COLUMNS - 1) / COLUMNS;
}

static void position_range(const void *op, int64_t first, int64_t end)
{
    const positions_grad_op *o = op;
    int64_t n = o->dout.dim[2], strips = strips_of(n);
    for (int64_t s = first; s < end; s++) {
        int64_t c = s % strips * COLUMNS;
        FOR_WORKING_TYPE(o->dout.type,
                         position_grad(o, s / strips, c, min64(COLUMNS, n - c), TYPE));
    }
}

static void sample_range(const void *op, int64_t first, int64_t end)
{
    const positions_grad_op *o = op;
    int64_t length = o->dout.dim[1], n = o->dout.dim[2], rest = o->dx.dim[1];
    for (int64_t b = first; b < end; b++)
        memmove(element_at(o->dx, b * rest, 0), element_at(o->dout, b * length + length - rest, 0),
                (size_t)(rest * n) * dtype_size(o->dx.type));
}

void cpu_positions_grad(device *dev, int stream, const positions_grad_op *o)
{
    (void)stream;
    int64_t length = o->dout.dim[1], n = o->dout.dim[2];
    pool_for(cpu_threads(dev), length * strips_of(n), 1, position_range, o);
    pool_for(cpu_threads(dev), o->dout.dim[0], rows_at_once(o->dx.dim[1] * n), sample_range, o);
}

/* Columns [c, c + n) of the mean over a sample's positions, or of the first one. */
ROW_FN void pool_part(const pool_op *o, int64_t b, int64_t c, int64_t n, int type)
{
    int64_t length = o->x.dim[1];
    float sum[COLUMNS], part = 1.0f / (float)length;
    load_row((dtype)type, element_at(o->x, b * length, c), n, sum);
    for (int64_t t = 1; t < length && !o->first; t++)
        add_to_sum(sum, element_at(o->x, b * length + t, c), n, type);
    for (int64_t i = 0; i < n && !o->first; i++)
        sum[i] *= part;
    store_row((dtype)type, element_at(o->out, b, c), n, sum);
}

static void pool_range(const void *op, int64_t first, int64_t end)
{
    const pool_op *o = op;
    int64_t n = o->x.dim[2];
    for (int64_t b = first; b < end; b++)
        for (int64_t c = 0; c < n; c += COLUMNS)
            FOR_WORKING_TYPE(o->x.type, pool_part(o, b, c, min64(COLUMNS, n - c), TYPE));
}

CPU_ENTRY(pool, o->x.dim[0], rows_at_once(o->x.dim[1] * o->x.dim[2]))

/* out = scale * x + residual, one row */
ROW_FN void scale_sample_row(void *out, const void *x, float scale, const void *residual, int64_t n,
                             int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, out, i, scale * load(type, x, i) + (residual ? load(type, residual, i) : 0));
}

static void pool_grad_range(const void *op, int64_t first, int64_t end)
{
    const pool_grad_op *o = op;
    int64_t length = o->dx.dim[1], n = o->dx.dim[2];
    float part = o->first ? 1.0f : 1.0f / (float)length;
    for (int64_t r = first; r < end; r++) {
        void *dx = element_at(o->dx, r, 0);
        if (o->first && r % length)
            memset(dx, 0, (size_t)n * dtype_size(o->dx.type));
        else
            FOR_WORKING_TYPE(o->dx.type, scale_sample_row(dx, element_at(o->dout, r / length, 0),
                                                          part, NULL, n, TYPE));
    }
}

CPU_ROWS(pool_grad, dx)

static void scale_samples_range(const void *op, int64_t first, int64_t end)
{
    const scale_samples_op *o = op;
    int64_t length = o->x.dim[1], n = o->x.dim[2];
    for (int64_t r = first; r < end; r++) {
        float scale = floats(o->scale)[r / length];
        const void *residual = present(o->residual) ? element_at(o->residual, r, 0) : NULL;
        FOR_WORKING_TYPE(o->x.type,
                         scale_sample_row(element_at(o->out, r, 0), element_at(o->x, r, 0), scale,
                                          residual, n, TYPE));
    }
}

CPU_ROWS(scale_samples, x)
