/* cudnn_load.c - finds cuDNN; see cudnn.h */
#include "cuda/cudnn.h"

#include <dlfcn.h>
#include <string.h>

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)
#define LIBRARY  "libcudnn.so." TEXT(CUDNN_MAJOR)

/* Where the toolkit was when this was built, should the loader not know it. */
#ifndef CUDA_LIBRARIES
#define CUDA_LIBRARIES ""
#endif

static error *take(void *library, const char *name, void *into)
{
    void *symbol = dlsym(library, name);
    if (!symbol)
        return user_error("%s has no %s: install the cuDNN that this was built for", LIBRARY, name);
    memcpy(into, &symbol, sizeof symbol);
    return NULL;
}

static error *take_all(cudnn_library *l)
{
#define CUDNN_TAKE(name) TRY(take(l->library, "cudnn" #name, &l->name));
    CUDNN_FUNCTIONS(CUDNN_TAKE)
#undef CUDNN_TAKE
    return NULL;
}

error *cudnn_load(cudnn_library *out)
{
    *out = (cudnn_library){.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (!out->library) out->library = dlopen(CUDA_LIBRARIES LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!out->library)
        return user_error("%s cannot be loaded (%s): install cuDNN, or add its directory to "
                          "LD_LIBRARY_PATH",
                          LIBRARY, dlerror());
    error *e = take_all(out);
    if (e) cudnn_unload(out);
    return e;
}

void cudnn_unload(cudnn_library *l)
{
    if (l->library) dlclose(l->library);
    *l = (cudnn_library){0};
}
