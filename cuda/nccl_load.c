/* nccl_load.c - see nccl.h */
#include "cuda/nccl.h"
#include "cuda/library.h"

#define LIBRARY "libnccl.so.2"
#define FRONT   "nccl"

LIBRARY_LOADER(nccl, NCCL_FUNCTIONS, "NCCL")
