/* codes.cu - numbers to codes of 8 or 4 bits and back (core/block_codes.h).
 *
 * Codes are made once, when a model is loaded: a thread has a block of numbers.  They are read at
 * every use, into the working type: a thread has 16 bytes of what comes out, and their codes in one
 * piece.  Each lane holds one of nf4's values, and asks the lane of a code for its value.
 *
 * bytes: dequantize: s and 2, 1 or 1/2 for each number, 4 for 64 of them (s: its size) */
#include "core/block_codes.h"
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

template <class T>
__global__ void quantize_kernel(const T *x, uint8_t *codes, float *scales, int64_t count,
                                code_form form)
{
    int64_t block = (int64_t)blockIdx.x * THREADS + threadIdx.x, at = block * CODE_BLOCK;
    if (at >= count) return;
    int64_t left = count - at, n = left < CODE_BLOCK ? left : (int64_t)CODE_BLOCK;
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = code_scale(most, widened(x[at + i]));
    most = kept_scale(form, most);
    scales[block] = most;
    for (int64_t i = 0; i < n; i++)
        put_code(form, codes, at + i, code_share(widened(x[at + i]), most));
}

struct coded {
    const uint8_t *codes;
    const float *scales;
    int64_t count, bytes; /* of numbers, and of all codes */
    bool aligned;         /* what goes out, and the codes */
};

/* What the numbers of a block are multiplied by. */
static __device__ __forceinline__ float scale_at(const coded &a, int64_t block)
{
    return a.scales[block];
}

template <int BYTES> struct alignas(BYTES) piece {
    uint8_t x[BYTES];
};

/* Bytes [at, at + BYTES) of `all`; those behind are not read. */
template <int BYTES>
static __device__ __forceinline__ piece<BYTES> load_piece(const uint8_t *x, int64_t at, int64_t all,
                                                          bool aligned)
{
    if (aligned && at + BYTES <= all) return *(const piece<BYTES> *)(x + at);
    piece<BYTES> p;
#pragma unroll
    for (int i = 0; i < BYTES; i++)
        p.x[i] = at + i < all ? x[at + i] : 0;
    return p;
}

/* All lanes come here together.  Of a byte of nf4 the upper half comes first. */
template <int FORM>
static __device__ __forceinline__ float value_at(const uint8_t *codes, int i, float of_lane)
{
    if (FORM == CODES_NF4)
        return __shfl_sync(ALL_LANES, of_lane, i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4);
    return code_value((code_form)FORM, codes, i);
}

template <class T, int FORM> __global__ void dequantize_kernel(T *out, coded a)
{
    static constexpr int N = WIDTH<T>,
                         BITS = FORM == CODES_NF4    ? 4
                                : FORM == CODES_INT8 ? 8
                                                     : 16,
                         BYTES = N * BITS / 8;
    static_assert(CODE_BLOCK % N == 0, "what a thread has is of one block");
    int64_t group = (int64_t)blockIdx.x * THREADS + threadIdx.x, at = group * N;
    float of_lane = nf4_value(threadIdx.x % 16),
          scale = at < a.count ? scale_at(a, at / CODE_BLOCK) : 0.0f;
    piece<BYTES> p = load_piece<BYTES>(a.codes, group * BYTES, a.bytes, a.aligned);
    unpacked<T> v;
#pragma unroll
    for (int i = 0; i < N; i++)
        v.x[i] = scale * value_at<FORM>(p.x, i, of_lane);
    store(out + at, a.count - at, a.aligned, v);
}

template <class T> static void launch_dequantize(device *dev, int stream, const dequantize_op *o)
{
    T *out = (T *)o->out.data;
    coded a = {(const uint8_t *)o->codes.data, (const float *)o->scales.data, tensor_count(o->out),
               tensor_count(o->codes), ((uintptr_t)out | (uintptr_t)o->codes.data) % 16 == 0};
    unsigned blocks = groups(a.count, THREADS * WIDTH<T>);
    if (o->form == CODES_NF4)
        RUN(dev, stream, (dequantize_kernel<T, CODES_NF4>), blocks, THREADS, 0, out, a);
    else if (o->form == CODES_INT8)
        RUN(dev, stream, (dequantize_kernel<T, CODES_INT8>), blocks, THREADS, 0, out, a);
    else
        RUN(dev, stream, (dequantize_kernel<T, CODES_BF16>), blocks, THREADS, 0, out, a);
}

extern "C" void cuda_quantize(device *dev, int stream, const quantize_op *o)
{
    int64_t n = tensor_count(o->x);
    BY_TYPE(o->x.type, RUN(dev, stream, quantize_kernel<element>, groups(code_blocks(n), THREADS),
                           THREADS, 0, (const element *)o->x.data, (uint8_t *)o->codes.data,
                           (float *)o->scales.data, n, (code_form)o->form));
}

CUDA_ENTRY(dequantize, out, launch_dequantize)
