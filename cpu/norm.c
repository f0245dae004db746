/* norm.c - LayerNorm and RMSNorm.  A row stays in the L1 cache while it is read two or three
 * times. */
#include "cpu/cpu_internal.h"
#include "cpu/sums.h"

#include <math.h>
#include <string.h>

ROW_FN void norm_row(const norm_op *o, int64_t r, int type)
{
    int64_t n = tensor_cols(o->x);
    const void *x = element_at(o->x, r, 0), *w = o->w.data, *b = present(o->b) ? o->b.data : NULL;
    void *out = element_at(o->out, r, 0);
    float sum[SUM_LANES] = {0}, square[SUM_LANES] = {0};
    if (!o->rms) FOR_LANES(n, i, k, sum[k] += load(type, x, i));
    float mean = fold_lanes(sum) / (float)n, offset = (float)o->offset;
    FOR_LANES(n, i, k, float d = load(type, x, i) - mean; square[k] += d * d);
    float rstd = 1.0f / sqrtf(fold_lanes(square) / (float)n + (float)o->eps);
    if (b) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            store(type, out, i,
                  (load(type, x, i) - mean) * rstd * (offset + load(type, w, i)) +
                      load(type, b, i));
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            store(type, out, i, (load(type, x, i) - mean) * rstd * (offset + load(type, w, i)));
    }
    if (present(o->mean)) floats(o->mean)[r] = mean;
    if (present(o->rstd)) floats(o->rstd)[r] = rstd;
}

CPU_EACH_ROW(norm, x, norm_row(o, r, TYPE))

/* dx of one row; its part of dw and db is added to sums: (2,C) */
ROW_FN void norm_grad_row(const norm_grad_op *o, int64_t r, float *sums, int type)
{
    int64_t n = tensor_cols(o->x);
    const void *x = element_at(o->x, r, 0), *d = element_at(o->dout, r, 0), *w = o->w.data;
    float mean = o->rms ? 0 : floats(o->mean)[r], rstd = floats(o->rstd)[r];
    float offset = (float)o->offset;
    void *dx = element_at(o->dx, r, 0);
    float *dw = sums, *db = sums + n, h_sum[SUM_LANES] = {0}, hn_sum[SUM_LANES] = {0};
    FOR_LANES(n, i, k, float di = load(type, d, i), norm = (load(type, x, i) - mean) * rstd,
              h = di * (offset + load(type, w, i));
              dw[i] += di * norm; db[i] += di; h_sum[k] += h; hn_sum[k] += h * norm);
    float h_avg = o->rms ? 0 : fold_lanes(h_sum) / (float)n, hn_avg = fold_lanes(hn_sum) / (float)n;
#define DX(i)                                                                                      \
    (rstd * (load(type, d, i) * (offset + load(type, w, i)) - h_avg -                              \
             (load(type, x, i) - mean) * rstd * hn_avg))
    if (o->accumulate) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            store(type, dx, i, load(type, dx, i) + DX(i));
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            store(type, dx, i, DX(i));
    }
#undef DX
}

/* Column i of the groups' sums, added in order, into g. */
static void add_groups(const norm_grad_op *o, grad g, int64_t column, int64_t i)
{
    if (!present(g.t)) return;
    float sum = 0;
    for (int64_t group = 0; group < NORM_GROUPS; group++)
        sum += floats(o->scratch)[group * 2 * tensor_cols(o->x) + column];
    int type = g.t.type;
    store(type, g.t.data, i, g.accumulate ? load(type, g.t.data, i) + sum : sum);
}

static void group_range(const void *op, int64_t first, int64_t end)
{
    const norm_grad_op *o = op;
    int64_t rows = tensor_rows(o->x), n = tensor_cols(o->x);
    for (int64_t g = first; g < end; g++) {
        float *sums = floats(o->scratch) + g * 2 * n;
        memset(sums, 0, (size_t)(2 * n) * sizeof *sums);
        for (int64_t r = rows * g / NORM_GROUPS; r < rows * (g + 1) / NORM_GROUPS; r++)
            FOR_WORKING_TYPE(o->x.type, norm_grad_row(o, r, sums, TYPE));
    }
}

static void column_range(const void *op, int64_t first, int64_t end)
{
    const norm_grad_op *o = op;
    for (int64_t i = first; i < end; i++) {
        add_groups(o, o->dw, i, i);
        add_groups(o, o->db, tensor_cols(o->x) + i, i);
    }
}

void cpu_norm_grad(device *dev, int stream, const norm_grad_op *o)
{
    (void)stream;
    pool_for(cpu_threads(dev), NORM_GROUPS, 1, group_range, o);
    pool_for(cpu_threads(dev), tensor_cols(o->x), 256, column_range, o);
}
