/* sparse.cu - the operations on non-zeros (core/ops.def).
 *
 *     a warp has a group of 1024 elements: a lane reads one of its 32 words and counts its ones, the
 *     lanes add up, so each word's values have a place; then the warp goes from word to word, a lane
 *     having one element of it:
 *
 *     word  1 0 1 1 0 ...    lane 3: value at the word's place + ones of the lanes before it = 2
 *
 * Elements are read and written side by side, values nearly so.  What happens once in many steps
 * (starts, prune, regrow) is simple instead.
 *
 * bytes: expand, compress: s for each element, s for each value, 1/8 for each
 * element (s: its size) */
#include "cuda/gpu.h"
extern "C" {
#include "core/sparse_bits.h"
}

static constexpr int WARPS = 8, ADDERS = 256, THREADS = 128;

static_assert((int)SPARSE_WORDS == WARP, "a lane has a word of a group");

/* A group, as its lane sees it. */
struct group_view {
    bool there; /* the warp has one */
    int64_t group;
    uint32_t word;  /* the lane's */
    int64_t values; /* where that word's values begin */
};

static __device__ __forceinline__ group_view view_group(const uint32_t *bits, const int64_t *starts,
                                                        int64_t groups)
{
    int lane = threadIdx.x % WARP;
    group_view v = {false, (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP, 0, 0};
    v.there = v.group < groups;
    if (!v.there) return v;
    v.word = bits[v.group * SPARSE_WORDS + lane];
    int ones = __popc(v.word), before = ones;
    for (int d = 1; d < WARP; d *= 2) {
        int other = __shfl_up_sync(ALL_LANES, before, d);
        if (lane >= d) before += other;
    }
    v.values = starts[v.group] + before - ones;
    return v;
}

/* Of word w: has the lane's element a value, and where is it? */
static __device__ __forceinline__ bool element_value(const group_view &v, int w, int64_t *at)
{
    int lane = threadIdx.x % WARP;
    uint32_t word = __shfl_sync(ALL_LANES, v.word, w);
    *at = __shfl_sync(ALL_LANES, v.values, w) + __popc(word & ((1u << lane) - 1));
    return word >> lane & 1;
}

template <class T>
__global__ void expand_kernel(T *out, const T *values, const uint32_t *bits, const int64_t *starts,
                              int64_t groups, int64_t n)
{
    group_view v = view_group(bits, starts, groups);
    if (!v.there) return;
    for (int w = 0; w < SPARSE_WORDS; w++) {
        int64_t e = v.group * SPARSE_GROUP + w * WARP + threadIdx.x % WARP, at;
        bool has = element_value(v, w, &at);
        if (e < n) out[e] = has ? values[at] : T(0);
    }
}

/* What is only moved is so as it is, whatever it means. */
template <class T>
__global__ void compress_kernel(T *values, const T *x, const uint32_t *bits, const int64_t *starts,
                                int64_t groups)
{
    group_view v = view_group(bits, starts, groups);
    if (!v.there) return;
    for (int w = 0; w < SPARSE_WORDS; w++) {
        int64_t e = v.group * SPARSE_GROUP + w * WARP + threadIdx.x % WARP, at;
        if (element_value(v, w, &at)) values[at] = x[e];
    }
}

template <class T>
__global__ void compress_add_kernel(T *values, const T *x, const uint32_t *bits,
                                    const int64_t *starts, int64_t groups)
{
    group_view v = view_group(bits, starts, groups);
    if (!v.there) return;
    for (int w = 0; w < SPARSE_WORDS; w++) {
        int64_t e = v.group * SPARSE_GROUP + w * WARP + threadIdx.x % WARP, at;
        if (element_value(v, w, &at)) narrowed(&values[at], widened(values[at]) + widened(x[e]));
    }
}

/* One block: a thread has consecutive groups. */
static __global__ void starts_kernel(int64_t *starts, const uint32_t *bits, int64_t groups)
{
    SHARED(int64_t, sums, [ADDERS]);
    int64_t each = (groups + ADDERS - 1) / ADDERS, first = threadIdx.x * each;
    int64_t end = first + each < groups ? first + each : groups, sum = 0;
    for (int64_t w = first * SPARSE_WORDS; w < end * SPARSE_WORDS; w++)
        sum += __popc(bits[w]);
    sums[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int t = 0; t < (int)threadIdx.x; t++)
        sum += sums[t];
    for (int64_t g = first; g < end; g++) {
        starts[g] = sum;
        for (int w = 0; w < SPARSE_WORDS; w++)
            sum += __popc(bits[g * SPARSE_WORDS + w]);
    }
    if (first < groups && end == groups) starts[groups] = sum;
}

/* Whole numbers: their sum is the same in any order. */
template <class T>
__global__ void count_below_kernel(unsigned long long *count, const T *x, int64_t n, float limit)
{
    int mine = 0;
    for (int64_t i = (int64_t)blockIdx.x * ADDERS + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * ADDERS)
        mine += fabsf(widened(x[i])) < limit;
    for (int d = WARP / 2; d; d /= 2)
        mine += __shfl_xor_sync(ALL_LANES, mine, d);
    if (threadIdx.x % WARP == 0 && mine) atomicAdd(count, (unsigned long long)mine);
}

template <class T>
__global__ void prune_kernel(uint32_t *remaining, const T *values, const uint32_t *bits,
                             const int64_t *starts, int64_t groups, float limit)
{
    group_view v = view_group(bits, starts, groups);
    if (!v.there) return;
    uint32_t stays = v.word;
    for (uint32_t word = v.word; word; word &= word - 1, v.values++)
        if (fabsf(widened(values[v.values])) < limit) stays &= ~(word & (0u - word));
    remaining[v.group * SPARSE_WORDS + threadIdx.x % WARP] = stays;
}

static __global__ void regrow_kernel(drawing d, uint32_t *bits, const uint32_t *taken,
                                     const int64_t *starts, int64_t groups, int64_t elements)
{
    int64_t g = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (g >= groups) return;
    d.free = elements - (starts[groups] - starts[0]);
    draw_words(&d, bits, taken, g * SPARSE_WORDS, SPARSE_WORDS,
               g * SPARSE_GROUP - (starts[g] - starts[0]), elements);
}

/* ---- the operations ---- */

/* Runs what follows with `bytes` as a type of so many bytes. */
#define BY_SIZE(size, ...)                                                                         \
    do {                                                                                           \
        if ((size) == 1) {                                                                         \
            typedef uint8_t bytes;                                                                 \
            __VA_ARGS__;                                                                           \
        } else if ((size) == 2) {                                                                  \
            typedef uint16_t bytes;                                                                \
            __VA_ARGS__;                                                                           \
        } else if ((size) == 4) {                                                                  \
            typedef uint32_t bytes;                                                                \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef uint64_t bytes;                                                                \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

static int64_t groups_in(tensor starts)
{
    return tensor_count(starts) - 1;
}

extern "C" void cuda_expand(device *dev, int stream, const expand_op *o)
{
    int64_t n = groups_in(o->starts);
    BY_SIZE(dtype_size(o->out.type),
            RUN(dev, stream, expand_kernel<bytes>, groups(n, WARPS), WARPS * WARP, 0,
                (bytes *)o->out.data, (const bytes *)o->values.data, (const uint32_t *)o->bits.data,
                (const int64_t *)o->starts.data, n, tensor_count(o->out)));
}

extern "C" void cuda_compress(device *dev, int stream, const compress_op *o)
{
    int64_t n = groups_in(o->starts);
    const uint32_t *bits = (const uint32_t *)o->bits.data;
    const int64_t *starts = (const int64_t *)o->starts.data;
    if (o->values.accumulate)
        BY_TYPE(o->x.type,
                RUN(dev, stream, compress_add_kernel<element>, groups(n, WARPS), WARPS * WARP, 0,
                    (element *)o->values.t.data, (const element *)o->x.data, bits, starts, n));
    else
        BY_SIZE(dtype_size(o->x.type),
                RUN(dev, stream, compress_kernel<bytes>, groups(n, WARPS), WARPS * WARP, 0,
                    (bytes *)o->values.t.data, (const bytes *)o->x.data, bits, starts, n));
}

extern "C" void cuda_starts(device *dev, int stream, const starts_op *o)
{
    RUN(dev, stream, starts_kernel, 1, ADDERS, 0, (int64_t *)o->starts.data,
        (const uint32_t *)o->bits.data, groups_in(o->starts));
}

extern "C" void cuda_count_below(device *dev, int stream, const count_below_op *o)
{
    int64_t n = tensor_count(o->x), most = 1024, blocks = groups(n, ADDERS);
    CUDA_OK(dev, cudaMemsetAsync(o->count.data, 0, sizeof(int64_t), cuda_stream(dev, stream)));
    BY_TYPE(o->x.type,
            RUN(dev, stream, count_below_kernel<element>, (unsigned)(blocks < most ? blocks : most),
                ADDERS, 0, (unsigned long long *)o->count.data, (const element *)o->x.data, n,
                (float)o->limit));
}

extern "C" void cuda_prune(device *dev, int stream, const prune_op *o)
{
    int64_t n = groups_in(o->starts);
    BY_TYPE(o->values.type, RUN(dev, stream, prune_kernel<element>, groups(n, WARPS), WARPS * WARP,
                                0, (uint32_t *)o->remaining.data, (const element *)o->values.data,
                                (const uint32_t *)o->bits.data, (const int64_t *)o->starts.data, n,
                                (float)o->limit));
}

extern "C" void cuda_regrow(device *dev, int stream, const regrow_op *o)
{
    int64_t n = groups_in(o->starts);
    drawing d = {{(uint32_t)o->seed, (uint32_t)(o->seed >> 32)}, o->matrix, o->event, 0, o->n};
    if (!d.n) return;
    RUN(dev, stream, regrow_kernel, groups(n, THREADS), THREADS, 0, d, (uint32_t *)o->bits.data,
        (const uint32_t *)o->taken.data, (const int64_t *)o->starts.data, n, o->elements);
}
