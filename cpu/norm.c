/* norm.c - LayerNorm and RMSNorm.  A row stays in the first cache while it is read two or three times. */
#include "cpu/internal.h"

#include <math.h>
#include <string.h>

static void norm_row(const norm_op *o, int64_t r)
{
    int64_t n = tensor_cols(o->x);
    const float *x = row(o->x, r), *w = floats(o->w), *b = present(o->b) ? floats(o->b) : NULL;
    float *out = row(o->out, r), sum = 0, square = 0;
    if (!o->rms) {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++)
            sum += x[i];
    }
    float mean = sum / (float)n, offset = (float)o->offset;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    float rstd = 1.0f / sqrtf(square / (float)n + (float)o->eps);
    if (b) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = (x[i] - mean) * rstd * (offset + w[i]) + b[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            out[i] = (x[i] - mean) * rstd * (offset + w[i]);
    }
    if (present(o->mean)) floats(o->mean)[r] = mean;
    if (present(o->rstd)) floats(o->rstd)[r] = rstd;
}

void cpu_norm(device *dev, int stream, const norm_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++)
        norm_row(o, r);
}

/* dx of one row; its part of dw and db is added to sums: (2,C) */
static void norm_grad_row(const norm_grad_op *o, int64_t r, float *sums)
{
    int64_t n = tensor_cols(o->x);
    const float *x = row(o->x, r), *d = row(o->dout, r), *w = floats(o->w);
    float mean = o->rms ? 0 : floats(o->mean)[r], rstd = floats(o->rstd)[r];
    float offset = (float)o->offset;
    float *dx = row(o->dx, r), *dw = sums, *db = sums + n, h_sum = 0, hn_sum = 0;
#pragma omp simd reduction(+ : h_sum, hn_sum)
    for (int64_t i = 0; i < n; i++) {
        float norm = (x[i] - mean) * rstd, h = d[i] * (offset + w[i]);
        dw[i] += d[i] * norm;
        db[i] += d[i];
        h_sum += h;
        hn_sum += h * norm;
    }
    float h_avg = o->rms ? 0 : h_sum / (float)n, hn_avg = hn_sum / (float)n;
    if (o->accumulate) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] += rstd * (d[i] * (offset + w[i]) - h_avg - (x[i] - mean) * rstd * hn_avg);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            dx[i] = rstd * (d[i] * (offset + w[i]) - h_avg - (x[i] - mean) * rstd * hn_avg);
    }
}

/* Column i of the groups' sums, in order, into g. */
static void add_groups(const norm_grad_op *o, grad g, int64_t column, int64_t i)
{
    if (!present(g.t)) return;
    float sum = 0;
    for (int64_t group = 0; group < NORM_GROUPS; group++)
        sum += floats(o->scratch)[group * 2 * tensor_cols(o->x) + column];
    float *out = floats(g.t) + i;
    *out = g.accumulate ? *out + sum : sum;
}

void cpu_norm_grad(device *dev, int stream, const norm_grad_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x), n = tensor_cols(o->x);
#pragma omp parallel num_threads(dev->threads)
    {
#pragma omp for
        for (int64_t g = 0; g < NORM_GROUPS; g++) {
            float *sums = floats(o->scratch) + g * 2 * n;
            memset(sums, 0, (size_t)(2 * n) * sizeof *sums);
            for (int64_t r = rows * g / NORM_GROUPS; r < rows * (g + 1) / NORM_GROUPS; r++)
                norm_grad_row(o, r, sums);
        }
#pragma omp for
        for (int64_t i = 0; i < n; i++) {
            add_groups(o, o->dw, i, i);
            add_groups(o, o->db, n + i, i);
        }
    }
}
