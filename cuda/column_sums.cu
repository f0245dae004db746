/* column_sums.cu - db (+)= column sums of dout (R,N).
 *
 *               SPAN columns
 *             +-------------+
 *     group   |  warp 0     |     1  parts   a block has SPAN columns of a group of rows: its warps take
 *     of      |  warp 1     |                turns at the rows, a lane having 16 bytes of columns; then
 *     rows    |  warp 0 ... |                their sums are added in order
 *             +-------------+     2  add     the groups in order
 *
 * There are as many groups as make BLOCKS blocks, by the shape alone, so the bits are the same on
 * every GPU.  Their sums use the workspace of sumsq's.  One group goes to db at once.
 * bytes: s N for each row */
#include "cuda/gpu.h"

#include "core/segment.h"

static constexpr int MOST_WARPS = 16, THREADS = 128;
static constexpr int64_t BLOCKS = 256, LEAST_ROWS = 4 * MOST_WARPS,
                         ROOM = (int)CUDA_SUMS_AT_ONCE * (int)SEGMENTS * sizeof(double) /
                                sizeof(float);
template <class T> static constexpr int SPAN = WIDTH<T> *WARP;

template <class T> struct column_call {
    T *db;         /* (N) */
    const T *dout; /* (R,N) */
    float *parts;  /* (G,N); NULL when G is 1 */
    int64_t rows, cols, ld;
    bool accumulate, aligned;
};

template <class T>
static __device__ __forceinline__ void put_sum(const column_call<T> &a, int64_t c, float sum)
{
    narrowed(&a.db[c], a.accumulate ? widened(a.db[c]) + sum : sum);
}

template <class T>
__global__ void __launch_bounds__(MOST_WARPS *WARP) column_parts_kernel(column_call<T> a)
{
    SHARED(float, sums, [MOST_WARPS][SPAN<T>]);
    int warps = blockDim.x / WARP, w = threadIdx.x / WARP, at = threadIdx.x % WARP * WIDTH<T>;
    int64_t from = (int64_t)blockIdx.x * SPAN<T>, left = a.cols - from - at;
    int64_t group = blockIdx.y, end = a.rows * (group + 1) / gridDim.y;
    unpacked<T> sum = {};
#pragma unroll 4
    for (int64_t r = a.rows * group / gridDim.y + w; r < end; r += warps) {
        unpacked<T> d = load(a.dout + r * a.ld + from + at, left, a.aligned);
        for (int i = 0; i < WIDTH<T>; i++)
            sum.x[i] += d.x[i];
    }
    for (int i = 0; i < WIDTH<T>; i++)
        sums[w][at + i] = sum.x[i];
    __syncthreads();
    for (int k = threadIdx.x; k < SPAN<T> && from + k < a.cols; k += blockDim.x) {
        float all = 0;
        for (int v = 0; v < warps; v++)
            all += sums[v][k];
        if (a.parts)
            a.parts[group * a.cols + from + k] = all;
        else
            put_sum(a, from + k, all);
    }
}

template <class T> __global__ void column_add_kernel(column_call<T> a, int n)
{
    int64_t c = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (c >= a.cols) return;
    float sum = 0;
#pragma unroll 8
    for (int group = 0; group < n; group++)
        sum += a.parts[group * a.cols + c];
    put_sum(a, c, sum);
}

/* How many groups of rows, where `across` blocks have the columns. */
static int64_t groups_of_rows(int64_t rows, int64_t cols, int64_t across)
{
    int64_t n = (BLOCKS + across - 1) / across;
    if (n > rows / LEAST_ROWS) n = rows / LEAST_ROWS;
    if (n > ROOM / cols) n = ROOM / cols;
    return n > 1 ? n : 1;
}

template <class T> static void launch_sums(device *dev, int stream, grad db, tensor dout)
{
    column_call<T> a = {};
    a.db = (T *)db.t.data, a.dout = (const T *)dout.data;
    a.rows = tensor_rows(dout), a.cols = tensor_cols(dout), a.ld = dout.ld;
    a.accumulate = db.accumulate, a.aligned = wide(dout);
    unsigned across = groups(a.cols, SPAN<T>), n = (unsigned)groups_of_rows(a.rows, a.cols, across);
    if (n > 1 && !cuda_has_room(dev)) return;
    if (n > 1) a.parts = (float *)cuda_state_of(dev)->sums[stream];
    RUN(dev, stream, column_parts_kernel<T>, dim3(across, n),
        threads_for(groups(a.rows, n) * WARP, 1, MOST_WARPS * WARP), 0, a);
    if (n > 1)
        RUN(dev, stream, column_add_kernel<T>, groups(a.cols, THREADS), THREADS, 0, a, (int)n);
}

extern "C" void cuda_column_sums(device *dev, int stream, grad db, tensor dout)
{
    BY_TYPE(dout.type, launch_sums<element>(dev, stream, db, dout));
}
