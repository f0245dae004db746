/* dropout.cu - elements left out at random, by numbers that are made where they are needed
 * (core/dropout.h)
 *
 * A block has a row.                       bytes: 2 s C for each row, 3 s C with a residual */
#include "cuda/gpu.h"

#include "core/dropout.h"

static constexpr int MOST_THREADS = 256;

template <class T> struct dropout_call {
    T *out;                /* (R,C) */
    const T *x, *residual; /* (R,C); residual may be NULL */
    const uint32_t *start; /* (2) */
    uint64_t seed, site;
    int64_t cols;
    uint32_t least;
    float scale;
    bool aligned;
};

template <class T> __global__ void dropout_kernel(dropout_call<T> a)
{
    int64_t r = blockIdx.x;
    uint64_t row = ((uint64_t)a.start[1] << 32 | a.start[0]) + (uint64_t)r;
    for (int64_t c = threadIdx.x * WIDTH<T>; c < a.cols; c += blockDim.x * WIDTH<T>) {
        int64_t at = r * a.cols + c, left = a.cols - c;
        uint64_t place = row * (uint64_t)a.cols + (uint64_t)c;
        unpacked<T> v = load(a.x + at, left, a.aligned), res = {};
        uint32_t four[4];
        if (a.residual) res = load(a.residual + at, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++) {
            uint64_t p = place + (uint64_t)i;
            if (!i || !(p & 3)) dropout_numbers(a.seed, a.site, p >> 2, four);
            uint32_t number = (p & 2) ? (p & 1) ? four[3] : four[2] : (p & 1) ? four[1] : four[0];
            v.x[i] = (number < a.least ? 0.0f : a.scale * v.x[i]) + res.x[i];
        }
        store(a.out + at, left, a.aligned, v);
    }
}

template <class T> static void launch_dropout(device *dev, int stream, const dropout_op *o)
{
    dropout_call<T> a = {};
    a.out = (T *)o->out.data, a.x = (const T *)o->x.data;
    if (present(o->residual)) a.residual = (const T *)o->residual.data;
    a.start = (const uint32_t *)o->start.data;
    a.seed = o->seed, a.site = o->site;
    a.cols = tensor_cols(o->x);
    a.least = dropout_threshold(o->rate), a.scale = (float)(1 / (1 - o->rate));
    a.aligned = wide(o->out) && wide(o->x) && wide(o->residual);
    RUN(dev, stream, dropout_kernel<T>, groups(tensor_rows(o->x), 1),
        threads_for(a.cols, WIDTH<T>, MOST_THREADS), 0, a);
}

CUDA_ENTRY(dropout, x, launch_dropout)
