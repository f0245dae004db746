/* attention_mma_grad.cu - the gradient of attention in bf16 on tensor cores; see attention_mma.h.
 *
 *     queries   a block has OWN queries, walks the keys:    s = q k^T, dp = dout v^T, dq += ds k
 *     keys      a block has OWN keys, walks the queries of all heads that share them:
 *               s^T = k q^T, dv += p^T dout, dp^T = v dout^T, dk += ds^T q
 *
 * with p = 2^(s c - lse log2(e)), ds = p (dp - r), rounded to bf16 for the products they go into;
 * the scale of ds comes last.  As in attention_grad.cu scores are made twice, so that each sum has
 * one owner: seven products, no atomics, the same bits every time.  Heads of more than 128 numbers
 * leave no registers for dk and dv at once: dv then has a walk of its own.
 * bytes: 2 (4H+4KV) D for each token, and the other side again for every OWN rows */
#include "cuda/attention_mma.h"

/* ---- queries ---- */

/* s becomes ds. */
template <class S>
MMA_FN void grad_of_scores(float (&s)[S::MT][S::WALK / 8][4],
                           const float (&dp)[S::MT][S::WALK / 8][4], const mma_call &a,
                           const float (&lse)[S::MT][2], const float (&r)[S::MT][2])
{
    float c = a.scale * LOG2_E;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float p = exp2_fast(fmaf(s[m][n][e], c, -lse[m][e / 2]));
                s[m][n][e] = p * (dp[m][n][e] - r[m][e / 2]);
            }
}

template <int D, bool SPECIAL>
__global__ void __launch_bounds__(MMA_THREADS, 2) attention_mma_queries(mma_arguments<SPECIAL> a)
{
    using S = queries_shape<D>;
    SHARED_DYN(bf16, shared);
    bf16 *q = shared, *g = q + S::OWN_TILE, *walked = g + S::OWN_TILE;
    mma_position at = position_of_block(a, S::OWN, a.batch * a.heads, a.causal);
    int64_t b = at.head / a.heads;
    int head = (int)(at.head % a.heads), kv = head / (a.heads / a.kv_heads);
    mma_pair walk = {rows_in_qkv(a, b, a.heads + kv), rows_in_qkv(a, b, a.heads + a.kv_heads + kv)};
    int w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int row = at.first + w * S::MT * 16, length = (int)a.length;
    int end = a.causal && at.first + S::OWN < length ? at.first + S::OWN : length;
    int begin = SPECIAL ? first_of(a, b, at.first) : 0;
    float dq[S::MT][D / 8][4] = {}, lse[S::MT][2], r[S::MT][2], factor[S::MT][2];
    for (int m = 0; m < S::MT; m++)
        for (int half = 0; half < 2; half++) {
            int64_t i = row + m * 16 + half * 8 + lane / 4;
            lse[m][half] = i < a.length ? a.lse[at.head * a.length + i] * LOG2_E : 0.0f;
            r[m][half] = i < a.length ? a.r[at.head * a.length + i] : 0.0f;
            factor[m][half] = a.scale;
        }
    copy_tile<D, S::OWN>(q, rows_in_qkv(a, b, head), at.first, a);
    copy_tile<D, S::OWN>(g, rows_in_out(a, a.dout, b, head), at.first, a);
    if (S::STAGES == 2) copy_pair<D, S::WALK>(walked, walk, begin, a);
    copy_commit();
    int mine = w * S::MT * 16 * S::PITCH;
    float slope = SPECIAL && a.alibi ? slope_of(a, head) / a.scale : 0;
    for (int k0 = begin, stage = 0; k0 < end; k0 += S::WALK, stage ^= S::STAGES - 1) {
        bf16 *k = walked + stage * 2 * S::WALK_TILE, *v = k + S::WALK_TILE;
        int copied = S::STAGES == 2 ? k0 + S::WALK : k0;
        bf16 *next = walked + (S::STAGES == 2 ? stage ^ 1 : 0) * 2 * S::WALK_TILE;
        if (S::STAGES == 2) copy_wait<0>();
        __syncthreads(); /* nobody reads the tile before; with two stages, this one is here */
        if (copied < end) copy_pair<D, S::WALK>(next, walk, copied, a);
        copy_commit();
        if (S::STAGES == 1) {
            copy_wait<0>();
            __syncthreads();
        }
        float s[S::MT][S::WALK / 8][4] = {}, dp[S::MT][S::WALK / 8][4] = {};
        multiply_rows<S::MT, S::WALK, D>(s, q + mine, k, S::PITCH);
        if (SPECIAL && a.alibi) lean<S>(s, slope, row, k0);
        multiply_rows<S::MT, S::WALK, D>(dp, g + mine, v, S::PITCH);
        if (k0 + S::WALK > length || (a.causal && k0 + S::WALK > row + 1))
            hide<S, false>(s, a, row, k0);
        if (SPECIAL && k0 < first_of(a, b, row + S::MT * 16 - 1))
            hide_before<S, false>(s, a, b, row, k0);
        grad_of_scores<S>(s, dp, a, lse, r);
        multiply_cols<S::MT, D, S::WALK>(dq, s, k, S::PITCH);
    }
    store_rows<S>(a, a.dqkv + head_in_qkv(a, b, head), ld_qkv(a), row, q + mine, dq, factor);
}

/* ---- keys ---- */

/* s (keys x queries) becomes p. */
template <class S>
MMA_FN void weights_of_scores(float (&s)[S::MT][S::WALK / 8][4], const mma_call &a,
                              const float *lse)
{
    int t = threadIdx.x % 4;
    float c = a.scale * LOG2_E;
#pragma unroll
    for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float of_query = -lse[n * 8 + 2 * t + e] * LOG2_E;
#pragma unroll
            for (int m = 0; m < S::MT; m++)
#pragma unroll
                for (int half = 0; half < 4; half += 2)
                    s[m][n][half + e] = exp2_fast(fmaf(s[m][n][half + e], c, of_query));
        }
}

/* p becomes ds. */
template <class S>
MMA_FN void grad_of_weights(float (&p)[S::MT][S::WALK / 8][4],
                            const float (&dp)[S::MT][S::WALK / 8][4], const float *r)
{
    int t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float of_query = r[n * 8 + 2 * t + e % 2];
#pragma unroll
            for (int m = 0; m < S::MT; m++)
                p[m][n][e] *= dp[m][n][e] - of_query;
        }
}

/* A walk over tiles of queries, of one head after the other that shares the keys. */
struct query_walk {
    int first, query, head; /* the first query of a head's first tile, and of this one */
};

/* SPECIAL: queries from the first on that sees nothing up to `last_key` are passed over. */
template <bool SPECIAL>
MMA_FN query_walk next_tile(query_walk x, int walked, const mma_call &a, int b, int last_key)
{
    x.query += walked;
    if (x.query < (int)a.length && (!SPECIAL || first_of(a, b, x.query) <= last_key)) return x;
    return {x.first, x.first, x.head + 1};
}

/* Begins to copy a tile of a walk to s: queries, dout, lse and r. */
template <class S>
MMA_FN void copy_queries(bf16 *s, const query_walk &x, int64_t b, const mma_call &a)
{
    float *lse = (float *)(s + 2 * S::WALK_TILE), *r = lse + S::WALK;
    copy_pair<S::D, S::WALK>(s, {rows_in_qkv(a, b, x.head), rows_in_out(a, a.dout, b, x.head)},
                             x.query, a);
    int k = threadIdx.x;
    if (k >= S::WALK) return;
    bool valid = x.query + k < a.length;
    int64_t from = (b * a.heads + x.head) * a.length + (valid ? x.query + k : 0);
    copy4(lse + k, a.lse + from, valid);
    copy4(r + k, a.r + from, valid);
}

/* bf16 of room for a tile of queries, dout, lse and r. */
template <class S> static constexpr int QUERIES_ROOM = 2 * S::WALK_TILE + 4 * S::WALK;

/* This warp's first row: made again where it is wanted, for there is no register to keep it in. */
template <class S> MMA_FN int row_of_warp(const mma_position &at)
{
    return at.first + threadIdx.x / WARP * S::MT * 16;
}

/* Begins to copy a block's rows of k and v, and with two stages the first tile of its walk. */
template <class S>
MMA_FN void copy_keys(bf16 *k, bf16 *v, bf16 *walked, int first, int kv, const query_walk &now,
                      int64_t b, const mma_call &a)
{
    copy_tile<S::D, S::OWN>(k, rows_in_qkv(a, b, a.heads + kv), first, a);
    copy_tile<S::D, S::OWN>(v, rows_in_qkv(a, b, a.heads + a.kv_heads + kv), first, a);
    if (S::STAGES == 2) copy_queries<S>(walked, now, b, a);
    copy_commit();
}

template <int D, bool DK, bool DV, bool SPECIAL>
__global__ void __launch_bounds__(MMA_THREADS, 2) attention_mma_keys(mma_arguments<SPECIAL> a)
{
    using S = keys_shape<D>;
    static_assert(S::WALK <= MMA_THREADS, "a thread copies the lse of one query");
    SHARED_DYN(bf16, shared);
    bf16 *k = shared, *v = k + S::OWN_TILE, *walked = v + S::OWN_TILE;
    mma_position at = position_of_block(a, S::OWN, a.batch * a.kv_heads, false);
    int b = (int)(at.head / a.kv_heads), first = a.causal ? (int)(at.first / S::WALK * S::WALK) : 0;
    int kv = (int)(at.head % a.kv_heads), sharing = a.heads / a.kv_heads, last = (kv + 1) * sharing;
    query_walk now = {first, first, kv * sharing};
    int mine = threadIdx.x / WARP * S::MT * 16 * S::PITCH;
    float dk[S::MT][D / 8][4] = {}, dv[S::MT][D / 8][4] = {};
    copy_keys<S>(k, v, walked, at.first, kv, now, b, a);
    for (int stage = 0; now.head < last; stage ^= S::STAGES - 1) {
        bf16 *q = walked + stage * QUERIES_ROOM<S>, *g = q + S::WALK_TILE;
        const float *lse = (const float *)(g + S::WALK_TILE), *r = lse + S::WALK;
        query_walk after = next_tile<SPECIAL>(now, S::WALK, a, b, at.first + S::OWN - 1),
                   copied = S::STAGES == 2 ? after : now;
        if (S::STAGES == 2) copy_wait<0>();
        __syncthreads(); /* nobody reads the tile before; with two stages, this one is here */
        if (copied.head < last)
            copy_queries<S>(walked + (S::STAGES == 2 ? stage ^ 1 : 0) * QUERIES_ROOM<S>, copied, b,
                            a);
        copy_commit();
        if (S::STAGES == 1) {
            copy_wait<0>();
            __syncthreads();
        }
        int row = row_of_warp<S>(at);
        float s[S::MT][S::WALK / 8][4] = {};
        multiply_rows<S::MT, S::WALK, D>(s, k + mine, q, S::PITCH);
        if (SPECIAL && a.alibi) lean<S>(s, -slope_of(a, now.head) / a.scale, row, now.query);
        if (a.causal && now.query < row + S::MT * 16) hide<S, true>(s, a, row, now.query);
        if (SPECIAL && row < first_of(a, b, now.query + S::WALK - 1))
            hide_before<S, true>(s, a, b, row, now.query);
        weights_of_scores<S>(s, a, lse);
        now = after;
        if (DV) multiply_cols<S::MT, D, S::WALK>(dv, s, g, S::PITCH);
        if (!DK) continue;
        float dp[S::MT][S::WALK / 8][4] = {};
        multiply_rows<S::MT, S::WALK, D>(dp, v + mine, g, S::PITCH);
        grad_of_weights<S>(s, dp, r);
        multiply_cols<S::MT, D, S::WALK>(dk, s, q, S::PITCH);
    }
    int row = row_of_warp<S>(at);
    float scale[S::MT][2], one[S::MT][2];
    for (int m = 0; m < S::MT; m++)
        for (int half = 0; half < 2; half++)
            scale[m][half] = a.scale, one[m][half] = 1;
    bf16 *to_k = a.dqkv + head_in_qkv(a, b, a.heads + kv), *to_v = to_k + a.kv_heads * a.size;
    if (DK) store_rows<S>(a, to_k, ld_qkv(a), row, k + mine, dk, scale);
    if (DV) store_rows<S>(a, to_v, ld_qkv(a), row, v + mine, dv, one);
}

template <int D, bool DK, bool DV, bool SPECIAL>
static void launch_mma_keys(device *dev, int stream, const mma_call &a)
{
    using S = keys_shape<D>;
    int bytes = (2 * S::OWN_TILE + S::STAGES * QUERIES_ROOM<S>)*(int)sizeof(bf16);
    if (!allow_shared(dev, attention_mma_keys<D, DK, DV, SPECIAL>, bytes)) return;
    RUN(dev, stream, (attention_mma_keys<D, DK, DV, SPECIAL>),
        groups(a.length, S::OWN) * (unsigned)(a.batch * a.kv_heads), MMA_THREADS, (size_t)bytes,
        (mma_arguments<SPECIAL>{a}));
}

template <int D, bool SPECIAL>
static void launch_grad_as(device *dev, int stream, const mma_call &a)
{
    using S = queries_shape<D>;
    int bytes = (2 * S::OWN_TILE + S::STAGES * 2 * S::WALK_TILE) * (int)sizeof(bf16);
    if (!allow_shared(dev, attention_mma_queries<D, SPECIAL>, bytes)) return;
    RUN(dev, stream, (attention_mma_queries<D, SPECIAL>),
        groups(a.length, S::OWN) * (unsigned)(a.batch * a.heads), MMA_THREADS, (size_t)bytes,
        (mma_arguments<SPECIAL>{a}));
    if constexpr (D <= 128) {
        launch_mma_keys<D, true, true, SPECIAL>(dev, stream, a);
    } else {
        launch_mma_keys<D, false, true, SPECIAL>(dev, stream, a);
        launch_mma_keys<D, true, false, SPECIAL>(dev, stream, a);
    }
}

template <int D> static void launch_mma_grad(device *dev, int stream, const mma_call &a)
{
    if (special(a))
        launch_grad_as<D, true>(dev, stream, a);
    else
        launch_grad_as<D, false>(dev, stream, a);
}

void attention_mma_backward(device *dev, int stream, const mma_call &a)
{
    BY_PADDED_HEAD(a.size, launch_mma_grad, dev, stream, a);
}
