/* attention_mma.h - what attention_mma.cu and attention_mma_grad.cu share: attention in bf16 on tensor
 * cores, after Dao: "FlashAttention-2", ICLR 2024.
 *
 *                       WALK rows of the other side
 *                     +-------------------------+
 *     16 MT  warp 0   |                         |     A block has OWN = 64 MT rows of one head and
 *     16 MT  warp 1   |   scores, in registers  |     walks over tiles of WALK rows of the other
 *     16 MT  warp 2   |                         |     side; the next tile is on its way (cp.async)
 *     16 MT  warp 3   |                         |     while the scores of this one are computed.
 *                     +-------------------------+
 *
 * Heads are padded with zeros to D = 32, 64, 96, 128 or 256 numbers.  Tiles are as large as registers
 * (no spills) and 99 KiB of shared memory allow.  Exponentials are powers of two: the scale holds
 * log2(e).
 */
#ifndef REGRAD_CUDA_ATTENTION_MMA_H
#define REGRAD_CUDA_ATTENTION_MMA_H

#include "cuda/flash.h"
#include "cuda/mma.h"

static constexpr int MMA_WARPS = 4, MMA_THREADS = MMA_WARPS * WARP, MMA_ROWS = 16;

#define LOG2_E 1.4426950408889634f
#define LN_2   0.6931471805599453f

/* One side of the work: how many rows a block has and walks, and how many tiles it holds of the
 * latter. */
template <int D_, int MT_, int WALK_, int STAGES_> struct mma_shape {
    static constexpr int D = D_, MT = MT_, WALK = WALK_, STAGES = STAGES_, PITCH = D + 8,
                         OWN = MMA_WARPS * MMA_ROWS * MT, OWN_TILE = OWN * PITCH,
                         WALK_TILE = WALK * PITCH;
};
template <int D, bool ALIBI>
using forward_shape = mma_shape<D, D <= (ALIBI ? 64 : 128) ? 2 : 1, D <= 64 ? 64 : 32, 2>;
template <int D> using queries_shape = mma_shape<D, D <= 64 ? 2 : 1, 32, D <= 128 ? 2 : 1>;
template <int D>
using keys_shape = mma_shape<D, 1,
                             D <= 64    ? 64
                             : D <= 128 ? 32
                                        : 16,
                             D <= 128 ? 2 : 1>;

/* Calls launch<D>(...) for the least D that holds a head. */
#define BY_PADDED_HEAD(size, launch, ...)                                                          \
    do {                                                                                           \
        if (size <= 32)                                                                            \
            launch<32>(__VA_ARGS__);                                                               \
        else if (size <= 64)                                                                       \
            launch<64>(__VA_ARGS__);                                                               \
        else if (size <= 96)                                                                       \
            launch<96>(__VA_ARGS__);                                                               \
        else if (size <= 128)                                                                      \
            launch<128>(__VA_ARGS__);                                                              \
        else                                                                                       \
            launch<256>(__VA_ARGS__);                                                              \
    } while (0)

typedef attention_call<bf16> mma_call;

/* Rows of a head in memory. */
struct mma_rows {
    const bf16 *x; /* the first token's */
    int64_t ld;
};

MMA_FN mma_rows rows_in_qkv(const mma_call &a, int64_t b, int head)
{
    return {a.qkv + head_in_qkv(a, b, head), ld_qkv(a)};
}
MMA_FN mma_rows rows_in_out(const mma_call &a, const bf16 *x, int64_t b, int head)
{
    return {x + b * a.length * ld_out(a) + (int64_t)head * a.size, ld_out(a)};
}

/* Begins to copy rows [first, first + ROWS) to s, zeros beyond the end of the sequence and of the
 * head; by the block. */
template <int D, int ROWS>
MMA_FN void copy_tile(bf16 *s, mma_rows from, int64_t first, const mma_call &a)
{
    static constexpr int CHUNKS = D / 8, PITCH = D + 8;
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += MMA_THREADS) {
        int row = i / CHUNKS, c = i % CHUNKS * 8;
        bf16 *to = s + row * PITCH + c;
        bool valid = first + row < a.length && c < a.size;
        const bf16 *x = valid ? from.x + (first + row) * from.ld + c : from.x;
        if (a.whole) {
            copy16(to, x, valid);
        } else {
            for (int k = 0; k < 8; k++)
                narrowed(&to[k], valid && c + k < a.size ? widened(x[k]) : 0.0f);
        }
    }
}

/* s += slope * (column - row) for scores of rows [row, ..) and columns [column, ..): ALiBi before the
 * scale, with a slope divided by it. */
template <class SHAPE_>
MMA_FN void lean(float (&s)[SHAPE_::MT][SHAPE_::WALK / 8][4], float slope, int64_t row,
                 int64_t column)
{
    int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    float first = (float)((int)(column - row) + 2 * t - g);
#pragma unroll
    for (int m = 0; m < SHAPE_::MT; m++)
#pragma unroll
        for (int n = 0; n < SHAPE_::WALK / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[m][n][e] += slope * (first + (float)(n * 8 + e % 2 - m * 16 - e / 2 * 8));
}

/* to (a head's rows, from `row` on) = factor[m][half] * c, by a warp; s: room for its 16 MT rows,
 * where no other warp reads or writes. */
template <class SHAPE_>
MMA_FN void store_rows(const mma_call &a, bf16 *to, int64_t ld, int64_t row, bf16 *s,
                       const float (&c)[SHAPE_::MT][SHAPE_::D / 8][4],
                       const float (&factor)[SHAPE_::MT][2])
{
    static constexpr int D = SHAPE_::D, MT = SHAPE_::MT, PITCH = SHAPE_::PITCH, CHUNKS = D / 8;
    int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                *(unsigned *)&s[(m * 16 + half * 8 + g) * PITCH + n * 8 + 2 * t] = pack_bf16(
                    c[m][n][2 * half] * factor[m][half], c[m][n][2 * half + 1] * factor[m][half]);
    __syncwarp();
    for (int i = lane; i < MT * 16 * CHUNKS; i += WARP) {
        int r = i / CHUNKS, col = i % CHUNKS * 8;
        if (row + r >= a.length || col >= a.size) continue;
        bf16 *out = to + (row + r) * ld + col;
        if (a.whole)
            *(packed<bf16> *)out = *(const packed<bf16> *)&s[r * PITCH + col];
        else
            for (int k = 0; k < 8 && col + k < a.size; k++)
                out[k] = s[r * PITCH + col + k];
    }
}

/* Blocks are numbered tile by tile over all heads.  With a causal mask the longest walks come first,
 * so that the last blocks to run are short ones. */
struct mma_place {
    int64_t first; /* row of the sequence */
    int64_t head;  /* of all sequences' */
};

MMA_FN mma_place place_of_block(const mma_call &a, int own, int64_t heads, bool longest_last)
{
    int64_t tiles = (a.length + own - 1) / own, tile = blockIdx.x / heads;
    if (longest_last) tile = tiles - 1 - tile;
    return {tile * own, blockIdx.x % heads};
}

template <class KERNEL> static bool allow_shared(device *dev, KERNEL *kernel, int bytes)
{
    return CUDA_OK(dev, cudaFuncSetAttribute((const void *)kernel,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

#endif
