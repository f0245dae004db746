/* attention_mma.cu - the forward pass of attention in bf16 on tensor cores; see attention_mma.h.
 *
 *     s = q k^T (16 MT x WALK a warp) -> p = 2^(s c - max c) -> out += p v,   c = scale log2(e)
 *
 * Sums are float; p is rounded to bf16 for the second product, its sum is not.  A row's largest
 * score and sum are held by the four lanes that hold the row.
 * bytes: 2 (2H+2KV) D for each token, and the keys and values again for every OWN queries */
#include "cuda/attention_mma.h"

/* What is known of the rows of a lane. */
template <int MT> struct row_state {
    float max[MT][2], sum[MT][2]; /* of scores without the scale; of p, this lane's part */
};

/* Before the first tile; -1e30 where a row may not see the first keys. */
template <int MT> MMA_FN row_state<MT> nothing_seen(float max)
{
    row_state<MT> x;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            x.max[m][half] = max;
            x.sum[m][half] = 0;
        }
    return x;
}

/* s becomes p; out shrinks as the largest scores grow. */
template <class S>
MMA_FN void soften(float (&s)[S::MT][S::WALK / 8][4], float (&out)[S::MT][S::D / 8][4],
                   row_state<S::MT> &x, float c)
{
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float max = x.max[m][half], sum = 0;
#pragma unroll
            for (int n = 0; n < S::WALK / 8; n++)
                max = fmaxf(max, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 1));
            max = fmaxf(max, __shfl_xor_sync(ALL_LANES, max, 2));
#pragma unroll
            for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    s[m][n][e] = exp2_fast(fmaf(s[m][n][e], c, -max * c));
                    sum += s[m][n][e];
                }
            float shrink = exp2_fast((x.max[m][half] - max) * c);
            x.max[m][half] = max;
            x.sum[m][half] = x.sum[m][half] * shrink + sum;
#pragma unroll
            for (int n = 0; n < S::D / 8; n++) {
                out[m][n][2 * half] *= shrink;
                out[m][n][2 * half + 1] *= shrink;
            }
        }
}

/* After the last tile: what a lane's rows of out are to be multiplied by; their lse is stored. */
template <class S>
MMA_FN void finish_rows(float (&factor)[S::MT][2], const row_state<S::MT> &state, const mma_call &a,
                        int64_t head, int row, int lane)
{
    for (int m = 0; m < S::MT; m++)
        for (int half = 0; half < 2; half++) {
            float sum = state.sum[m][half];
            sum += __shfl_xor_sync(ALL_LANES, sum, 1);
            sum += __shfl_xor_sync(ALL_LANES, sum, 2);
            factor[m][half] = 1.0f / sum;
            int64_t r = row + m * 16 + half * 8 + lane / 4;
            if (lane % 4 == 0 && r < a.length)
                a.lse[head * a.length + r] = state.max[m][half] * a.scale + logf(sum);
        }
}

template <int D, bool SPECIAL>
__global__ void __launch_bounds__(MMA_THREADS) attention_mma_kernel(mma_arguments<SPECIAL> a)
{
    using S = forward_shape<D, SPECIAL>;
    SHARED_DYN(bf16, shared);
    bf16 *q = shared, *walked = q + S::OWN_TILE;
    mma_position at = position_of_block(a, S::OWN, a.batch * a.heads, a.causal);
    int64_t b = at.head / a.heads;
    int head = (int)(at.head % a.heads), kv = head / (a.heads / a.kv_heads);
    mma_pair walk = {rows_in_qkv(a, b, a.heads + kv), rows_in_qkv(a, b, a.heads + a.kv_heads + kv)};
    int w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int row = at.first + w * S::MT * 16, length = (int)a.length;
    int end = a.causal && at.first + S::OWN < length ? at.first + S::OWN : length;
    int begin = SPECIAL ? first_of(a, b, at.first) : 0;
    float out[S::MT][D / 8][4] = {}, c = a.scale * LOG2_E;
    row_state<S::MT> state = nothing_seen<S::MT>(SPECIAL ? -1e30f : -INFINITY);
    copy_tile<D, S::OWN>(q, rows_in_qkv(a, b, head), at.first, a);
    copy_pair<D, S::WALK>(walked, walk, begin, a);
    copy_commit();
    bf16 *mine = q + w * S::MT * 16 * S::PITCH;
    unsigned held[D / 16][S::MT][4]; /* the queries, where there are registers for them */
    if (S::KEEPS) {
        copy_wait<0>();
        __syncthreads();
        keep_rows<S::MT, D>(held, mine, S::PITCH);
    }
    for (int k0 = begin, stage = 0; k0 < end; k0 += S::WALK, stage ^= 1) {
        bf16 *k = walked + stage * 2 * S::WALK_TILE, *v = k + S::WALK_TILE;
        bf16 *next = walked + (stage ^ 1) * 2 * S::WALK_TILE;
        copy_wait<0>();
        __syncthreads(); /* this tile is here, and nobody reads the one before */
        if (k0 + S::WALK < end) copy_pair<D, S::WALK>(next, walk, k0 + S::WALK, a);
        copy_commit();
        float s[S::MT][S::WALK / 8][4] = {};
        if (S::KEEPS)
            multiply_held<S::MT, S::WALK, D>(s, held, k, S::PITCH);
        else
            multiply_rows<S::MT, S::WALK, D>(s, mine, k, S::PITCH);
        if (SPECIAL && a.alibi) lean<S>(s, slope_of(a, head) / a.scale, row, k0);
        if (k0 + S::WALK > length || (a.causal && k0 + S::WALK > row + 1))
            hide<S, false>(s, a, row, k0);
        if (SPECIAL && k0 < first_of(a, b, row + S::MT * 16 - 1))
            hide_before<S, false>(s, a, b, row, k0);
        soften<S>(s, out, state, c);
        multiply_cols<S::MT, D, S::WALK>(out, s, v, S::PITCH);
    }
    float factor[S::MT][2];
    finish_rows<S>(factor, state, a, at.head, row, lane);
    bf16 *to = a.out + b * a.length * ld_out(a) + (int64_t)head * a.size;
    store_rows<S>(a, to, ld_out(a), row, mine, out, factor);
}

template <int D, bool SPECIAL> static void launch_as(device *dev, int stream, const mma_call &a)
{
    using S = forward_shape<D, SPECIAL>;
    int bytes = (S::OWN_TILE + S::STAGES * 2 * S::WALK_TILE) * (int)sizeof(bf16);
    if (!allow_shared(dev, attention_mma_kernel<D, SPECIAL>, bytes)) return;
    RUN(dev, stream, (attention_mma_kernel<D, SPECIAL>),
        groups(a.length, S::OWN) * (unsigned)(a.batch * a.heads), MMA_THREADS, (size_t)bytes,
        (mma_arguments<SPECIAL>{a}));
}

template <int D> static void launch_mma(device *dev, int stream, const mma_call &a)
{
    if (special(a))
        launch_as<D, true>(dev, stream, a);
    else
        launch_as<D, false>(dev, stream, a);
}

void attention_mma_forward(device *dev, int stream, const mma_call &a)
{
    BY_PADDED_HEAD(a.size, launch_mma, dev, stream, a);
}
