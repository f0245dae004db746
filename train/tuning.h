/* tuning.h - training of adapters beside a loaded model: --lora and --adapter, from the options to the plan
 * that a model is made by (model/lora.h).
 */
#ifndef REGRAD_TRAIN_TUNING_H
#define REGRAD_TRAIN_TUNING_H

#include "io/adapter_file.h"
#include "train/options.h"

/* o->training.lora, from what was given and what the files of --adapter say.  User errors: the two contradict
 * each other. */
error *tuning_resolve(options *o) NODISCARD;

/* A name of --lora-on that fits no matrix is a slip of the pen. */
error *tuning_check(const options *o, const params *p) NODISCARD;

/* The adapters' values: those of --adapter, else new ones. */
error *tuning_load(const options *o, params *p, device *dev) NODISCARD;

/* What is written of the adapters besides their values; they are there with o->training.lora.rank. */
adapter_about tuning_about(const options *o);

#endif
