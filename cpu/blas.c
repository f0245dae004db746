/* blas.c - see blas.h
 *
 * OpenBLAS is loaded by hand because of one fact: it chooses its kernels while it is loaded, and a
 * version older than the processor chooses badly (0.3.21 takes AVX2 kernels on AMD processors with
 * AVX-512: half the speed).  Only an environment variable that is there before can correct it.
 */
#include "cpu/blas.h"

#include <dlfcn.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char core_variable[] = "OPENBLAS_CORETYPE";

static bool amd_with_avx512(void)
{
#ifdef __x86_64__
    return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

static void *load_library(void)
{
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so", "libopenblas.so.3"};
    bool choose = !getenv(core_variable) && amd_with_avx512() && !setenv(core_variable, "SkylakeX", 1);
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (choose) unsetenv(core_variable);
    return library;
}

/* Reads a function's address: ISO C has no cast from void * to a function pointer. */
static bool find(void *library, const char *name, void *function_pointer)
{
    void *symbol = dlsym(library, name);
    memcpy(function_pointer, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* "OpenBLAS 0.3.21  NO_AFFINITY ..." and "SkylakeX" -> "OpenBLAS 0.3.21 SkylakeX" */
static void describe(blas *b)
{
    char *(*config)(void), *(*core)(void);
    const char *text = find(b->library, "openblas_get_config", &config) ? config() : "OpenBLAS";
    const char *name = find(b->library, "openblas_get_corename", &core) ? core() : "";
    const char *first = strchr(text, ' ');
    size_t length = first ? (size_t)(first - text) + 1 + strcspn(first + 1, " ") : strlen(text);
    snprintf(b->about, sizeof b->about, "%.*s %s", (int)length, text, name);
}

/* The library maps a work space for each thread in its first product: let that happen now, all at
 * once, and not in the middle of a step. */
static error *warm_up(const blas *b, int threads)
{
    enum { N = 192 }; /* above the library's limit for products without work space */
    float *x;
    TRY(alloc_array(&x, (unsigned long)(threads + 1) * N * N, sizeof *x));
#pragma omp parallel num_threads(threads)
    {
        panel in = {x, N};
#pragma omp barrier
        blas_xyt(b, N, N, N, in, in, 0, x + (omp_get_thread_num() + 1) * N * N, N);
    }
    free(x);
    return NULL;
}

error *blas_open(int threads, blas *out)
{
    *out = (blas){.library = load_library()};
    if (!out->library)
        return user_error("OpenBLAS is not installed (libopenblas.so.0 cannot be loaded): apt-get "
                          "install libopenblas0-openmp, or set LD_LIBRARY_PATH to where it is");
    if (!find(out->library, "cblas_sgemm", &out->sgemm) ||
        !find(out->library, "openblas_set_num_threads", &out->set_threads)) {
        dlclose(out->library);
        return user_error("libopenblas.so.0 is no OpenBLAS (it lacks cblas_sgemm or "
                          "openblas_set_num_threads): apt-get install libopenblas0-openmp");
    }
    describe(out);
    out->set_threads(1);
    return warm_up(out, threads);
}

void blas_close(blas *b)
{
    if (b->library) dlclose(b->library);
    *b = (blas){0};
}

static void product(const blas *b, CBLAS_TRANSPOSE tx, CBLAS_TRANSPOSE ty, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    b->sgemm(CblasRowMajor, tx, ty, (blasint)m, (blasint)n, (blasint)k, 1, x.data, (blasint)x.ld, y.data, (blasint)y.ld, beta, c, (blasint)ldc);
}

void blas_xy(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    product(b, CblasNoTrans, CblasNoTrans, m, n, k, x, y, beta, c, ldc);
}

void blas_xyt(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    product(b, CblasNoTrans, CblasTrans, m, n, k, x, y, beta, c, ldc);
}

void blas_xty(const blas *b, int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc)
{
    product(b, CblasTrans, CblasNoTrans, m, n, k, x, y, beta, c, ldc);
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
    grid best = {rows, cols, 1, threads, threads};
    for (int64_t down = 1; down <= threads; down++) {
        int64_t across = threads / down;
        if (down * across != threads) continue;
        if (rows / down + cols / across < best.rows / best.down + best.cols / best.across)
            best = (grid){rows, cols, down, across, threads};
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
