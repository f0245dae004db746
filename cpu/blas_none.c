/* blas_none.c - blas.h where there is no OpenBLAS. */
#include "cpu/blas.h"

error *blas_open(int threads, blas *out)
{
    (void)threads, (void)out;
    return user_error("--products blas: built without OpenBLAS; install libopenblas-openmp-dev and "
                      "build again with BLAS=yes");
}
