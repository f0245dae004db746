/* classify.cu - softmax, cross-entropy and its gradient, in place:
 *
 *     losses_i = lse(logits_i) - logits_i[target_i];  logits_i <- (softmax - onehot) * scale
 *
 * A block has a row.  Each thread keeps the largest of its logits so far and the sum of the
 * exponentials under it; both are then put together for the row, and the row is read once more and
 * written.                                bytes: 4 V for each row, 12 V with the gradient */
#include "cuda/gpu.h"

static constexpr int THREADS = 256, WARPS = THREADS / WARP;

struct classify_call {
    float *logits;          /* (R,V) */
    const int32_t *targets; /* (R) */
    float *losses;          /* (R) */
    int64_t cols, ld;
    float scale;
    bool backward, whole;
};

struct peak {
    float max, sum; /* the largest, and the sum of e^(x - max) */
};

static __device__ __forceinline__ peak higher(peak a, peak b)
{
    float max = fmaxf(a.max, b.max);
    return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}

static __device__ __forceinline__ peak warp_peak(peak p)
{
    for (int d = WARP / 2; d; d /= 2) {
        peak other = {__shfl_xor_sync(ALL_LANES, p.max, d), __shfl_xor_sync(ALL_LANES, p.sum, d)};
        p = threadIdx.x & d ? higher(other, p) : higher(p, other); /* the same in both lanes */
    }
    return p;
}

/* This thread's part of a row. */
static __device__ peak row_peak(const float *x, int64_t cols, bool whole)
{
    peak p = {-FLT_MAX, 0};
    for (int64_t c = threadIdx.x * 4; c < cols; c += THREADS * 4) {
        four v = load4(x + c, cols - c, whole);
        float max = p.max;
        for (int i = 0; i < 4; i++)
            if (c + i < cols) max = fmaxf(max, v.x[i]);
        if (max > p.max) p.sum *= expf(p.max - max);
        p.max = max;
        for (int i = 0; i < 4; i++)
            if (c + i < cols) p.sum += expf(v.x[i] - max);
    }
    return p;
}

static __global__ void classify_kernel(classify_call a)
{
    SHARED(peak, peaks, [WARPS]);
    int64_t r = blockIdx.x;
    float *x = a.logits + r * a.ld;
    int32_t target = a.targets[r];
    float chosen = x[target]; /* before anyone writes: there is a barrier in between */
    peak p = warp_peak(row_peak(x, a.cols, a.whole));
    if (threadIdx.x % WARP == 0) peaks[threadIdx.x / WARP] = p;
    __syncthreads();
    p = peaks[0];
    for (int w = 1; w < WARPS; w++)
        p = higher(p, peaks[w]);
    if (threadIdx.x == 0)
        a.losses[r] = (float)(log((double)p.sum) + (double)p.max - (double)chosen);
    if (!a.backward) return;
    float factor = a.scale / p.sum;
    for (int64_t c = threadIdx.x * 4; c < a.cols; c += THREADS * 4) {
        four v = load4(x + c, a.cols - c, a.whole);
        for (int i = 0; i < 4; i++) {
            v.x[i] = expf(v.x[i] - p.max) * factor;
            if (c + i == target) v.x[i] -= a.scale;
        }
        store4(x + c, a.cols - c, a.whole, v);
    }
}

extern "C" void cuda_classify(device *dev, int stream, const classify_op *o)
{
    classify_call a = {};
    a.logits = (float *)o->logits.data;
    a.targets = (const int32_t *)o->targets.data;
    a.losses = (float *)o->losses.data;
    a.cols = tensor_cols(o->logits), a.ld = o->logits.ld;
    a.scale = (float)o->scale;
    a.backward = o->backward, a.whole = wide(o->logits);
    RUN(dev, stream, classify_kernel, groups(tensor_rows(o->logits), 1), THREADS, 0, a);
}
