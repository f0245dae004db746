/* product_small.c - products of operands that are in a cache: attention's blocks.
 *
 * Packs only what the innermost loop cannot read in place: columns of y that are stored as rows,
 * and the last few columns.
 */
#include "cpu/cpu_internal.h"
#include "cpu/micro.h"
#include "cpu/pack.h"
#include "cpu/tile.h"

enum { DEPTH = PRODUCT_DEPTH };

/* One tile of c, over a part of the depth. */
static void small_tile(operand x, int rows, panel y, int64_t cols, int64_t depth, float beta,
                       float *c, int64_t ldc)
{
    _Alignas(64) float tile[TILE];
    bool by_rows = x.col == 1, whole = cols == TILE_COLS;
    micro_product m = {.a = x.data,
                       .lda = by_rows ? x.row : x.col,
                       .b = y.data,
                       .ldb = y.ld,
                       .k = depth,
                       .out = whole ? c : tile,
                       .ld = whole ? ldc : TILE_COLS,
                       .add = whole && beta != 0};
    micro_tile(by_rows ? A_ROWS : A_COLUMNS, rows, &m);
    for (int r = 0; r < rows && !whole; r++) {
        float *to = c + r * ldc;
        const float *from = tile + r * TILE_COLS;
        for (int64_t i = 0; i < cols; i++)
            to[i] = beta != 0 ? to[i] + from[i] : from[i];
    }
}

static const float *factor_at(operand f, int64_t i, int64_t k)
{
    return (const float *)f.data + i * f.row + k * f.col;
}

static void multiply(int64_t m, int64_t n, int64_t k, operand x, operand y, float beta, float *c,
                     int64_t ldc)
{
    _Alignas(64) float packed[TILE_COLS * DEPTH];
    for (int64_t j = 0; j < n; j += TILE_COLS)
        for (int64_t d = 0; d < k; d += DEPTH) {
            int64_t cols = min64(TILE_COLS, n - j), depth = min64(DEPTH, k - d);
            panel columns = {factor_at(y, d, j), y.row};
            if (y.col != 1 || cols < TILE_COLS) {
                pack_columns(y, j, cols, d, depth, packed);
                columns = (panel){packed, TILE_COLS};
            }
            for (int64_t i = 0; i < m; i += TILE_ROWS)
                small_tile((operand){factor_at(x, i, d), x.row, x.col, F32},
                           (int)min64(TILE_ROWS, m - i), columns, cols, depth, d > 0 ? 1 : beta,
                           c + i * ldc + j, ldc);
        }
}

void small_xy(int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    multiply(m, n, k, (operand){x.data, x.ld, 1, F32}, (operand){y.data, y.ld, 1, F32}, beta, c,
             ldc);
}

void small_xyt(int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    multiply(m, n, k, (operand){x.data, x.ld, 1, F32}, (operand){y.data, 1, y.ld, F32}, beta, c,
             ldc);
}

void small_xty(int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    multiply(m, n, k, (operand){x.data, 1, x.ld, F32}, (operand){y.data, y.ld, 1, F32}, beta, c,
             ldc);
}
