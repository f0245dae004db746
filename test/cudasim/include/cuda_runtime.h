/* cuda_runtime.h - what a kernel file includes: the runtime's calls and, for want of nvcc, the
 * language. */
#ifndef CUDASIM_RUNTIME_H
#define CUDASIM_RUNTIME_H

#include "test/cudasim/emu.h"
#include "test/cudasim/tensor_core.h"

#endif
