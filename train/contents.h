/* contents.h - describes a trainer's run in the form that run/ expects (run/run_contents.h). */
#ifndef REGRAD_TRAIN_CONTENTS_H
#define REGRAD_TRAIN_CONTENTS_H

#include "run/run_contents.h"
#include "train/trainer.h"

/* `data` is the training data's fingerprint.  The trainer must outlive it. */
error *contents_describe(trainer *t, uint64_t data, uint64_t val_data, run_contents *out) NODISCARD;
void contents_free(run_contents *c);

#endif
