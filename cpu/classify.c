/* classify.c - softmax, cross-entropy and its gradient, row by row and in place.
 *
 * A row (50257 logits: 200 KiB) comes from memory once, for its maximum; the exponentials and the
 * scaling find it in the second cache.  The exponentials are added up in float within a block and
 * in double over the blocks.
 */
#include "cpu/internal.h"
#include "cpu/vector.h"

#include <math.h>

enum { BLOCK = 1024 };

static float maximum(const float *x, int64_t n)
{
    float max = x[0];
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

/* Sum of e^(x - max); with keep, x becomes those exponentials. */
static double exp_sum(float *x, int64_t n, float max, bool keep)
{
    double total = 0;
    for (int64_t from = 0; from < n; from += BLOCK) {
        int64_t to = min64(from + BLOCK, n);
        float sum = 0;
        if (keep) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = from; i < to; i++) {
                x[i] = vector_exp(x[i] - max);
                sum += x[i];
            }
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = from; i < to; i++)
                sum += vector_exp(x[i] - max);
        }
        total += sum;
    }
    return total;
}

static void classify_row(const classify_op *o, int64_t r)
{
    int64_t n = tensor_cols(o->logits);
    int32_t target = ((const int32_t *)o->targets.data)[r];
    float *x = row(o->logits, r), max = maximum(x, n), chosen = x[target];
    double sum = exp_sum(x, n, max, o->backward);
    floats(o->losses)[r] = (float)(log(sum) + (double)max - (double)chosen);
    if (!o->backward) return;
    float factor = (float)(o->scale / sum);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
    x[target] -= (float)o->scale;
}

void cpu_classify(device *dev, int stream, const classify_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->logits);
#pragma omp parallel for num_threads(dev->threads) schedule(dynamic)
    for (int64_t r = 0; r < rows; r++)
        classify_row(o, r);
}

/* ---- against weights of classes ---- */

/* The first of the largest. */
static int64_t largest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void classify_soft_row(const classify_soft_op *o, int64_t r)
{
    int64_t n = tensor_cols(o->logits);
    float *x = row(o->logits, r), max = maximum(x, n);
    const float *t = row(o->targets, r);
    if (present(o->hits)) {
        int64_t label = largest(t, n);
        floats(o->hits)[r] = t[label] > 0 && largest(x, n) == label;
    }
    double mass = 0, chosen = 0; /* chosen: relative to the maximum, so that nothing cancels */
    for (int64_t i = 0; i < n; i++) {
        mass += (double)t[i];
        chosen += (double)t[i] * ((double)x[i] - (double)max);
    }
    double sum = exp_sum(x, n, max, o->backward);
    floats(o->losses)[r] = (float)(mass * log(sum) - chosen);
    if (!o->backward) return;
    float factor = (float)(mass * o->scale / sum), scale = (float)o->scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * factor - t[i] * scale;
}

void cpu_classify_soft(device *dev, int stream, const classify_soft_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->logits);
#pragma omp parallel for num_threads(dev->threads) schedule(dynamic)
    for (int64_t r = 0; r < rows; r++)
        classify_soft_row(o, r);
}
