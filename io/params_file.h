/* params_file.h - the parameter table to a safetensors file and back.
 *
 * Names and layouts are Hugging Face's.  What is one parameter here may be several tensors there, or
 * are stored otherwise (param_spec says how):
 *
 *   file_transposed     (in, out) in the file
 *   a name {q,k,v}...   a tensor each for part_rows[0], [1], [2] of its rows
 *   file_groups         one tensor, its rows group by group (io/safetensors.h)
 *
 * Files come in several habits, and all are read:
 *
 *   h.0.ln_1.weight, or transformer.h.0.ln_1.weight, or (LLaMA's ...) with or without model.
 *   h.0.attn.bias, h.0.attn.masked_bias: the causal mask, no parameter; passed over
 *   ....inv_freq: the rotations' frequencies, no parameters; passed over
 *   lm_head.weight beside a tied embedding: must hold the same bytes
 */
#ifndef REGRAD_PARAMS_FILE_H
#define REGRAD_PARAMS_FILE_H

#include "params/params.h"
#include "io/safetensors.h"

/* Writes all parameters of the model (adapters are none), wholly or not at all.  from: ? values from
 * there, in the order of the table. */
error *params_write(const char *path, const params *p, device *dev,
                    const tensor_source *from) NODISCARD;
/* The same in other floats (io/safetensors.h). */
error *params_write_as(const char *path, const params *p, file_floats floats,
                       device *dev) NODISCARD;

/* Every parameter's value from the file.  User errors: a parameter that is missing, a tensor that
 * has no place, another shape or dtype; the values are then partly those of the file. */
error *params_read(const safetensors *s, params *p, device *dev) NODISCARD;
/* The same, with floats of another type as `cast` says. */
error *params_read_cast(const safetensors *s, params *p, float_cast cast, device *dev) NODISCARD;

/* The same, but each row's value is there only between into's open and close: nothing is sharded. */
error *params_read_into(const safetensors *s, params *p, float_cast cast, const tensor_source *into,
                        device *dev) NODISCARD;

/* The same of adapters alone (model/lora.h), whose names have `front` before them; where a table has some, a
 * source has their values alone. */
error *adapters_write(const char *path, const char *front, const params *p, device *dev,
                      const tensor_source *from) NODISCARD;
error *adapters_read(const safetensors *s, const char *front, params *p, float_cast cast,
                     device *dev) NODISCARD;

/* A tensor's name without what some writers put before it: transformer. or model. */
const char *params_plain_name(const char *name);

/* The model's part of the table as the list of its *n tensors in files and their names; one block, to be freed. */
error *params_list(const params *p, named_tensor **out, int *n) NODISCARD;

#endif
