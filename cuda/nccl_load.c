/* nccl_load.c - see nccl.h */
#include "cuda/nccl.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libnccl.so.2"

/* Where the toolkit was when this was built, should the loader not know it. */
#ifndef CUDA_LIBRARIES
#define CUDA_LIBRARIES ""
#endif

static error *take(void *library, const char *name, void *into)
{
    void *symbol = dlsym(library, name);
    if (!symbol) return user_error("%s has no %s: install a newer NCCL", LIBRARY, name);
    memcpy(into, &symbol, sizeof symbol);
    return NULL;
}

static error *take_all(nccl_library *l)
{
#define NCCL_TAKE(name) TRY(take(l->library, "nccl" #name, &l->name));
    NCCL_FUNCTIONS(NCCL_TAKE)
#undef NCCL_TAKE
    return NULL;
}

error *nccl_load(nccl_library *out)
{
    *out = (nccl_library){.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (!out->library) out->library = dlopen(CUDA_LIBRARIES LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!out->library)
        return user_error("%s cannot be loaded (%s): install NCCL, or add its directory to "
                          "LD_LIBRARY_PATH",
                          LIBRARY, dlerror());
    error *e = take_all(out);
    if (e) nccl_unload(out);
    return e;
}

void nccl_unload(nccl_library *l)
{
    if (l->library) dlclose(l->library);
    *l = (nccl_library){0};
}
