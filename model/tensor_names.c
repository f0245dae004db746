/* tensor_names.c - see tensor_names.h */
#include "model/families.h"

#define BOTH(stem)                                                                                 \
    {                                                                                              \
        stem ".weight", stem ".bias"                                                               \
    }

#define GPT2_NAMES(prefix)                                                                         \
    {                                                                                              \
        .tokens = prefix "wte.weight", .positions = prefix "wpe.weight",                           \
        .final_norm = BOTH(prefix "ln_f"), .head = {.weight = "lm_head.weight"},                   \
        .block = {.norm1 = BOTH(prefix "h.%d.ln_1"),                                               \
                  .qkv = BOTH(prefix "h.%d.attn.c_attn"),                                          \
                  .project = BOTH(prefix "h.%d.attn.c_proj"),                                      \
                  .norm2 = BOTH(prefix "h.%d.ln_2"),                                               \
                  .up = BOTH(prefix "h.%d.mlp.c_fc"),                                              \
                  .down = BOTH(prefix "h.%d.mlp.c_proj")},                                         \
        .transposed = true                                                                         \
    }

/* As in OpenAI's files; transformers accepts this only for a model without a head. */
const model_names gpt2_names = GPT2_NAMES("");
const model_names gpt2_head_names = GPT2_NAMES("transformer.");

/* LLaMA's layout; families differ in where the norms are. */
#define LLAMA_BUT_NORMS                                                                            \
    .tokens = "model.embed_tokens.weight", .final_norm = {.weight = "model.norm.weight"},          \
    .head = {.weight = "lm_head.weight"},                                                          \
    .block.qkv = BOTH("model.layers.%d.self_attn.{q,k,v}_proj"),                                   \
    .block.project = BOTH("model.layers.%d.self_attn.o_proj"),                                     \
    .block.up = BOTH("model.layers.%d.mlp.{gate,up}_proj"),                                        \
    .block.down = BOTH("model.layers.%d.mlp.down_proj"),                                           \
    .block.q_norm = "model.layers.%d.self_attn.q_norm.weight",                                     \
    .block.k_norm = "model.layers.%d.self_attn.k_norm.weight"

/* LLaMA, Qwen 2 and 3, and Gemma: before the branches. */
const model_names llama_names = {
    LLAMA_BUT_NORMS,
    .block.norm1.weight = "model.layers.%d.input_layernorm.weight",
    .block.norm2.weight = "model.layers.%d.post_attention_layernorm.weight",
};

/* OLMo 2: after them. */
const model_names olmo2_names = {
    LLAMA_BUT_NORMS,
    .block.post1.weight = "model.layers.%d.post_attention_layernorm.weight",
    .block.post2.weight = "model.layers.%d.post_feedforward_layernorm.weight",
};

/* Gemma 2 and 3: both. */
const model_names gemma2_names = {
    LLAMA_BUT_NORMS,
    .block.norm1.weight = "model.layers.%d.input_layernorm.weight",
    .block.post1.weight = "model.layers.%d.post_attention_layernorm.weight",
    .block.norm2.weight = "model.layers.%d.pre_feedforward_layernorm.weight",
    .block.post2.weight = "model.layers.%d.post_feedforward_layernorm.weight",
};

const model_names phi_names = {
    .tokens = "model.embed_tokens.weight",
    .final_norm = BOTH("model.final_layernorm"),
    .head = BOTH("lm_head"),
    .block = {.norm1 = BOTH("model.layers.%d.input_layernorm"),
              .qkv = BOTH("model.layers.%d.self_attn.{q,k,v}_proj"),
              .project = BOTH("model.layers.%d.self_attn.dense"),
              .up = BOTH("model.layers.%d.mlp.fc1"),
              .down = BOTH("model.layers.%d.mlp.fc2")},
};

/* LLaMA's, but with one matrix for q, k, v, and one for gate and up. */
const model_names phi3_names = {
    .tokens = "model.embed_tokens.weight",
    .final_norm = {.weight = "model.norm.weight"},
    .head = {.weight = "lm_head.weight"},
    .block = {.norm1 = {.weight = "model.layers.%d.input_layernorm.weight"},
              .qkv = BOTH("model.layers.%d.self_attn.qkv_proj"),
              .project = BOTH("model.layers.%d.self_attn.o_proj"),
              .norm2 = {.weight = "model.layers.%d.post_attention_layernorm.weight"},
              .up = BOTH("model.layers.%d.mlp.gate_up_proj"),
              .down = BOTH("model.layers.%d.mlp.down_proj")},
};

const model_names neox_names = {
    .tokens = "gpt_neox.embed_in.weight",
    .final_norm = BOTH("gpt_neox.final_layer_norm"),
    .head = {.weight = "embed_out.weight"},
    .block = {.norm1 = BOTH("gpt_neox.layers.%d.input_layernorm"),
              .qkv = BOTH("gpt_neox.layers.%d.attention.query_key_value"),
              .project = BOTH("gpt_neox.layers.%d.attention.dense"),
              .norm2 = BOTH("gpt_neox.layers.%d.post_attention_layernorm"),
              .up = BOTH("gpt_neox.layers.%d.mlp.dense_h_to_4h"),
              .down = BOTH("gpt_neox.layers.%d.mlp.dense_4h_to_h")},
    .qkv_by_group = true,
};

const model_names bloom_names = {
    .tokens = "transformer.word_embeddings.weight",
    .embedding_norm = BOTH("transformer.word_embeddings_layernorm"),
    .final_norm = BOTH("transformer.ln_f"),
    .head = {.weight = "lm_head.weight"},
    .block = {.norm1 = BOTH("transformer.h.%d.input_layernorm"),
              .qkv = BOTH("transformer.h.%d.self_attention.query_key_value"),
              .project = BOTH("transformer.h.%d.self_attention.dense"),
              .norm2 = BOTH("transformer.h.%d.post_attention_layernorm"),
              .up = BOTH("transformer.h.%d.mlp.dense_h_to_4h"),
              .down = BOTH("transformer.h.%d.mlp.dense_4h_to_h")},
    .qkv_by_group = true,
};

/* Falcon's two forms have different names for the norms. */
#define FALCON_BUT_NORMS                                                                           \
    .tokens = "transformer.word_embeddings.weight", .final_norm = BOTH("transformer.ln_f"),        \
    .head = {.weight = "lm_head.weight"}, .qkv_by_group = true,                                    \
    .block.qkv = BOTH("transformer.h.%d.self_attention.query_key_value"),                          \
    .block.project = BOTH("transformer.h.%d.self_attention.dense"),                                \
    .block.up = BOTH("transformer.h.%d.mlp.dense_h_to_4h"),                                        \
    .block.down = BOTH("transformer.h.%d.mlp.dense_4h_to_h")

const model_names falcon_names = {
    FALCON_BUT_NORMS,
    .block.norm1 = BOTH("transformer.h.%d.input_layernorm"),
    .block.norm2 = BOTH("transformer.h.%d.post_attention_layernorm"),
};

const model_names falcon_two_names = {
    FALCON_BUT_NORMS,
    .block.norm1 = BOTH("transformer.h.%d.ln_attn"),
    .block.norm2 = BOTH("transformer.h.%d.ln_mlp"),
};

const model_names chatglm_names = {
    .tokens = "transformer.embedding.word_embeddings.weight",
    .final_norm = {.weight = "transformer.encoder.final_layernorm.weight"},
    .head = {.weight = "transformer.output_layer.weight"},
    .block = {.norm1 = {.weight = "transformer.encoder.layers.%d.input_layernorm.weight"},
              .qkv = BOTH("transformer.encoder.layers.%d.self_attention.query_key_value"),
              .project = BOTH("transformer.encoder.layers.%d.self_attention.dense"),
              .norm2 = {.weight = "transformer.encoder.layers.%d.post_attention_layernorm.weight"},
              .up = BOTH("transformer.encoder.layers.%d.mlp.dense_h_to_4h"),
              .down = BOTH("transformer.encoder.layers.%d.mlp.dense_4h_to_h")},
};

/* The first Qwen: w2 is the gate. */
const model_names qwen_names = {
    .tokens = "transformer.wte.weight",
    .final_norm = {.weight = "transformer.ln_f.weight"},
    .head = {.weight = "lm_head.weight"},
    .block = {.norm1 = {.weight = "transformer.h.%d.ln_1.weight"},
              .qkv = BOTH("transformer.h.%d.attn.c_attn"),
              .project = BOTH("transformer.h.%d.attn.c_proj"),
              .norm2 = {.weight = "transformer.h.%d.ln_2.weight"},
              .up = BOTH("transformer.h.%d.mlp.{w2,w1}"),
              .down = BOTH("transformer.h.%d.mlp.c_proj")},
};

const model_names vit_names = {
    .block = {.norm1 = BOTH("blocks.%d.norm1"),
              .qkv = BOTH("blocks.%d.attn.qkv"),
              .project = BOTH("blocks.%d.attn.proj"),
              .norm2 = BOTH("blocks.%d.norm2"),
              .up = BOTH("blocks.%d.mlp.fc1"),
              .down = BOTH("blocks.%d.mlp.fc2")},
};
