/* cudnn_load.c - finds cuDNN; see cudnn.h */
#include "cuda/cudnn.h"
#include "cuda/library.h"

#define LIBRARY "libcudnn.so." LIBRARY_TEXT(CUDNN_MAJOR)
#define FRONT   "cudnn"

LIBRARY_LOADER(cudnn, CUDNN_FUNCTIONS, "cuDNN")
