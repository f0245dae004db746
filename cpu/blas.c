/* blas.c - see blas.h */
#include "cpu/blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From cblas.h, which is part of the interface and the same everywhere. */
enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 };

/* Other functions.  Workspaces are OpenBLAS's own: one is mapped when a call finds none free, and
 * kept; some versions lack these two functions. */
typedef struct {
    char *(*config)(void);
    char *(*corename)(void);
    void (*set_threads)(int);
    void *(*map)(int);
    void (*unmap)(void *);
} functions;

/* "OpenBLAS 0.3.21  NO_AFFINITY ..." and "SkylakeX" -> "OpenBLAS 0.3.21 SkylakeX" */
static void describe_blas(const functions *f, blas *b)
{
    const char *text = f->config(), *first = strchr(text, ' ');
    size_t length = first ? (size_t)(first - text) + 1 + strcspn(first + 1, " ") : strlen(text);
    snprintf(b->about, sizeof b->about, "%.*s %s", (int)length, text, f->corename());
}

/* Makes OpenBLAS map a workspace for each thread now, all at once, instead of in the middle of a
 * step.  (Products that merely run at the same time might reuse one.) */
static void map_work_spaces(const functions *f, int threads)
{
    enum { MOST = 64 };
    void *held[MOST];
    int n = threads < MOST ? threads : MOST;
    if (!f->map || !f->unmap) return;
    for (int i = 0; i < n; i++)
        held[i] = f->map(1);
    for (int i = 0; i < n; i++)
        f->unmap(held[i]);
}

/* to: a pointer to a function, which POSIX permits */
static bool find_symbol(void *library, const char *name, void *to)
{
    void *found = dlsym(library, name);
    memcpy(to, &found, sizeof found);
    return found != NULL;
}

void blas_product(const blas *b, bool x_transposed, bool y_transposed, int64_t m, int64_t n,
                  int64_t k, float alpha, panel x, panel y, float beta, float *c, int64_t ldc)
{
    b->sgemm(ROW_MAJOR, x_transposed ? TRANSPOSED : AS_IT_IS, y_transposed ? TRANSPOSED : AS_IT_IS,
             (int)m, (int)n, (int)k, alpha, x.data, (int)x.ld, y.data, (int)y.ld, beta, c,
             (int)ldc);
}

error *blas_open(int threads, blas *out)
{
    static const char name[] = "libopenblas.so.0";
    functions f = {0};
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL); /* never unloaded: it may have threads */
    if (!library) return user_error("--products blas: %s; install libopenblas0-openmp", dlerror());
    *out = (blas){0};
    if (!find_symbol(library, "cblas_sgemm", &out->sgemm) ||
        !find_symbol(library, "openblas_get_config", &f.config) ||
        !find_symbol(library, "openblas_get_corename", &f.corename) ||
        !find_symbol(library, "openblas_set_num_threads", &f.set_threads))
        return user_error("--products blas: %s lacks what is called: OpenBLAS 0.3 is needed", name);
    find_symbol(library, "blas_memory_alloc", &f.map);
    find_symbol(library, "blas_memory_free", &f.unmap);
    describe_blas(&f, out);
    f.set_threads(1);
    map_work_spaces(&f, threads);
    return NULL;
}
