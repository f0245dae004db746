/* model_file.h - a trained model on disk, of whatever kind: what --load, ./export, ./generate take.
 *
 *   DIR                    model.safetensors (or model.safetensors.index.json), config.json:
 *                          Hugging Face's (model/hf/hf.h), our checkpoints, the end of a run
 *   FILE.safetensors       the same, config.json beside it
 *   FILE.index.json        the same, in several files
 *   FILE                   a model file of llm.c's, known by its first bytes
 */
#ifndef REGRAD_MODEL_FILE_H
#define REGRAD_MODEL_FILE_H

#include "params/params.h"
#include "io/safetensors.h"
#include "model/config.h"

typedef struct weights weights;

/* Opens, and checks headers and config.json.  ignored: ? unknown fields of config.json that are let
 * through, NULL after the last.  User errors name the path and what is wrong. */
error *weights_open(const char *path, const char *const *ignored, weights **out) NODISCARD;
void weights_close(weights *w); /* NULL is fine */

/* What a config.json says; ignored as above. */
error *weights_config(const char *path, const char *const *ignored, model_config *out) NODISCARD;

/* The model that they are of. */
const model_config *weights_model(const weights *w);
/* The directory that they are in, where a tokenizer's files may be. */
const char *weights_directory(const weights *w);

/* The floats that all of them are in where these are 16-bit ones, else FILE_AS_IS. */
file_floats weights_floats(const weights *w);

/* A number by which to know the files again that a model's path stands for, wherever they are: of all that is in
 * them (base/fingerprint.h); of a directory or an index that is all .safetensors there but adapters. */
error *model_fingerprint(const char *path, uint64_t *out) NODISCARD;

/* All values of a table that was made for weights_model.  Floats of another type are refused, or taken as
 * `cast` says; llm.c's in f32 are never rounded. */
error *weights_read(const weights *w, params *p, float_cast cast, device *dev) NODISCARD;

/* The same into values that are there one at a time (io/params_file.h).  User error: llm.c's files. */
error *weights_read_into(const weights *w, params *p, float_cast cast, const tensor_source *into,
                         device *dev) NODISCARD;

/* config.json and model.safetensors to a directory that exists; each wholly or not at all.  No
 * config.json for a model of no family that is known (model/hf/hf.h).  from: ? values from there, in
 * the order of the table. */
error *weights_write(const char *directory, const model_config *c, const params *p, device *dev,
                     const tensor_source *from) NODISCARD;
/* The same of values in f32, in other floats (io/safetensors.h). */
error *weights_write_as(const char *directory, const model_config *c, const params *p,
                        file_floats floats, device *dev) NODISCARD;

#endif
