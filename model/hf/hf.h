/* hf.h - converts Hugging Face's config.json to a model_config and back.
 *
 * model_type: gpt2, llama (1 to 3.3, Vicuna, SmolLM 2), mistral, smollm3, qwen (the first), qwen2
 * (1.5, 2, 2.5), qwen3, gemma, gemma2, gemma3_text, bloom, phi (1, 1.5, 2), phi3 (3, 4), gpt_neox
 * (Pythia), olmo2, falcon, chatglm (2, 3).  hf_families.c has a table of fields for each.  Every
 * field of a file is one of these:
 *
 *   an option      layers, heads, eps ...; if absent, transformers' default applies
 *   required       must have the one value that our block implements (alibi false in Falcon)
 *   harmless       does not change what is computed (architectures, use_cache ...); nor do rates of
 *                  dropout on the residual stream.  bos_token_id, eos_token_id and pad_token_id are
 *                  written back unchanged
 *   refused        everything else, by name; also two fields that contradict each other, and a
 *                  field that appears twice
 *
 * When writing, the first family is chosen whose fields, when read back, give the same model.
 */
#ifndef REGRAD_HF_H
#define REGRAD_HF_H

#include <cjson/cJSON.h>

#include "model/config.h"

/* ignored: ? unknown fields to skip, NULL after the last.  User errors name `path`, the field and
 * its value. */
error *hf_config_read(const char *path, const cJSON *json, const char *const *ignored,
                      model_config *out) NODISCARD;

/* The same for a ViT (ViTConfig) or ConvNeXt (ConvNextConfig), over a preset's values in *out:
 * sizes, and the number of classes from its labels.  known: false, and nothing is read, if
 * model_type is another. */
error *hf_image_read(const char *path, const cJSON *json, bool *known, model_config *out) NODISCARD;

/* Is it a configuration of one of the two? */
bool hf_is_image(const cJSON *json);

/* The text of such a config.json, with names of the classes (? NULL: numbers); free it.  User error
 * if transformers has no such model. */
error *hf_image_text(const model_config *c, char *const *names, const char *type,
                     char **out) NODISCARD;

/* NULL if one of the families can express the model, else the feature that none can. */
const char *hf_lacks(const model_config *c);

/* The model_type of that family, or of the nearest. */
const char *hf_type(const model_config *c);

/* transformers' name for a type of weights: float32 or bfloat16. */
const char *hf_dtype(dtype type);

/* The text of a config.json that `transformers` reads, for weights of that type in its terms
 * (float32, bfloat16, float16); free it.  User error if no family can express the configuration. */
error *hf_config_text(const model_config *c, const char *type, char **out) NODISCARD;

#endif
