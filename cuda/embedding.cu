/* embedding.cu - out[b,t,:] = scale * wte[tokens[b,t],:] + wpe[first + t,:]
 *
 * A block has a row.                         bytes: 4 C (2 or 3) for each row, and the token */
#include "cuda/gpu.h"

static constexpr int MOST_THREADS = 256;

struct embedding_call {
    float *out;             /* (R,C) */
    const int32_t *tokens;  /* (R) */
    const float *wte, *wpe; /* (V,C), (P,C) from the first position on; wpe may be NULL */
    int64_t cols, length, ld_out, ld_wte, ld_wpe;
    float scale;
    bool whole;
};

static __global__ void embedding_kernel(embedding_call a)
{
    int64_t r = blockIdx.x;
    const float *token = a.wte + a.tokens[r] * a.ld_wte;
    const float *position = a.wpe ? a.wpe + r % a.length * a.ld_wpe : NULL;
    for (int64_t c = threadIdx.x * 4; c < a.cols; c += blockDim.x * 4) {
        unpacked<float> v = load(token + c, a.cols - c, a.whole);
        for (int i = 0; i < 4; i++)
            v.x[i] *= a.scale;
        if (position) {
            unpacked<float> p = load(position + c, a.cols - c, a.whole);
            for (int i = 0; i < 4; i++)
                v.x[i] += p.x[i];
        }
        store(a.out + r * a.ld_out + c, a.cols - c, a.whole, v);
    }
}

extern "C" void cuda_embedding(device *dev, int stream, const embedding_op *o)
{
    embedding_call a = {};
    a.out = (float *)o->out.data;
    a.tokens = (const int32_t *)o->tokens.data;
    a.wte = (const float *)o->wte.data;
    if (present(o->wpe)) a.wpe = (const float *)o->wpe.data + o->first_position * o->wpe.ld;
    a.cols = tensor_cols(o->out);
    a.length = o->tokens.dim[1];
    a.scale = o->scale == 0 ? 1.0f : (float)o->scale;
    a.ld_out = o->out.ld, a.ld_wte = o->wte.ld, a.ld_wpe = o->wpe.ld;
    a.whole = wide(o->out) && wide(o->wte) && wide(o->wpe);
    RUN(dev, stream, embedding_kernel, groups(tensor_rows(o->out), 1),
        threads_for(a.cols, 4, MOST_THREADS), 0, a);
}
