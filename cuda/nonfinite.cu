/* nonfinite.cu - counts elements that are NaN or infinite; synchronous.
 *
 * A count of integers is the same in any order, so an atomic addition is allowed here. */
#include "cuda/gpu.h"

static constexpr int THREADS = 256, MOST_BLOCKS = 1024;

static __device__ double widened(double x)
{
    return x;
}

/* x (rows,cols) */
template <class T>
__global__ void nonfinite_kernel(unsigned long long *count, const T *x, int64_t rows, int64_t cols,
                                 int64_t ld)
{
    int mine = 0;
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x)
        for (int64_t c = threadIdx.x; c < cols; c += THREADS)
            mine += !isfinite(widened(x[r * ld + c]));
    for (int d = WARP / 2; d; d /= 2)
        mine += __shfl_xor_sync(ALL_LANES, mine, d);
    if (threadIdx.x % WARP == 0 && mine) atomicAdd(count, (unsigned long long)mine);
}

extern "C" void cuda_nonfinite(device *dev, int stream, const nonfinite_op *o)
{
    cuda_state *s = cuda_state_of(dev);
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x), ld = o->x.ld;
    unsigned long long count = 0;
    *o->count = 0;
    if (!cuda_has_room(dev)) return;
    if (o->x.type != F32 && o->x.type != F64 && o->x.type != BF16) return;
    if (rows == 1) { /* a vector has no rows to share out */
        int64_t piece = 4096;
        rows = cols / piece;
        if (rows > 1 && cols % piece == 0)
            cols = ld = piece;
        else
            rows = 1;
    }
    unsigned blocks = rows < MOST_BLOCKS ? (unsigned)rows : MOST_BLOCKS;
    CUDA_OK(dev, cudaMemsetAsync(s->counter, 0, sizeof count, s->stream[stream]));
    if (o->x.type == F64)
        RUN(dev, stream, nonfinite_kernel<double>, blocks, THREADS, 0, s->counter,
            (const double *)o->x.data, rows, cols, ld);
    else
        BY_TYPE(o->x.type, RUN(dev, stream, nonfinite_kernel<element>, blocks, THREADS, 0,
                               s->counter, (const element *)o->x.data, rows, cols, ld));
    cuda_guard(dev, stream);
    if (dev->failure) return;
    CUDA_OK(dev, cudaMemcpyAsync(&count, s->counter, sizeof count, cudaMemcpyDeviceToHost,
                                 s->stream[stream]));
    if (CUDA_OK(dev, cudaStreamSynchronize(s->stream[stream]))) *o->count = (int64_t)count;
}
