/* matrix.cu - a matrix divided by its norm, and copies between matrices with padded rows.
 * bytes: 8 for each element (read and written) */
#include "cuda/gpu.h"

static constexpr int THREADS = 256;

static __global__ void normalize_kernel(float *x, int64_t n, const double *squares, double eps)
{
    const float factor = (float)(1.0 / (sqrt(*squares) + eps));
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n) x[i] *= factor;
}

extern "C" void cuda_normalize(device *dev, int stream, const normalize_op *o)
{
    int64_t n = tensor_count(o->x);
    RUN(dev, stream, normalize_kernel, groups(n, THREADS), THREADS, 0, (float *)o->x.data, n,
        (const double *)o->squares.data, o->eps);
}

/* A block has THREADS columns of a row. */
static __global__ void copy_rows_kernel(float *to, const float *from, int64_t cols, int64_t ld_to,
                                        int64_t ld_from, unsigned blocks_in_a_row)
{
    int64_t r = blockIdx.x / blocks_in_a_row;
    int64_t c = (int64_t)(blockIdx.x % blocks_in_a_row) * THREADS + threadIdx.x;
    if (c < cols) to[r * ld_to + c] = from[r * ld_from + c];
}

extern "C" void cuda_copy_rows(device *dev, int stream, const copy_op *o)
{
    unsigned across = groups(tensor_cols(o->src), THREADS);
    if (o->src.type != F32) {
        device_fail(dev, internal_error("copy: rows that are apart are copied as f32 only"));
        return;
    }
    RUN(dev, stream, copy_rows_kernel, (unsigned)tensor_rows(o->src) * across, THREADS, 0,
        (float *)o->dst.data, (const float *)o->src.data, tensor_cols(o->src), o->dst.ld, o->src.ld,
        across);
}
