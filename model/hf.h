/* hf.h - Hugging Face's config.json for GPT-2, to a model_config and back.
 *
 *   n_layer n_head n_embd vocab_size           layers, heads, width, vocab
 *   n_positions (older files: n_ctx)           context
 *   n_inner (null: 4 n_embd)                   inner
 *   activation_function                        gelu_new, gelu_pytorch_tanh | gelu
 *   layer_norm_epsilon tie_word_embeddings     norm_eps, tied
 *
 * A field that is not there has the default of Hugging Face's GPT2Config.  One that asks for what
 * our GPT does not do is refused by name.  Dropout rates (*_pdrop) are passed over: they are no part
 * of the function, and we train without.
 */
#ifndef REGRAD_HF_H
#define REGRAD_HF_H

#include <cjson/cJSON.h>

#include "model/config.h"

/* User errors name `path`, the field and its value. */
error *hf_config_read(const char *path, const cJSON *json, model_config *out) NODISCARD;

/* Can Hugging Face's GPT-2 express it?  NULL, or what it has that is not to be had there. */
const char *hf_lacks(const model_config *c);

/* The text of a config.json that `transformers` reads, of weights in f32 or bf16; free it.  User error: a configuration that
 * its GPT-2 cannot express. */
error *hf_config_text(const model_config *c, dtype type, char **out) NODISCARD;

#endif
