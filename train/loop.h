/* loop.h - a training run from data to the trained model: everything that train.c does after
 * planning. */
#ifndef REGRAD_LOOP_H
#define REGRAD_LOOP_H

#include "train/trainer.h"

#include <stdio.h>

/* A file that is written into --out when a run begins. */
typedef struct {
    const char *name;
    error *(*print)(const trainer *t, FILE *out);
} run_report;

/* Writes into the directory --out: the file is replaced in one step, or stays as it was. */
error *run_report_write(const trainer *t, const run_report *r) NODISCARD;

/* Trains a planned run on dev, writing o->out/{log.jsonl, options.json, config.json,
 * model.safetensors}, and the reports, a list that ends with one without a name (from
 * plan/plan_report.h, which is above this module). */
error *train_loop(trainer *t, device *dev, const run_report *reports) NODISCARD;

#endif
