/* lt.c - see lt.h */
#include "cuda/lt.h"
#include "cuda/library.h"

#include <dlfcn.h>

#define LIBRARY "libcublasLt.so." LIBRARY_TEXT(CUBLAS_VER_MAJOR)

static error *take_all(lt_library *l)
{
#define LT_TAKE(name) TRY(library_take(l->library, LIBRARY, "cublasLt" #name, &l->name));
    LT_FUNCTIONS(LT_TAKE)
#undef LT_TAKE
    return NULL;
}

error *lt_load(lt_library *out)
{
    *out = (lt_library){0};
    TRY(library_open(LIBRARY, "cuBLAS", &out->library));
    error *e = take_all(out);
    if (e) lt_unload(out);
    return e;
}

void lt_unload(lt_library *l)
{
    if (l->library) dlclose(l->library);
    *l = (lt_library){0};
}
