/* attention_grad.cu - the gradient of attention, with each block of scores recomputed from lse:
 *
 *     r_i = dout_i . out_i,  p_ij = exp(s_ij - lse_i),  ds_ij = p_ij (dout_i . v_j - r_i) * scale
 *     dv_j = sum_i p_ij dout_i,   dk_j = sum_i ds_ij q_i,   dq_i = sum_j ds_ij k_j
 *
 *     1  r         a block has a token, a warp one of its heads
 *     2  queries   a block has OWN queries and walks the keys: dq
 *     3  keys      a block has OWN keys and walks the queries of all heads that share them: dk, dv
 *
 * Scores are made twice, in 2 and in 3; so each sum has one owner, there are no atomics, and the
 * bits are always the same.
 * bytes: 4 (3H+4KV) D for each token, and the other side again for every OWN rows */
#include "cuda/flash.h"

/* out: of the forward pass.  A block has a token, its warps take turns at the heads: what they read
 * lies side by side. */
template <class T> __global__ void attention_r_kernel(attention_call<T> a, const T *out)
{
    int64_t b = blockIdx.x / a.length, t = blockIdx.x % a.length;
    int lane = threadIdx.x % WARP;
    for (int head = threadIdx.x / WARP; head < a.heads; head += WARPS) {
        int64_t at = blockIdx.x * ld_out(a) + (int64_t)head * a.size;
        float sum = 0;
        for (int d = lane; d < a.size; d += WARP)
            sum += widened(a.dout[at + d]) * widened(out[at + d]);
        sum = warp_sum(sum);
        if (lane == 0) a.r[(b * a.heads + head) * a.length + t] = sum;
    }
}

/* What query i gives to key j: p and ds; both 0 where there is no such pair. */
struct pair_grad {
    float p, ds;
};

template <class T>
__device__ __forceinline__ pair_grad grad_of_pair(const attention_call<T> &a, int64_t b, int head,
                                                  int64_t i, int64_t j, float slope, float qk,
                                                  float dp)
{
    if (i >= a.length || j >= a.length || (a.causal && j > i) || j < first_seen(a, b, i))
        return {0, 0};
    int64_t bh = b * a.heads + head;
    float s = score_of(a, qk), p = expf(s - slope * (float)(i - j) - a.lse[bh * a.length + i]);
    float ds = p * (dp - a.r[bh * a.length + i]) * a.scale;
    if (a.cap > 0) ds *= (1 - s / a.cap) * (1 + s / a.cap);
    return {p, ds};
}

/* x (rows of a head in dqkv) = sum, for this warp's rows */
template <class T, int ROWS, int CHUNKS>
__device__ __forceinline__ void store_rows(const attention_call<T> &a, T *x,
                                           const float (&sum)[ROWS][CHUNKS], int64_t row0, int lane)
{
    for (int k = 0; k < ROWS && row0 + k < a.length; k++)
        for (int c = 0; c < CHUNKS; c++) {
            int d = lane + WARP * c;
            if (d < a.size) narrowed(&x[(row0 + k) * ld_qkv(a) + d], sum[k][c]);
        }
}

template <class T, int CHUNKS> __global__ void attention_queries_kernel(attention_call<T> a)
{
    static constexpr int ROWS = rows_of<CHUNKS>::BACKWARD, OWN = ROWS * WARPS;
    SHARED_DYN(float, tiles);
    int pitch = pitch_of(a.size), w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *q = tiles, *g = q + OWN * pitch, *k = g + OWN * pitch, *v = k + TILE * pitch;
    float *ds = v + TILE * pitch + w * ROWS * TILE;
    int64_t n_tiles = (a.length + OWN - 1) / OWN, bh = blockIdx.x / n_tiles;
    int64_t b = bh / a.heads, q0 = blockIdx.x % n_tiles * OWN, row0 = q0 + w * ROWS;
    int head = (int)(bh % a.heads), kv = head / (a.heads / a.kv_heads);
    const T *k_head = a.qkv + head_in_qkv(a, b, a.heads + kv);
    const T *v_head = a.qkv + head_in_qkv(a, b, a.heads + a.kv_heads + kv);
    const T *g_head = a.dout + b * a.length * ld_out(a) + (int64_t)head * a.size;
    float dq[ROWS][CHUNKS] = {}, s[ROWS], dp[ROWS], slope = slope_of(a, head);
    load_tile(q, a.qkv + head_in_qkv(a, b, head), ld_qkv(a), q0, OWN, a.length, a.size);
    load_tile(g, g_head, ld_out(a), q0, OWN, a.length, a.size);
    int64_t end = a.causal && q0 + OWN < a.length ? q0 + OWN : a.length;
    for (int64_t k0 = first_seen(a, b, q0); k0 < end; k0 += TILE) {
        __syncthreads();
        load_tile(k, k_head, ld_qkv(a), k0, TILE, a.length, a.size);
        load_tile(v, v_head, ld_qkv(a), k0, TILE, a.length, a.size);
        __syncthreads();
        dot_rows<ROWS>(s, q + w * ROWS * pitch, k + lane * pitch, a.size);
        dot_rows<ROWS>(dp, g + w * ROWS * pitch, v + lane * pitch, a.size);
        for (int i = 0; i < ROWS; i++)
            ds[i * TILE + lane] =
                grad_of_pair(a, b, head, row0 + i, k0 + lane, slope, s[i], dp[i]).ds;
        __syncwarp();
        add_tile<ROWS, CHUNKS>(dq, ds, k, a.size, lane);
    }
    store_rows<T, ROWS, CHUNKS>(a, a.dqkv + head_in_qkv(a, b, head), dq, row0, lane);
}

template <class T, int CHUNKS> __global__ void attention_keys_kernel(attention_call<T> a)
{
    static constexpr int ROWS = rows_of<CHUNKS>::BACKWARD, OWN = ROWS * WARPS;
    SHARED_DYN(float, tiles);
    int pitch = pitch_of(a.size), w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *k = tiles, *v = k + OWN * pitch, *q = v + OWN * pitch, *g = q + TILE * pitch;
    float *p = g + TILE * pitch + w * 2 * ROWS * TILE, *ds = p + ROWS * TILE;
    int64_t n_tiles = (a.length + OWN - 1) / OWN, b = blockIdx.x / n_tiles / a.kv_heads;
    int64_t k0 = blockIdx.x % n_tiles * OWN, row0 = k0 + w * ROWS;
    int kv = (int)(blockIdx.x / n_tiles % a.kv_heads), sharing = a.heads / a.kv_heads;
    int64_t k_head = head_in_qkv(a, b, a.heads + kv);
    int64_t v_head = head_in_qkv(a, b, a.heads + a.kv_heads + kv);
    float dk[ROWS][CHUNKS] = {}, dv[ROWS][CHUNKS] = {}, s[ROWS], dp[ROWS];
    load_tile(k, a.qkv + k_head, ld_qkv(a), k0, OWN, a.length, a.size);
    load_tile(v, a.qkv + v_head, ld_qkv(a), k0, OWN, a.length, a.size);
    for (int head = kv * sharing; head < (kv + 1) * sharing; head++)
        for (int64_t q0 = a.causal ? k0 / TILE * TILE : 0; q0 < a.length; q0 += TILE) {
            if (first_seen(a, b, q0) >= k0 + OWN) break; /* nor does any query after it see them */
            const T *g_head = a.dout + b * a.length * ld_out(a) + (int64_t)head * a.size;
            __syncthreads();
            load_tile(q, a.qkv + head_in_qkv(a, b, head), ld_qkv(a), q0, TILE, a.length, a.size);
            load_tile(g, g_head, ld_out(a), q0, TILE, a.length, a.size);
            __syncthreads();
            dot_rows<ROWS>(s, k + w * ROWS * pitch, q + lane * pitch, a.size);
            dot_rows<ROWS>(dp, v + w * ROWS * pitch, g + lane * pitch, a.size);
            for (int i = 0; i < ROWS; i++) {
                pair_grad x =
                    grad_of_pair(a, b, head, q0 + lane, row0 + i, slope_of(a, head), s[i], dp[i]);
                p[i * TILE + lane] = x.p;
                ds[i * TILE + lane] = x.ds;
            }
            __syncwarp();
            add_tile<ROWS, CHUNKS>(dk, ds, q, a.size, lane);
            add_tile<ROWS, CHUNKS>(dv, p, g, a.size, lane);
        }
    store_rows<T, ROWS, CHUNKS>(a, a.dqkv + k_head, dk, row0, lane);
    store_rows<T, ROWS, CHUNKS>(a, a.dqkv + v_head, dv, row0, lane);
}

template <class T, int CHUNKS>
static void launch_attention_grad(device *dev, int stream, const attention_call<T> &a)
{
    static constexpr int ROWS = rows_of<CHUNKS>::BACKWARD, OWN = ROWS * WARPS;
    int tiles = 2 * (OWN + TILE) * pitch_of(a.size), bytes = (tiles + 2 * OWN * TILE) * 4;
    if (!CUDA_OK(dev, cudaFuncSetAttribute((const void *)attention_queries_kernel<T, CHUNKS>,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)) ||
        !CUDA_OK(dev, cudaFuncSetAttribute((const void *)attention_keys_kernel<T, CHUNKS>,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)))
        return;
    unsigned own = groups(a.length, OWN), batch = (unsigned)a.batch;
    RUN(dev, stream, (attention_queries_kernel<T, CHUNKS>), own * batch * (unsigned)a.heads,
        WARPS * WARP, (size_t)(tiles + OWN * TILE) * 4, a);
    RUN(dev, stream, (attention_keys_kernel<T, CHUNKS>), own * batch * (unsigned)a.kv_heads,
        WARPS * WARP, (size_t)bytes, a);
}

template <class T> static void backward(device *dev, int stream, const attention_call<T> &a)
{
    BY_HEAD_SIZE(T, a.size, launch_attention_grad, dev, stream, a);
}

static void backward(device *dev, int stream, const attention_call<bf16> &a)
{
    if (a.scale > 0 && !(a.cap > 0))
        attention_mma_backward(dev, stream, a);
    else
        backward<bf16>(dev, stream, a);
}

template <class T> static void attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    attention_call<T> a = {};
    a.lse = (float *)o->lse.data, a.r = (float *)o->scratch.data;
    a.dqkv = (T *)o->dqkv.data;
    a.qkv = (const T *)o->qkv.data, a.dout = (const T *)o->dout.data;
    a.batch = o->qkv.dim[0], a.length = o->qkv.dim[1];
    a.heads = (int)o->heads, a.kv_heads = (int)o->kv_heads;
    a.size = (int)(tensor_cols(o->out) / o->heads);
    a.causal = o->causal, a.alibi = o->alibi, a.scale = (float)o->scale;
    a.window = o->window, a.cap = (float)o->cap;
    a.starts = (const int32_t *)o->starts.data;
    a.aligned = wide(o->qkv) && wide(o->dqkv) && wide(o->dout) && a.size % WIDTH<T> == 0;
    if (!head_fits(dev, a.size)) return;
    RUN(dev, stream, attention_r_kernel<T>, groups(a.batch * a.length, 1), WARPS * WARP, 0, a,
        (const T *)o->out.data);
    backward(dev, stream, a);
}

extern "C" void cuda_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    if (o->method != ATTENTION_OWN)
        cuda_cudnn_attention_grad(dev, stream, o);
    else
        BY_TYPE(o->qkv.type, attention_grad<element>(dev, stream, o));
}
