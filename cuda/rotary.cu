/* rotary.cu - RoPE: rotates pairs of numbers by angles that grow with the position, in place.
 *
 * A block handles a token: its threads compute sines and cosines of the pairs once (in double: an
 * angle of thousands of radians keeps its fraction), PAIRS at a time, and rotate them in all heads.
 *
 *     bytes: 2 s size for each head of each token */
#include "cuda/gpu.h"

static constexpr int THREADS = 128, PAIRS = 64;

template <class T> struct rotary_call {
    T *x; /* (B T, ld) */
    int64_t ld, length, first_position;
    int heads, head, size;
    double step; /* log2 of the ratio of two neighbouring angles */
    rope_scaling scaling;
    bool interleaved, inverse;
};

template <class T> __global__ void rotary_kernel(rotary_call<T> a)
{
    SHARED(float, cosine, [PAIRS]);
    SHARED(float, sine, [PAIRS]);
    int64_t r = blockIdx.x;
    double position = (double)(a.first_position + r % a.length);
    for (int first = 0; first < a.size / 2; first += PAIRS) {
        int left = a.size / 2 - first, n = left < PAIRS ? left : PAIRS;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += THREADS) {
            double angle = position * rope_scaled(exp2((first + i) * a.step), a.scaling);
            cosine[i] = (float)cos(angle);
            sine[i] = (float)(a.inverse ? -sin(angle) : sin(angle));
        }
        __syncthreads();
        for (int i = threadIdx.x; i < a.heads * n; i += THREADS) {
            int pair = first + i % n, apart = a.interleaved ? 1 : a.size / 2;
            T *x = a.x + r * a.ld + i / n * a.head + (a.interleaved ? 2 * pair : pair);
            float c = cosine[i % n], s = sine[i % n], u = widened(x[0]), v = widened(x[apart]);
            narrowed(&x[0], u * c - v * s);
            narrowed(&x[apart], u * s + v * c);
        }
    }
}

template <class T> static void launch_rotary(device *dev, int stream, const rotary_op *o)
{
    rotary_call<T> a = {};
    a.x = (T *)o->x.data;
    a.ld = o->x.ld, a.length = o->x.dim[1], a.first_position = o->first_position;
    a.heads = (int)o->heads, a.head = (int)o->head, a.size = (int)o->size;
    a.step = -2.0 * log2(o->base) / (double)o->size;
    a.scaling = o->scaling;
    a.interleaved = o->interleaved, a.inverse = o->inverse;
    RUN(dev, stream, rotary_kernel<T>, groups(tensor_rows(o->x), 1), THREADS, 0, a);
}

extern "C" void cuda_rotary(device *dev, int stream, const rotary_op *o)
{
    if (o->size) BY_TYPE(o->x.type, launch_rotary<element>(dev, stream, o));
}
