/* memory_search.h - --memory SIZE: the fastest settings whose plan fits.
 *
 * What may be chosen without changing what is trained: how much backward recomputes
 * (model/recompute.h), how the batch of a step is split into micro-batches, and where gradients
 * are. What --allow lists may be chosen, too, although it changes the training: the storage of
 * weights and states (core/stored_numbers.h).  The classifier's chunks have 64 MiB of logits at
 * most, and stay as they are, since their size changes the order of sums (model/gpt.c); but where a
 * device prefers larger ones and --logits-mib was not given, smaller ones are tried, too.
 *
 * Each combination is planned, which takes milliseconds and no memory; its time is predicted as
 *
 *     operations / (product rate)  +  bytes / (stream rate)
 *
 * counted while it is planned (core/cost.h), with rates of the machine, measured or given.  The
 * prediction only ranks settings; it does not promise seconds (docs/rank-times.md).
 */
#ifndef REGRAD_MEMORY_SEARCH_H
#define REGRAD_MEMORY_SEARCH_H

#include "train/trainer.h"

#include <stdio.h>

typedef struct {
    double gflops; /* of a matrix product in fp32 */
    double gbs;    /* 10^9 bytes a second, read and written */
    /* the same for a run in bf16: the same bytes are more numbers, which the CPU has to convert */
    double gflops_bf16, gbs_bf16;
    double host_gbs; /* between a GPU and its host's memory, in each direction; 0: not known */
} machine_rates;

/* A fraction of a second of work on the device, in at most `most` bytes (at least 256 KiB). */
error *fit_measure(device *dev, size_t most, machine_rates *out) NODISCARD;

/* Free bytes on the device; on the CPU, what this process may take (base/process_memory.h). */
error *fit_available(device *dev, size_t *out) NODISCARD;

/* Predicted seconds per step of a run with this working type. */
double fit_seconds(const work_count *work, dtype type, const machine_rates *rates);
/* The same with what --offload moves beside it, at --disk-rate or the host's rate, if that is
 * known: the longer of the two. */
double fit_step_seconds(const trainer *t, const machine_rates *rates);
/* Of that alone; 0 where nothing moves, or the rate is not known.  A disk takes turns, a GPU's bus
 * has both directions at once. */
double fit_offload_seconds(const trainer *t, const machine_rates *rates);

/* Chooses o->recompute, batch, accum and gradients, forms that --allow lists, and with
 * --host-memory what is offloaded (where the host's rate is not known, only if nothing fits
 * without); prints (out: ?) the choice, the runner-up and what the next GiB would buy.  Where
 * nothing fits with the method of attention that --attention auto took, the device's own is tried.
 * User error if nothing fits: how much is missing and what would help. */
error *fit_memory(options *o, const model_kind *kind, size_t bytes, const machine_rates *rates,
                  FILE *out) NODISCARD;

/* Compares the plan with free memory, before any of it is allocated.  User error if it needs more:
 * by how much, and with which settings the same step would fit, or what else would help. */
error *fit_check(const trainer *t, size_t free) NODISCARD;

/* Compares what lies in the second place with --host-memory, and (0: not known) with what is free
 * there.  User error if it needs more. */
error *fit_second_place(const trainer *t, size_t free) NODISCARD;

/* The largest preset, and its largest batch of full-length sequences, that trains in each of the
 * sizes, by optimizer: as usual (own gradients, everything kept), and with _r and recompute
 * sqrt. */
error *fit_presets(const options *o, const size_t *sizes, int n, FILE *out) NODISCARD;

#endif
