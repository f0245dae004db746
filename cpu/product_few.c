/* product_few.c - a few rows times a matrix that is stored transposed: for generating tokens.
 *
 *      w (n,k)   LANES rows x LANES columns --> transposed in registers --> a lane is an output
 *                                               element, one vector of sums for each row of x
 *
 * Nothing of w is packed: it is read once, and prefetched, and the transposition of one square
 * overlaps with the multiply-adds of another, so that the time is little above that of reading w.
 * The part of x in use is copied, into the L1 cache, and used for a strip of columns:
 *
 *                    w: depth -->
 *                  +---------+-----
 *        a strip   | LANES x |           for each part of the depth: LANES columns of the output at
 *                  | DEPTH   | ...       a time, whose next ones are prefetched
 *                  +---------+-----
 *
 * An output element is computed as in product.h, with the same division of the depth: the same
 * bits.
 */
#include "cpu/cpu_internal.h"
#include "cpu/pack.h"
#include "cpu/tile.h"

enum {
    MOST_GROUPS = 2,
    DEPTH = PRODUCT_DEPTH,
    GROUP = TILE_ROWS,         /* most rows at a time: a vector of sums for each, in registers */
    FEW = MOST_GROUPS * GROUP, /* most rows; beyond, packing w pays off */
    TILES = 4                  /* of a strip, where there are enough rows to make copying x dear */
};

/* sum (rows) += x (rows, DEPTH), from `at` on, times columns [0, n) of w, of which each has `deep`
 * numbers; `soon`: what to prefetch instead of w's column 0 */
LANE_FN void add_square(int rows, const float *x, operand w, const char *soon, int64_t n,
                        int64_t deep, lanes *sum)
{
    lanes v[LANES];
    int64_t step = w.row * (w.type == BF16 ? 2 : 4);
    for (int i = 0; i < LANES; i++) {
        v[i] = i < n ? load_lanes(w.type, element(w, i, 0), deep) : lanes_zero();
        __builtin_prefetch(soon + i * step, 0, 2);
    }
    lanes_transpose(v);
    for (int64_t d = 0; d < deep; d++)
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++)
            sum[r] = multiply_add(lanes_all(x[r * DEPTH + d]), v[d], sum[r]);
}

/* The same for what is not whole squares: rare, and so compiled once for all numbers of rows. */
static __attribute__((noinline)) void add_rest(int rows, const float *x, operand w,
                                               const char *soon, int64_t n, int64_t depth,
                                               lanes *sum)
{
    int64_t step = LANES * UNIT * (w.type == BF16 ? 2 : 4);
    for (int64_t at = 0; at < depth; at += LANES, soon += step) {
        add_square(rows, x + at, w, soon, n, min64(LANES, depth - at), sum);
        w.data = (const char *)w.data + step;
    }
}

/* to (rows, TILE_COLS): LANES columns of it, at one part of the depth */
LANE_FN void multiply(int rows, const float *x, operand w, const char *soon, int64_t n,
                      int64_t depth, bool add, float *to)
{
    lanes sum[GROUP];
    int64_t at = 0, size = UNIT * (w.type == BF16 ? 2 : 4);
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
        sum[r] = lanes_zero();
    for (; at + LANES <= depth && n >= LANES; at += LANES) {
        add_square(rows, x + at, w, soon, LANES, LANES, sum);
        w.data = (const char *)w.data + LANES * size;
        soon += LANES * size;
    }
    if (at < depth) {
        lanes rest[GROUP]; /* a copy: the address of sum would keep it out of registers */
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++)
            rest[r] = sum[r];
        add_rest(rows, x + at, w, soon, n, depth - at, rest);
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++)
            sum[r] = rest[r];
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++, to += TILE_COLS)
        lanes_store(to, add ? lanes_add(lanes_load(to), sum[r]) : sum[r]);
}

/* Makes the number of rows a constant: sums stay in registers. */
#define CASE(n)                                                                                    \
    case n:                                                                                        \
        if (n <= GROUP) multiply(n <= GROUP ? n : 1, x, w, soon, cols, depth, add, to);            \
        return

LANE_FN void multiply_some(int rows, const float *x, operand w, const char *soon, int64_t cols,
                           int64_t depth, bool add, float *to)
{
    switch (rows) {
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
        CASE(13);
        CASE(14);
    }
}

static void multiply_f32(int rows, const float *x, operand w, const char *soon, int64_t cols,
                         int64_t depth, bool add, float *to)
{
    w.type = F32;
    multiply_some(rows, x, w, soon, cols, depth, add, to);
}

static void multiply_bf16(int rows, const float *x, operand w, const char *soon, int64_t cols,
                          int64_t depth, bool add, float *to)
{
    w.type = BF16;
    multiply_some(rows, x, w, soon, cols, depth, add, to);
}

/* The rows of x, in equal groups. */
typedef struct {
    int64_t n, each;
} row_groups;

static row_groups row_groups_of(int64_t m)
{
    int64_t n = (m + GROUP - 1) / GROUP;
    return (row_groups){n, (m + n - 1) / n};
}

/* to (m, TILE_COLS): LANES of the columns of w from 0, of which there are `cols`, times x */
static void few_columns(int64_t m, const float *x, operand w, const char *soon, int64_t cols,
                        int64_t depth, bool add, float *to)
{
    row_groups g = row_groups_of(m);
    for (int64_t r = 0; r < m; r += g.each)
        (w.type == F32 ? multiply_f32 : multiply_bf16)((int)min64(g.each, m - r), x + r * DEPTH, w,
                                                       soon, cols, depth, add, to + r * TILE_COLS);
}

/* a (m, depth) from k = at on: one row of floats where it lies, else copied to x (m, DEPTH). */
static const float *rows_at(const product *p, int64_t at, int64_t depth, float *x)
{
    dtype type = UNIT == 2 ? F32 : p->a.type;
    const void *first = element(p->a, 0, at);
    if (p->m == 1 && type == F32 && (uintptr_t)first % sizeof *x == 0) return first;
    for (int64_t r = 0; r < p->m; r++)
        load_row(type, element(p->a, r, at), depth, x + r * DEPTH);
    return x;
}

/* sums (TILES; m, TILE_COLS) = a (m, k) times columns [j, end) of b, at most TILES * TILE_COLS */
static void few_strip(const product *p, int64_t j, int64_t end, float *sums)
{
    float x[FEW * DEPTH];
    operand w = {p->b.data, p->b.col, 1, p->b.type};
    int64_t k = p->k / UNIT, tile = p->m * TILE_COLS,
            stop = j + (end - j + TILE_COLS - 1) / TILE_COLS * TILE_COLS;
    for (int64_t at = 0; at < k; at += DEPTH) {
        int64_t depth = min64(DEPTH, k - at);
        const float *rows = rows_at(p, at, depth, x);
        for (int64_t c = j; c < stop; c += LANES) {
            const char *soon = c + LANES < end || end - j == TILE_COLS ? element(w, c + LANES, at)
                               : at + DEPTH < k                        ? element(w, j, at + DEPTH)
                                                                       : element(w, end, 0);
            few_columns(p->m, rows, (operand){element(w, c, at), w.row, 1, w.type}, soon, end - c,
                        depth, at > 0, sums + (c - j) / TILE_COLS * tile + (c - j) % TILE_COLS);
        }
    }
}

/* What follows the sum, of a tile (m, TILE_COLS) at column j. */
static void few_finish(const product *p, int64_t j, int64_t cols, float *tile)
{
    row_groups g = row_groups_of(p->m);
    for (int64_t r = 0; r < p->m; r += g.each)
        tile_finish(p,
                    &(spot){.i = r,
                            .j = j,
                            .rows = min64(g.each, p->m - r),
                            .cols = cols,
                            .first = true,
                            .last = true},
                    tile + r * TILE_COLS);
}

static void few_range(const void *context, int64_t first, int64_t last)
{
    const product *p = context;
    int64_t strip = (p->m > 2 ? TILES : 1) * TILE_COLS, stop = min64(last * TILE_COLS, p->n);
    for (int64_t j = first * TILE_COLS; j < stop; j += strip) {
        _Alignas(64) float sums[TILES * FEW * TILE_COLS];
        int64_t end = min64(j + strip, stop);
        few_strip(p, j, end, sums);
        for (int64_t c = j; c < end; c += TILE_COLS)
            few_finish(p, c, min64(TILE_COLS, end - c), sums + (c - j) * p->m);
    }
}

bool product_few(device *dev, const product *p)
{
    enum { AT_ONCE = 1 << 15 }; /* least number of elements of b per thread */
    if (p->m > FEW || p->a.col != 1 || p->b.row != 1 || p->b.col == 1 || p->alpha != 1 ||
        p->beta != 0)
        return false;
    int64_t each = TILE_COLS * p->k;
    pool_for(cpu_threads(dev), (p->n + TILE_COLS - 1) / TILE_COLS,
             each < AT_ONCE ? AT_ONCE / each : 1, few_range, p);
    return true;
}
