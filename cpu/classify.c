/* classify.c - softmax, cross-entropy and its gradient, row by row and in place.
 *
 * A row (50257 logits: 200 KiB) is read from memory once, for its maximum; the exponentials and the
 * scaling find it in the L2 cache.  Exponentials are summed in float within a block and in double
 * over the blocks.  In bf16 they are recomputed instead of stored in the row, which would round
 * them.
 */
#include "cpu/cpu_internal.h"
#include "cpu/sums.h"
#include "cpu/vector.h"

#include <math.h>

enum { BLOCK = 1024 };

ROW_FN float maximum(const void *x, int64_t n, int type)
{
    float max = load(type, x, 0);
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++)
        max = load(type, x, i) > max ? load(type, x, i) : max;
    return max;
}

/* Sum of e^(x - max); with keep, replaces x by the exponentials. */
ROW_FN double exp_sum(void *x, int64_t n, float max, bool keep, int type)
{
    double total = 0;
    for (int64_t from = 0; from < n; from += BLOCK) {
        int64_t to = min64(from + BLOCK, n);
        float sum[SUM_LANES] = {0};
        if (keep)
            FOR_LANES(to - from, i, k, float e = vector_exp(load(type, x, from + i) - max);
                      store(type, x, from + i, e); sum[k] += e);
        else
            FOR_LANES(to - from, i, k, sum[k] += vector_exp(load(type, x, from + i) - max));
        total += fold_lanes(sum);
    }
    return total;
}

/* The exponential of x[i], stored by exp_sum or recomputed. */
ROW_FN float exponential(const void *x, int64_t i, float max, int type)
{
    return type == F32 ? load(F32, x, i) : vector_exp(load(type, x, i) - max);
}

/* The derivative of cap * tanh(x / cap) where it is cap * t */
VECTOR_FN float cap_slope(float t)
{
    return (1 - t) * (1 + t);
}

/* Replaces capped logits x by the gradient of the uncapped ones: probabilities, factor times the
 * exponentials, times the cap's derivative. */
ROW_FN void capped_grad(void *x, int64_t n, float max, float factor, float inverse, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float logit = load(type, x, i);
        store(type, x, i, vector_exp(logit - max) * factor * cap_slope(logit * inverse));
    }
}

ROW_FN void classify_row(const classify_op *o, int64_t r, int type)
{
    int64_t n = tensor_cols(o->logits);
    int32_t target = ((const int32_t *)o->targets.data)[r];
    void *x = element_at(o->logits, r, 0);
    float max = maximum(x, n, type), chosen = load(type, x, target);
    bool keep = o->backward && type == F32 && !(o->cap > 0); /* a cap's gradient needs the logits */
    double sum = exp_sum(x, n, max, keep, type);
    double lse = log(sum) + (double)max;
    floats(o->losses)[r] = (float)(lse - (double)chosen + o->z * lse * lse);
    if (!o->backward) return;
    float factor = (float)(o->scale * (1 + 2 * o->z * lse) / sum),
          part = vector_exp(chosen - max) * factor;
    if (o->cap > 0) {
        capped_grad(x, n, max, factor, (float)(1 / o->cap), type);
        part = (part - (float)o->scale) * cap_slope(chosen * (float)(1 / o->cap));
        store(type, x, target, part);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, x, i, exponential(x, i, max, type) * factor);
    store(type, x, target, part - (float)o->scale);
}

CPU_EACH_ROW(classify, logits, classify_row(o, r, TYPE))

ROW_FN void cap_row(void *x, int64_t n, float cap, float inverse, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, x, i, cap * vector_tanh(load(type, x, i) * inverse));
}

static void soft_cap_range(const void *op, int64_t first, int64_t end)
{
    const soft_cap_op *o = op;
    float cap = (float)o->cap, inverse = 1 / cap;
    for (int64_t r = first; r < end; r++)
        FOR_WORKING_TYPE(o->x.type,
                         cap_row(element_at(o->x, r, 0), tensor_cols(o->x), cap, inverse, TYPE));
}

CPU_ROWS(soft_cap, x)

/* ---- soft targets ---- */

/* The index of the largest; the first if there are several. */
ROW_FN int64_t largest(const void *x, int64_t n, int type)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (load(type, x, i) > load(type, x, best)) best = i;
    return best;
}

ROW_FN void classify_soft_row(const classify_soft_op *o, int64_t r, int type)
{
    int64_t n = tensor_cols(o->logits);
    void *x = element_at(o->logits, r, 0);
    float max = maximum(x, n, type);
    const float *t = row(o->targets, r);
    if (present(o->hits)) {
        int64_t label = largest(t, n, F32);
        floats(o->hits)[r] = t[label] > 0 && largest(x, n, type) == label;
    }
    double mass = 0, chosen = 0; /* chosen: relative to the maximum, to avoid cancellation */
    for (int64_t i = 0; i < n; i++) {
        mass += (double)t[i];
        chosen += (double)t[i] * ((double)load(type, x, i) - (double)max);
    }
    double sum = exp_sum(x, n, max, o->backward && type == F32, type);
    floats(o->losses)[r] = (float)(mass * log(sum) - chosen);
    if (!o->backward) return;
    float factor = (float)(mass * o->scale / sum), scale = (float)o->scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, x, i, exponential(x, i, max, type) * factor - t[i] * scale);
}

CPU_EACH_ROW(classify_soft, logits, classify_soft_row(o, r, TYPE))
