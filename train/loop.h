/* loop.h - a training run from data to trained file: what train.c does after planning. */
#ifndef REGRAD_LOOP_H
#define REGRAD_LOOP_H

#include "train/trainer.h"

/* Fills in the demo's data when none was given, if it is there; else a user error that says how to
 * make it. */
error *data_default(options *o) NODISCARD;

/* Trains a planned run on dev, writing o->out/{log.jsonl, plan.txt, plan.svg, options.json, config.json,
 * model.safetensors}. */
error *train_loop(trainer *t, device *dev) NODISCARD;

#endif
