/* attention_mma.h - what attention_mma.cu and attention_mma_grad.cu share: attention in bf16 on
 * tensor cores, after Dao: "FlashAttention-2", ICLR 2024.
 *
 *                       WALK rows of the other side
 *                     +-------------------------+
 *     16 MT  warp 0   |                         |     A block has OWN = 64 MT rows of one head and
 *     16 MT  warp 1   |   scores, in registers  |     walks over tiles of WALK rows of the other
 *     16 MT  warp 2   |                         |     side; the next tile is on its way (cp.async)
 *     16 MT  warp 3   |                         |     while the scores of this one are computed.
 *                     +-------------------------+
 *
 * What is not seen of a tile is masked in the tiles at an edge only; a tile of which nothing is
 * seen is not walked over.  ALiBi, windows and documents are SPECIAL, kernels of their own: the
 * plain ones have no registers to spare.
 *
 * Heads are padded with zeros to D = 32, 64, 96, 128 or 256 numbers.  Tiles are as large as
 * registers (no spills) and 99 KiB of shared memory allow.  Exponentials are powers of two: the
 * scale holds log2(e).
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
    static constexpr bool KEEPS = D == 64; /* the forward pass: queries in registers */
};
template <int D, bool SPECIAL>
using forward_shape = mma_shape<D, D <= (SPECIAL ? 64 : 128) ? 2 : 1, D <= 64 ? 64 : 32, 2>;
template <int D> using queries_shape = mma_shape<D, D <= 64 ? 2 : 1, 32, D <= 128 ? 2 : 1>;
template <int D>
using keys_shape = mma_shape<D, D <= 64 ? 2 : 1, D <= 128 ? 32 : 16, D <= 128 ? 2 : 1>;

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

/* What a kernel is given.  nvcc moves up to 128 bytes of arguments to registers before the loops:
 * the plain kernels get shorter by it; SPECIAL ones, which have none to spare, are given more. */
template <bool SPECIAL> struct mma_arguments : mma_call {
};
template <> struct mma_arguments<true> : mma_call {
    int64_t beyond;
};
static_assert(sizeof(mma_arguments<false>) == 128 && sizeof(mma_arguments<true>) > 128);

static inline bool special(const mma_call &a)
{
    return a.alibi || a.window || a.starts;
}

/* first_seen of a row of sequence b; of the last, if it is beyond the end. */
MMA_FN int first_of(const mma_call &a, int64_t b, int row)
{
    int last = (int)a.length - 1;
    return (int)first_seen(a, b, row < last ? row : last);
}

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

/* Two tiles of as many rows: a head's keys and values, or queries and dout. */
struct mma_pair {
    mma_rows first, second;
};

/* Begins to copy rows [row0, row0 + ROWS) of one head, or of two, to s and to the tile after it,
 * zeros beyond the end of the sequence and of the head; by the block.  A thread has one column of
 * chunks where a block's threads are whole rows: its address moves by a constant from chunk to
 * chunk (at D = 128 the forward kernel has no registers for that).  Where rows do not begin on 16
 * bytes elements are copied at once, one by one. */
template <int D, int ROWS, int TILES>
MMA_FN void copy_tiles(bf16 *s, const mma_pair &from, int row0, const mma_call &a)
{
    static constexpr int CHUNKS = D / 8, PITCH = D + 8, STEP = MMA_THREADS / CHUNKS,
                         TILE_ROOM = ROWS * PITCH;
    int rows = (int)a.length - row0; /* may be negative, or more than ROWS */
    const bf16 *x = from.first.x, *y = from.second.x;
    int64_t ld_x = from.first.ld, ld_y = from.second.ld;
    if (!a.aligned) {
#pragma unroll 1
        for (int i = threadIdx.x; i < ROWS * D; i += MMA_THREADS) {
            int row = i / D, c = i % D, to = row * PITCH + c;
            bool valid = row < rows && c < a.size;
            s[to] = valid ? x[(row0 + row) * ld_x + c] : bf16{0};
            if (TILES == 2) s[TILE_ROOM + to] = valid ? y[(row0 + row) * ld_y + c] : bf16{0};
        }
    } else if (D < 128 && MMA_THREADS % CHUNKS == 0 && ROWS % STEP == 0) {
        int row = threadIdx.x / CHUNKS, c = threadIdx.x % CHUNKS * 8;
        bf16 *to = s + row * PITCH + c;
        x += (row0 + row) * ld_x + c;
        y += (row0 + row) * ld_y + c;
        rows = c < a.size ? rows - row : 0;
#pragma unroll
        for (int k = 0; k < ROWS; k += STEP) {
            copy16(to + k * PITCH, x, k < rows);
            if (TILES == 2) copy16(to + TILE_ROOM + k * PITCH, y, k < rows);
            x += STEP * ld_x;
            y += STEP * ld_y;
        }
    } else {
        for (int i = threadIdx.x; i < ROWS * CHUNKS; i += MMA_THREADS) {
            int row = i / CHUNKS, c = i % CHUNKS * 8, to = row * PITCH + c;
            bool valid = row < rows && c < a.size;
            copy16(s + to, x + (row0 + row) * ld_x + c, valid);
            if (TILES == 2) copy16(s + TILE_ROOM + to, y + (row0 + row) * ld_y + c, valid);
        }
    }
}

template <int D, int ROWS>
MMA_FN void copy_tile(bf16 *s, mma_rows from, int row0, const mma_call &a)
{
    copy_tiles<D, ROWS, 1>(s, {from, from}, row0, a);
}

template <int D, int ROWS>
MMA_FN void copy_pair(bf16 *s, const mma_pair &from, int row0, const mma_call &a)
{
    copy_tiles<D, ROWS, 2>(s, from, row0, a);
}

/* Scores that are masked become -infinity: of rows [row, ..) and columns [column, ..), queries and
 * keys; TURNED: keys and queries. */
template <class S, bool TURNED>
MMA_FN void hide(float (&s)[S::MT][S::WALK / 8][4], const mma_call &a, int row, int column)
{
    int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4, end = (int)a.length - column - 2 * t;
    int diagonal = a.causal ? row - column + g - 2 * t : S::WALK;
#pragma unroll
    for (int m = 0; m < S::MT; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int at = diagonal + m * 16 + half * 8, limit = at + 1 < end ? at + 1 : end;
#pragma unroll
            for (int n = 0; n < S::WALK / 8; n++)
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    int j = n * 8 + e % 2;
                    if (TURNED ? j < at : j >= limit) s[m][n][e] = -INFINITY;
                }
        }
}

/* The same of keys before the first that a query sees. */
template <class S, bool TURNED>
MMA_FN void hide_before(float (&s)[S::MT][S::WALK / 8][4], const mma_call &a, int64_t b, int row,
                        int column)
{
    int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    static constexpr int QUERIES = TURNED ? S::WALK / 4 : 2 * S::MT;
#pragma unroll
    for (int i = 0; i < QUERIES; i++) {
        /* TURNED: i is 2 n + e % 2, else 2 m + half */
        int query = TURNED ? column + i / 2 * 8 + 2 * t + i % 2 : row + i * 8 + g;
        int begin = first_of(a, b, query) - (TURNED ? row + g : column + 2 * t);
#pragma unroll
        for (int j = 0; j < (TURNED ? 2 * S::MT : S::WALK / 4); j++) {
            int key = TURNED ? j * 8 : j / 2 * 8 + j % 2;
            float &x =
                TURNED ? s[j / 2][i / 2][j % 2 * 2 + i % 2] : s[i / 2][j / 2][i % 2 * 2 + j % 2];
            if (key < begin) x = -INFINITY;
        }
    }
}

/* s += slope * (column - row) for scores of rows [row, ..) and columns [column, ..): ALiBi before
 * the scale, with a slope divided by it. */
template <class SHAPE_>
MMA_FN void lean(float (&s)[SHAPE_::MT][SHAPE_::WALK / 8][4], float slope, int row, int column)
{
    int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
    float first = (float)(column - row + 2 * t - g);
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
        if (a.aligned)
            *(packed<bf16> *)out = *(const packed<bf16> *)&s[r * PITCH + col];
        else
            for (int k = 0; k < 8 && col + k < a.size; k++)
                out[k] = s[r * PITCH + col + k];
    }
}

/* Blocks are numbered tile by tile over all heads.  With a causal mask the longest walks come
 * first, so that the last blocks to run are short ones. */
struct mma_position {
    int first;    /* row of the sequence */
    int64_t head; /* of all sequences' */
};

MMA_FN mma_position position_of_block(const mma_call &a, int own, int64_t heads, bool longest_last)
{
    int64_t tiles = (a.length + own - 1) / own, tile = blockIdx.x / heads;
    if (longest_last) tile = tiles - 1 - tile;
    return {(int)tile * own, blockIdx.x % heads};
}

template <class KERNEL> static bool allow_shared(device *dev, KERNEL *kernel, int bytes)
{
    return CUDA_OK(dev, cudaFuncSetAttribute((const void *)kernel,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

#endif
