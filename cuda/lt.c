/* lt.c - see lt.h */
#include "cuda/lt.h"
#include "cuda/library.h"

#define LIBRARY "libcublasLt.so." LIBRARY_TEXT(CUBLAS_VER_MAJOR)
#define FRONT   "cublasLt"

LIBRARY_LOADER(lt, LT_FUNCTIONS, "cuBLAS")
