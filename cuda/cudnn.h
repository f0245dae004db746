/* cudnn.h - attention by cuDNN, through its C graph interface ("backend").
 *
 *     cudnn_load.c   finds the library, on demand
 *     cudnn_graph.c  the graphs: forward and backward as operations on (B,H,T,.) tensors, which the
 *                    library fuses into one kernel; and the choice of an engine
 *     cudnn.c        caches plans and runs them: attention and attention_grad (core/ops.def)
 *     cudnn_none.c   replaces these if built with a toolkit that has no cudnn.h
 *
 * Building an engine needs a GPU.  Whether there is one, and how much workspace it wants, the
 * library can also say for a GPU that is only described (test/test_cudnn.c).
 */
#ifndef REGRAD_CUDA_CUDNN_H
#define REGRAD_CUDA_CUDNN_H

#include "core/ops.h"

#include <cudnn.h>

#define CUDNN_FUNCTIONS(X)                                                                         \
    X(GetErrorString)                                                                              \
    X(GetLastErrorString)                                                                          \
    X(GetVersion)                                                                                  \
    X(Create)                                                                                      \
    X(Destroy)                                                                                     \
    X(SetStream)                                                                                   \
    X(BackendCreateDescriptor)                                                                     \
    X(BackendDestroyDescriptor)                                                                    \
    X(BackendSetAttribute)                                                                         \
    X(BackendGetAttribute)                                                                         \
    X(BackendFinalize)                                                                             \
    X(BackendExecute)

typedef struct {
    void *library;
#define CUDNN_MEMBER(name) __typeof__(cudnn##name) *name;
    CUDNN_FUNCTIONS(CUDNN_MEMBER)
#undef CUDNN_MEMBER
} cudnn_library;

error *cudnn_load(cudnn_library *out) NODISCARD;
void cudnn_unload(cudnn_library *l);

/* The description of a graph; everything but the data. */
typedef struct {
    int64_t batch, heads, length, size; /* B, H, T, D */
    cudnnDataType_t type;               /* of q, k, v, out and their gradients */
    bool causal, backward;
    bool repeatable; /* backward: dq without atomic additions */
} cudnn_shape;

/* The tensors of a graph that are in memory: their unique ids. */
enum {
    CUDNN_Q = 1,
    CUDNN_K,
    CUDNN_V,
    CUDNN_OUT,
    CUDNN_LSE,
    CUDNN_SCALE, /* the numbers SCALE, LOWEST, ONE: float, on the host */
    CUDNN_LOWEST,
    CUDNN_ONE,
    CUDNN_DOUT,
    CUDNN_DQ,
    CUDNN_DK,
    CUDNN_DV,
    CUDNN_DOTS, /* (B,H,T) float: sums of dout * out */
    CUDNN_SUMS, /* (B,H,T,D) float: where dq is accumulated, unless repeatable */
    CUDNN_NAMED
};

enum { CUDNN_DESCRIPTORS = 160 };

typedef struct {
    cudnnBackendDescriptor_t all[CUDNN_DESCRIPTORS]; /* everything that was created, to be
                                                      * destroyed */
    int n;
    cudnnBackendDescriptor_t ready; /* the execution plan; NULL without a GPU */
    int64_t workspace;              /* bytes */
    int engine;                     /* the library's number of it */
} cudnn_plan;

/* The first engine that accepts the graph and at most `budget` bytes of workspace: built for the
 * GPU of a handle; or, without a handle, as far as possible for a GPU described by its properties
 * (JSON, as CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION has it).  User error if there is none, with
 * the reason. */
error *cudnn_plan_make(const cudnn_library *l, cudnnHandle_t handle, const char *described,
                       const cudnn_shape *of, size_t budget, cudnn_plan *out) NODISCARD;
void cudnn_plan_free(const cudnn_library *l, cudnn_plan *p);

#endif
