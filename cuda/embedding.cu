/* embedding.cu - out[b,t,:] = scale * wte[tokens[b,t],:] + wpe[first + t - starts[b,t],:]
 *
 * A block has a row.                         bytes: s C (2 or 3) for each row, and the token */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct embedding_call {
    T *out;                /* (R,C) */
    const int32_t *tokens; /* (R) */
    const int32_t *starts; /* ? (R) */
    const T *wte, *wpe;    /* (V,C), (P,C) from the first position on; wpe may be NULL */
    int64_t cols, length, ld_out, ld_wte, ld_wpe;
    float scale;
    bool aligned;
};

template <class T> __global__ void embedding_kernel(embedding_call<T> a)
{
    int64_t r = blockIdx.x;
    const T *token = a.wte + a.tokens[r] * a.ld_wte;
    int64_t at = r % a.length - (a.starts ? a.starts[r] : 0);
    const T *position = a.wpe ? a.wpe + at * a.ld_wpe : NULL;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        unpacked<T> v = load(token + c, a.cols - c, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] *= a.scale;
        if (position) {
            unpacked<T> p = load(position + c, a.cols - c, a.aligned);
            for (int i = 0; i < WIDTH<T>; i++)
                v.x[i] += p.x[i];
        }
        store(a.out + r * a.ld_out + c, a.cols - c, a.aligned, v);
    }
}

template <class T> static void launch_embedding(device *dev, int stream, const embedding_op *o)
{
    embedding_call<T> a = {};
    a.out = (T *)o->out.data;
    a.tokens = (const int32_t *)o->tokens.data;
    a.starts = (const int32_t *)o->starts.data;
    a.wte = (const T *)o->wte.data;
    if (present(o->wpe)) a.wpe = (const T *)o->wpe.data + o->first_position * o->wpe.ld;
    a.cols = tensor_cols(o->out);
    a.length = o->tokens.dim[1];
    a.ld_out = o->out.ld, a.ld_wte = o->wte.ld, a.ld_wpe = o->wpe.ld;
    a.scale = o->scale == 0 ? 1.0f : (float)o->scale;
    a.aligned = wide(o->out) && wide(o->wte) && wide(o->wpe);
    RUN(dev, stream, embedding_kernel<T>, groups(tensor_rows(o->out), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(embedding, out, launch_embedding)
