/* cudnn_load.c - finds cuDNN; see cudnn.h */
#include "cuda/cudnn.h"
#include "cuda/library.h"

#include <dlfcn.h>

#define LIBRARY "libcudnn.so." LIBRARY_TEXT(CUDNN_MAJOR)

static error *take_cudnn(cudnn_library *l)
{
#define CUDNN_TAKE(name) TRY(library_take(l->library, LIBRARY, "cudnn" #name, &l->name));
    CUDNN_FUNCTIONS(CUDNN_TAKE)
#undef CUDNN_TAKE
    return NULL;
}

error *cudnn_load(cudnn_library *out)
{
    *out = (cudnn_library){0};
    TRY(library_open(LIBRARY, "cuDNN", &out->library));
    error *e = take_cudnn(out);
    if (e) cudnn_unload(out);
    return e;
}

void cudnn_unload(cudnn_library *l)
{
    if (l->library) dlclose(l->library);
    *l = (cudnn_library){0};
}
