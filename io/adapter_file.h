/* adapter_file.h - adapters on disk, as peft writes them: a directory with
 *
 *   adapter_model.safetensors   base_model.model. + module + .lora_A.weight, .lora_B.weight
 *   adapter_config.json         r, lora_alpha, use_rslora, target_modules ...
 *
 * The tensors say which modules have an adapter, the configuration how large and how strong it is.  What would
 * change the result and is not supported (DoRA, ranks by pattern, biases, modules saved whole ...) is refused
 * by its field's name; so is a field that is unknown and says something.
 */
#ifndef REGRAD_ADAPTER_FILE_H
#define REGRAD_ADAPTER_FILE_H

#include "io/safetensors.h"
#include "model/config.h"
#include "model/lora.h"

typedef struct adapter_file adapter_file;

/* User errors name the path and what is wrong with it. */
error *adapter_open(const char *directory, adapter_file **out) NODISCARD;
void adapter_close(adapter_file *f); /* NULL is fine */

/* Its names live as long as f. */
const lora_plan *adapter_plan(const adapter_file *f);

/* The values of all adapters of a table that was made by that plan.  User errors: a tensor that is missing,
 * has no place, another shape or dtype (but what `cast` lets through). */
error *adapter_read(const adapter_file *f, params *p, float_cast cast, device *dev) NODISCARD;

/* A number by which to know both files again, wherever they are (base/fingerprint.h). */
error *adapter_fingerprint(const char *directory, uint64_t *out) NODISCARD;

/* What is written of adapters besides their values. */
typedef struct {
    const model_config *model;
    const lora_plan *plan;
    const char *base; /* where the model was loaded from */
} adapter_about;

/* Either file alone, under any path. */
error *adapter_tensors_write(const char *path, const adapter_about *about, const params *p,
                             device *dev, const tensor_source *from) NODISCARD;
error *adapter_config_write(const char *path, const adapter_about *about,
                            const params *p) NODISCARD;
/* Both in a directory that exists; each wholly or not at all. */
error *adapter_write(const char *directory, const adapter_about *about, const params *p,
                     device *dev, const tensor_source *from) NODISCARD;
/* The tensors of such a file, which may be anywhere. */
error *adapter_tensors_read(const char *path, params *p, device *dev) NODISCARD;

#endif
