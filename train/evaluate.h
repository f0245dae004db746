/* evaluate.h - --eval-only: the loss, and of a classifier the accuracy and top-5, of a model on
 * --val-data.
 *
 *     --load FILE|DIR          a model: of a run, of timm, of Hugging Face, as training begins with it
 *     --resume auto --out RUN  a run's newest complete checkpoint, with the run's options; its averaged weights
 *     --resume CHECKPOINT      if it was run with --ema
 *
 * Nothing is trained and nothing is written.  The plan has parameters and one forward pass: no
 * gradients, no states.  The directory is not locked, so a run that is still training can be looked
 * at.
 */
#ifndef REGRAD_EVALUATE_H
#define REGRAD_EVALUATE_H

#include "train/trainer.h"

/* Before the options are resolved: what concerns only training is as if it had not been given. */
void evaluate_options(options *o);

/* Prints the result, as one JSON object with --json. */
error *evaluate_only(trainer *t, device *dev) NODISCARD;

#endif
