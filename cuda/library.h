/* library.h - NVIDIA's libraries are loaded when they are needed: a program built for GPUs starts
 * where there are none.
 */
#ifndef REGRAD_CUDA_LIBRARY_H
#define REGRAD_CUDA_LIBRARY_H

#include "base/error.h"

/* Names the library of a major version: "libcudnn.so." LIBRARY_TEXT(CUDNN_MAJOR). */
#define LIBRARY_TEXT2(x) #x
#define LIBRARY_TEXT(x)  LIBRARY_TEXT2(x)

/* Loads `file` into *out, for dlclose, which leaves it in memory: from where the loader looks, from
 * where the toolkit was when this was built, or from where pip puts NVIDIA's packages (PyTorch's):
 * under $VIRTUAL_ENV, $CONDA_PREFIX, the python3 of $PATH, ~/.local, /usr/local, /usr.  User error,
 * naming the places and `product` as what to install, if it is in none. */
error *library_open(const char *file, const char *product, void **out) NODISCARD;

/* Writes the address of a function to *into, a pointer to it.  User error if there is none. */
error *library_take(void *library, const char *file, const char *function, void *into) NODISCARD;

#endif
