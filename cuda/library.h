/* library.h - loads NVIDIA's libraries on demand: a program built for GPUs starts where there are
 * none.
 */
#ifndef REGRAD_CUDA_LIBRARY_H
#define REGRAD_CUDA_LIBRARY_H

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

#endif
