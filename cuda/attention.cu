/* attention.cu - softmax attention without a T x T tensor (Dao et al.: "FlashAttention", NeurIPS
 * 2022), computed in float.  The reference form; bf16 without a cache or a cap goes to
 * attention_mma.cu.
 *
 *     s_ij = scale * q_i k_j, lse_i = log sum_j exp s_ij, out_i = sum_j exp(s_ij - lse_i) v_j
 *
 * over the keys that i sees, of scores that may be capped (core/ops.def).  Of each query a warp
 * keeps the largest score so far, the sum of exponentials under it (each lane its own part) and the
 * weighted sum of values; when the largest grows, the others shrink.
 * bytes: 4 (H+2KV) D for each token, and the keys and values again for every OWN queries, most of
 * them from the cache */
#include "cuda/flash.h"

/* A warp's rows of one head, from row0 on, when all keys have been seen: out and lse. */
template <class T, int ROWS, int CHUNKS>
static __device__ __forceinline__ void
finish_rows(const attention_call<T> &a, int64_t bh, int64_t b, int head, int64_t row0, int lane,
            const float (&sum)[ROWS][CHUNKS], const float (&max)[ROWS], const float (&part)[ROWS])
{
    for (int i = 0; i < ROWS; i++) {
        int64_t row = row0 + i;
        float total = warp_sum(part[i]);
        if (row >= a.length) continue;
        for (int c = 0; c < CHUNKS; c++) {
            int d = lane + WARP * c;
            if (d < a.size)
                narrowed(&a.out[(b * a.length + row) * ld_out(a) + (int64_t)head * a.size + d],
                         sum[i][c] / total);
        }
        if (lane == 0 && a.lse) a.lse[bh * a.length + row] = max[i] + logf(total);
    }
}

template <class T, int CHUNKS> __global__ void attention_kernel(attention_call<T> a)
{
    static constexpr int ROWS = rows_of<CHUNKS>::FORWARD, OWN = ROWS * WARPS;
    SHARED_DYN(float, tiles);
    int pitch = pitch_of(a.size), w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *q = tiles, *k = q + OWN * pitch, *v = k + TILE * pitch;
    float *p = v + TILE * pitch + w * ROWS * TILE;
    int64_t n_tiles = (a.length + OWN - 1) / OWN, bh = blockIdx.x / n_tiles;
    int64_t b = bh / a.heads, q0 = blockIdx.x % n_tiles * OWN, row0 = q0 + w * ROWS;
    int head = (int)(bh % a.heads), kv = head / (a.heads / a.kv_heads);
    const T *q_head = a.qkv + head_in_qkv(a, b, head);
    const T *k_head = a.qkv + head_in_qkv(a, b, a.heads + kv);
    const T *v_head = a.qkv + head_in_qkv(a, b, a.heads + a.kv_heads + kv);
    float slope = slope_of(a, head);
    int64_t ld = ld_qkv(a), n_keys = a.position + a.length;
    if (a.keys) {
        k_head = a.keys + (b * a.kv_heads + kv) * a.capacity * a.size;
        v_head = a.values + (b * a.kv_heads + kv) * a.capacity * a.size;
        ld = a.size;
    }
    float sum[ROWS][CHUNKS] = {}, max[ROWS], part[ROWS], s[ROWS];
    for (int i = 0; i < ROWS; i++) {
        max[i] = -1e30f; /* a row may see nothing of the first keys */
        part[i] = 0;
    }
    load_tile(q, q_head, ld_qkv(a), q0, OWN, a.length, a.size);
    int64_t end = a.causal && q0 + OWN < a.length ? a.position + q0 + OWN : n_keys;
    for (int64_t k0 = first_seen(a, b, a.position + q0); k0 < end; k0 += TILE) {
        __syncthreads();
        load_tile(k, k_head, ld, k0, TILE, n_keys, a.size);
        load_tile(v, v_head, ld, k0, TILE, n_keys, a.size);
        __syncthreads();
        dot_rows<ROWS>(s, q + w * ROWS * pitch, k + lane * pitch, a.size);
        for (int i = 0; i < ROWS; i++) {
            int64_t key = k0 + lane;
            int64_t query = a.position + row0 + i;
            bool seen = row0 + i < a.length && key < n_keys && (!a.causal || key <= query) &&
                        key >= first_seen(a, b, query);
            float score = seen ? score_of(a, s[i]) - slope * (float)(query - key) : -INFINITY;
            float now = fmaxf(max[i], warp_max(score));
            float shrink = expf(max[i] - now), e = expf(score - now);
            max[i] = now;
            part[i] = part[i] * shrink + e;
            p[i * TILE + lane] = e;
            for (int c = 0; c < CHUNKS; c++)
                sum[i][c] *= shrink;
        }
        __syncwarp();
        add_tile<ROWS, CHUNKS>(sum, p, v, a.size, lane);
    }
    finish_rows<T, ROWS, CHUNKS>(a, bh, b, head, row0, lane, sum, max, part);
}

template <class T, int CHUNKS>
static void launch_attention(device *dev, int stream, const attention_call<T> &a)
{
    static constexpr int ROWS = rows_of<CHUNKS>::FORWARD, OWN = ROWS * WARPS;
    int bytes = (int)sizeof(float) * ((OWN + 2 * TILE) * pitch_of(a.size) + OWN * TILE);
    if (!CUDA_OK(dev, cudaFuncSetAttribute((const void *)attention_kernel<T, CHUNKS>,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)))
        return;
    unsigned blocks = groups(a.length, OWN) * (unsigned)(a.batch * a.heads);
    RUN(dev, stream, (attention_kernel<T, CHUNKS>), blocks, WARPS * WARP, (size_t)bytes, a);
}

template <class T> void attention_forward(device *dev, int stream, const attention_call<T> &a)
{
    if (head_fits(dev, a.size)) BY_HEAD_SIZE(T, a.size, launch_attention, dev, stream, a);
}

template void attention_forward(device *, int, const attention_call<float> &);
template void attention_forward(device *, int, const attention_call<bf16> &);

template <class T> static attention_call<T> call_of(const attention_op *o)
{
    attention_call<T> a = {};
    a.out = (T *)o->out.data, a.lse = (float *)o->lse.data;
    a.qkv = (const T *)o->qkv.data;
    a.batch = o->qkv.dim[0], a.length = o->qkv.dim[1];
    a.heads = (int)o->heads, a.kv_heads = (int)o->kv_heads;
    a.size = (int)(tensor_cols(o->out) / o->heads);
    a.causal = o->causal, a.alibi = o->alibi, a.scale = (float)o->scale;
    a.window = o->window, a.cap = (float)o->cap;
    a.starts = (const int32_t *)o->starts.data;
    a.aligned = wide(o->qkv) && wide(o->out) && a.size % WIDTH<T> == 0;
    return a;
}

extern "C" void cuda_attention(device *dev, int stream, const attention_op *o)
{
    if (o->method != ATTENTION_OWN)
        cuda_cudnn_attention(dev, stream, o);
    else if (o->qkv.type == F32)
        attention_forward(dev, stream, call_of<float>(o));
    else if (!(o->scale > 0) || o->cap > 0)
        attention_forward(dev, stream, call_of<bf16>(o));
    else if (head_fits(dev, tensor_cols(o->out) / o->heads))
        attention_mma_forward(dev, stream, call_of<bf16>(o));
}
