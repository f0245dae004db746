/* params_file.h - stores the parameter table in a safetensors file and reads it back.
 *
 * Names and layouts are Hugging Face's.  One parameter of ours may be several tensors there, or
 * have another layout (param_spec says how):
 *
 *   file_transposed     (in, out) in the file
 *   a name {q,k,v}...   a tensor each for part_rows[0], [1], [2] of its rows
 *   file_groups         one tensor, its rows group by group (io/safetensors.h)
 *
 * Conventions for files vary; all of these are read:
 *
 *   h.0.ln_1.weight, or transformer.h.0.ln_1.weight, or (LLaMA etc.) with or without model.
 *   h.0.attn.bias, h.0.attn.masked_bias: the causal mask, not a parameter; ignored
 *   ....inv_freq: RoPE frequencies, not parameters; ignored
 *   lm_head.weight beside a tied embedding: must hold the same bytes
 */
#ifndef REGRAD_PARAMS_FILE_H
#define REGRAD_PARAMS_FILE_H

#include "params/params.h"
#include "io/safetensors.h"

/* Writes all parameters of the model (without adapters); the file is complete or not there.  from:
 * ? source of the values, in the order of the table. */
error *params_write(const char *path, const params *p, device *dev,
                    const tensor_source *from) NODISCARD;
/* The same in other floats (io/safetensors.h). */
error *params_write_as(const char *path, const params *p, file_floats floats,
                       device *dev) NODISCARD;

/* Reads every parameter.  User errors: a parameter that is missing, a tensor that has no place,
 * another shape or dtype; the values are then partly overwritten. */
error *params_read(const safetensors *s, params *p, device *dev) NODISCARD;
/* The same, with floats of another type as `cast` says. */
error *params_read_cast(const safetensors *s, params *p, float_cast cast, device *dev) NODISCARD;

/* The same, where each row's value is accessible only between into's open and close; without
 * sharding. */
error *params_read_into(const safetensors *s, params *p, float_cast cast, const tensor_source *into,
                        device *dev) NODISCARD;

/* The same for adapters only (model/lora.h), whose names get the prefix `front`; if a table has
 * adapters, a source provides only their values. */
error *adapters_write(const char *path, const char *front, const params *p, device *dev,
                      const tensor_source *from) NODISCARD;
error *adapters_read(const safetensors *s, const char *front, params *p, float_cast cast,
                     device *dev) NODISCARD;

/* The adapters as such a list, under names with the prefix. */
error *adapters_list(const params *p, const char *front, named_tensor **out, int *n) NODISCARD;

/* A tensor's name without the prefix that some writers add: transformer. or model. */
const char *params_plain_name(const char *name);

/* The model's part of the table as a list of its *n tensors in files, with names; one block, to be
 * freed. */
error *params_list(const params *p, named_tensor **out, int *n) NODISCARD;

#endif
