/* attention.c - softmax attention in blocks (Dao et al.: "FlashAttention", NeurIPS 2022).
 *
 *                  keys
 *            +------+------+------+
 *   queries  | done |      |      |     Scores exist one block at a time, on the thread's stack.
 *            +------+------+      |     The forward pass keeps a running maximum for each query
 *            | done | now  |      |     and the sum of exponentials relative to it; when the
 *            +------+------+------+     maximum grows, sums are rescaled.  It leaves log-sum-exp,
 *            |      |      |      |     from which the backward pass recomputes every block.
 *            +------+------+------+     Blocks above the diagonal are skipped when causal.
 *
 * A block is stored with one row per key and one lane per query:
 *
 *      s (m,QUERIES) = k (m,D) (scale q)^T       q^T is computed once for all blocks of its queries
 *
 * so that maximum, sum and exponential run down the rows in all lanes at once, without reductions
 * across a vector, and all products have shapes that the library handles well when they are small.
 *
 * Threads share (sequence, head) pairs, and blocks of queries in the forward pass.  In the backward
 * pass one thread handles all query heads of a key head: only it writes dk and dv.
 *
 * In bf16 the rows that a product needs are converted on the fly, and sums over blocks stay on the
 * stack in f32 until they are complete.  In the backward pass these are dq while its queries meet
 * all keys, then dk and dv while their keys meet all queries; so each block of probabilities is
 * computed twice: 7 products where f32, whose dk and dv accumulate in place, has 5.
 */
#include "cpu/cpu_internal.h"
#include "cpu/sums.h"
#include "cpu/vector.h"

enum { QUERIES = 32, HALF = QUERIES / 2, KEYS = 128, FEW_KEYS = 64, MOST_SIZE = MOST_HEAD_SIZE };

/* One query head of one sequence: matrices (T,D). */
typedef struct {
    int64_t length, size; /* T, D */
    view q, k, v;
    bool causal;
    float scale, slope;    /* slope: of ALiBi, or 0 */
    float cap;             /* 0 without */
    int64_t window;        /* 0 without */
    const int32_t *starts; /* ? (T): the first key that each query sees */
} head;

/* A block of scores. */
typedef struct {
    int64_t query, n, key, m; /* queries [query, query + n), keys [key, key + m) */
} block;

/* The lanes that a block's queries need: half are enough for a short sequence, or the end of
 * one. */
static inline int lanes_of(block b)
{
    return b.n <= HALF ? HALF : QUERIES;
}

/* Rows [r, r + n) of a head as floats; converted into `room` if necessary. */
static panel rows_of(const head *h, view x, int64_t r, int64_t n, float *room)
{
    return fetch(x, r, n, 0, h->size, room);
}

/* How many keys the last query of a block sees, which sees most. */
static int64_t keys_end(const head *h, block b)
{
    return h->causal ? b.query + b.n : h->length;
}

/* Are there queries that do not see the first keys? */
static inline bool begins_late(const head *h)
{
    return h->starts || h->window;
}

/* The first key that a query sees: of its document, and in its window. */
static inline int64_t first_key(const head *h, int64_t query)
{
    int64_t document = h->starts ? h->starts[query] : 0;
    int64_t first = h->window ? query - h->window + 1 : 0;
    return first > document ? first : document;
}

/* The first key that any query of the block sees: earlier ones are skipped. */
static int64_t keys_begin(const head *h, block b)
{
    return first_key(h, b.query);
}

/* Sets the lanes of row j whose queries start to see only after its key to `value`. */
static inline void hide_from_later(const head *h, block b, int64_t j, float *s, float value)
{
    if (!begins_late(h) || first_key(h, b.query + b.n - 1) <= b.key + j) return;
    for (int64_t i = 0; i < b.n; i++)
        s[i] = first_key(h, b.query + i) > b.key + j ? value : s[i];
}

/* Scores of a row become cap * tanh(s / cap). */
static inline void cap_row(const head *h, int lanes, float *s)
{
    float cap = h->cap, inverse = 1 / cap;
#pragma omp simd
    for (int i = 0; i < lanes; i++)
        s[i] = cap * vector_tanh(s[i] * inverse);
}

/* Sets the lanes of row j that are above the diagonal to `value`. */
static inline void hide(const head *h, block b, int64_t j, float *s, float value)
{
    int lanes = lanes_of(b), hidden = (int)min64(b.key + j - b.query, lanes);
    hide_from_later(h, b, j, s, value);
    if (!h->causal || hidden <= 0) return;
#pragma omp simd
    for (int i = 0; i < lanes; i++)
        s[i] = i < hidden ? value : s[i];
}

/* Row j of a block of scores: subtracts ALiBi's penalty for the distance. */
static inline void lean(const head *h, block b, int64_t j, float *s)
{
    if (h->slope == 0) return;
    float distance = (float)(b.query - b.key - j);
    int lanes = lanes_of(b);
#pragma omp simd
    for (int i = 0; i < lanes; i++)
        s[i] -= h->slope * (distance + (float)i);
}

typedef float four __attribute__((vector_size(16), aligned(4)));
typedef int32_t four_indices __attribute__((vector_size(16)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (four_indices){__VA_ARGS__})

/* t (4,4) = scale x^T, in registers */
static inline void transpose_4x4(panel x, float scale, float *t)
{
    four a = *(const four *)x.data, b = *(const four *)(x.data + x.ld);
    four c = *(const four *)(x.data + 2 * x.ld), d = *(const four *)(x.data + 3 * x.ld);
    four ab = SHUFFLE(a, b, 0, 4, 1, 5), cd = SHUFFLE(c, d, 0, 4, 1, 5);
    *(four *)t = SHUFFLE(ab, cd, 0, 1, 4, 5) * scale;
    *(four *)(t + QUERIES) = SHUFFLE(ab, cd, 2, 3, 6, 7) * scale;
    ab = SHUFFLE(a, b, 2, 6, 3, 7), cd = SHUFFLE(c, d, 2, 6, 3, 7);
    *(four *)(t + 2 * QUERIES) = SHUFFLE(ab, cd, 0, 1, 4, 5) * scale;
    *(four *)(t + 3 * QUERIES) = SHUFFLE(ab, cd, 2, 3, 6, 7) * scale;
}

/* t (D,QUERIES), restricted to a block's lanes, = scale x^T, with zeros for missing rows; x
 * (n,D) */
static void transpose(panel x, block b, int64_t size, float scale, float *t)
{
    int64_t n = b.n, lanes = lanes_of(b), n4 = n / 4 * 4, size4 = size / 4 * 4;
    for (int64_t i = 0; i < n4; i += 4)
        for (int64_t c = 0; c < size4; c += 4)
            transpose_4x4((panel){x.data + i * x.ld + c, x.ld}, scale, t + c * QUERIES + i);
    for (int64_t i = 0; i < lanes; i++)
        for (int64_t c = i < n4 ? size4 : 0; c < size; c++)
            t[c * QUERIES + i] = i < n ? scale * x.data[i * x.ld + c] : 0;
}

/* Prefetches the rows of x that the next block of queries will be the first to read: short and far
 * apart, they defeat the hardware prefetcher. */
static void prefetch(const head *h, block b, view x)
{
    int64_t first = b.query + QUERIES, end = min64(first + QUERIES, h->length);
    int64_t size = (int64_t)dtype_size(x.type);
    for (int64_t r = first; r < end; r++)
        for (int64_t at = 0; at < h->size * size; at += 64)
            __builtin_prefetch(x.data + r * x.ld * size + at);
}

static head head_of(tensor qkv, int64_t heads, int64_t kv_heads, int64_t b, int64_t h)
{
    int64_t length = qkv.dim[1], size = tensor_cols(qkv) / (heads + 2 * kv_heads);
    int64_t kv = h / (heads / kv_heads);
    return (head){
        .length = length,
        .size = size,
        .q = view_at(qkv, b * length, h * size),
        .k = view_at(qkv, b * length, (heads + kv) * size),
        .v = view_at(qkv, b * length, (heads + kv_heads + kv) * size),
    };
}

/* The document starts of sequence b; NULL without documents. */
static const int32_t *starts_of(tensor starts, int64_t b)
{
    return present(starts) ? (const int32_t *)starts.data + b * starts.dim[1] : NULL;
}

bool head_size_fits(device *dev, tensor out, int64_t heads)
{
    int64_t size = tensor_cols(out) / heads;
    if (size > MOST_SIZE)
        device_fail(dev, user_error("heads of %lld numbers: attention on the CPU takes up to %d; "
                                    "use more heads",
                                    (long long)size, MOST_SIZE));
    return size <= MOST_SIZE;
}

/* ---- forward ---- */

/* The running state of each query. */
typedef struct {
    float max[QUERIES], sum[QUERIES], shrink[QUERIES];
} running;

static void running_max(const head *h, block b, float *s, float *max)
{
    int lanes = lanes_of(b);
    for (int64_t j = 0; j < b.m; j++) {
        float *x = s + j * QUERIES;
        if (h->cap > 0) cap_row(h, lanes, x);
        lean(h, b, j, x);
        hide(h, b, j, x, -INFINITY);
#pragma omp simd
        for (int i = 0; i < lanes; i++)
            max[i] = x[i] > max[i] ? x[i] : max[i];
    }
}

/* Replaces scores by exponentials relative to the running maximum. */
static void softmax_block(const head *h, block b, float *s, running *r)
{
    int lanes = lanes_of(b);
    float old[QUERIES];
    for (int i = 0; i < lanes; i++)
        old[i] = r->max[i];
    running_max(h, b, s, r->max);
#pragma omp simd
    for (int i = 0; i < lanes; i++) {
        r->shrink[i] = vector_exp(old[i] - r->max[i]);
        r->sum[i] *= r->shrink[i];
    }
    for (int64_t j = 0; j < b.m; j++) {
        float *x = s + j * QUERIES;
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            x[i] = vector_exp(x[i] - r->max[i]);
            r->sum[i] += x[i];
        }
        hide(h, b, j, x, 0);
    }
}

/* Stores rows of sums, if they were not computed in place. */
static void put_rows(const head *h, const float *sums, int64_t n, view to)
{
    for (int64_t i = 0; i < n && to.type != F32; i++)
        store_row(to.type, (char *)(size_t)to.data + (size_t)(i * to.ld) * dtype_size(to.type),
                  h->size, sums + i * h->size);
}

/* out and lse of the queries of a block */
static void attend(const head *h, block b, view result, float *lse)
{
    float qt[MOST_SIZE * QUERIES], s[KEYS * QUERIES], room[KEYS * MOST_SIZE];
    float sums[QUERIES * MOST_SIZE], *out = sums;
    int64_t ld = h->size;
    running r = {0};
    if (result.type == F32) {
        out = (float *)(size_t)result.data;
        ld = result.ld;
    }
    for (int i = 0; i < QUERIES; i++) /* a query may see none of the block's first keys */
        r.max[i] = begins_late(h) ? -1e30f : -INFINITY;
    transpose(rows_of(h, h->q, b.query, b.n, room), b, h->size, h->scale, qt);
    prefetch(h, b, h->q);
    prefetch(h, b, h->k);
    prefetch(h, b, h->v);
    int64_t begin = keys_begin(h, b), end = keys_end(h, b);
    for (b.key = begin; b.key < end; b.key += KEYS) {
        b.m = min64(KEYS, end - b.key);
        small_xy(b.m, lanes_of(b), h->size, rows_of(h, h->k, b.key, b.m, room),
                 (panel){qt, QUERIES}, 0, s, QUERIES);
        softmax_block(h, b, s, &r);
        for (int64_t i = 0; i < b.n && b.key > begin; i++)
            scale_row(out + i * ld, h->size, r.shrink[i]);
        small_xty(b.n, h->size, b.m, (panel){s, QUERIES}, rows_of(h, h->v, b.key, b.m, room),
                  b.key > begin, out, ld);
    }
    for (int64_t i = 0; i < b.n; i++) {
        scale_row(out + i * ld, h->size, 1 / r.sum[i]);
        lse[i] = r.max[i] + logf(r.sum[i]);
    }
    put_rows(h, sums, b.n, result);
}

static int64_t query_blocks(int64_t length)
{
    return (length + QUERIES - 1) / QUERIES;
}

static void attend_range(const void *op, int64_t first, int64_t end)
{
    const attention_op *o = op;
    int64_t length = o->qkv.dim[1], blocks = query_blocks(length);
    for (int64_t at = first; at < end; at++) {
        int64_t b = at / blocks / o->heads, i = at / blocks % o->heads,
                query = at % blocks * QUERIES;
        head h = head_of(o->qkv, o->heads, o->kv_heads, b, i);
        h.causal = o->causal, h.scale = (float)o->scale;
        h.slope = o->alibi ? (float)alibi_slope(o->heads, i) : 0;
        h.cap = (float)o->cap, h.window = o->window;
        h.starts = starts_of(o->starts, b);
        attend(&h, (block){.query = query, .n = min64(QUERIES, length - query)},
               view_at(o->out, b * length + query, i * h.size),
               floats(o->lse) + (b * o->heads + i) * length + query);
    }
}

void cpu_attention(device *dev, int stream, const attention_op *o)
{
    (void)stream;
    if (!head_size_fits(dev, o->out, o->heads)) return;
    pool_for(cpu_threads(dev), o->qkv.dim[0] * o->heads * query_blocks(o->qkv.dim[1]), 1,
             attend_range, o);
}

/* ---- backward ---- */

/* The state of a head's backward pass. */
typedef struct {
    view out, dout, dq, dk, dv;
    const float *lse;
    float *r; /* dout . out of each query */
} head_grad;

/* A block of queries, prepared for its blocks of keys. */
typedef struct {
    float qt[MOST_SIZE * QUERIES], dout_t[MOST_SIZE * QUERIES]; /* (D,QUERIES); q scaled */
    float lse[QUERIES], r[QUERIES];
    float s[KEYS * QUERIES], dp[KEYS * QUERIES];
} meeting;

/* Caps the scores of a row as cap_row does, and stores the derivative in slope. */
static void cap_slopes(const head *h, int lanes, float *s, float *slope)
{
    float inverse = 1 / h->cap;
    cap_row(h, lanes, s);
#pragma omp simd
    for (int i = 0; i < lanes; i++) {
        float t = s[i] * inverse;
        slope[i] = (1 - t) * (1 + t);
    }
}

/* s: scores become probabilities; dp = v dout^T becomes ds */
static void score_grads(const head *h, block b, const float *lse, const float *r, float *s,
                        float *dp)
{
    int lanes = lanes_of(b);
    for (int64_t j = 0; j < b.m; j++) {
        float *x = s + j * QUERIES, *dx = dp + j * QUERIES, slope[QUERIES];
        if (h->cap > 0) cap_slopes(h, lanes, x, slope);
        lean(h, b, j, x);
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            x[i] = vector_exp(x[i] - lse[i]);
            dx[i] = x[i] * (dx[i] - r[i]) * h->scale;
        }
        for (int i = 0; i < lanes && h->cap > 0; i++)
            dx[i] *= slope[i];
        hide(h, b, j, x, 0);
        hide(h, b, j, dx, 0);
    }
}

static float dot(const float *x, const float *y, int64_t n)
{
    float sum[SUM_LANES] = {0};
    FOR_LANES(n, i, k, sum[k] += x[i] * y[i]);
    return fold_lanes(sum);
}

/* g->r is known. */
static void begin_meeting(const head *h, const head_grad *g, block b, panel q, panel dout,
                          meeting *m)
{
    memset(m->lse, 0, sizeof m->lse);
    memset(m->r, 0, sizeof m->r);
    for (int64_t i = 0; i < b.n; i++) {
        m->lse[i] = g->lse[b.query + i];
        m->r[i] = g->r[b.query + i];
    }
    transpose(q, b, h->size, h->scale, m->qt);
    transpose(dout, b, h->size, 1, m->dout_t);
}

/* Probabilities and ds of a block of queries and keys. */
static void meet(const head *h, block b, panel k, panel v, meeting *m)
{
    small_xy(b.m, lanes_of(b), h->size, k, (panel){m->qt, QUERIES}, 0, m->s, QUERIES);
    small_xy(b.m, lanes_of(b), h->size, v, (panel){m->dout_t, QUERIES}, 0, m->dp, QUERIES);
    score_grads(h, b, m->lse, m->r, m->s, m->dp);
}

static void find_r(const head *h, const head_grad *g, block b, panel out, panel dout)
{
    for (int64_t i = 0; i < b.n; i++)
        g->r[b.query + i] = dot(out.data + i * out.ld, dout.data + i * dout.ld, h->size);
}

static float *floats_at(view x, int64_t r)
{
    return (float *)(size_t)x.data + r * x.ld;
}

/* f32: the queries of a block against all their keys. */
static void attend_grad(const head *h, const head_grad *g, block b)
{
    meeting m;
    panel q = rows_of(h, h->q, b.query, b.n, NULL), dout = rows_of(h, g->dout, b.query, b.n, NULL);
    find_r(h, g, b, rows_of(h, g->out, b.query, b.n, NULL), dout);
    begin_meeting(h, g, b, q, dout, &m);
    prefetch(h, b, h->q);
    prefetch(h, b, h->k);
    prefetch(h, b, h->v);
    prefetch(h, b, g->out);
    prefetch(h, b, g->dout);
    int64_t begin = keys_begin(h, b), end = keys_end(h, b), ld = g->dq.ld;
    panel p = {m.s, QUERIES}, ds = {m.dp, QUERIES};
    for (b.key = begin; b.key < end; b.key += KEYS) {
        b.m = min64(KEYS, end - b.key);
        panel k = rows_of(h, h->k, b.key, b.m, NULL);
        meet(h, b, k, rows_of(h, h->v, b.key, b.m, NULL), &m);
        small_xy(b.m, h->size, b.n, p, dout, 1, floats_at(g->dv, b.key), ld);
        small_xy(b.m, h->size, b.n, ds, q, 1, floats_at(g->dk, b.key), ld);
        small_xty(b.n, h->size, b.m, ds, k, b.key > begin, floats_at(g->dq, b.query), ld);
    }
}

static view rows_from(view x, int64_t r)
{
    return (view){x.data + (size_t)(r * x.ld) * dtype_size(x.type), x.ld, x.type};
}

/* bf16: dq and r of a block of queries, which meet all their keys. */
static void query_grads(const head *h, const head_grad *g, block b)
{
    meeting m;
    float rows[2][QUERIES * MOST_SIZE], keys[2][FEW_KEYS * MOST_SIZE], dq[QUERIES * MOST_SIZE];
    panel dout = rows_of(h, g->dout, b.query, b.n, rows[0]);
    find_r(h, g, b, rows_of(h, g->out, b.query, b.n, rows[1]), dout);
    begin_meeting(h, g, b, rows_of(h, h->q, b.query, b.n, rows[1]), dout, &m);
    int64_t begin = keys_begin(h, b), end = keys_end(h, b);
    for (b.key = begin; b.key < end; b.key += FEW_KEYS) {
        b.m = min64(FEW_KEYS, end - b.key);
        panel k = rows_of(h, h->k, b.key, b.m, keys[0]);
        meet(h, b, k, rows_of(h, h->v, b.key, b.m, keys[1]), &m);
        small_xty(b.n, h->size, b.m, (panel){m.dp, QUERIES}, k, b.key > begin, dq, h->size);
    }
    put_rows(h, dq, b.n, rows_from(g->dq, b.query));
}

/* bf16: adds this head's queries' contributions to dk and dv of a block of keys. */
static void key_grads(const head *h, const head_grad *g, block b, panel k, panel v, float *dk,
                      float *dv)
{
    meeting m;
    float rows[2][QUERIES * MOST_SIZE];
    for (b.query = h->causal ? b.key / QUERIES * QUERIES : 0; b.query < h->length;
         b.query += QUERIES) {
        b.n = min64(QUERIES, h->length - b.query);
        if (first_key(h, b.query) >= b.key + b.m) break; /* later keys are invisible */
        panel q = rows_of(h, h->q, b.query, b.n, rows[0]),
              dout = rows_of(h, g->dout, b.query, b.n, rows[1]);
        begin_meeting(h, g, b, q, dout, &m);
        meet(h, b, k, v, &m);
        small_xy(b.m, h->size, b.n, (panel){m.s, QUERIES}, dout, 1, dv, h->size);
        small_xy(b.m, h->size, b.n, (panel){m.dp, QUERIES}, q, 1, dk, h->size);
    }
}

/* Query head i of sequence b, which uses key head kv. */
static void open_head(const attention_grad_op *o, int64_t b, int64_t i, head *h, head_grad *g)
{
    int64_t length = o->qkv.dim[1], first = b * length, size = tensor_cols(o->out) / o->heads;
    int64_t kv = i / (o->heads / o->kv_heads);
    *h = head_of(o->qkv, o->heads, o->kv_heads, b, i);
    h->causal = o->causal, h->scale = (float)o->scale;
    h->slope = o->alibi ? (float)alibi_slope(o->heads, i) : 0;
    h->cap = (float)o->cap, h->window = o->window;
    h->starts = starts_of(o->starts, b);
    *g = (head_grad){
        .out = view_at(o->out, first, i * size),
        .dout = view_at(o->dout, first, i * size),
        .dq = view_at(o->dqkv, first, i * size),
        .dk = view_at(o->dqkv, first, (o->heads + kv) * size),
        .dv = view_at(o->dqkv, first, (o->heads + o->kv_heads + kv) * size),
        .lse = floats(o->lse) + (b * o->heads + i) * length,
        .r = floats(o->scratch) + (b * o->heads + i) * length,
    };
}

/* bf16: dk and dv of a block of keys, from all query heads [first, end) that use it. */
static void key_block(const attention_grad_op *o, int64_t b, int64_t first, int64_t end,
                      int64_t key)
{
    head h;
    head_grad g;
    float keys[2][FEW_KEYS * MOST_SIZE], sums[2][FEW_KEYS * MOST_SIZE];
    open_head(o, b, first, &h, &g);
    block at = {.key = key, .m = min64(FEW_KEYS, h.length - key)};
    panel k = rows_of(&h, h.k, key, at.m, keys[0]), v = rows_of(&h, h.v, key, at.m, keys[1]);
    for (int i = 0; i < 2; i++)
        memset(sums[i], 0, (size_t)(at.m * h.size) * sizeof *sums[i]);
    for (int64_t i = first; i < end; i++) {
        open_head(o, b, i, &h, &g);
        key_grads(&h, &g, at, k, v, sums[0], sums[1]);
    }
    put_rows(&h, sums[0], at.m, rows_from(g.dk, key));
    put_rows(&h, sums[1], at.m, rows_from(g.dv, key));
}

/* All query heads of key head kv of sequence b. */
static void group_grad(const attention_grad_op *o, int64_t b, int64_t kv)
{
    int64_t group = o->heads / o->kv_heads, length = o->qkv.dim[1], size;
    bool f32 = o->qkv.type == F32;
    head h;
    head_grad g;
    open_head(o, b, kv * group, &h, &g);
    size = h.size;
    for (int64_t t = 0; t < length && f32; t++) {
        memset(floats_at(g.dk, t), 0, (size_t)size * sizeof(float));
        memset(floats_at(g.dv, t), 0, (size_t)size * sizeof(float));
    }
    for (int64_t i = kv * group; i < (kv + 1) * group; i++) {
        open_head(o, b, i, &h, &g);
        for (int64_t query = 0; query < length; query += QUERIES)
            (f32 ? attend_grad : query_grads)(
                &h, &g, (block){.query = query, .n = min64(QUERIES, length - query)});
    }
    for (int64_t key = 0; key < length && !f32; key += FEW_KEYS)
        key_block(o, b, kv * group, (kv + 1) * group, key);
}

static void group_range(const void *op, int64_t first, int64_t end)
{
    const attention_grad_op *o = op;
    for (int64_t i = first; i < end; i++)
        group_grad(o, i / o->kv_heads, i % o->kv_heads);
}

void cpu_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    (void)stream;
    if (!head_size_fits(dev, o->out, o->heads)) return;
    pool_for(cpu_threads(dev), o->qkv.dim[0] * o->kv_heads, 1, group_range, o);
}
