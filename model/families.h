/* families.h - what all models of a family have in common, as initializers of a model_config.
 * Sizes and the RoPE base are added by presets.c and model/hf/hf_families.c; the names of tensors
 * are in tensor_names.c.
 *
 * Sources: transformers' configuration and modelling files of each; ChatGLM's are in its own
 * repository (THUDM/chatglm3-6b).
 */
#ifndef REGRAD_FAMILIES_H
#define REGRAD_FAMILIES_H

#include "model/config.h"

extern const model_names gpt2_names, gpt2_head_names, llama_names, phi_names, bloom_names,
    falcon_names, falcon_two_names, chatglm_names, qwen_names, neox_names, phi3_names, olmo2_names,
    gemma2_names;
extern const model_names vit_names; /* of the block only */

#define GPT2_OPTIONS                                                                               \
    .names = &gpt2_names, .norm_eps = 1e-5, .act = ACT_GELU_TANH, .bias = BLOCK_BIASES,            \
    .embedding_scale = 1, .tied = true, .causal = true

#define LLAMA_LIKE                                                                                 \
    .names = &llama_names, .norm = NORM_RMS, .positions = POSITIONS_ROTARY, .gated = true,         \
    .causal = true

#define LLAMA_OPTIONS LLAMA_LIKE, .norm_eps = 1e-5, .act = ACT_SILU, .embedding_scale = 1
#define QWEN2_OPTIONS                                                                              \
    LLAMA_LIKE, .norm_eps = 1e-6, .act = ACT_SILU, .embedding_scale = 1, .bias.qkv = true
/* From 14b on. */
#define QWEN25_LARGE                                                                               \
    LLAMA_LIKE, .norm_eps = 1e-5, .act = ACT_SILU, .embedding_scale = 1, .bias.qkv = true
#define QWEN3_OPTIONS                                                                              \
    LLAMA_LIKE, .norm_eps = 1e-6, .act = ACT_SILU, .embedding_scale = 1, .qk_norm = QK_NORM_HEADS
/* embedding_scale is the root of the width. */
#define GEMMA_OPTIONS                                                                              \
    LLAMA_LIKE, .norm_eps = 1e-6, .act = ACT_GELU_TANH, .norm_plus_one = true, .tied = true
/* Norms before the branches and after; every other layer with a window; caps (Gemma team 2024,
 * arXiv 2408.00118) */
#define GEMMA2_OPTIONS                                                                             \
    .names = &gemma2_names, .norm = NORM_RMS, .norm_eps = 1e-6, .norm_plus_one = true,             \
    .positions = POSITIONS_ROTARY, .act = ACT_GELU_TANH, .gated = true, .tied = true,              \
    .causal = true, .norms = NORMS_BOTH, .window_skip = 2
#define GEMMA2_CAPS .attention_cap = 50, .logit_cap = 30
/* QK norms instead of caps; five of six layers with a window and a RoPE base of their own (Gemma
 * team 2025, arXiv 2503.19786) */
#define GEMMA3_OPTIONS                                                                             \
    .names = &gemma2_names, .norm = NORM_RMS, .norm_eps = 1e-6, .norm_plus_one = true,             \
    .positions = POSITIONS_ROTARY, .act = ACT_GELU_TANH, .gated = true, .tied = true,              \
    .causal = true, .norms = NORMS_BOTH, .window_skip = 6, .qk_norm = QK_NORM_HEADS
/* RoPE frequencies for contexts longer than the original 8192. */
#define LLAMA3_SCALING(factor_)                                                                    \
    .rotary.scaling.factor = factor_, .rotary.scaling.low = 1, .rotary.scaling.high = 4,           \
    .rotary.scaling.context = 8192
/* Every fourth layer has no positions (Yang et al. 2025, arXiv 2501.18795). */
#define SMOLLM3_OPTIONS                                                                            \
    LLAMA_LIKE, .norm_eps = 1e-6, .act = ACT_SILU, .embedding_scale = 1, .rotary.skip = 4
#define PHI3_OPTIONS                                                                               \
    .names = &phi3_names, .norm = NORM_RMS, .norm_eps = 1e-5, .positions = POSITIONS_ROTARY,       \
    .act = ACT_SILU, .gated = true, .embedding_scale = 1, .causal = true
/* Norms after the branches, and over all queries and all keys of a token (OLMo team 2024, arXiv
 * 2501.00656). */
#define OLMO2_OPTIONS                                                                              \
    .names = &olmo2_names, .norm = NORM_RMS, .norm_eps = 1e-6, .positions = POSITIONS_ROTARY,      \
    .act = ACT_SILU, .gated = true, .embedding_scale = 1, .causal = true, .norms = NORMS_AFTER,    \
    .qk_norm = QK_NORM_WHOLE
/* GPT-NeoX, Pythia */
#define NEOX_OPTIONS                                                                               \
    .names = &neox_names, .norm_eps = 1e-5, .positions = POSITIONS_ROTARY, .act = ACT_GELU_ERF,    \
    .bias = BLOCK_BIASES, .residual = RESIDUAL_PARALLEL, .embedding_scale = 1, .causal = true
#define QWEN_OPTIONS                                                                               \
    .names = &qwen_names, .norm = NORM_RMS, .norm_eps = 1e-6, .positions = POSITIONS_ROTARY,       \
    .act = ACT_SILU, .gated = true, .bias.qkv = true, .embedding_scale = 1, .causal = true
#define BLOOM_OPTIONS                                                                              \
    .names = &bloom_names, .norm_eps = 1e-5, .positions = POSITIONS_ALIBI, .act = ACT_GELU_TANH,   \
    .bias = BLOCK_BIASES, .embedding_norm = true, .embedding_scale = 1, .tied = true,              \
    .causal = true
#define PHI_OPTIONS                                                                                \
    .names = &phi_names, .norm_eps = 1e-5, .positions = POSITIONS_ROTARY, .act = ACT_GELU_TANH,    \
    .bias = {.norms = true, .qkv = true, .project = true, .up = true, .down = true, .head = true}, \
    .residual = RESIDUAL_PARALLEL_ONE_NORM, .embedding_scale = 1, .causal = true
#define FALCON_OPTIONS                                                                             \
    .names = &falcon_names, .norm_eps = 1e-5, .positions = POSITIONS_ROTARY, .act = ACT_GELU_ERF,  \
    .bias.norms = true, .residual = RESIDUAL_PARALLEL_ONE_NORM, .embedding_scale = 1,              \
    .tied = true, .causal = true
#define CHATGLM_OPTIONS                                                                            \
    .names = &chatglm_names, .norm = NORM_RMS, .norm_eps = 1e-5, .positions = POSITIONS_ROTARY,    \
    .rotary.interleaved = true, .act = ACT_SILU, .gated = true, .bias.qkv = true,                  \
    .embedding_scale = 1, .causal = true

#endif
