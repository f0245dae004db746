/* model_file.h - a trained model on disk, in any supported form: what --load, ./export, ./generate
 * take.
 *
 *   DIR                    model.safetensors (or model.safetensors.index.json), config.json:
 *                          Hugging Face's (model/hf/hf.h), our checkpoints, the end of a run
 *   FILE.safetensors       the same, config.json beside it
 *   FILE.index.json        the same, in several files
 *   FILE                   an llm.c model file, recognized by its first bytes
 */
#ifndef REGRAD_MODEL_FILE_H
#define REGRAD_MODEL_FILE_H

#include "params/params.h"
#include "io/safetensors.h"
#include "model/config.h"

typedef struct weights weights;

/* Opens it, and checks headers and config.json.  ignored: ? unknown fields of config.json to skip,
 * NULL after the last.  User errors name the path and the problem. */
error *weights_open(const char *path, const char *const *ignored, weights **out) NODISCARD;
void weights_close(weights *w); /* NULL is ignored */

/* Reads a config.json; ignored as above. */
error *weights_config(const char *path, const char *const *ignored, model_config *out) NODISCARD;

/* The model's configuration. */
const model_config *weights_model(const weights *w);
/* The directory of the files, where a tokenizer may be. */
const char *weights_directory(const weights *w);

/* The type of all tensors if it is the same 16-bit one, else FILE_AS_IS. */
file_floats weights_floats(const weights *w);
/* transformers' word for them; f32 where they are as they are. */
const char *weights_floats_name(file_floats floats);

/* Identifies the contents of the files that a model's path stands for, wherever they are
 * (base/fingerprint.h); for a directory or an index, all .safetensors there except adapters. */
error *model_fingerprint(const char *path, uint64_t *out) NODISCARD;

/* Reads all values of a table made for weights_model.  Floats of another type are refused, or
 * converted as `cast` says; llm.c's in f32 are never rounded. */
error *weights_read(const weights *w, params *p, float_cast cast, device *dev) NODISCARD;

/* The same for values that are accessible one at a time (io/params_file.h).  User error for llm.c's
 * files. */
error *weights_read_into(const weights *w, params *p, float_cast cast, const tensor_source *into,
                         device *dev) NODISCARD;

/* Writes config.json and model.safetensors into an existing directory; each is complete or not
 * there.  No config.json if no known family fits (model/hf/hf.h).  from: ? source of the values, in
 * the order of the table. */
error *weights_write(const char *directory, const model_config *c, const params *p, device *dev,
                     const tensor_source *from) NODISCARD;
/* The same of values in f32, in other floats (io/safetensors.h). */
error *weights_write_as(const char *directory, const model_config *c, const params *p,
                        file_floats floats, device *dev) NODISCARD;

#endif
