/* block_kinds.h - what a run's memory is used for: the kinds of blocks in its arena. */
#ifndef REGRAD_BLOCK_KINDS_H
#define REGRAD_BLOCK_KINDS_H

#include "core/arena.h"

typedef enum {
    KIND_PARAMETER,
    KIND_MASTER, /* the rest of the f32 values of bf16 parameters */
    KIND_GRADIENT,
    KIND_STATE,        /* of the optimizer */
    KIND_AVERAGE,      /* of the weights */
    KIND_INTERMEDIATE, /* of the optimizer's pass-by-pass form */
    KIND_ACTIVATION,
    KIND_WORKSPACE,
    KIND_BATCH, /* tokens, targets, scalars of a step */
    KIND_CACHE, /* KV cache, while text is generated */
    KIND_COPY,  /* of what a checkpoint holds, while it is written beside the training */
    KIND_COUNT
} block_kind;

extern const arena_kinds block_kinds;

const char *block_kind_name(block_kind kind);

#endif
