/* blas.c - see blas.h */
#include "cpu/blas.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OpenBLAS's own: a work space is mapped when a call finds none free, and kept. */
extern void *blas_memory_alloc(int) __attribute__((weak));
extern void blas_memory_free(void *) __attribute__((weak));

/* "OpenBLAS 0.3.21  NO_AFFINITY ..." and "SkylakeX" -> "OpenBLAS 0.3.21 SkylakeX" */
static void describe_blas(blas *b)
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

static void product_by_blas(bool x_transposed, bool y_transposed, int64_t m, int64_t n, int64_t k,
                            float alpha, panel x, panel y, float beta, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, x_transposed ? CblasTrans : CblasNoTrans,
                y_transposed ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                x.data, (blasint)x.ld, y.data, (blasint)y.ld, beta, c, (blasint)ldc);
}

error *blas_open(int threads, blas *out)
{
    *out = (blas){.product = product_by_blas};
    describe_blas(out);
    openblas_set_num_threads(1);
    map_work_spaces(threads);
    return NULL;
}
