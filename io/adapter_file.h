/* adapter_file.h - adapters on disk, as peft writes them: a directory with
 *
 *   adapter_model.safetensors   base_model.model. + module + .lora_A.weight, .lora_B.weight
 *   adapter_config.json         r, lora_alpha, use_rslora, target_modules ...
 *
 * The tensors say which modules have an adapter, the configuration gives rank and scale.  A field
 * that would change the result and is not supported (DoRA, ranks by pattern, biases, modules saved
 * in full ...) is refused, with its name; so is an unknown field with a value.
 */
#ifndef REGRAD_ADAPTER_FILE_H
#define REGRAD_ADAPTER_FILE_H

#include "io/safetensors.h"
#include "model/config.h"
#include "model/lora.h"

typedef struct adapter_file adapter_file;

/* User errors name the path and the problem. */
error *adapter_open(const char *directory, adapter_file **out) NODISCARD;
void adapter_close(adapter_file *f); /* NULL is ignored */

/* Valid as long as f. */
const lora_plan *adapter_plan(const adapter_file *f);

/* Reads all adapters of a table made with that plan.  User errors: a tensor that is missing, has no
 * place, or has another shape or dtype (unless `cast` permits it). */
error *adapter_read(const adapter_file *f, params *p, float_cast cast, device *dev) NODISCARD;

/* Identifies the contents of both files, wherever they are (base/fingerprint.h). */
error *adapter_fingerprint(const char *directory, uint64_t *out) NODISCARD;

/* What is written beside the adapters' values. */
typedef struct {
    const model_config *model;
    const lora_plan *plan;
    const char *base; /* where the model was loaded from */
} adapter_about;

/* The tensors of the first of them as a list (io/params_file.h). */
error *adapter_tensors_list(const adapter_about *about, const params *p, named_tensor **out,
                            int *n) NODISCARD;
/* One of the files, under any path. */
error *adapter_tensors_write(const char *path, const adapter_about *about, const params *p,
                             device *dev, const tensor_source *from) NODISCARD;
error *adapter_config_write(const char *path, const adapter_about *about,
                            const params *p) NODISCARD;
/* Writes both into an existing directory; each is complete or not there. */
error *adapter_write(const char *directory, const adapter_about *about, const params *p,
                     device *dev, const tensor_source *from) NODISCARD;
/* Opens the tensors of such a file, wherever it is. */
error *adapter_tensors_read(const char *path, params *p, device *dev) NODISCARD;

#endif
