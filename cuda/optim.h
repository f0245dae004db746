/* optim.h - shared by the kernels of the optimizer step: the rules as types. */
#ifndef REGRAD_CUDA_OPTIM_H
#define REGRAD_CUDA_OPTIM_H

#include "cuda/cuda_internal.h"

#include "optim/rules/all.h"

#define RULE_TYPE(name)                                                                            \
    struct name##_rule {                                                                           \
        static constexpr int STATES = name##_info.n_states, PASSES = name##_info.n_passes;         \
        static __device__ __forceinline__ int pass(int k, lane *x, const hyper *h)                 \
        {                                                                                          \
            return name##_pass(k, x, h);                                                           \
        }                                                                                          \
    };
OPTIM_RULES(RULE_TYPE)
#undef RULE_TYPE

/* The fused form over items that are not all f32; see optim_stored.cu. */
extern "C" void cuda_optim_stored(device *dev, int stream, const optim_op *o, int rule);

#endif
