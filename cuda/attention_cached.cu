/* attention_cached.cu - attention of new tokens to the keys and values of all before them: theirs
 * go into the cache, then the forward pass of attention.cu reads the cache in place of qkv.
 *
 * bytes: 8 KV D for each key that is seen; one query alone leaves most of a block idle */
#include "cuda/flash.h"

static constexpr int THREADS = 128;

/* A block has one new token of one key head. */
template <class T> __global__ void cache_kernel(attention_call<T> a)
{
    int64_t t = blockIdx.x % a.length, kv = blockIdx.x / a.length % a.kv_heads;
    int64_t b = blockIdx.x / a.length / a.kv_heads;
    int64_t to = ((b * a.kv_heads + kv) * a.capacity + a.position + t) * a.size;
    const T *from = a.qkv + head_in_qkv(a, b, a.heads + (int)kv) + t * ld_qkv(a);
    for (int d = threadIdx.x; d < a.size; d += THREADS) {
        a.keys[to + d] = from[d];
        a.values[to + d] = from[a.kv_heads * a.size + d];
    }
}

template <class T> static void cached(device *dev, int stream, const attention_cached_op *o)
{
    attention_call<T> a = {};
    a.out = (T *)o->out.data;
    a.qkv = (const T *)o->qkv.data;
    a.keys = (T *)o->keys.data, a.values = (T *)o->values.data;
    a.capacity = (int)o->keys.dim[2], a.position = (int)o->position;
    a.batch = o->qkv.dim[0], a.length = o->qkv.dim[1];
    a.heads = (int)o->heads, a.kv_heads = (int)o->keys.dim[1];
    a.size = (int)o->keys.dim[3];
    a.causal = true, a.alibi = o->alibi, a.scale = (float)o->scale;
    a.window = o->window, a.cap = (float)o->cap;
    if (!head_fits(dev, a.size)) return;
    RUN(dev, stream, cache_kernel<T>, groups(a.batch * a.kv_heads * a.length, 1), THREADS, 0, a);
    attention_forward(dev, stream, a);
}

CUDA_ENTRY(attention_cached, qkv, cached)
