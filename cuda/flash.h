/* flash.h - what attention.cu and attention_grad.cu share: where heads are, and tiles.
 *
 *                   TILE keys
 *                 +-----------+
 *      OWN rows   |  scores   |     A block has OWN rows (of queries, or in the backward pass of
 *      of a block |           |     keys) of one head and walks over tiles of the other side.  A
 *                 +-----------+     warp has ROWS of the OWN, a lane one of the TILE.
 *
 * A row of a tile is `pitch` floats long, an odd number: lanes that read one column of TILE rows
 * meet 32 different banks.
 */
#ifndef REGRAD_CUDA_FLASH_H
#define REGRAD_CUDA_FLASH_H

#include "cuda/gpu.h"

static constexpr int TILE = WARP, WARPS = 4;

template <class T> struct attention_call {
    T *out, *dqkv;               /* (B,T,H*D), (B,T,(H+2KV)*D); written by forward, backward */
    float *lse, *r;              /* (B,H,T) */
    const T *qkv, *dout;         /* (B,T,(H+2KV)*D), (B,T,H*D) */
    T *keys, *values;            /* (B,KV,P,D); NULL: those in qkv */
    const int32_t *starts;       /* ? (B,T): where each query's document begins */
    int64_t batch, length;       /* B, T */
    int64_t window;              /* 0: none */
    int capacity, position;      /* P; how many keys come before the first query's */
    int heads, kv_heads, size;   /* H, KV, D */
    bool causal, alibi, aligned; /* aligned: heads are made of 16 bytes */
    float scale, cap;            /* cap: 0: none */
};

/* The first key that the query at `position` of sequence b sees: of its document, and in its
 * window.  It does not fall from one query to the next. */
template <class T>
__device__ __forceinline__ int64_t first_seen(const attention_call<T> &a, int64_t b,
                                              int64_t position)
{
    int64_t window = a.window && position >= a.window ? position - a.window + 1 : 0;
    int64_t document = a.starts ? a.starts[b * a.length + position] : 0;
    return window > document ? window : document;
}

/* scale * qk, capped */
template <class T> __device__ __forceinline__ float score_of(const attention_call<T> &a, float qk)
{
    return a.cap > 0 ? a.cap * tanhf(a.scale * qk / a.cap) : a.scale * qk;
}

/* Distances between the tokens of qkv and of out, in elements. */
template <class T> __device__ __forceinline__ int64_t ld_qkv(const attention_call<T> &a)
{
    return (int64_t)(a.heads + 2 * a.kv_heads) * a.size;
}
template <class T> __device__ __forceinline__ int64_t ld_out(const attention_call<T> &a)
{
    return (int64_t)a.heads * a.size;
}

/* One of the (H+2KV) heads of sequence b in qkv or dqkv: its first token. */
template <class T>
__device__ __forceinline__ int64_t head_in_qkv(const attention_call<T> &a, int64_t b, int head)
{
    return b * a.length * ld_qkv(a) + (int64_t)head * a.size;
}

static __host__ __device__ __forceinline__ int pitch_of(int size)
{
    return size | 1;
}

/* What a head's scores lose with each token of distance; see core/ops.def. */
template <class T> __device__ __forceinline__ float slope_of(const attention_call<T> &a, int head)
{
    if (!a.alibi) return 0.0f;
    int n = 1;
    while (2 * n <= a.heads)
        n *= 2;
    return head < n ? exp2f(-8.0f * (float)(head + 1) / (float)n)
                    : exp2f(-4.0f * (float)(2 * (head - n) + 1) / (float)n);
}

/* s (rows,pitch) = rows [first, first + rows) of x (length,size), 0 beyond the end; by the block */
template <class T>
__device__ void load_tile(float *s, const T *x, int64_t ld, int64_t first, int rows, int64_t length,
                          int size)
{
    for (int i = threadIdx.x; i < rows * size; i += blockDim.x) {
        int row = i / size, c = i % size;
        s[row * pitch_of(size) + c] =
            first + row < length ? widened(x[(first + row) * ld + c]) : 0.0f;
    }
}

/* dots[k] = x[k] . y for this warp's ROWS rows x of a tile and this lane's row y of another */
template <int ROWS>
__device__ __forceinline__ void dot_rows(float *dots, const float *x, const float *y, int size)
{
    for (int k = 0; k < ROWS; k++)
        dots[k] = 0;
    for (int d = 0; d < size; d++) {
        float v = y[d];
#pragma unroll
        for (int k = 0; k < ROWS; k++)
            dots[k] += x[k * pitch_of(size) + d] * v;
    }
}

/* sum[k][i] += sum over j of p[k][j] * tile[j][lane + 32 i]: p (ROWS,TILE) is this warp's */
template <int ROWS, int CHUNKS>
__device__ __forceinline__ void add_tile(float (&sum)[ROWS][CHUNKS], const float *p,
                                         const float *tile, int size, int lane)
{
#pragma unroll
    for (int i = 0; i < CHUNKS; i++) {
        int d = lane + WARP * i;
        if (d >= size) break;
            /* no further: with all of TILE at once the compiler runs out of registers for sm_100 */
#pragma unroll 4
        for (int j = 0; j < TILE; j++) {
            float v = tile[j * pitch_of(size) + d];
#pragma unroll
            for (int k = 0; k < ROWS; k++)
                sum[k][i] += p[k * TILE + j] * v;
        }
    }
}

/* Rows of a warp: what fits beside tiles of this width into 99 KiB. */
template <int CHUNKS> struct rows_of {
    static constexpr int FORWARD = CHUNKS <= 4 ? 8 : 4, BACKWARD = CHUNKS <= 4 ? 8 : 2;
};

/* Calls launch<T, CHUNKS>(...) for the fewest chunks of 32 that hold a head. */
#define BY_HEAD_SIZE(T, size, launch, ...)                                                         \
    do {                                                                                           \
        if (size <= 1 * WARP)                                                                      \
            launch<T, 1>(__VA_ARGS__);                                                             \
        else if (size <= 2 * WARP)                                                                 \
            launch<T, 2>(__VA_ARGS__);                                                             \
        else if (size <= 4 * WARP)                                                                 \
            launch<T, 4>(__VA_ARGS__);                                                             \
        else                                                                                       \
            launch<T, 8>(__VA_ARGS__);                                                             \
    } while (0)

/* out and lse (unless NULL) of all queries */
template <class T> void attention_forward(device *dev, int stream, const attention_call<T> &a);

/* In bf16 on tensor cores, without a cache: attention_mma.cu, attention_mma_grad.cu.  The scale is
 * positive, and there is no cap. */
void attention_mma_forward(device *dev, int stream, const attention_call<bf16> &a);
void attention_mma_backward(device *dev, int stream, const attention_call<bf16> &a);

/* False, with the device's failure, if heads are too large. */
static inline bool head_fits(device *dev, int64_t size)
{
    if (size > CUDA_MOST_HEAD)
        device_fail(dev, user_error("heads of %lld numbers: attention on a GPU takes up to %d; use "
                                    "more heads",
                                    (long long)size, CUDA_MOST_HEAD));
    return size <= CUDA_MOST_HEAD;
}

#endif
