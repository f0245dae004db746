/* blas.c - see blas.h */
#include "cpu/blas.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OpenBLAS's own: a work space is mapped when a call finds none free, and kept. */
extern void *blas_memory_alloc(int) __attribute__((weak));
extern void blas_memory_free(void *) __attribute__((weak));

/* "OpenBLAS 0.3.21  NO_AFFINITY ..." and "SkylakeX" -> "OpenBLAS 0.3.21 SkylakeX" */
static void describe(blas *b)
{
    const char *text = openblas_get_config(), *first = strchr(text, ' ');
    size_t length = first ? (size_t)(first - text) + 1 + strcspn(first + 1, " ") : strlen(text);
    snprintf(b->about, sizeof b->about, "%.*s %s", (int)length, text, openblas_get_corename());
}

/* Maps a work space for each thread now, all at once, and not in the middle of a step.  (Products
 * that merely run at the same time may take turns with one.) */
static void map_work_spaces(int threads)
{
    enum { MOST = 64 };
    void *held[MOST];
    int n = threads < MOST ? threads : MOST;
    if (!blas_memory_alloc || !blas_memory_free) return;
    for (int i = 0; i < n; i++)
        held[i] = blas_memory_alloc(1);
    for (int i = 0; i < n; i++)
        blas_memory_free(held[i]);
}

/* Threads and tables that the library makes in its first product. */
static error *warm_up(const blas *b, int threads)
{
    enum { N = 192 };
    float *x;
    TRY(alloc_array(&x, (unsigned long)(threads + 1) * N * N, sizeof *x));
#pragma omp parallel num_threads(threads)
    {
        panel in = {x, N};
        blas_xyt(b, N, N, N, in, in, 0, x + (omp_get_thread_num() + 1) * N * N, N);
    }
    free(x);
    return NULL;
}

error *blas_open(int threads, blas *out)
{
    *out = (blas){.sgemm = cblas_sgemm, .set_threads = openblas_set_num_threads};
    describe(out);
    out->set_threads(1);
    map_work_spaces(threads);
    return warm_up(out, threads);
}

void blas_product(const blas *b, bool x_transposed, bool y_transposed, int64_t m, int64_t n,
                  int64_t k, float alpha, panel x, panel y, float beta, float *c, int64_t ldc)
{
    b->sgemm(CblasRowMajor, x_transposed ? CblasTrans : CblasNoTrans,
             y_transposed ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
             x.data, (blasint)x.ld, y.data, (blasint)y.ld, beta, c, (blasint)ldc);
}

void blas_xy(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c,
             int64_t ldc)
{
    blas_product(b, false, false, m, n, k, 1, x, y, beta, c, ldc);
}

void blas_xyt(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta,
              float *c, int64_t ldc)
{
    blas_product(b, false, true, m, n, k, 1, x, y, beta, c, ldc);
}

void blas_xty(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta,
              float *c, int64_t ldc)
{
    blas_product(b, true, false, m, n, k, 1, x, y, beta, c, ldc);
}

/* ---- tiles ---- */

enum { ALIGN = 16 }; /* floats in a cache line */

/* Where part i of n begins, on a cache line. */
static int64_t cut(int64_t length, int64_t i, int64_t n)
{
    return i == n ? length : length * i / n / ALIGN * ALIGN;
}

grid grid_over(int64_t rows, int64_t cols, int threads)
{
    int64_t count = (int64_t)threads * TILES_EACH;
    grid best = {rows, cols, 1, count, count};
    for (int64_t down = 1; down <= count; down++) {
        int64_t across = count / down;
        if (down * across != count) continue;
        if (rows / down + cols / across < best.rows / best.down + best.cols / best.across)
            best = (grid){rows, cols, down, across, count};
    }
    return best;
}

tile grid_tile(grid g, int64_t i)
{
    int64_t y = i / g.across, x = i % g.across;
    tile t = {.row = cut(g.rows, y, g.down), .col = cut(g.cols, x, g.across)};
    t.rows = cut(g.rows, y + 1, g.down) - t.row;
    t.cols = cut(g.cols, x + 1, g.across) - t.col;
    return t;
}
