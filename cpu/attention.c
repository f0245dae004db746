/* attention.c - softmax attention in blocks (Dao et al.: "FlashAttention", NeurIPS 2022).
 *
 *                  keys
 *            +------+------+------+
 *   queries  | done |      |      |     Scores exist one block at a time, on the thread's stack.
 *            +------+------+      |     The forward pass keeps for each query the largest score so
 *            | done | now  |      |     far and the sum of exponentials under it; when the largest
 *            +------+------+------+     grows, what was added up shrinks.  It leaves log-sum-exp,
 *            |      |      |      |     from which the backward pass makes every block again.
 *            +------+------+------+     Blocks above the diagonal are never touched when causal.
 *
 * A block is stored with a row for each key and a lane for each query:
 *
 *      s (m,QUERIES) = k (m,D) (scale q)^T       q^T is made once for all blocks of its queries
 *
 * so that maximum, sum and exponential run down the rows in all lanes at once, without a sum across
 * a vector, and all products are of the kinds that the library does well when they are small.
 *
 * Threads share (sequence, head) pairs, and blocks of queries in the forward pass.  In the backward
 * pass one thread has all query heads of a key head: it alone writes dk and dv.
 */
#include "cpu/internal.h"
#include "cpu/vector.h"

enum { QUERIES = 32, KEYS = 128, MOST_SIZE = 512 };

/* One query head of one sequence: matrices (T,D). */
typedef struct {
    const blas *blas;
    int64_t length, size; /* T, D */
    panel q, k, v;
    bool causal;
    float scale, slope; /* slope: of ALiBi; 0 without */
} head;

/* A block of scores. */
typedef struct {
    int64_t query, n, key, m; /* queries [query, query + n), keys [key, key + m) */
} block;

static panel from(panel x, int64_t r)
{
    return (panel){x.data + r * x.ld, x.ld};
}

/* How many keys the queries of a block see, the last of them at least. */
static int64_t keys_end(const head *h, block b)
{
    return h->causal ? b.query + b.n : h->length;
}

/* Gives `value` to the lanes of row j of a block that lie above the diagonal. */
static inline void hide(const head *h, block b, int64_t j, float *s, float value)
{
    int lanes = (int)min64(b.key + j - b.query, QUERIES);
    if (!h->causal || lanes <= 0) return;
#pragma omp simd
    for (int i = 0; i < QUERIES; i++)
        s[i] = i < lanes ? value : s[i];
}

/* Row j of a block of scores: what ALiBi takes for the distance. */
static inline void lean(const head *h, block b, int64_t j, float *s)
{
    if (h->slope == 0) return;
    float distance = (float)(b.query - b.key - j);
#pragma omp simd
    for (int i = 0; i < QUERIES; i++)
        s[i] -= h->slope * (distance + (float)i);
}

typedef float four __attribute__((vector_size(16), aligned(4)));
typedef int32_t four_places __attribute__((vector_size(16)));
#define PICK(a, b, ...) __builtin_shuffle(a, b, (four_places){__VA_ARGS__})

/* t (4,4) = scale x^T, in registers */
static inline void transpose_4x4(panel x, float scale, float *t)
{
    four a = *(const four *)x.data, b = *(const four *)(x.data + x.ld);
    four c = *(const four *)(x.data + 2 * x.ld), d = *(const four *)(x.data + 3 * x.ld);
    four ab = PICK(a, b, 0, 4, 1, 5), cd = PICK(c, d, 0, 4, 1, 5);
    *(four *)t = PICK(ab, cd, 0, 1, 4, 5) * scale;
    *(four *)(t + QUERIES) = PICK(ab, cd, 2, 3, 6, 7) * scale;
    ab = PICK(a, b, 2, 6, 3, 7), cd = PICK(c, d, 2, 6, 3, 7);
    *(four *)(t + 2 * QUERIES) = PICK(ab, cd, 0, 1, 4, 5) * scale;
    *(four *)(t + 3 * QUERIES) = PICK(ab, cd, 2, 3, 6, 7) * scale;
}

/* t (D,QUERIES) = scale x^T, with zeros for missing rows; x (n,D) */
static void transpose(panel x, int64_t n, int64_t size, float scale, float *t)
{
    int64_t n4 = n / 4 * 4, size4 = size / 4 * 4;
    for (int64_t i = 0; i < n4; i += 4)
        for (int64_t c = 0; c < size4; c += 4)
            transpose_4x4((panel){x.data + i * x.ld + c, x.ld}, scale, t + c * QUERIES + i);
    for (int64_t i = 0; i < QUERIES; i++)
        for (int64_t c = i < n4 ? size4 : 0; c < size; c++)
            t[c * QUERIES + i] = i < n ? scale * x.data[i * x.ld + c] : 0;
}

/* Asks for the rows of x that the next block of queries will be the first to read: short and far
 * apart, they escape the processor's own foresight. */
static void prefetch(const head *h, block b, panel x)
{
    int64_t first = b.query + QUERIES, end = min64(first + QUERIES, h->length);
    for (int64_t r = first; r < end; r++)
        for (int64_t c = 0; c < h->size; c += 16)
            __builtin_prefetch(x.data + r * x.ld + c);
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

static bool size_fits(device *dev, tensor out, int64_t heads)
{
    int64_t size = tensor_cols(out) / heads;
    if (size > MOST_SIZE)
        device_fail(dev, user_error("heads of %lld numbers: attention on the CPU takes up to %d; "
                                    "use more heads",
                                    (long long)size, MOST_SIZE));
    return size <= MOST_SIZE;
}

/* ---- forward ---- */

/* What is kept of each query between blocks. */
typedef struct {
    float max[QUERIES], sum[QUERIES], shrink[QUERIES];
} running;

static void running_max(const head *h, block b, float *s, float *max)
{
    for (int64_t j = 0; j < b.m; j++) {
        float *x = s + j * QUERIES;
        lean(h, b, j, x);
        hide(h, b, j, x, -INFINITY);
#pragma omp simd
        for (int i = 0; i < QUERIES; i++)
            max[i] = x[i] > max[i] ? x[i] : max[i];
    }
}

/* Scores become exponentials under the running maximum. */
static void softmax_block(const head *h, block b, float *s, running *r)
{
    float old[QUERIES];
    for (int i = 0; i < QUERIES; i++)
        old[i] = r->max[i];
    running_max(h, b, s, r->max);
#pragma omp simd
    for (int i = 0; i < QUERIES; i++) {
        r->shrink[i] = vector_exp(old[i] - r->max[i]);
        r->sum[i] *= r->shrink[i];
    }
    for (int64_t j = 0; j < b.m; j++) {
        float *x = s + j * QUERIES;
#pragma omp simd
        for (int i = 0; i < QUERIES; i++) {
            x[i] = vector_exp(x[i] - r->max[i]);
            r->sum[i] += x[i];
        }
        hide(h, b, j, x, 0);
    }
}

static void scale_row(float *x, int64_t n, float factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* out and lse of the queries of a block */
static void attend(const head *h, block b, float *out, int64_t ld, float *lse)
{
    float qt[MOST_SIZE * QUERIES], s[KEYS * QUERIES];
    running r = {0};
    for (int i = 0; i < QUERIES; i++)
        r.max[i] = -INFINITY;
    transpose(from(h->q, b.query), b.n, h->size, h->scale, qt);
    prefetch(h, b, h->q);
    prefetch(h, b, h->k);
    prefetch(h, b, h->v);
    int64_t end = keys_end(h, b);
    for (b.key = 0; b.key < end; b.key += KEYS) {
        b.m = min64(KEYS, end - b.key);
        blas_xy(h->blas, b.m, QUERIES, h->size, from(h->k, b.key), (panel){qt, QUERIES}, 0, s,
                QUERIES);
        softmax_block(h, b, s, &r);
        for (int64_t i = 0; i < b.n && b.key; i++)
            scale_row(out + i * ld, h->size, r.shrink[i]);
        blas_xty(h->blas, b.n, h->size, b.m, (panel){s, QUERIES}, from(h->v, b.key), b.key > 0, out,
                 ld);
    }
    for (int64_t i = 0; i < b.n; i++) {
        scale_row(out + i * ld, h->size, 1 / r.sum[i]);
        lse[i] = r.max[i] + logf(r.sum[i]);
    }
}

void cpu_attention(device *dev, int stream, const attention_op *o)
{
    (void)stream;
    if (!size_fits(dev, o->out, o->heads)) return;
    int64_t batch = o->qkv.dim[0], length = o->qkv.dim[1];
#pragma omp parallel for collapse(3) num_threads(dev->threads) schedule(dynamic)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t i = 0; i < o->heads; i++)
            for (int64_t query = 0; query < length; query += QUERIES) {
                head h = head_of(dev, o->qkv, o->heads, o->kv_heads, b, i);
                h.causal = o->causal, h.scale = (float)o->scale;
                h.slope = o->alibi ? (float)alibi_slope(o->heads, i) : 0;
                attend(&h, (block){.query = query, .n = min64(QUERIES, length - query)},
                       row(o->out, b * length + query) + i * h.size, o->out.ld,
                       floats(o->lse) + (b * o->heads + i) * length + query);
            }
}

/* ---- backward ---- */

/* What the backward pass of a head has besides the head. */
typedef struct {
    panel out, dout;
    const float *lse;
    float *r; /* dout . out of each query */
    float *dq, *dk, *dv;
    int64_t ld; /* of dq, dk, dv */
} head_grad;

/* s: scores become probabilities; dp = v dout^T becomes ds */
static void score_grads(const head *h, block b, const float *lse, const float *r, float *s,
                        float *dp)
{
    for (int64_t j = 0; j < b.m; j++) {
        float *x = s + j * QUERIES, *dx = dp + j * QUERIES;
        lean(h, b, j, x);
#pragma omp simd
        for (int i = 0; i < QUERIES; i++) {
            x[i] = vector_exp(x[i] - lse[i]);
            dx[i] = x[i] * (dx[i] - r[i]) * h->scale;
        }
        hide(h, b, j, x, 0);
        hide(h, b, j, dx, 0);
    }
}

static float dot(const float *x, const float *y, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* The queries of a block against all their keys. */
static void attend_grad(const head *h, const head_grad *g, block b)
{
    float qt[MOST_SIZE * QUERIES], dout_t[MOST_SIZE * QUERIES];
    float s[KEYS * QUERIES], dp[KEYS * QUERIES];
    float lse[QUERIES] = {0}, r[QUERIES] = {0};
    panel q = from(h->q, b.query), out = from(g->out, b.query), dout = from(g->dout, b.query);
    float *dq = g->dq + b.query * g->ld;
    for (int64_t i = 0; i < b.n; i++) {
        lse[i] = g->lse[b.query + i];
        r[i] = g->r[b.query + i] = dot(out.data + i * out.ld, dout.data + i * dout.ld, h->size);
    }
    transpose(q, b.n, h->size, h->scale, qt);
    transpose(dout, b.n, h->size, 1, dout_t);
    prefetch(h, b, h->q);
    prefetch(h, b, h->k);
    prefetch(h, b, h->v);
    prefetch(h, b, g->out);
    prefetch(h, b, g->dout);
    int64_t end = keys_end(h, b);
    for (b.key = 0; b.key < end; b.key += KEYS) {
        b.m = min64(KEYS, end - b.key);
        panel k = from(h->k, b.key), v = from(h->v, b.key), p = {s, QUERIES}, ds = {dp, QUERIES};
        blas_xy(h->blas, b.m, QUERIES, h->size, k, (panel){qt, QUERIES}, 0, s, QUERIES);
        blas_xy(h->blas, b.m, QUERIES, h->size, v, (panel){dout_t, QUERIES}, 0, dp, QUERIES);
        score_grads(h, b, lse, r, s, dp);
        blas_xy(h->blas, b.m, h->size, b.n, p, dout, 1, g->dv + b.key * g->ld, g->ld);
        blas_xy(h->blas, b.m, h->size, b.n, ds, q, 1, g->dk + b.key * g->ld, g->ld);
        blas_xty(h->blas, b.n, h->size, b.m, ds, k, b.key > 0, dq, g->ld);
    }
}

/* All query heads of key head kv of sequence b. */
static void group_grad(device *dev, const attention_grad_op *o, int64_t b, int64_t kv)
{
    int64_t group = o->heads / o->kv_heads, length = o->qkv.dim[1], first = b * length;
    int64_t size = tensor_cols(o->out) / o->heads;
    head_grad g = {
        .dk = row(o->dqkv, first) + (o->heads + kv) * size,
        .dv = row(o->dqkv, first) + (o->heads + o->kv_heads + kv) * size,
        .ld = o->dqkv.ld,
    };
    for (int64_t t = 0; t < length; t++) {
        memset(g.dk + t * g.ld, 0, (size_t)size * sizeof *g.dk);
        memset(g.dv + t * g.ld, 0, (size_t)size * sizeof *g.dv);
    }
    for (int64_t i = kv * group; i < (kv + 1) * group; i++) {
        head h = head_of(dev, o->qkv, o->heads, o->kv_heads, b, i);
        h.causal = o->causal, h.scale = (float)o->scale;
        h.slope = o->alibi ? (float)alibi_slope(o->heads, i) : 0;
        g.out = at(o->out, first, i * size), g.dout = at(o->dout, first, i * size);
        g.lse = floats(o->lse) + (b * o->heads + i) * length;
        g.r = floats(o->scratch) + (b * o->heads + i) * length;
        g.dq = row(o->dqkv, first) + i * size;
        for (int64_t query = 0; query < length; query += QUERIES)
            attend_grad(&h, &g, (block){.query = query, .n = min64(QUERIES, length - query)});
    }
}

void cpu_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    (void)stream;
    if (!size_fits(dev, o->out, o->heads)) return;
#pragma omp parallel for collapse(2) num_threads(dev->threads) schedule(dynamic)
    for (int64_t b = 0; b < o->qkv.dim[0]; b++)
        for (int64_t kv = 0; kv < o->kv_heads; kv++)
            group_grad(dev, o, b, kv);
}
