/* lt.h - cublasLt, loaded when a GPU is opened.
 *
 * If it were linked in the usual way, a run on the CPU would use 150 MB more resident memory, and
 * the program could not start on a machine without it.  Kernels do not include this: the headers of
 * cublasLt are a third of the time that nvcc takes for most of them.
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

enum { PLANS = 64, PRODUCT_KEYS = 22, PRODUCT_ALGORITHMS = 8 };

/* Algorithms of cublasLt, and the product they were found for. */
typedef struct {
    int64_t key[PRODUCT_KEYS];
    cublasLtMatmulAlgo_t algo[PRODUCT_ALGORITHMS]; /* the library's first choice first */
    size_t workspace[PRODUCT_ALGORITHMS];
    int n, at; /* their number; those before `at` turned out to be refused */
} product_plan;

/* The library of a device, and the products that it was asked for. */
typedef struct lt_state {
    lt_library call;
    cublasLtHandle_t handle;
    product_plan plan[PLANS];
    int64_t plans; /* ever made; the oldest is replaced */
} lt_state;

error *lt_load(lt_library *out) NODISCARD;
void lt_unload(lt_library *l);

#endif
