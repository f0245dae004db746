/* product_run.c - who computes a product: the code of product.c, in units that fit the operands and
 * the processor; or OpenBLAS, by tiles that the threads share. */
#include "cpu/cpu_internal.h"
#include "cpu/product.h"
#include "cpu/tile.h"

/* ---- by OpenBLAS ---- */

enum { BLAS_TILE = 256 }; /* rows and columns that a thread has at a time */

static int64_t tiles_of(int64_t n)
{
    return (n + BLAS_TILE - 1) / BLAS_TILE;
}

typedef struct {
    const blas *blas;
    const product *p;
} blas_work;

static void finish_blas(const product *p, int64_t i, int64_t j, int64_t m, int64_t n)
{
    for (int64_t r = 0; r < m && !ends_with_sum(p); r += TILE_ROWS)
        for (int64_t c = 0; c < n; c += TILE_COLS) {
            float tile[TILE] = {0};
            tile_finish(p,
                        &(spot){.i = i + r,
                                .j = j + c,
                                .rows = min64(TILE_ROWS, m - r),
                                .cols = min64(TILE_COLS, n - c),
                                .last = true,
                                .sums = row(p->out, i + r) + j + c,
                                .ld = p->out.ld},
                        tile);
        }
}

static panel panel_at(operand x, int64_t i, int64_t k)
{
    return (panel){(const float *)x.data + i * x.row + k * x.col, x.col == 1 ? x.row : x.col};
}

static void blas_range(const void *context, int64_t first, int64_t end)
{
    const blas_work *w = context;
    const product *p = w->p;
    int64_t across = tiles_of(p->n);
    for (int64_t at = first; at < end; at++) {
        int64_t i = at / across * BLAS_TILE, j = at % across * BLAS_TILE;
        int64_t m = min64(BLAS_TILE, p->m - i), n = min64(BLAS_TILE, p->n - j);
        blas_product(w->blas, p->a.col != 1, p->b.col != 1, m, n, p->k, p->alpha,
                     panel_at(p->a, i, 0), panel_at(p->b, 0, j), p->beta, row(p->out, i) + j,
                     p->out.ld);
        finish_blas(p, i, j, m, n);
    }
}

/* ---- choosing ---- */

static bool by_pairs(device *dev, const product *p)
{
    return cpu_pairs(dev) != NO_PAIRS && p->a.type == BF16 && p->b.type == BF16 && p->k % 2 == 0;
}

void product_run(device *dev, const product *p)
{
    if (dev->failure) return; /* of product_narrow: there are no operands */
    if (cpu_blas(dev) && p->out.type == F32)
        pool_for(cpu_threads(dev), tiles_of(p->m) * tiles_of(p->n), 1, blas_range,
                 &(blas_work){cpu_blas(dev), p});
    else if (by_pairs(dev, p))
        (cpu_pairs(dev) == PAIRS_BY_AMX ? product_own_amx : product_own_pairs)(dev, p);
    else
        product_own(dev, p);
}

/* For the kernels that are never asked for pairs; one that is has its own. */
__attribute__((weak)) void product_own_pairs(device *dev, const product *p)
{
    product_own(dev, p);
}

__attribute__((weak)) void product_own_amx(device *dev, const product *p)
{
    product_own(dev, p);
}
