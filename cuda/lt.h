/* lt.h - cublasLt, loaded when a GPU is opened.
 *
 * If it were linked in the usual way, a run on the CPU would use 150 MB more resident memory, and
 * the program could not start on a machine without it.
 */
#ifndef REGRAD_CUDA_LT_H
#define REGRAD_CUDA_LT_H

#include <cublasLt.h>

#include "base/error.h"

#define LT_FUNCTIONS(X)                                                                            \
    X(Create)                                                                                      \
    X(Destroy)                                                                                     \
    X(GetStatusName)                                                                               \
    X(MatmulDescCreate)                                                                            \
    X(MatmulDescDestroy)                                                                           \
    X(MatmulDescSetAttribute)                                                                      \
    X(MatrixLayoutCreate)                                                                          \
    X(MatrixLayoutDestroy)                                                                         \
    X(MatmulPreferenceCreate)                                                                      \
    X(MatmulPreferenceDestroy)                                                                     \
    X(MatmulPreferenceSetAttribute)                                                                \
    X(MatmulAlgoGetHeuristic)                                                                      \
    X(Matmul)

typedef struct {
    void *library;
#define LT_MEMBER(name) __typeof__(cublasLt##name) *name;
    LT_FUNCTIONS(LT_MEMBER)
#undef LT_MEMBER
} lt_library;

error *lt_load(lt_library *out) NODISCARD;
void lt_unload(lt_library *l);

#endif
