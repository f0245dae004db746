/* classify_soft.cu - cross-entropy against soft targets t, and its gradient, in place:
 *
 *     losses_i = sum_v t_iv (lse(logits_i) - logits_iv)
 *     hits_i   = the largest logit is where the largest t is, and that is not 0
 *     logits_i <- (softmax(logits_i) sum_v t_iv - t_iv) * scale
 *
 * A block handles a row.  The first pass finds the maximum and the sum of exponentials (softmax.h)
 * and the index of the largest in both rows; the second sums the weights, and the logits relative
 * to the maximum to avoid cancellation; the third writes the gradient. bytes: (4 + s) V for each
 * row from memory, s V more with the gradient; the rest from the cache */
#include "cuda/softmax.h"

template <class T> struct soft_call {
    T *logits;            /* (R,V) */
    const float *targets; /* (R,V), contiguous */
    float *losses, *hits; /* (R); hits may be NULL */
    int64_t cols, ld;
    float scale;
    bool backward, aligned;
};

/* Where the first of the largest is. */
struct indexed {
    float value;
    int at;
};

static __device__ __forceinline__ indexed first_largest(indexed a, indexed b)
{
    return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
}

template <class T> static __device__ indexed row_largest(const T *x, int64_t cols, bool aligned)
{
    indexed best = {-INFINITY, INT32_MAX};
    for (int64_t c = threadIdx.x * WIDTH<T>; c < cols; c += SOFTMAX_THREADS * WIDTH<T>) {
        unpacked<T> v = load(x + c, cols - c, aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            if (c + i < cols) best = first_largest(best, {v.x[i], (int)(c + i)});
    }
    return best;
}

/* The row's, from each thread's; by the whole block, with one barrier.  `slots` has WARPS. */
static __device__ indexed block_largest(indexed p, indexed *slots)
{
    for (int d = WARP / 2; d; d /= 2) {
        indexed other = {__shfl_xor_sync(ALL_LANES, p.value, d),
                         __shfl_xor_sync(ALL_LANES, p.at, d)};
        p = first_largest(p, other);
    }
    if (threadIdx.x % WARP == 0) slots[threadIdx.x / WARP] = p;
    __syncthreads();
    p = slots[0];
    for (int w = 1; w < SOFTMAX_WARPS; w++)
        p = first_largest(p, slots[w]);
    return p;
}

struct weights {
    double mass, chosen; /* sum t, sum t (x - max) */
};

template <class T>
static __device__ weights row_weights(const T *x, const float *t, float max, int64_t cols,
                                      bool aligned)
{
    SHARED(weights, slots, [SOFTMAX_WARPS]);
    weights w = {0, 0};
    for (int64_t c = threadIdx.x * WIDTH<T>; c < cols; c += SOFTMAX_THREADS * WIDTH<T>) {
        unpacked<T> v = load(x + c, cols - c, aligned), by = load_as<T>(t + c, cols - c, aligned);
        for (int i = 0; i < WIDTH<T>; i++) {
            if (c + i >= cols) break;
            w.mass += (double)by.x[i];
            w.chosen += (double)by.x[i] * ((double)v.x[i] - (double)max);
        }
    }
    for (int d = WARP / 2; d; d /= 2) {
        w.mass += __shfl_xor_sync(ALL_LANES, w.mass, d);
        w.chosen += __shfl_xor_sync(ALL_LANES, w.chosen, d);
    }
    if (threadIdx.x % WARP == 0) slots[threadIdx.x / WARP] = w;
    __syncthreads();
    w = {0, 0};
    for (int k = 0; k < SOFTMAX_WARPS; k++) {
        w.mass += slots[k].mass;
        w.chosen += slots[k].chosen;
    }
    return w;
}

template <class T> __global__ void classify_soft_kernel(soft_call<T> a)
{
    SHARED(indexed, of_logits, [SOFTMAX_WARPS]);
    SHARED(indexed, of_targets, [SOFTMAX_WARPS]);
    int64_t r = blockIdx.x;
    T *x = a.logits + r * a.ld;
    const float *t = a.targets + r * a.cols;
    if (a.hits) {
        indexed guess = block_largest(row_largest(x, a.cols, a.aligned), of_logits);
        indexed label = block_largest(row_largest(t, a.cols, a.aligned), of_targets);
        if (threadIdx.x == 0) a.hits[r] = label.value > 0 && guess.at == label.at;
    }
    peak p = block_peak(row_peak(x, a.cols, a.aligned));
    weights w = row_weights(x, t, p.max, a.cols, a.aligned);
    if (threadIdx.x == 0) a.losses[r] = (float)(w.mass * log((double)p.sum) - w.chosen);
    if (!a.backward) return;
    float factor = (float)(w.mass * (double)a.scale / (double)p.sum);
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += SOFTMAX_THREADS * WIDTH<T>) {
        unpacked<T> v = load(x + c, a.cols - c, a.aligned),
                    by = load_as<T>(t + c, a.cols - c, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] = expf(v.x[i] - p.max) * factor - by.x[i] * a.scale;
        store(x + c, a.cols - c, a.aligned, v);
    }
}

template <class T> static void launch_soft(device *dev, int stream, const classify_soft_op *o)
{
    soft_call<T> a = {};
    a.logits = (T *)o->logits.data;
    a.targets = (const float *)o->targets.data;
    a.losses = (float *)o->losses.data;
    if (present(o->hits)) a.hits = (float *)o->hits.data;
    a.cols = tensor_cols(o->logits), a.ld = o->logits.ld;
    a.scale = (float)o->scale;
    a.backward = o->backward, a.aligned = wide(o->logits) && wide(o->targets);
    RUN(dev, stream, classify_soft_kernel<T>, groups(tensor_rows(o->logits), 1), SOFTMAX_THREADS, 0,
        a);
}

CUDA_ENTRY(classify_soft, logits, launch_soft)
