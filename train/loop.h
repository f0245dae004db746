/* loop.h - a training run from data to trained file: what train.c does after planning. */
#ifndef REGRAD_LOOP_H
#define REGRAD_LOOP_H

#include "train/trainer.h"

/* Trains a planned run on dev, writing o->out/{log.jsonl, plan.txt, plan.svg, options.json, config.json,
 * model.safetensors}. */
error *train_loop(trainer *t, device *dev) NODISCARD;

#endif
