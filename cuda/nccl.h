/* nccl.h - NCCL, loaded when ranks connect on GPUs (see lt.h for why). */
#ifndef REGRAD_CUDA_NCCL_H
#define REGRAD_CUDA_NCCL_H

#include <nccl.h>

#include "base/error.h"

#define NCCL_FUNCTIONS(X)                                                                          \
    X(GetErrorString)                                                                              \
    X(GetUniqueId)                                                                                 \
    X(CommInitRank)                                                                                \
    X(CommDestroy)                                                                                 \
    X(CommAbort)                                                                                   \
    X(CommGetAsyncError)                                                                           \
    X(AllReduce)                                                                                   \
    X(ReduceScatter)                                                                               \
    X(AllGather)                                                                                   \
    X(Reduce)                                                                                      \
    X(Broadcast)                                                                                   \
    X(GroupStart)                                                                                  \
    X(GroupEnd)

typedef struct {
    void *library;
#define NCCL_MEMBER(name) __typeof__(nccl##name) *name;
    NCCL_FUNCTIONS(NCCL_MEMBER)
#undef NCCL_MEMBER
} nccl_library;

error *nccl_load(nccl_library *out) NODISCARD;
void nccl_unload(nccl_library *l);

#endif
