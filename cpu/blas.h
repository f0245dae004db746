/* blas.h - OpenBLAS. */
#ifndef REGRAD_CPU_BLAS_H
#define REGRAD_CPU_BLAS_H

#include "base/error.h"
#include "cpu/product.h"

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

#endif
