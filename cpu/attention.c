/* attention.c - softmax attention in blocks (Dao et al.: "FlashAttention", NeurIPS 2022).
 *
 *                  keys
 *            +------+------+------+
 *   queries  | done |      |      |     Scores exist one block at a time, in a few hundred KiB of
 *            +------+------+      |     the thread's stack.  The forward pass keeps for each query
 *            | done | now  |      |     the largest score so far and the sum of exponentials under
 *            +------+------+------+     it; when the largest grows, what was added up is scaled
 *            |      |      |      |     down.  It leaves log-sum-exp, from which the backward pass
 *            +------+------+------+     makes every block again.
 *
 * Blocks above the diagonal are not touched when causal.  Work is shared by (sequence, head) pairs:
 * the backward pass gives a thread all query heads of a key head, so that it alone writes dk and dv.
 */
#include "cpu/internal.h"
#include "cpu/vector.h"

#include <math.h>
#include <string.h>

enum { QUERIES = 64, KEYS = 256 };

/* One head of one sequence: matrices of T rows. */
typedef struct {
    const blas *blas;
    int64_t length, size; /* T, D */
    panel q, k, v;
    bool causal;
    float scale;
} head;

/* How many of n keys from `key` on a query sees. */
static int64_t visible(const head *h, int64_t query, int64_t key, int64_t n)
{
    int64_t limit = query + 1 - key;
    return !h->causal || limit > n ? n : limit < 0 ? 0 : limit;
}

static int64_t last_key(const head *h, int64_t query, int64_t queries)
{
    return h->causal ? query + queries : h->length;
}

static panel from(panel p, int64_t r)
{
    return (panel){p.data + r * p.ld, p.ld};
}

static head head_of(device *dev, tensor qkv, int64_t heads, int64_t kv_heads, int64_t b, int64_t h)
{
    int64_t length = qkv.dim[1], size = tensor_cols(qkv) / (heads + 2 * kv_heads);
    int64_t kv = h / (heads / kv_heads);
    return (head){
        .blas = cpu_blas(dev),
        .length = length,
        .size = size,
        .q = at(qkv, b * length, h * size),
        .k = at(qkv, b * length, (heads + kv) * size),
        .v = at(qkv, b * length, (heads + kv_heads + kv) * size),
    };
}

/* ---- forward ---- */

/* Scores of one query become exponentials under the running maximum; returns the factor by which
 * what was added up before shrinks. */
static float softmax_row(float *s, int64_t seen, int64_t n, float scale, float *max, float *sum)
{
    float high = *max, total = 0;
#pragma omp simd reduction(max : high)
    for (int64_t j = 0; j < seen; j++) {
        s[j] *= scale;
        high = s[j] > high ? s[j] : high;
    }
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < seen; j++) {
        s[j] = vector_exp(s[j] - high);
        total += s[j];
    }
    memset(s + seen, 0, (size_t)(n - seen) * sizeof *s);
    float shrink = *sum > 0 ? vector_exp(*max - high) : 0;
    *sum = *sum * shrink + total;
    *max = high;
    return shrink;
}

static void scale_row(float *x, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* Queries [first, first + n) of a head. */
static void attend(const head *h, int64_t first, int64_t n, float *out, int64_t ld, float *lse)
{
    float s[QUERIES * KEYS], max[QUERIES], sum[QUERIES] = {0};
    for (int64_t i = 0; i < n; i++)
        max[i] = -INFINITY;
    int64_t end = last_key(h, first, n);
    for (int64_t key = 0; key < end; key += KEYS) {
        int64_t keys = min64(KEYS, end - key);
        blas_xyt(h->blas, n, keys, h->size, from(h->q, first), from(h->k, key), 0, s, KEYS);
        for (int64_t i = 0; i < n; i++) {
            int64_t seen = visible(h, first + i, key, keys);
            float shrink = softmax_row(s + i * KEYS, seen, keys, h->scale, &max[i], &sum[i]);
            if (key && shrink != 1) scale_row(out + i * ld, h->size, shrink);
        }
        blas_xy(h->blas, n, h->size, keys, (panel){s, KEYS}, from(h->v, key), key > 0, out, ld);
    }
    for (int64_t i = 0; i < n; i++) {
        scale_row(out + i * ld, h->size, 1 / sum[i]);
        lse[i] = max[i] + logf(sum[i]);
    }
}

void cpu_attention(device *dev, int stream, const attention_op *o)
{
    (void)stream;
    int64_t batch = o->qkv.dim[0], length = o->qkv.dim[1];
#pragma omp parallel for collapse(3) num_threads(dev->threads) schedule(dynamic)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < o->heads; i++)
            for (int64_t first = 0; first < length; first += QUERIES) {
                head h = head_of(dev, o->qkv, o->heads, o->kv_heads, b, i);
                h.causal = o->causal, h.scale = (float)o->scale;
                attend(&h, first, min64(QUERIES, length - first), row(o->out, b * length + first) + i * h.size, o->out.ld,
                       floats(o->lse) + (b * o->heads + i) * length + first);
            }
}

/* ---- backward ---- */

/* What the backward pass of a head reads and writes besides its head. */
typedef struct {
    panel out, dout;
    const float *lse;
    float *r; /* dout . out of each query */
    float *dq, *dk, *dv;
    int64_t stride; /* of dq, dk, dv */
} head_grad;

/* Of one query and n keys: from scores s and dp = dout v^T to probabilities and ds. */
static void score_grad_row(float *s, float *dp, int64_t seen, int64_t n, float scale, float lse, float r)
{
#pragma omp simd
    for (int64_t j = 0; j < seen; j++) {
        s[j] = vector_exp(s[j] * scale - lse);
        dp[j] = s[j] * (dp[j] - r) * scale;
    }
    memset(s + seen, 0, (size_t)(n - seen) * sizeof *s);
    memset(dp + seen, 0, (size_t)(n - seen) * sizeof *dp);
}

static void row_products(const head *h, const head_grad *g, int64_t first, int64_t n)
{
    for (int64_t i = first; i < first + n; i++) {
        const float *x = g->out.data + i * g->out.ld, *y = g->dout.data + i * g->dout.ld;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < h->size; c++)
            sum += x[c] * y[c];
        g->r[i] = sum;
    }
}

/* One block of scores: n queries from `query`, m keys from `key`. */
static void block_grad(const head *h, const head_grad *g, int64_t query, int64_t n, int64_t key, int64_t m)
{
    float s[QUERIES * KEYS], dp[QUERIES * KEYS];
    panel q = from(h->q, query), k = from(h->k, key), v = from(h->v, key), dout = from(g->dout, query);
    blas_xyt(h->blas, n, m, h->size, q, k, 0, s, KEYS);
    blas_xyt(h->blas, n, m, h->size, dout, v, 0, dp, KEYS);
    for (int64_t i = 0; i < n; i++)
        score_grad_row(s + i * KEYS, dp + i * KEYS, visible(h, query + i, key, m), m, h->scale, g->lse[query + i], g->r[query + i]);
    panel p = {s, KEYS}, ds = {dp, KEYS};
    blas_xy(h->blas, n, h->size, m, ds, k, key > 0, g->dq + query * g->stride, g->stride);
    blas_xty(h->blas, m, h->size, n, ds, q, 1, g->dk + key * g->stride, g->stride);
    blas_xty(h->blas, m, h->size, n, p, dout, 1, g->dv + key * g->stride, g->stride);
}

static void head_backward(const head *h, const head_grad *g)
{
    for (int64_t query = 0; query < h->length; query += QUERIES) {
        int64_t n = min64(QUERIES, h->length - query), end = last_key(h, query, n);
        row_products(h, g, query, n);
        for (int64_t key = 0; key < end; key += KEYS)
            block_grad(h, g, query, n, key, min64(KEYS, end - key));
    }
}

/* All query heads of key head kv of sequence b. */
static void group_backward(device *dev, const attention_grad_op *o, int64_t b, int64_t kv)
{
    int64_t group = o->heads / o->kv_heads, length = o->qkv.dim[1], first = b * length;
    int64_t size = tensor_cols(o->out) / o->heads;
    head_grad g = {
        .dk = row(o->dqkv, first) + (o->heads + kv) * size,
        .dv = row(o->dqkv, first) + (o->heads + o->kv_heads + kv) * size,
        .stride = o->dqkv.ld,
    };
    for (int64_t t = 0; t < length; t++) {
        memset(g.dk + t * g.stride, 0, (size_t)size * sizeof *g.dk);
        memset(g.dv + t * g.stride, 0, (size_t)size * sizeof *g.dv);
    }
    for (int64_t i = kv * group; i < (kv + 1) * group; i++) {
        head h = head_of(dev, o->qkv, o->heads, o->kv_heads, b, i);
        h.causal = o->causal, h.scale = (float)o->scale;
        g.out = at(o->out, first, i * size), g.dout = at(o->dout, first, i * size);
        g.lse = floats(o->lse) + (b * o->heads + i) * length;
        g.r = floats(o->scratch) + (b * o->heads + i) * length;
        g.dq = row(o->dqkv, first) + i * size;
        head_backward(&h, &g);
    }
}

void cpu_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    (void)stream;
#pragma omp parallel for collapse(2) num_threads(dev->threads) schedule(dynamic)
    for (int64_t b = 0; b < o->qkv.dim[0]; b++)
        for (int64_t kv = 0; kv < o->kv_heads; kv++)
            group_backward(dev, o, b, kv);
}
