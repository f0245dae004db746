/* copies.h - a GPU's copies from and to its host's memory, beside the computation: see copies.c. */
#ifndef REGRAD_CUDA_COPIES_H
#define REGRAD_CUDA_COPIES_H

#include "core/far.h"

extern const far_host cuda_host; /* all NULL in a build without CUDA */

#endif
