/* names.c - see names.h */
#include "model/names.h"

#define BOTH(stem)                                                                                 \
    {                                                                                              \
        stem ".weight", stem ".bias"                                                               \
    }

const model_names gpt2_names = {
    .tokens = "wte.weight",
    .positions = "wpe.weight",
    .final_norm = BOTH("ln_f"),
    .head = {.weight = "lm_head.weight"},
    .block = {.norm1 = BOTH("h.%d.ln_1"),
              .qkv = BOTH("h.%d.attn.c_attn"),
              .project = BOTH("h.%d.attn.c_proj"),
              .norm2 = BOTH("h.%d.ln_2"),
              .up = BOTH("h.%d.mlp.c_fc"),
              .down = BOTH("h.%d.mlp.c_proj")},
    .transposed = true,
};

const model_names vit_names = {
    .block = {.norm1 = BOTH("blocks.%d.norm1"),
              .qkv = BOTH("blocks.%d.attn.qkv"),
              .project = BOTH("blocks.%d.attn.proj"),
              .norm2 = BOTH("blocks.%d.norm2"),
              .up = BOTH("blocks.%d.mlp.fc1"),
              .down = BOTH("blocks.%d.mlp.fc2")},
};
