/* tuning.h - training from a loaded model: what its options are when they are not given, and
 * --lora and --adapter, from the options to the plan that a model is made by (model/lora.h).
 *
 *                     from initial values      --load                   --load, adapters
 *     --lr            the optimizer's          a fiftieth of it         a fifth of it
 *     --grad-clip     0                        1, if the optimizer and --gradients can
 *     --warmup        20                       3 % of the steps
 *
 * With AdamW that is 2e-5 and 2e-4, what the field begins with (the recipes of TRL, axolotl and QLoRA's paper).
 * Images have recipes of their own: for them nothing changes.
 */
#ifndef REGRAD_TRAIN_TUNING_H
#define REGRAD_TRAIN_TUNING_H

#include "io/adapter_file.h"
#include "train/options.h"

/* Of the unresolved options, but for the optimizer's. */
double tuning_lr(const options *o);
double tuning_clip(const options *o);
int64_t tuning_warmup(const options *o);
/* What --help says of an option's default in addition, "" for others: of a task that tunes. */
const char *tuning_help(const task *t, const char *option);
/* Prints which of these were chosen. */
void tuning_tell(const options *o);

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
