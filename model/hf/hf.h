/* hf.h - Hugging Face's config.json to a model_config and back.
 *
 * model_type: gpt2, llama (1 to 3.3, Vicuna, SmolLM 2), mistral, smollm3, qwen (the first), qwen2 (1.5,
 * 2, 2.5), qwen3, gemma, bloom, phi (1, 1.5, 2), phi3 (3, 4), gpt_neox (Pythia), falcon, chatglm (2, 3).  hf_families.c has a table of fields for each.  Every field
 * of a file is one of these:
 *
 *   an option      layers, heads, eps ...; an absent one has transformers' default
 *   required       it may only say what our block does (attention_dropout 0, alibi false in Falcon)
 *   harmless       it does not change what is computed (architectures, use_cache ...); nor do rates of
 *                  dropout on the residual stream.  bos_token_id, eos_token_id and pad_token_id are written
 *                  again as they were
 *   refused        everything else, by name; also two fields that contradict each other, and a
 *                  field that appears twice
 *
 * To write a file, the first family is chosen whose fields, when read back, give the same model.
 */
#ifndef REGRAD_HF_H
#define REGRAD_HF_H

#include <cjson/cJSON.h>

#include "model/config.h"

/* ignored: ? unknown fields that are let through, NULL after the last.  User errors name `path`, the
 * field and its value. */
error *hf_config_read(const char *path, const cJSON *json, const char *const *ignored,
                      model_config *out) NODISCARD;

/* The same of a ViT (ViTConfig), over a preset's values in *out: what its fields say, and as many classes
 * as it has labels. */
error *hf_vit_read(const char *path, const cJSON *json, model_config *out) NODISCARD;

/* NULL if one of the families can express the model, else the feature that none can. */
const char *hf_lacks(const model_config *c);

/* The model_type of that family, or of the nearest. */
const char *hf_type(const model_config *c);

/* transformers' word for a type of weights: float32, or bfloat16. */
const char *hf_dtype(dtype type);

/* The text of a config.json that `transformers` reads, for weights of that type in its words (float32,
 * bfloat16, float16); free it.  User error: a configuration that no family can express. */
error *hf_config_text(const model_config *c, const char *type, char **out) NODISCARD;

#endif
