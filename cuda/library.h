/* library.h - loads NVIDIA's libraries on demand: a program built for GPUs starts where there are
 * none.
 */
#ifndef REGRAD_CUDA_LIBRARY_H
#define REGRAD_CUDA_LIBRARY_H

#include <dlfcn.h>

#include "base/error.h"

/* The name of a library's major version: "libcudnn.so." LIBRARY_TEXT(CUDNN_MAJOR). */
#define LIBRARY_TEXT2(x) #x
#define LIBRARY_TEXT(x)  LIBRARY_TEXT2(x)

/* Loads `file` into *out, for dlclose, which leaves it in memory: from the loader's path, from
 * where the toolkit was when this was built, or from where pip puts NVIDIA's packages (PyTorch's):
 * under $VIRTUAL_ENV, $CONDA_PREFIX, the python3 of $PATH, ~/.local, /usr/local, /usr.  User error
 * if it is in none, naming these places and `product` as what to install. */
error *library_open(const char *file, const char *product, void **out) NODISCARD;

/* Stores the address of a function in *into, a pointer to it.  User error if it does not exist. */
error *library_take(void *library, const char *file, const char *function, void *into) NODISCARD;

/* NAME_load and NAME_unload of a NAME_library, which has `library` and a pointer to each of its
 * FUNCTIONS: those of the file LIBRARY whose names are FRONT and then the pointer's. */
#define LIBRARY_TAKE(function)                                                                     \
    TRY(library_take(l->library, LIBRARY, FRONT #function, &l->function));
#define LIBRARY_LOADER(name, FUNCTIONS, product)                                                   \
    static error *take_functions(name##_library *l)                                                \
    {                                                                                              \
        FUNCTIONS(LIBRARY_TAKE)                                                                    \
        return NULL;                                                                               \
    }                                                                                              \
    void name##_unload(name##_library *l)                                                          \
    {                                                                                              \
        if (l->library) dlclose(l->library);                                                       \
        *l = (name##_library){0};                                                                  \
    }                                                                                              \
    error *name##_load(name##_library *out)                                                        \
    {                                                                                              \
        *out = (name##_library){0};                                                                \
        TRY(library_open(LIBRARY, product, &out->library));                                        \
        error *e = take_functions(out);                                                            \
        if (e) name##_unload(out);                                                                 \
        return e;                                                                                  \
    }

#endif
