/* library.c - see library.h */
#include "cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* Where the toolkit was when this was built, should the loader not know it. */
#ifndef CUDA_LIBRARIES
#define CUDA_LIBRARIES ""
#endif

error *library_open(const char *file, const char *product, void **out)
{
    char path[1000];
    snprintf(path, sizeof path, "%s%s", CUDA_LIBRARIES, file);
    *out = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!*out) *out = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*out) return NULL;
    return user_error("%s cannot be loaded (%s): install %s, or add its directory to "
                      "LD_LIBRARY_PATH",
                      file, dlerror(), product);
}

error *library_take(void *library, const char *file, const char *function, void *into)
{
    void *symbol = dlsym(library, function);
    if (!symbol)
        return user_error("%s has no %s: install the version that this was built for", file,
                          function);
    memcpy(into, &symbol, sizeof symbol);
    return NULL;
}
