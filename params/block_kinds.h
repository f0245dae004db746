/* block_kinds.h - what the memory of a run is for: the kinds of its arena's blocks. */
#ifndef REGRAD_BLOCK_KINDS_H
#define REGRAD_BLOCK_KINDS_H

#include "core/arena.h"

typedef enum {
    KIND_PARAMETER,
    KIND_MASTER, /* what bf16 parameters lack of their f32 values */
    KIND_GRADIENT,
    KIND_STATE,        /* of the optimizer */
    KIND_INTERMEDIATE, /* of the optimizer's pass-by-pass form */
    KIND_ACTIVATION,
    KIND_WORKSPACE,
    KIND_BATCH, /* tokens, targets, scalars of a step */
    KIND_CACHE, /* keys and values of the tokens so far, while text is generated */
    KIND_COUNT
} block_kind;

extern const arena_kinds block_kinds;

const char *block_kind_name(block_kind kind);

#endif
