/* memory_search.h - --memory SIZE: the fastest settings whose plan fits.
 *
 * What may be chosen without changing what is trained: how much is recomputed in backward
 * (model/recompute.h), how the batch of a step is split into micro-batches, and where gradients are.
 * What --allow lists may be chosen, too, though it changes the training: the forms of weights and
 * states (core/stored_numbers.h).  The classifier's chunks of rows are not a choice: they are at most 32 MiB of
 * logits, and a setting for them would change the order of sums (model/gpt.c).
 *
 * Each combination is planned, which takes milliseconds and no memory; its time is predicted as
 *
 *     operations / (product rate)  +  bytes / (stream rate)
 *
 * counted while it is planned (core/cost.h), with rates of the machine, measured or given.  The
 * prediction is there to rank; it does not promise seconds (docs/rank-times.md).
 */
#ifndef REGRAD_MEMORY_SEARCH_H
#define REGRAD_MEMORY_SEARCH_H

#include "train/trainer.h"

#include <stdio.h>

typedef struct {
    double gflops; /* of a matrix product in fp32 */
    double gbs;    /* 10^9 bytes a second, read and written */
    /* the same of a run in bf16: as many bytes are more numbers, which the CPU has to convert */
    double gflops_bf16, gbs_bf16;
} machine_rates;

/* A fraction of a second of work on the device, in at most `most` bytes (and 256 KiB at least). */
error *fit_measure(device *dev, size_t most, machine_rates *out) NODISCARD;

/* Bytes that are free on the device; on the CPU, that this process may take (base/process_memory.h). */
error *fit_available(device *dev, size_t *out) NODISCARD;

/* Seconds of a step of a run with this working type. */
double fit_seconds(const work_count *work, dtype type, const machine_rates *rates);

/* Chooses o->recompute, batch, accum and gradients, and forms that --allow lists; says (out: ?) what
 * was chosen, the runner-up and what the next GiB would buy.  User error: nothing fits; how much is
 * missing and what would help. */
error *fit_memory(options *o, const model_kind *kind, size_t bytes, const machine_rates *rates,
                  FILE *out) NODISCARD;

/* The plan beside the memory that is free, before any of it is taken.  User error when it needs more:
 * by how much, and with which settings the same step would fit, or what else would help. */
error *fit_check(const trainer *t, size_t free) NODISCARD;

/* The largest preset and batch of its longest sequences that trains in each of the sizes, by
 * optimizer: as usual (own gradients, everything kept), and with _r and recompute sqrt. */
error *fit_presets(const options *o, const size_t *sizes, int n, FILE *out) NODISCARD;

#endif
