/* column_sums.cu - db (+)= column sums of dout (R,N).
 *
 *     a block has 32 columns      warp w adds rows w, w + WARPS, ...     a lane has a column
 *     then warp 0 adds the sums of all warps, in order
 *
 * bytes: s N for each row */
#include "cuda/gpu.h"

static constexpr int WARPS = 32;

template <class T>
__global__ void column_sums_kernel(T *db, bool accumulate, const T *dout, int64_t rows,
                                   int64_t cols, int64_t ld)
{
    SHARED(float, sums, [WARPS][WARP]);
    int warps = blockDim.x / WARP, w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int64_t c = (int64_t)blockIdx.x * WARP + lane;
    float sum = 0;
    for (int64_t r = w; r < rows && c < cols; r += warps)
        sum += widened(dout[r * ld + c]);
    sums[w][lane] = sum;
    __syncthreads();
    if (w || c >= cols) return;
    sum = 0;
    for (int k = 0; k < warps; k++)
        sum += sums[k][lane];
    narrowed(&db[c], accumulate ? widened(db[c]) + sum : sum);
}

extern "C" void cuda_column_sums(device *dev, int stream, grad db, tensor dout)
{
    int64_t rows = tensor_rows(dout), cols = tensor_cols(dout);
    unsigned warps = rows < WARPS ? (unsigned)rows : WARPS;
    BY_TYPE(dout.type, RUN(dev, stream, column_sums_kernel<element>, groups(cols, WARP),
                           warps * WARP, 0, (element *)db.t.data, db.accumulate,
                           (const element *)dout.data, rows, cols, dout.ld));
}
