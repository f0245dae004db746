/* head_norm.c - RMSNorm of single heads, in place, and its gradients.
 *
 * A head is short: its rstd is made again from the kept numbers in the backward pass rather than
 * kept.  Rows lie in NORM_GROUPS groups, whose sums for the weights are added in order, as in norm.c.
 */
#include "cpu/internal.h"

#include <math.h>
#include <string.h>

static float rstd_of(const float *x, int64_t n, double eps)
{
    float square = 0;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < n; i++)
        square += x[i] * x[i];
    return 1.0f / sqrtf(square / (float)n + (float)eps);
}

void cpu_head_norm(device *dev, int stream, const head_norm_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x), n = tensor_count(o->w1), heads = o->first + o->second;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++) {
        float *x = row(o->x, r);
        if (present(o->kept))
            memcpy(floats(o->kept) + r * heads * n, x, (size_t)(heads * n) * sizeof *x);
        for (int64_t h = 0; h < heads; h++, x += n) {
            const float *w = floats(h < o->first ? o->w1 : o->w2);
            float rstd = rstd_of(x, n, o->eps);
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                x[i] *= rstd * w[i];
        }
    }
}

/* dx of one head; its part of dw is added to sums (D) */
static void head_grad(const float *x, const float *w, int64_t n, double eps, float *dx, float *sums)
{
    float rstd = rstd_of(x, n, eps), hn_sum = 0;
#pragma omp simd reduction(+ : hn_sum)
    for (int64_t i = 0; i < n; i++) {
        float norm = x[i] * rstd;
        sums[i] += dx[i] * norm;
        hn_sum += dx[i] * w[i] * norm;
    }
    float hn_avg = hn_sum / (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = rstd * (dx[i] * w[i] - x[i] * rstd * hn_avg);
}

static void row_grad(const head_norm_grad_op *o, int64_t r, float *sums)
{
    int64_t n = tensor_count(o->w1), heads = o->first + o->second;
    const float *x = floats(o->kept) + r * heads * n;
    float *dx = row(o->dx, r);
    for (int64_t h = 0; h < heads; h++, x += n, dx += n) {
        bool first = h < o->first;
        head_grad(x, floats(first ? o->w1 : o->w2), n, o->eps, dx, first ? sums : sums + n);
    }
}

static void add_groups(const head_norm_grad_op *o, grad g, int64_t column)
{
    int64_t n = tensor_count(o->w1);
    for (int64_t i = 0; present(g.t) && i < n; i++) {
        float sum = 0, *out = floats(g.t) + i;
        for (int64_t group = 0; group < NORM_GROUPS; group++)
            sum += floats(o->scratch)[group * 2 * n + column + i];
        *out = g.accumulate ? *out + sum : sum;
    }
}

void cpu_head_norm_grad(device *dev, int stream, const head_norm_grad_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->dx), n = tensor_count(o->w1);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t g = 0; g < NORM_GROUPS; g++) {
        float *sums = floats(o->scratch) + g * 2 * n;
        memset(sums, 0, (size_t)(2 * n) * sizeof *sums);
        for (int64_t r = rows * g / NORM_GROUPS; r < rows * (g + 1) / NORM_GROUPS; r++)
            row_grad(o, r, sums);
    }
    add_groups(o, o->dw1, 0);
    add_groups(o, o->dw2, n);
}
