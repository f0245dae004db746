/* head_norm.c - RMSNorm per head (QK norm), in place, and its gradients.
 *
 * A head is short: the backward pass recomputes its rstd from the kept numbers instead of storing
 * it. Rows are divided into NORM_GROUPS groups, whose sums for the weights are added in order, as
 * in norm.c.
 */
#include "cpu/cpu_internal.h"
#include "cpu/sums.h"

#include <math.h>
#include <string.h>

ROW_FN float rstd_of(const void *x, int64_t n, double eps, int type)
{
    float square[SUM_LANES] = {0};
    FOR_LANES(n, i, k, square[k] += load(type, x, i) * load(type, x, i));
    return 1.0f / sqrtf(fold_lanes(square) / (float)n + (float)eps);
}

/* Head h of a row: address, size, and its weights. */
typedef struct {
    int64_t at, n;
    const void *w;
} one_head;

static one_head normed_head(tensor w1, tensor w2, int64_t first, int64_t h)
{
    int64_t D = tensor_count(w1), E = tensor_count(w2);
    return h < first ? (one_head){h * D, D, w1.data}
                     : (one_head){first * D + (h - first) * E, E, w2.data};
}

ROW_FN void norm_head(void *x, const void *w, int64_t n, float offset, double eps, int type)
{
    float rstd = rstd_of(x, n, eps, type);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, x, i, load(type, x, i) * rstd * (offset + load(type, w, i)));
}

static void head_norm_range(const void *op, int64_t first, int64_t end)
{
    const head_norm_op *o = op;
    int64_t heads = o->first + o->second, normed = normed_head(o->w1, o->w2, o->first, heads).at;
    size_t size = dtype_size(o->x.type);
    for (int64_t r = first; r < end; r++) {
        if (present(o->saved))
            memcpy((char *)o->saved.data + (size_t)(r * normed) * size, element_at(o->x, r, 0),
                   (size_t)normed * size);
        for (int64_t h = 0; h < heads; h++) {
            one_head one = normed_head(o->w1, o->w2, o->first, h);
            FOR_WORKING_TYPE(o->x.type, norm_head(element_at(o->x, r, one.at), one.w, one.n,
                                                  (float)o->offset, o->eps, TYPE));
        }
    }
}

CPU_ROWS(head_norm, x)

/* dx of one head; its part of dw is added to sums (n) */
ROW_FN void head_grad(const void *x, const void *w, int64_t n, float offset, double eps, void *dx,
                      float *sums, int type)
{
    float rstd = rstd_of(x, n, eps, type), hn_sum[SUM_LANES] = {0};
    FOR_LANES(n, i, k, float d = load(type, dx, i), norm = load(type, x, i) * rstd;
              sums[i] += d * norm; hn_sum[k] += d * (offset + load(type, w, i)) * norm);
    float hn_avg = fold_lanes(hn_sum) / (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, dx, i,
              rstd * (load(type, dx, i) * (offset + load(type, w, i)) -
                      load(type, x, i) * rstd * hn_avg));
}

/* All heads of row r; sums (D+E): of the first heads and of the second. */
static void row_grad(const head_norm_grad_op *o, int64_t r, float *sums)
{
    int64_t heads = o->first + o->second, normed = normed_head(o->w1, o->w2, o->first, heads).at;
    for (int64_t h = 0; h < heads; h++) {
        one_head one = normed_head(o->w1, o->w2, o->first, h);
        size_t at = (size_t)(r * normed + one.at) * dtype_size(o->dx.type);
        float *to = h < o->first ? sums : sums + tensor_count(o->w1);
        FOR_WORKING_TYPE(o->dx.type,
                         head_grad((char *)o->saved.data + at, one.w, one.n, (float)o->offset,
                                   o->eps, element_at(o->dx, r, one.at), to, TYPE));
    }
}

/* Adds columns [column, column + n) of the groups' sums, in order: a weight's whole gradient. */
static void add_groups(const head_norm_grad_op *o, grad g, int64_t column)
{
    int64_t all = tensor_count(o->w1) + tensor_count(o->w2);
    int type = g.t.type;
    for (int64_t i = 0; present(g.t) && i < tensor_count(g.t); i++) {
        float sum = 0;
        for (int64_t group = 0; group < NORM_GROUPS; group++)
            sum += floats(o->scratch)[group * all + column + i];
        store(type, g.t.data, i, g.accumulate ? load(type, g.t.data, i) + sum : sum);
    }
}

static void head_norm_grad_range(const void *op, int64_t first, int64_t end)
{
    const head_norm_grad_op *o = op;
    int64_t rows = tensor_rows(o->dx), all = tensor_count(o->w1) + tensor_count(o->w2);
    for (int64_t g = first; g < end; g++) {
        float *sums = floats(o->scratch) + g * all;
        memset(sums, 0, (size_t)all * sizeof *sums);
        for (int64_t r = rows * g / NORM_GROUPS; r < rows * (g + 1) / NORM_GROUPS; r++)
            row_grad(o, r, sums);
    }
}

void cpu_head_norm_grad(device *dev, int stream, const head_norm_grad_op *o)
{
    (void)stream;
    pool_for(cpu_threads(dev), NORM_GROUPS, 1, head_norm_grad_range, o);
    add_groups(o, o->dw1, 0);
    add_groups(o, o->dw2, tensor_count(o->w1));
}
