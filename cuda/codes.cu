/* codes.cu - numbers to codes of 8 or 4 bits and back (core/block_codes.h).
 *
 * Codes are made once, when a model is loaded: a thread has a block of numbers.  They are read at
 * every use: a thread has two numbers, which share a byte of nf4.
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

template <class T>
__global__ void dequantize_kernel(T *out, const uint8_t *codes, const float *scales, int64_t count,
                                  code_form form)
{
    int64_t at = 2 * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    for (int64_t i = at; i < at + 2 && i < count; i++)
        narrowed(&out[i], scales[i / CODE_BLOCK] * code_value(form, codes, i));
}

extern "C" void cuda_quantize(device *dev, int stream, const quantize_op *o)
{
    int64_t n = tensor_count(o->x);
    BY_TYPE(o->x.type, RUN(dev, stream, quantize_kernel<element>, groups(code_blocks(n), THREADS),
                           THREADS, 0, (const element *)o->x.data, (uint8_t *)o->codes.data,
                           (float *)o->scales.data, n, (code_form)o->form));
}

extern "C" void cuda_dequantize(device *dev, int stream, const dequantize_op *o)
{
    int64_t n = tensor_count(o->out);
    BY_TYPE(o->out.type, RUN(dev, stream, dequantize_kernel<element>, groups((n + 1) / 2, THREADS),
                             THREADS, 0, (element *)o->out.data, (const uint8_t *)o->codes.data,
                             (const float *)o->scales.data, n, (code_form)o->form));
}
