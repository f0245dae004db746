/* blas.h - OpenBLAS, where it is installed: a peer to measure against, and something to fall back
 * on where the kernels here do badly.
 *
 * It is loaded when it is asked for, so that no program needs it to be built or to start: the
 * library maps memory before main, which a program with a limit (ulimit -v) may not have.
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

/* Loads it, and lets it map the work space of each of `threads` threads: outside of the plan.  User
 * error: there is none. */
error *blas_open(int threads, blas *out) NODISCARD;

/* c (m,n) = alpha op(x) op(y) + beta c, by the calling thread alone */
void blas_product(const blas *b, bool x_transposed, bool y_transposed, int64_t m, int64_t n,
                  int64_t k, float alpha, panel x, panel y, float beta, float *c, int64_t ldc);

#endif
