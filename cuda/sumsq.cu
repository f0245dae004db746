/* sumsq.cu - slot = sum(x^2), in double, in the order of core/segment.h: the CPU's bits.
 *
 *     1  segments   of up to AT_ONCE tensors in one launch; a warp has a segment, a lane one of its
 *                   interleaved sums, which one lane then adds in order
 *     2  tensors    a block has a tensor and adds its segments in order
 *
 * Squares of floats are exact in double, so only the additions round.
 * bytes: s for each element (s: its size) */
#include "cuda/gpu.h"

#include "core/segment.h"

static constexpr int WARPS = 8, AT_ONCE = CUDA_SUMS_AT_ONCE, ADDERS = 256;

static_assert((int)SEGMENT_LANES == (int)WARP, "a lane of a segment is a lane of a warp");

struct square_sums {
    square_sum of[AT_ONCE];
    unsigned first_block[AT_ONCE + 1];
    double *parts;  /* (AT_ONCE,SEGMENTS) */
    const hyper *h; /* NULL, or: nothing is done when h->ok is 0 */
};
static_assert(sizeof(square_sums) < 4096, "the arguments of a kernel are 4 KiB at most");

/* A lane's sum over a segment: of every 32nd element.  Where the tensor begins on 16
 * bytes the warp reads 16 a lane, which go to their lanes by way of shared memory; the
 * next are under way meanwhile. */
template <class T>
static __device__ double lane_sum(const square_sum &s, int segment, int lane, packed<T> *near)
{
    static constexpr int64_t AT_ONCE = WARP * WIDTH<T>;
    const T *x = (const T *)s.x;
    int64_t i = segment_start(s.n, segment), end = segment_start(s.n, segment + 1);
    double sum = 0;
    if ((uintptr_t)x % 16 == 0) {
        int64_t mine = lane * WIDTH<T>;
        packed<T> next = {};
        if (i + AT_ONCE <= end) next = *(const packed<T> *)(x + i + mine);
        for (; i + AT_ONCE <= end; i += AT_ONCE) {
            __syncwarp(); /* all have read the last */
            near[lane] = next;
            if (i + 2 * AT_ONCE <= end) next = *(const packed<T> *)(x + i + AT_ONCE + mine);
            __syncwarp();
#pragma unroll
            for (int k = 0; k < WIDTH<T>; k++) {
                double v = (double)widened(((const T *)near)[k * WARP + lane]);
                sum += v * v;
            }
        }
    }
#pragma unroll 8
    for (i += lane; i < end; i += WARP)
        sum += (double)widened(x[i]) * (double)widened(x[i]);
    return sum;
}

static __global__ void segments_kernel(square_sums all)
{
    SHARED(double, lanes, [WARPS][WARP]);
    SHARED(packed<float>, near, [WARPS][WARP]);
    if (all.h && !all.h->ok) return;
    int item = 0, w = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    while (all.first_block[item + 1] <= blockIdx.x)
        item++;
    square_sum s = all.of[item];
    int segment = (int)(blockIdx.x - all.first_block[item]) * WARPS + w;
    if (segment >= segment_count(s.n)) return;
    lanes[w][lane] = s.type == BF16 ? lane_sum<bf16>(s, segment, lane, (packed<bf16> *)near[w])
                                    : lane_sum<float>(s, segment, lane, near[w]);
    __syncwarp();
    if (lane) return;
    double sum = 0;
    for (int k = 0; k < WARP; k++)
        sum += lanes[w][k];
    all.parts[item * SEGMENTS + segment] = sum;
}

static __global__ void tensors_kernel(square_sums all)
{
    SHARED(double, parts, [SEGMENTS]);
    if (all.h && !all.h->ok) return;
    int count = (int)segment_count(all.of[blockIdx.x].n);
    for (int k = threadIdx.x; k < count; k += ADDERS)
        parts[k] = all.parts[blockIdx.x * SEGMENTS + k];
    __syncthreads();
    if (threadIdx.x) return;
    double sum = 0;
    for (int k = 0; k < count; k++)
        sum += parts[k];
    *all.of[blockIdx.x].slot = sum;
}

extern "C" void cuda_square_sums(device *dev, int stream, const square_sum *sums, int64_t n,
                                 const hyper *h)
{
    if (!cuda_has_room(dev)) return;
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        square_sums all = {};
        all.h = h;
        all.parts = cuda_state_of(dev)->sums[stream];
        int count = (int)(n - first < AT_ONCE ? n - first : AT_ONCE);
        for (int i = 0; i < AT_ONCE; i++) {
            if (i < count) all.of[i] = sums[first + i];
            unsigned blocks = i < count ? groups(segment_count(all.of[i].n), WARPS) : 0;
            all.first_block[i + 1] = all.first_block[i] + blocks;
        }
        RUN(dev, stream, segments_kernel, all.first_block[count], WARPS * WARP, 0, all);
        RUN(dev, stream, tensors_kernel, (unsigned)count, ADDERS, 0, all);
    }
}

extern "C" void cuda_sumsq(device *dev, int stream, const sumsq_op *o)
{
    square_sum sums[AT_ONCE];
    for (int64_t first = 0; first < o->n; first += AT_ONCE) {
        int64_t n = o->n - first < AT_ONCE ? o->n - first : AT_ONCE;
        for (int64_t i = 0; i < n; i++) {
            const sumsq_item *it = &o->items[first + i];
            sums[i] = {it->x.data, it->x.type, tensor_count(it->x), (double *)it->slot.data};
        }
        cuda_square_sums(dev, stream, sums, n, NULL);
    }
}
