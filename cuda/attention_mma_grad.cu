/* attention_mma_grad.cu - the gradient of attention in bf16 on tensor cores; see attention_mma.h.
 *
 *     queries   a block has OWN queries, walks the keys:    s = q k^T, dp = dout v^T, dq += ds k
 *     keys      a block has OWN keys, walks the queries of all heads that share them:
 *               s^T = k q^T, dv += p^T dout, dp^T = v dout^T, dk += ds^T q
 *
 * with p = 2^(s c - lse log2(e)), ds = p (dp - r), rounded to bf16 for the products they go into; the
 * scale of ds comes last.  As in attention_grad.cu scores are made twice, so that each sum has one
 * owner: seven products, no atomics, the same bits every time.  Heads of more than 128 numbers leave
 * no registers for dk and dv at once: dv then has a walk of its own.
 * bytes: 2 (4H+4KV) D for each token, and the other side again for every OWN rows */
#include "cuda/attention_mma.h"

/* ---- queries ---- */

/* s becomes ds. */
template <class S>
MMA_FN void grad_of_scores(float (&s)[S::MT][S::WALK / 8][4],
                           const float (&dp)[S::MT][S::WALK / 8][4], const mma_call &a, int64_t row,
                           int64_t key, const float (&lse)[S::MT][2], const float (&r)[S::MT][2])
{
    int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    bool edge = key + S::WALK > a.length || (a.causal && key + S::WALK > row + 1);
    float c = a.scale * LOG2_E;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int64_t i = row + m * 16 + g + e / 2 * 8, j = key + n * 8 + 2 * t + e % 2;
                float p = exp2_fast(fmaf(s[m][n][e], c, -lse[m][e / 2]));
                if (edge && (j >= a.length || (a.causal && j > i))) p = 0;
                s[m][n][e] = p * (dp[m][n][e] - r[m][e / 2]);
            }
}

template <int D> __global__ void __launch_bounds__(MMA_THREADS, 2) attention_mma_queries(mma_call a)
{
    using S = queries_shape<D>;
    SHARED_DYN(bf16, shared);
    bf16 *q = shared, *g = q + S::OWN_TILE, *walked = g + S::OWN_TILE;
    mma_place at = place_of_block(a, S::OWN, a.batch * a.heads, a.causal);
    int64_t b = at.head / a.heads;
    int head = (int)(at.head % a.heads), kv = head / (a.heads / a.kv_heads);
    mma_rows keys = rows_in_qkv(a, b, a.heads + kv),
             values = rows_in_qkv(a, b, a.heads + a.kv_heads + kv);
    int w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int64_t row = at.first + w * S::MT * 16;
    int64_t end = a.causal && at.first + S::OWN < a.length ? at.first + S::OWN : a.length;
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
    if (S::STAGES == 2) {
        copy_tile<D, S::WALK>(walked, keys, 0, a);
        copy_tile<D, S::WALK>(walked + S::WALK_TILE, values, 0, a);
    }
    copy_commit();
    int mine = w * S::MT * 16 * S::PITCH;
    for (int64_t k0 = 0, stage = 0; k0 < end; k0 += S::WALK, stage ^= S::STAGES - 1) {
        bf16 *k = walked + stage * 2 * S::WALK_TILE, *v = k + S::WALK_TILE;
        int64_t copied = S::STAGES == 2 ? k0 + S::WALK : k0;
        bf16 *next = walked + (S::STAGES == 2 ? stage ^ 1 : 0) * 2 * S::WALK_TILE;
        if (S::STAGES == 2) copy_wait<0>();
        __syncthreads(); /* nobody reads the tile before; with two stages, this one is here */
        if (copied < end) {
            copy_tile<D, S::WALK>(next, keys, copied, a);
            copy_tile<D, S::WALK>(next + S::WALK_TILE, values, copied, a);
        }
        copy_commit();
        if (S::STAGES == 1) {
            copy_wait<0>();
            __syncthreads();
        }
        float s[S::MT][S::WALK / 8][4] = {}, dp[S::MT][S::WALK / 8][4] = {};
        multiply_rows<S::MT, S::WALK, D>(s, q + mine, k, S::PITCH);
        if (a.alibi) lean<S>(s, slope_of(a, head) / a.scale, row, k0);
        multiply_rows<S::MT, S::WALK, D>(dp, g + mine, v, S::PITCH);
        grad_of_scores<S>(s, dp, a, row, k0, lse, r);
        multiply_cols<S::MT, D, S::WALK>(dq, s, k, S::PITCH);
    }
    store_rows<S>(a, a.dqkv + head_in_qkv(a, b, head), ld_qkv(a), row, q + mine, dq, factor);
}

/* ---- keys ---- */

/* s (keys x queries) becomes p. */
template <class S>
MMA_FN void weights_of_scores(float (&s)[1][S::WALK / 8][4], const mma_call &a, int64_t key,
                              int64_t query, const float *lse)
{
    int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    bool edge = a.causal && query < key + 16;
    float c = a.scale * LOG2_E;
#pragma unroll
    for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int i = n * 8 + 2 * t + e % 2;
            float p = exp2_fast(fmaf(s[0][n][e], c, -lse[i] * LOG2_E));
            if (edge && key + g + e / 2 * 8 > query + i) p = 0;
            s[0][n][e] = p;
        }
}

/* p becomes ds. */
template <class S>
MMA_FN void grad_of_weights(float (&p)[1][S::WALK / 8][4], const float (&dp)[1][S::WALK / 8][4],
                            const float *r)
{
    int t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            p[0][n][e] *= dp[0][n][e] - r[n * 8 + 2 * t + e % 2];
}

/* What is walked: tiles of queries, of one head after the other. */
struct query_walk {
    int64_t b, first; /* sequence; first query */
    int tiles, head;  /* tiles of a head; the first head */
};

/* Begins to copy the i-th tile of a walk to s: queries, dout, lse and r. */
template <class S> MMA_FN void copy_queries(bf16 *s, const query_walk &x, int i, const mma_call &a)
{
    int head = x.head + i / x.tiles;
    int64_t q0 = x.first + (int64_t)(i % x.tiles) * S::WALK, at = (x.b * a.heads + head) * a.length;
    float *lse = (float *)(s + 2 * S::WALK_TILE), *r = lse + S::WALK;
    copy_tile<S::D, S::WALK>(s, rows_in_qkv(a, x.b, head), q0, a);
    copy_tile<S::D, S::WALK>(s + S::WALK_TILE, rows_in_out(a, a.dout, x.b, head), q0, a);
    for (int k = threadIdx.x; k < S::WALK; k += MMA_THREADS) {
        bool valid = q0 + k < a.length;
        int64_t from = at + (valid ? q0 + k : 0);
        copy4(lse + k, a.lse + from, valid);
        copy4(r + k, a.r + from, valid);
    }
}

/* bf16 of room for a tile of queries, dout, lse and r. */
template <class S> static constexpr int QUERIES_ROOM = 2 * S::WALK_TILE + 4 * S::WALK;

template <int D, bool DK, bool DV>
__global__ void __launch_bounds__(MMA_THREADS, 2) attention_mma_keys(mma_call a)
{
    using S = keys_shape<D>;
    SHARED_DYN(bf16, shared);
    bf16 *k = shared, *v = k + S::OWN_TILE, *walked = v + S::OWN_TILE;
    mma_place at = place_of_block(a, S::OWN, a.batch * a.kv_heads, false);
    int64_t b = at.head / a.kv_heads, first = a.causal ? at.first / S::WALK * S::WALK : 0;
    int kv = (int)(at.head % a.kv_heads), sharing = a.heads / a.kv_heads;
    query_walk walk = {b, first, (int)((a.length - first + S::WALK - 1) / S::WALK), kv * sharing};
    int w = threadIdx.x / WARP, mine = w * 16 * S::PITCH, n = walk.tiles * sharing;
    int64_t row = at.first + w * 16;
    float dk[1][D / 8][4] = {}, dv[1][D / 8][4] = {};
    copy_tile<D, S::OWN>(k, rows_in_qkv(a, b, a.heads + kv), at.first, a);
    copy_tile<D, S::OWN>(v, rows_in_qkv(a, b, a.heads + a.kv_heads + kv), at.first, a);
    if (S::STAGES == 2) copy_queries<S>(walked, walk, 0, a);
    copy_commit();
    for (int i = 0, stage = 0; i < n; i++, stage ^= S::STAGES - 1) {
        bf16 *q = walked + stage * QUERIES_ROOM<S>, *g = q + S::WALK_TILE;
        const float *lse = (const float *)(g + S::WALK_TILE), *r = lse + S::WALK;
        int copied = S::STAGES == 2 ? i + 1 : i;
        if (S::STAGES == 2) copy_wait<0>();
        __syncthreads(); /* nobody reads the tile before; with two stages, this one is here */
        if (copied < n)
            copy_queries<S>(walked + (S::STAGES == 2 ? stage ^ 1 : 0) * QUERIES_ROOM<S>, walk,
                            copied, a);
        copy_commit();
        if (S::STAGES == 1) {
            copy_wait<0>();
            __syncthreads();
        }
        float s[1][S::WALK / 8][4] = {};
        multiply_rows<1, S::WALK, D>(s, k + mine, q, S::PITCH);
        int64_t query = first + (int64_t)(i % walk.tiles) * S::WALK;
        if (a.alibi) lean<S>(s, -slope_of(a, walk.head + i / walk.tiles) / a.scale, row, query);
        weights_of_scores<S>(s, a, row, query, lse);
        if (DV) multiply_cols<1, D, S::WALK>(dv, s, g, S::PITCH);
        if (!DK) continue;
        float dp[1][S::WALK / 8][4] = {};
        multiply_rows<1, S::WALK, D>(dp, v + mine, g, S::PITCH);
        grad_of_weights<S>(s, dp, r);
        multiply_cols<1, D, S::WALK>(dk, s, q, S::PITCH);
    }
    const float scale[1][2] = {{a.scale, a.scale}}, one[1][2] = {{1, 1}};
    bf16 *to_k = a.dqkv + head_in_qkv(a, b, a.heads + kv), *to_v = to_k + a.kv_heads * a.size;
    if (DK) store_rows<S>(a, to_k, ld_qkv(a), row, k + mine, dk, scale);
    if (DV) store_rows<S>(a, to_v, ld_qkv(a), row, v + mine, dv, one);
}

template <int D, bool DK, bool DV>
static void launch_mma_keys(device *dev, int stream, const mma_call &a)
{
    using S = keys_shape<D>;
    int bytes = (2 * S::OWN_TILE + S::STAGES * QUERIES_ROOM<S>)*(int)sizeof(bf16);
    if (!allow_shared(dev, attention_mma_keys<D, DK, DV>, bytes)) return;
    RUN(dev, stream, (attention_mma_keys<D, DK, DV>),
        groups(a.length, S::OWN) * (unsigned)(a.batch * a.kv_heads), MMA_THREADS, (size_t)bytes, a);
}

template <int D> static void launch_mma_grad(device *dev, int stream, const mma_call &a)
{
    using S = queries_shape<D>;
    int bytes = (2 * S::OWN_TILE + S::STAGES * 2 * S::WALK_TILE) * (int)sizeof(bf16);
    if (!allow_shared(dev, attention_mma_queries<D>, bytes)) return;
    RUN(dev, stream, attention_mma_queries<D>,
        groups(a.length, S::OWN) * (unsigned)(a.batch * a.heads), MMA_THREADS, (size_t)bytes, a);
    if constexpr (D <= 128) {
        launch_mma_keys<D, true, true>(dev, stream, a);
    } else {
        launch_mma_keys<D, false, true>(dev, stream, a);
        launch_mma_keys<D, true, false>(dev, stream, a);
    }
}

void attention_mma_backward(device *dev, int stream, const mma_call &a)
{
    BY_PADDED_HEAD(a.size, launch_mma_grad, dev, stream, a);
}
