/* block_kinds.c - see block_kinds.h */
#include "params/block_kinds.h"

/* A parameter, its master, its gradient and its states share a name. */
const arena_kinds block_kinds = {KIND_COUNT,
                                 {[KIND_PARAMETER] = {"parameters", ""},
                                  [KIND_MASTER] = {"master weights", "master of "},
                                  [KIND_GRADIENT] = {"gradients", "gradient of "},
                                  [KIND_STATE] = {"states", "state of "},
                                  [KIND_AVERAGE] = {"averages", "average of "},
                                  [KIND_INTERMEDIATE] = {"intermediates", ""},
                                  [KIND_ACTIVATION] = {"activations", ""},
                                  [KIND_WORKSPACE] = {"workspace", ""},
                                  [KIND_BATCH] = {"batch", ""},
                                  [KIND_CACHE] = {"cache", ""},
                                  [KIND_COPY] = {"copy", ""}}};

const char *block_kind_name(block_kind kind)
{
    return block_kinds.kind[kind].name;
}
