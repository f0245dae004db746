/* product_few.c - a few rows times a matrix that is stored transposed: for generating a token.
 *
 *      w (n,k)   LANES rows x LANES columns --> transposed in registers --> a lane is an output element
 *
 * Each number of w is used once for each row of x, so the time is that of reading w: nothing is
 * packed, and w is prefetched.  An output element is computed as in product.h, with the same
 * division of the depth: the same bits.
 */
#include "cpu/cpu_internal.h"
#include "cpu/pack.h"
#include "cpu/tile.h"

enum { DEPTH = PRODUCT_DEPTH, FEW = PRODUCT_FEW };

typedef struct {
    const float *row[FEW];
} few_rows;

/* sum += x (rows, depth) times columns [0, n) of w, of which each has `deep` numbers */
LANE_FN void add_square(int rows, const few_rows *x, int64_t at, operand w, int64_t n, int64_t deep,
                        lanes *sum)
{
    lanes v[LANES];
    for (int i = 0; i < LANES; i++) {
        v[i] = i < n ? load_lanes(w.type, element(w, i, at), deep) : lanes_zero();
        __builtin_prefetch(element(w, i + LANES, at), 0, 2);
    }
    lanes_transpose(v);
    for (int64_t d = 0; d < deep; d++)
        for (int r = 0; r < rows; r++)
            sum[r] = lanes_fma(lanes_all(x->row[r][at + d]), v[d], sum[r]);
}

/* to (rows, TILE_COLS): LANES columns of it, at one part of the depth */
LANE_FN void multiply(int rows, const few_rows *x, operand w, int64_t n, int64_t depth, bool add,
                      float *to)
{
    lanes sum[FEW];
    int64_t at = 0;
    for (int r = 0; r < rows; r++)
        sum[r] = lanes_zero();
    for (; at + LANES <= depth && n >= LANES; at += LANES)
        add_square(rows, x, at, w, LANES, LANES, sum);
    for (; at < depth; at += LANES)
        add_square(rows, x, at, w, n, min64(LANES, depth - at), sum);
    for (int r = 0; r < rows; r++, to += TILE_COLS)
        lanes_store(to, add ? lanes_add(lanes_load(to), sum[r]) : sum[r]);
}

LANE_FN void multiply_some(int64_t rows, const few_rows *x, operand w, int64_t n, int64_t depth,
                           bool add, float *to)
{
    switch (rows) {
    case 1:
        multiply(1, x, w, n, depth, add, to);
        return;
    case 2:
        multiply(2, x, w, n, depth, add, to);
        return;
    case 3:
        multiply(3, x, w, n, depth, add, to);
        return;
    default:
        multiply(4, x, w, n, depth, add, to);
    }
}

static void multiply_f32(int64_t rows, const few_rows *x, operand w, int64_t n, int64_t depth,
                         bool add, float *to)
{
    w.type = F32;
    multiply_some(rows, x, w, n, depth, add, to);
}

static void multiply_bf16(int64_t rows, const few_rows *x, operand w, int64_t n, int64_t depth,
                          bool add, float *to)
{
    w.type = BF16;
    multiply_some(rows, x, w, n, depth, add, to);
}

/* tile (m, TILE_COLS) = a (m, k) times columns [j, j + n) of b */
static void few_tile(int64_t m, int64_t k, operand a, operand b, int64_t j, int64_t n, float *tile)
{
    float rows[FEW * DEPTH];
    for (int64_t at = 0; at < k; at += DEPTH) {
        int64_t depth = min64(DEPTH, k - at);
        few_rows x;
        for (int64_t r = 0; r < FEW; r++) {
            const char *from = element(a, r < m ? r : 0, at);
            x.row[r] = (const float *)(const void *)from;
            if (a.type == F32 || r >= m) continue;
            load_row(a.type, from, depth, rows + r * DEPTH);
            x.row[r] = rows + r * DEPTH;
        }
        for (int v = 0; v < TILE_VECTORS; v++) {
            operand w = {element((operand){b.data, b.col, b.row, b.type}, j + v * LANES, at), b.col,
                         1, b.type};
            (b.type == F32 ? multiply_f32 : multiply_bf16)(m, &x, w, n - v * LANES, depth, at > 0,
                                                           tile + v * LANES);
        }
    }
}

static void few_range(const void *context, int64_t first, int64_t end)
{
    const product *p = context;
    for (int64_t j = first * TILE_COLS; j < min64(end * TILE_COLS, p->n); j += TILE_COLS) {
        _Alignas(64) float tile[FEW * TILE_COLS];
        spot at = {
            .j = j, .rows = p->m, .cols = min64(TILE_COLS, p->n - j), .first = true, .last = true};
        few_tile(p->m, p->k, p->a, p->b, j, at.cols, tile);
        tile_finish(p, &at, tile);
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
