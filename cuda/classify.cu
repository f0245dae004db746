/* classify.cu - softmax, cross-entropy and its gradient, in place:
 *
 *     losses_i = lse(logits_i) - logits_i[target_i];  logits_i <- (softmax - onehot) * scale
 *
 * A block has a row: once through it for the largest and the sum of exponentials (softmax.h), then
 * it is read once more and written.
 * bytes: s V for each row, 3 s V with the gradient (s: an element's size) */
#include "cuda/softmax.h"

template <class T> struct classify_call {
    T *logits;              /* (R,V) */
    const int32_t *targets; /* (R) */
    float *losses;          /* (R) */
    int64_t cols, ld;
    float scale;
    bool backward, whole;
};

template <class T> __global__ void classify_kernel(classify_call<T> a)
{
    int64_t r = blockIdx.x;
    T *x = a.logits + r * a.ld;
    int32_t target = a.targets[r];
    float chosen = widened(x[target]); /* before anyone writes: there is a barrier in between */
    peak p = block_peak(row_peak(x, a.cols, a.whole));
    if (threadIdx.x == 0)
        a.losses[r] = (float)(log((double)p.sum) + (double)p.max - (double)chosen);
    if (!a.backward) return;
    float factor = a.scale / p.sum;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += SOFTMAX_THREADS * WIDTH<T>) {
        unpacked<T> v = load(x + c, a.cols - c, a.whole);
        for (int i = 0; i < WIDTH<T>; i++) {
            v.x[i] = expf(v.x[i] - p.max) * factor;
            if (c + i == target) v.x[i] -= a.scale;
        }
        store(x + c, a.cols - c, a.whole, v);
    }
}

template <class T> static void launch_classify(device *dev, int stream, const classify_op *o)
{
    classify_call<T> a = {};
    a.logits = (T *)o->logits.data;
    a.targets = (const int32_t *)o->targets.data;
    a.losses = (float *)o->losses.data;
    a.cols = tensor_cols(o->logits), a.ld = o->logits.ld;
    a.scale = (float)o->scale;
    a.backward = o->backward, a.whole = wide(o->logits);
    RUN(dev, stream, classify_kernel<T>, groups(tensor_rows(o->logits), 1), SOFTMAX_THREADS, 0, a);
}

extern "C" void cuda_classify(device *dev, int stream, const classify_op *o)
{
    BY_TYPE(o->logits.type, launch_classify<element>(dev, stream, o));
}
