/* classify.cu - softmax, cross-entropy and its gradient, in place:
 *
 *     losses_i = lse(logits_i) - logits_i[target_i] + z lse^2
 *     logits_i <- (softmax (1 + 2 z lse) - onehot) * scale
 *
 * A block handles a row: one pass finds the maximum and the sum of exponentials, then the row is
 * read once more and written.  The second time it comes from shared memory, if it fits there: each
 * thread stores its own 16 bytes, so that no barrier is needed. bytes: s V for each row, 2 s V with
 * the gradient, or 3 if a row is too long (s: an element's size) */
#include "cuda/softmax.h"

/* Of a row in shared memory: what every GPU of sm_80 and newer gives a block, without the other 2
 * KiB. */
static constexpr int MOST_SHARED = 97 << 10;

template <class T> struct classify_call {
    T *logits;              /* (R,V) */
    const int32_t *targets; /* (R) */
    float *losses;          /* (R) */
    int64_t cols, ld;
    float scale, cap; /* cap: 0: none */
    double z;
    bool backward, aligned;
};

template <class T, bool KEEPS>
__global__ void __launch_bounds__(ROW_THREADS) classify_kernel(classify_call<T> a)
{
    SHARED_DYN(T, cached);
    int64_t r = blockIdx.x;
    T *x = a.logits + r * a.ld;
    int32_t target = a.targets[r];
    float chosen = widened(x[target]); /* before anyone writes: there is a barrier in between */
    peak p = block_peak<ROW_THREADS>(
        row_peak<ROW_THREADS>(x, a.cols, a.aligned, KEEPS && a.backward ? cached : (T *)NULL));
    double lse = a.z != 0 || threadIdx.x == 0 ? log((double)p.sum) + (double)p.max : 0;
    if (threadIdx.x == 0) a.losses[r] = (float)(lse - (double)chosen + a.z * lse * lse);
    if (!a.backward) return;
    float factor = a.scale / p.sum;
    if (a.z != 0) factor *= (float)(1 + 2 * a.z * lse);
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += ROW_THREADS * WIDTH<T>) {
        unpacked<T> v =
            KEEPS ? load(cached + c, WIDTH<T>, true) : load(x + c, a.cols - c, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++) {
            float t = a.cap > 0 ? v.x[i] / a.cap : 0.0f;
            v.x[i] = exp_for<T>(v.x[i] - p.max) * factor;
            if (c + i == target) v.x[i] -= a.scale;
            v.x[i] *= (1 - t) * (1 + t);
        }
        store(x + c, a.cols - c, a.aligned, v);
    }
}

template <class T> static void launch_classify(device *dev, int stream, const classify_op *o)
{
    classify_call<T> a = {};
    a.logits = (T *)o->logits.data;
    a.targets = (const int32_t *)o->targets.data;
    a.losses = (float *)o->losses.data;
    a.cols = tensor_cols(o->logits), a.ld = o->logits.ld;
    a.scale = (float)o->scale, a.cap = (float)o->cap, a.z = o->z;
    a.backward = o->backward, a.aligned = wide(o->logits);
    unsigned rows = groups(tensor_rows(o->logits), 1);
    int bytes = (int)(groups(a.cols, WIDTH<T>) * 16);
    if (bytes > MOST_SHARED) {
        RUN(dev, stream, (classify_kernel<T, false>), rows, ROW_THREADS, 0, a);
    } else if (CUDA_OK(dev,
                       cudaFuncSetAttribute((const void *)classify_kernel<T, true>,
                                            cudaFuncAttributeMaxDynamicSharedMemorySize, bytes))) {
        RUN(dev, stream, (classify_kernel<T, true>), rows, ROW_THREADS, (size_t)bytes, a);
    }
}

CUDA_ENTRY(classify, logits, launch_classify)
