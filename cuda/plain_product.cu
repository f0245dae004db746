/* plain_product.cu - products that cublasLt has no algorithm for, and helpers for lt_product.c.
 *
 *     d = alpha op(x) op(y) + beta c + bias, in float, rounded once
 *
 * The library lacks some products of odd sizes and strides, and says so late.  No usual model needs
 * one, so this kernel is short, not fast: a block has SIDE x SIDE of d and walks along `inner`, a
 * thread has ROWS elements of one column. bytes: 2 s SIDE for each SIDE elements of d and each of
 * `inner` */
#include "cuda/gpu.h"

static constexpr int SIDE = 32, ROWS = 4, THREADS = 256;

/* Element (row,col) of x (rows,cols), which may be stored transposed; 0 outside. */
template <class T>
static __device__ __forceinline__ float element_of(const void *x, bool transposed, int64_t ld,
                                                   int64_t row, int64_t col, int64_t rows,
                                                   int64_t cols)
{
    if (row >= rows || col >= cols) return 0.0f;
    return widened(((const T *)x)[transposed ? col * ld + row : row * ld + col]);
}

/* The same of codes. */
static __device__ __forceinline__ float code_at(const void *x, fp8_format format, int64_t ld,
                                                int64_t row, int64_t col, int64_t rows,
                                                int64_t cols)
{
    return row < rows && col < cols ? float_of_fp8(format, ((const uint8_t *)x)[row * ld + col])
                                    : 0.0f;
}

template <class T, bool NARROW> __global__ void plain_product_kernel(product p)
{
    SHARED(float, xs, [SIDE][SIDE + 1]);
    SHARED(float, ys, [SIDE][SIDE + 1]);
    int64_t tiles = (p.cols + SIDE - 1) / SIDE, row0 = blockIdx.x / tiles * SIDE,
            col0 = blockIdx.x % tiles * SIDE;
    int across = threadIdx.x % SIDE, down = threadIdx.x / SIDE;
    float sum[ROWS] = {};
    for (int64_t k0 = 0; k0 < p.inner; k0 += SIDE) {
        __syncthreads();
        for (int i = 0; i < ROWS; i++) {
            int r = down + i * SIDE / ROWS;
            if (NARROW) { /* y is (cols,inner) */
                xs[r][across] =
                    code_at(p.x, p.format_x, p.ldx, row0 + r, k0 + across, p.rows, p.inner);
                ys[across][r] =
                    code_at(p.y, p.format_y, p.ldy, col0 + r, k0 + across, p.cols, p.inner);
                continue;
            }
            xs[r][across] =
                element_of<T>(p.x, p.x_transposed, p.ldx, row0 + r, k0 + across, p.rows, p.inner);
            ys[r][across] =
                element_of<T>(p.y, p.y_transposed, p.ldy, k0 + r, col0 + across, p.inner, p.cols);
        }
        __syncthreads();
        for (int k = 0; k < SIDE && k0 + k < p.inner; k++)
            for (int i = 0; i < ROWS; i++)
                sum[i] += xs[down + i * SIDE / ROWS][k] * ys[k][across];
    }
    int64_t col = col0 + across;
    for (int i = 0; i < ROWS; i++) {
        int64_t row = row0 + down + i * SIDE / ROWS;
        if (row >= p.rows || col >= p.cols) continue;
        float v = p.scaled ? p.alpha * sum[i] : sum[i];
        if (NARROW) v *= *p.back_x * *p.back_y;
        if (p.c) {
            float c = widened(((const T *)p.c)[row * p.ldc + col]);
            v += p.scaled ? p.beta * c : c;
        }
        if (p.bias) v += widened(((const T *)p.bias)[col]);
        narrowed((T *)p.d + row * p.ldd + col, v);
    }
}

extern "C" void cuda_plain_product(device *dev, int stream, const product *p)
{
    static_assert(THREADS * ROWS == SIDE * SIDE, "each element of a tile is a thread's");
    unsigned tiles = groups(p->rows, SIDE) * groups(p->cols, SIDE);
    if (p->narrow)
        RUN(dev, stream, (plain_product_kernel<bf16, true>), tiles, THREADS, 0, *p);
    else
        BY_TYPE(p->type,
                RUN(dev, stream, (plain_product_kernel<element, false>), tiles, THREADS, 0, *p));
}

/* d (rows,cols) = bias in each row */
template <class T> __global__ void bias_rows_kernel(product p)
{
    int64_t row = blockIdx.x;
    for (int64_t c = threadIdx.x; c < p.cols; c += THREADS)
        ((T *)p.d)[row * p.ldd + c] = ((const T *)p.bias)[c];
}

extern "C" void cuda_bias_rows(device *dev, int stream, const product *p)
{
    BY_TYPE(p->type,
            RUN(dev, stream, bias_rows_kernel<element>, groups(p->rows, 1), THREADS, 0, *p));
}
