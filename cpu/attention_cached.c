/* attention_cached.c - attention of new tokens to the cached keys and values (KV cache).
 *
 *                cached keys, one row each
 *              +------+------+----+--+
 *   queries    | done | now  |    |\ |     Scores have one row per query here, not one lane as in
 *   (a few)    +------+------+----+--+     attention.c: usually there is a single query, and most
 *                                          lanes would be empty.
 *
 * As there, scores exist one block at a time, relative to a running maximum.  A generated token
 * reads the whole cache once, so memory bandwidth limits its speed: it matters that a head's rows
 * are contiguous.  Threads share (sequence, head) pairs and blocks of queries.
 *
 * In bf16 a block of keys or values is converted on the fly, and the output accumulates in a
 * buffer.
 */
#include "cpu/cpu_internal.h"
#include "cpu/sums.h"
#include "cpu/vector.h"

enum { QUERIES = 32, KEYS = 128 };

/* One query head of one sequence. */
typedef struct {
    view q, k, v;
    int64_t size, position; /* D, of the first query */
    float scale, slope;     /* slope: of ALiBi; 0 without */
    float cap;              /* 0 without */
    int64_t window;         /* 0 without */
} head;

static head head_of(const attention_cached_op *o, int64_t b, int64_t h)
{
    int64_t length = o->qkv.dim[1], capacity = o->keys.dim[2], size = o->keys.dim[3];
    int64_t pair = b * o->keys.dim[1] + h / (o->heads / o->keys.dim[1]);
    return (head){
        .q = view_at(o->qkv, b * length, h * size),
        .k = view_at(o->keys, pair * capacity, 0),
        .v = view_at(o->values, pair * capacity, 0),
        .size = size,
        .position = o->position,
        .scale = (float)o->scale,
        .slope = o->alibi ? (float)alibi_slope(o->heads, h) : 0,
        .cap = (float)o->cap,
        .window = o->window,
    };
}

/* The new rows of key head kv of sequence b, copied from qkv. */
static void keep_new(const attention_cached_op *o, int64_t b, int64_t kv)
{
    int64_t length = o->qkv.dim[1], size = o->keys.dim[3], heads = o->keys.dim[1];
    int64_t to = (b * heads + kv) * o->keys.dim[2] + o->position;
    for (int64_t t = 0; t < length; t++) {
        int64_t r = b * length + t, k = (o->heads + kv) * size;
        size_t bytes = (size_t)size * dtype_size(o->qkv.type);
        memcpy(element_at(o->keys, to + t, 0), element_at(o->qkv, r, k), bytes);
        memcpy(element_at(o->values, to + t, 0), element_at(o->qkv, r, k + heads * size), bytes);
    }
}

/* The running state of a query. */
typedef struct {
    float max, sum;
} running;

/* The first key that the query at a position sees. */
static int64_t window_begin(const head *h, int64_t position)
{
    return h->window && position >= h->window ? position - h->window + 1 : 0;
}

static void cap_scores(const head *h, float *s, int64_t n)
{
    float cap = h->cap, factor = h->scale / cap;
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        s[j] = cap * vector_tanh(factor * s[j]);
}

/* Replaces n scores of a query, the first of a key `distance` tokens before it, by exponentials
 * relative to the running maximum; returns the factor that rescales earlier sums. */
static float softmax_row(const head *h, float *s, int64_t n, float distance, running *r)
{
    float max = r->max, lanes[SUM_LANES] = {0}, scale = h->cap > 0 ? 1 : h->scale;
    if (h->cap > 0) cap_scores(h, s, n);
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < n; j++) {
        s[j] = scale * s[j] - h->slope * (distance - (float)j);
        max = s[j] > max ? s[j] : max;
    }
    FOR_LANES(n, j, k, s[j] = vector_exp(s[j] - max); lanes[k] += s[j]);
    float sum = fold_lanes(lanes);
    float shrink = vector_exp(r->max - max);
    *r = (running){max, r->sum * shrink + sum};
    return shrink;
}

/* out of queries [first, first + n) of a head */
static void attend(const head *h, int64_t first, int64_t n, void *result, int64_t ld)
{
    float s[QUERIES * KEYS], queries[QUERIES * MOST_HEAD_SIZE], keys[KEYS * MOST_HEAD_SIZE];
    float sums[QUERIES * MOST_HEAD_SIZE], *out = result;
    running r[QUERIES];
    dtype type = h->q.type;
    int64_t result_ld = ld;
    if (type != F32) {
        out = sums;
        ld = h->size;
    }
    panel q = fetch(h->q, first, n, 0, h->size, queries);
    int64_t end = h->position + first + n, begin = window_begin(h, h->position + first);
    for (int64_t i = 0; i < n; i++)
        r[i] = (running){-INFINITY, 0};
    for (int64_t key = begin; key < end; key += KEYS) {
        int64_t m = min64(KEYS, end - key);
        small_xyt(n, m, h->size, q, fetch(h->k, key, m, 0, h->size, keys), 0, s, KEYS);
        for (int64_t i = 0; i < n; i++) {
            float *x = s + i * KEYS, shrink = 1;
            int64_t at = h->position + first + i;
            int64_t hidden = min64(m, window_begin(h, at) - key), seen = min64(m, at + 1 - key);
            if (hidden < 0) hidden = 0;
            if (seen < hidden) seen = hidden;
            if (seen > hidden) /* of these m keys, hidden .. seen are visible */
                shrink =
                    softmax_row(h, x + hidden, seen - hidden, (float)(at - key - hidden), &r[i]);
            memset(x, 0, (size_t)hidden * sizeof *x);
            memset(x + seen, 0, (size_t)(m - seen) * sizeof *x);
            if (key > begin) scale_row(out + i * ld, h->size, shrink);
        }
        small_xy(n, h->size, m, (panel){s, KEYS}, fetch(h->v, key, m, 0, h->size, keys),
                 key > begin, out, ld);
    }
    for (int64_t i = 0; i < n; i++) {
        scale_row(out + i * ld, h->size, 1 / r[i].sum);
        if (type != F32)
            store_row(type, (char *)result + (size_t)(i * result_ld) * dtype_size(type), h->size,
                      out + i * ld);
    }
}

static void keep_range(const void *op, int64_t first, int64_t end)
{
    const attention_cached_op *o = op;
    for (int64_t i = first; i < end; i++)
        keep_new(o, i / o->keys.dim[1], i % o->keys.dim[1]);
}

static int64_t query_blocks(int64_t length)
{
    return (length + QUERIES - 1) / QUERIES;
}

static void attend_range(const void *op, int64_t first, int64_t end)
{
    const attention_cached_op *o = op;
    int64_t length = o->qkv.dim[1], blocks = query_blocks(length);
    for (int64_t at = first; at < end; at++) {
        int64_t b = at / blocks / o->heads, i = at / blocks % o->heads,
                query = at % blocks * QUERIES;
        head h = head_of(o, b, i);
        attend(&h, query, min64(QUERIES, length - query),
               element_at(o->out, b * length + query, i * h.size), o->out.ld);
    }
}

void cpu_attention_cached(device *dev, int stream, const attention_cached_op *o)
{
    (void)stream;
    int64_t batch = o->qkv.dim[0], length = o->qkv.dim[1], size = o->keys.dim[3];
    if (!head_size_fits(dev, o->out, o->heads)) return;
    pool_for(cpu_threads(dev), batch * o->keys.dim[1], rows_at_once(length * size), keep_range, o);
    int64_t seen = o->position + length;
    pool_for(cpu_threads(dev), batch * o->heads * query_blocks(length),
             rows_at_once(seen * size / 4), attend_range, o);
}
