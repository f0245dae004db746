/* gguf_model.h - converts a model to llama.cpp's names, layouts and conventions.
 *
 *   ours                                 there
 *   qkv (q + 2 kv, C)                    attn_qkv, or attn_q, attn_k, attn_v
 *   up (2 inner, C), gate above up       ffn_gate, ffn_up
 *   LLaMA: rows of a head in halves      in pairs: row 2i of a head is our i, row 2i + 1 our i + D/2
 *   Gemma: multiplied by 1 + w           w + 1
 *
 * Matrices are stored as requested (q8_0: f16 if a row is not a multiple of 32); vectors and
 * learned positions in f32.
 */
#ifndef REGRAD_GGUF_MODEL_H
#define REGRAD_GGUF_MODEL_H

#include "io/gguf.h"
#include "model/config.h"
#include "params/params.h"

/* Adds the model's metadata and its tensors, whose values are read from p (f32, in host memory)
 * when the file is written.  User error if llama.cpp does not have the architecture, or has it in
 * another form. */
error *gguf_model(gguf *g, const model_config *c, const params *p, gguf_type matrices) NODISCARD;

#endif
