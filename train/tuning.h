/* tuning.h - fine-tuning: the defaults of options when training starts from a loaded model, and
 * --lora and --adapter, from the options to the plan of the model (model/lora.h).
 *
 *                     from random weights      --load                   --load, adapters
 *     --lr            the optimizer's          a fiftieth of it         a fifth of it
 *     --grad-clip     0                        1, if the optimizer and --gradients can
 *     --warmup        20                       3 % of the steps
 *
 * With AdamW that is 2e-5 and 2e-4, common starting points (the recipes of TRL, axolotl and the
 * QLoRA paper). Images have recipes of their own: for them nothing changes.
 */
#ifndef REGRAD_TRAIN_TUNING_H
#define REGRAD_TRAIN_TUNING_H

#include "io/adapter_file.h"
#include "train/options.h"

/* For the unresolved options, except the optimizer's. */
double tuning_lr(const options *o);
double tuning_clip(const options *o);
int64_t tuning_warmup(const options *o);
/* What --help adds to an option's default, "" for others: for a task that fine-tunes. */
const char *tuning_help(const task *t, const char *option);
/* Prints which of these were chosen. */
void tuning_tell(const options *o);

/* o->training.lora, from the options and from the files of --adapter.  User errors: the two
 * contradict each other. */
error *tuning_resolve(options *o) NODISCARD;

/* A name in --lora-on that matches no matrix is probably a typo. */
error *tuning_check(const options *o, const params *p) NODISCARD;

/* The adapters' values: those of --adapter, or initial ones. */
error *tuning_load(const options *o, params *p, device *dev) NODISCARD;

/* What is written beside the adapters' values; with o->training.lora.rank. */
adapter_about tuning_about(const options *o);

#endif
