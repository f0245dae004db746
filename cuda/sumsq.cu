/* sumsq.cu - slot = sum(x^2), in double, in the order of core/segment.h: the CPU's bits.
 *
 * A block has a tensor, a warp a segment, a lane one of the interleaved sums.  Squares of floats
 * are exact in double, so only the additions round.       bytes: 4 (bf16: 2) for each element */
#include "cuda/gpu.h"

#include "core/bf16.h"
#include "core/segment.h"

static constexpr int AT_ONCE = 64; /* tensors in a launch */

static_assert((int)SEGMENT_LANES == (int)WARP, "a lane of a segment is a lane of a warp");

static __device__ __forceinline__ double number(const square_sum &s, int64_t i)
{
    return (double)(s.type == F32 ? ((const float *)s.x)[i]
                                  : float_of_bf16(((const uint16_t *)s.x)[i]));
}

struct square_sums {
    square_sum of[AT_ONCE];
    const hyper *h; /* NULL, or: nothing is done when h->ok is 0 */
};

static __global__ void square_sums_kernel(square_sums all)
{
    SHARED(double, lanes, [SEGMENTS][WARP]);
    SHARED(double, parts, [SEGMENTS]);
    if (all.h && !all.h->ok) return;
    square_sum s = all.of[blockIdx.x];
    int w = threadIdx.x / WARP, lane = threadIdx.x % WARP, count = (int)segment_count(s.n);
    double sum = 0;
    if (w < count)
        for (int64_t i = segment_start(s.n, w) + lane; i < segment_start(s.n, w + 1); i += WARP)
            sum += number(s, i) * number(s, i);
    lanes[w][lane] = sum;
    __syncwarp();
    if (lane == 0) {
        sum = 0;
        for (int k = 0; k < WARP; k++)
            sum += lanes[w][k];
        parts[w] = sum;
    }
    __syncthreads();
    if (threadIdx.x) return;
    sum = 0;
    for (int k = 0; k < count; k++)
        sum += parts[k];
    *s.slot = sum;
}

extern "C" void cuda_square_sums(device *dev, int stream, const square_sum *sums, int64_t n,
                                 const hyper *h)
{
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        square_sums all = {};
        all.h = h;
        int64_t count = n - first < AT_ONCE ? n - first : AT_ONCE, longest = 1;
        for (int64_t i = 0; i < count; i++) {
            all.of[i] = sums[first + i];
            longest = all.of[i].n > longest ? all.of[i].n : longest;
        }
        RUN(dev, stream, square_sums_kernel, (unsigned)count,
            (unsigned)segment_count(longest) * WARP, 0, all);
    }
}

extern "C" void cuda_sumsq(device *dev, int stream, const sumsq_op *o)
{
    square_sum s = {o->x.data, o->x.type, tensor_count(o->x), (double *)o->slot.data};
    cuda_square_sums(dev, stream, &s, 1, NULL);
}
