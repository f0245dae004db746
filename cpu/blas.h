/* blas.h - OpenBLAS, if the program was built with it: a peer to measure against, and something to
 * fall back on where the kernels here do badly. */
#ifndef REGRAD_CPU_BLAS_H
#define REGRAD_CPU_BLAS_H

#include "base/error.h"
#include "cpu/product.h"

typedef struct {
    /* c (m,n) = alpha op(x) op(y) + beta c, by the calling thread alone */
    void (*product)(bool x_transposed, bool y_transposed, int64_t m, int64_t n, int64_t k,
                    float alpha, panel x, panel y, float beta, float *c, int64_t ldc);
    char about[96]; /* "OpenBLAS 0.3.21 SkylakeX" */
} blas;

/* Lets the library map the work space of each of `threads` threads: outside of the plan.  User error:
 * built without it. */
error *blas_open(int threads, blas *out) NODISCARD;

#endif
