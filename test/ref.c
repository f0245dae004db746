/* ref.c - the reference device: memory, and the operations that are not layers (see ref.h). */
#include "test/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory: the host's; streams: everything is done at once ---- */

static error *ref_alloc(device *dev, size_t bytes, void **out)
{
    (void)dev;
    return alloc_array(out, bytes, 1);
}

static void ref_release(device *dev, void *memory)
{
    (void)dev;
    free(memory);
}

static void ref_put(device *dev, int stream, void *dst, const void *host, size_t bytes)
{
    (void)dev, (void)stream;
    memcpy(dst, host, bytes);
}

static void ref_get(device *dev, int stream, void *host, const void *src, size_t bytes)
{
    (void)dev, (void)stream;
    memcpy(host, src, bytes);
}

static void ref_set(device *dev, int stream, void *dst, int byte, size_t bytes)
{
    (void)dev, (void)stream;
    memset(dst, byte, bytes);
}

static void ref_sync(device *dev, int stream)
{
    (void)dev, (void)stream;
}

static void ref_order(device *dev, int from, int to)
{
    (void)dev, (void)from, (void)to;
}

device ref_device(void)
{
    static const device_ops ops = {
        .name = "reference",
        .working_types = 1u << F64,
        .alloc = ref_alloc,
        .release = ref_release,
        .put = ref_put,
        .get = ref_get,
        .set = ref_set,
        .sync = ref_sync,
        .fork = ref_order,
        .join = ref_order,
#define ref_optim       NULL /* see ref.h */
#define OPERATION(name) .name = ref_##name,
#include "core/ops.def"
#undef ref_optim
    };
    return (device){.ops = &ops, .threads = 1};
}

/* ---- fill, copy, add ---- */

void ref_fill(device *dev, int stream, const fill_op *o)
{
    (void)dev, (void)stream;
    for (int64_t i = 0; i < tensor_count(o->x); i++)
        ((double *)o->x.data)[i] = o->value;
}

void ref_copy(device *dev, int stream, const copy_op *o)
{
    (void)dev, (void)stream;
    int64_t cols = tensor_cols(o->dst);
    for (int64_t i = 0; i < tensor_count(o->dst); i++)
        *ref_at(o->dst, i / cols, i % cols) =
            *ref_at(o->src, i / tensor_cols(o->src), i % tensor_cols(o->src));
}

/* ---- matrices ---- */

void ref_matmul(device *dev, int stream, const matmul_op *o)
{
    (void)dev, (void)stream;
    int64_t k = o->x_transposed ? tensor_rows(o->x) : tensor_cols(o->x);
    for (int64_t m = 0; m < tensor_rows(o->out); m++)
        for (int64_t n = 0; n < tensor_cols(o->out); n++) {
            double sum = 0, *out = ref_at(o->out, m, n);
            for (int64_t i = 0; i < k; i++)
                sum += *(o->x_transposed ? ref_at(o->x, i, m) : ref_at(o->x, m, i)) *
                       *(o->y_transposed ? ref_at(o->y, n, i) : ref_at(o->y, i, n));
            *out = o->alpha * sum + (o->beta != 0 ? o->beta * *out : 0);
        }
}

void ref_normalize(device *dev, int stream, const normalize_op *o)
{
    (void)dev, (void)stream;
    double norm = sqrt(*(const double *)o->squares.data) + o->eps;
    for (int64_t i = 0; i < tensor_count(o->x); i++)
        ((double *)o->x.data)[i] /= norm;
}

void ref_add(device *dev, int stream, const add_op *o)
{
    (void)dev, (void)stream;
    for (int64_t i = 0; i < tensor_count(o->x); i++)
        ((double *)o->x.data)[i] += ((const double *)o->y.data)[i];
}

/* ---- embedding ---- */

static int64_t token(tensor tokens, int64_t b, int64_t t)
{
    return ((const int32_t *)tokens.data)[b * tokens.ld + t];
}

static int64_t position(tensor starts, int64_t b, int64_t t)
{
    return present(starts) ? t - token(starts, b, t) : t;
}

void ref_embedding(device *dev, int stream, const embedding_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->tokens.dim[0], T = o->tokens.dim[1], C = tensor_cols(o->wte);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t c = 0; c < C; c++) {
                double scale = o->scale == 0 ? 1 : o->scale;
                double e = scale * *ref_at(o->wte, token(o->tokens, b, t), c);
                double p = present(o->wpe)
                               ? *ref_at(o->wpe, o->first_position + position(o->starts, b, t), c)
                               : 0;
                ((double *)o->out.data)[(b * T + t) * C + c] = e + p;
            }
}

/* A gradient that is not accumulated starts from zero, in every row. */
static void begin(grad g)
{
    if (!present(g.t) || g.accumulate) return;
    for (int64_t r = 0; r < tensor_rows(g.t); r++)
        for (int64_t c = 0; c < tensor_cols(g.t); c++)
            *ref_at(g.t, r, c) = 0;
}

void ref_embedding_grad(device *dev, int stream, const embedding_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->tokens.dim[0], T = o->tokens.dim[1], C = tensor_cols(o->dout);
    begin(o->dwte);
    begin(o->dwpe);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t c = 0; c < C; c++) {
                double d = ((const double *)o->dout.data)[(b * T + t) * C + c];
                double scaled = o->scale == 0 ? d : o->scale * d;
                if (present(o->dwte.t)) *ref_at(o->dwte.t, token(o->tokens, b, t), c) += scaled;
                int64_t at = o->first_position + position(o->starts, b, t);
                if (present(o->dwpe.t)) *ref_at(o->dwpe.t, at, c) += d;
            }
}

/* ---- loss and gradient norm ---- */

void ref_soft_cap(device *dev, int stream, const soft_cap_op *o)
{
    (void)dev, (void)stream;
    for (int64_t r = 0; r < tensor_rows(o->x); r++)
        for (int64_t c = 0; c < tensor_cols(o->x); c++) {
            double *x = ref_at(o->x, r, c);
            *x = o->cap * tanh(*x / o->cap);
        }
}

void ref_classify(device *dev, int stream, const classify_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->logits), V = tensor_cols(o->logits);
    for (int64_t r = 0; r < R; r++) {
        int64_t target = ((const int32_t *)o->targets.data)[r];
        double max = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++)
            max = fmax(max, *ref_at(o->logits, r, v));
        for (int64_t v = 0; v < V; v++)
            sum += exp(*ref_at(o->logits, r, v) - max);
        double lse = max + log(sum);
        ((double *)o->losses.data)[r] = lse - *ref_at(o->logits, r, target) + o->z * lse * lse;
        if (!o->backward) continue;
        for (int64_t v = 0; v < V; v++) {
            double p = exp(*ref_at(o->logits, r, v) - lse) * (1 + 2 * o->z * lse);
            double t = o->cap > 0 ? *ref_at(o->logits, r, v) / o->cap : 0;
            *ref_at(o->logits, r, v) = (p - (v == target ? 1 : 0)) * o->scale * (1 - t * t);
        }
    }
}

void ref_sum(device *dev, int stream, const sum_op *o)
{
    (void)dev, (void)stream;
    double *out = o->sum.data, sum = 0;
    for (int64_t i = 0; i < tensor_count(o->x); i++)
        sum += ((const double *)o->x.data)[i];
    *out = o->scale * sum + (o->accumulate ? *out : 0);
    if (present(o->hyper) && !isfinite(*out)) ((hyper *)o->hyper.data)->ok = 0;
}

void ref_sumsq(device *dev, int stream, const sumsq_op *o)
{
    (void)dev, (void)stream;
    for (int64_t k = 0; k < o->n; k++) {
        double *sum = o->items[k].slot.data;
        *sum = 0;
        for (int64_t i = 0; i < tensor_count(o->items[k].x); i++) {
            double x = ((const double *)o->items[k].x.data)[i];
            *sum += x * x;
        }
    }
}

void ref_clip(device *dev, int stream, const clip_op *o)
{
    (void)dev, (void)stream;
    hyper *h = o->hyper.data;
    double sum = 0;
    for (int64_t i = 0; i < tensor_count(o->slots); i++)
        sum += ((const double *)o->slots.data)[i];
    double norm = sqrt(sum);
    h->grad_norm = (float)norm;
    h->clip = o->max_norm == 0 ? 1.0f : (float)fmin(1, o->max_norm / norm);
}

void ref_nonfinite(device *dev, int stream, const nonfinite_op *o)
{
    (void)dev, (void)stream;
    *o->count = 0;
    if (o->x.type != F64) return;
    for (int64_t r = 0; r < tensor_rows(o->x); r++)
        for (int64_t c = 0; c < tensor_cols(o->x); c++)
            *o->count += !isfinite(*ref_at(o->x, r, c));
}
