/* lt.c - see lt.h */
#include "cuda/lt.h"

#include <dlfcn.h>
#include <string.h>

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)
#define LIBRARY  "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)

/* Where the toolkit was when this was built, should the loader not know it. */
#ifndef CUDA_LIBRARIES
#define CUDA_LIBRARIES ""
#endif

static error *take(void *library, const char *name, void *into)
{
    void *symbol = dlsym(library, name);
    if (!symbol)
        return user_error("%s has no %s: install the cuBLAS that belongs to this CUDA", LIBRARY,
                          name);
    memcpy(into, &symbol, sizeof symbol);
    return NULL;
}

static error *take_all(lt_library *l)
{
#define LT_TAKE(name) TRY(take(l->library, "cublasLt" #name, &l->name));
    LT_FUNCTIONS(LT_TAKE)
#undef LT_TAKE
    return NULL;
}

error *lt_load(lt_library *out)
{
    *out = (lt_library){.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (!out->library) out->library = dlopen(CUDA_LIBRARIES LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!out->library)
        return user_error("%s cannot be loaded (%s): install cuBLAS, or add its directory to "
                          "LD_LIBRARY_PATH",
                          LIBRARY, dlerror());
    error *e = take_all(out);
    if (e) lt_unload(out);
    return e;
}

void lt_unload(lt_library *l)
{
    if (l->library) dlclose(l->library);
    *l = (lt_library){0};
}
