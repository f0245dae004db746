/* blas.h - OpenBLAS, if installed: for comparison, and as a fallback where the kernels here are
 * slow.
 *
 * It is loaded on demand, so that no program needs it to be built or to start: the library maps
 * memory before main, which a program with a limit (ulimit -v) may not have.
 */
#ifndef REGRAD_CPU_BLAS_H
#define REGRAD_CPU_BLAS_H

#include "base/error.h"
#include "cpu/product.h"

typedef struct {
    void (*sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int,
                  float, float *, int);
    char about[96]; /* "OpenBLAS 0.3.21 SkylakeX" */
} blas;

/* Loads it, and lets it map a workspace for each of `threads` threads: this is outside of the plan.
 * User error if it is not installed. */
error *blas_open(int threads, blas *out) NODISCARD;

/* c (m,n) = alpha op(x) op(y) + beta c, on the calling thread only */
void blas_product(const blas *b, bool x_transposed, bool y_transposed, int64_t m, int64_t n,
                  int64_t k, float alpha, panel x, panel y, float beta, float *c, int64_t ldc);

#endif
