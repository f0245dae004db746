/* blas.h - OpenBLAS, and how a product is shared among threads. */
#ifndef REGRAD_CPU_BLAS_H
#define REGRAD_CPU_BLAS_H

#include "base/error.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    __typeof__(cblas_sgemm) *sgemm; /* sequential when called inside a parallel region */
    void (*set_threads)(int);       /* for calls outside of one */
    char about[96];                 /* "OpenBLAS 0.3.21 SkylakeX" */
} blas;

/* Lets the library map the work space of each of `threads` threads. */
error *blas_open(int threads, blas *out) NODISCARD;

/* A row-major matrix inside a larger one. */
typedef struct {
    const float *data;
    int64_t ld;
} panel;

/* c (m,n) = x y + beta c with x (m,k), y (k,n); a t after a letter: that
 * one is stored transposed. */
void blas_xy(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c,
             int64_t ldc);
void blas_xyt(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta,
              float *c, int64_t ldc);
void blas_xty(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta,
              float *c, int64_t ldc);

/* c (m,n) = alpha op(x) op(y) + beta c */
void blas_product(const blas *b, bool x_transposed, bool y_transposed, int64_t m, int64_t n,
                  int64_t k, float alpha, panel x, panel y, float beta, float *c, int64_t ldc);

/* A matrix cut into tiles, a few for each thread, as square as can be:
 *
 *       +-------+-------+      A thread computes a tile with a sequential sgemm, and does what
 *       |   0   |   1   |      comes before and after the product (bias, activation) itself, while
 *       +-------+-------+      the tile is in its cache: no barrier in between.  Who is done takes
 *       |   2   |   3   |      the next: with one tile each, the slower of two threads (a machine
 *       +-------+-------+      is shared) would keep the other waiting after every product.
 *
 * The cut depends on the number of threads only, so who computes a tile changes no bit.
 */
enum { TILES_EACH = 2 };

typedef struct {
    int64_t rows, cols, down, across, count;
} grid;

typedef struct {
    int64_t row, rows, col, cols;
} tile;

grid grid_over(int64_t rows, int64_t cols, int threads);
tile grid_tile(grid g, int64_t i); /* i < g.count; may be empty */

#endif
