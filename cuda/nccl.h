/* nccl.h - NCCL, loaded when ranks connect on GPUs (see lt.h for why). */
#ifndef REGRAD_CUDA_NCCL_H
#define REGRAD_CUDA_NCCL_H

#ifdef __cplusplus
extern "C" {
#endif
#include "base/error.h"
#ifdef __cplusplus
}
#endif

#include <nccl.h>

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

#ifdef __cplusplus
extern "C" {
#endif
error *nccl_load(nccl_library *out) NODISCARD;
void nccl_unload(nccl_library *l);
#ifdef __cplusplus
}
#endif

#endif
