/* nccl_load.c - see nccl.h */
#include "cuda/nccl.h"
#include "cuda/library.h"

#include <dlfcn.h>

#define LIBRARY "libnccl.so.2"

static error *take_nccl(nccl_library *l)
{
#define NCCL_TAKE(name) TRY(library_take(l->library, LIBRARY, "nccl" #name, &l->name));
    NCCL_FUNCTIONS(NCCL_TAKE)
#undef NCCL_TAKE
    return NULL;
}

error *nccl_load(nccl_library *out)
{
    *out = (nccl_library){0};
    TRY(library_open(LIBRARY, "NCCL", &out->library));
    error *e = take_nccl(out);
    if (e) nccl_unload(out);
    return e;
}

void nccl_unload(nccl_library *l)
{
    if (l->library) dlclose(l->library);
    *l = (nccl_library){0};
}
