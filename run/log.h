/* log.h - a run's record for programs: log.jsonl.
 *
 * log.jsonl has one object per line; floats are printed as %.9g, which restores the same bits,
 * integers (bytes) in full.  Infinite and NaN values are null.
 *
 *   {"step":1,"loss":7.6,"lr":0.0003,"grad_norm":1.2,"ms":150.1,"forward_ms":44.7,"backward_ms":98.1,
 *    "optimizer_ms":6.9,"tokens_per_s":27000,"peak_bytes":123}         (in one line)
 *   ... "comm_ms":3.1,"comm_bytes":6992000,"ranks":4,"peak_bytes":123}     with several ranks
 *   ... "between_bytes":1748000,"peak_bytes":123}     with --shard-group
 *   ... "offload_ms":3.1,"offload_bytes":1990656000,"peak_bytes":123}     with --offload
 *   ... "checkpoint_ms":812.4,"peak_bytes":123}     if one was written since the line before
 *   {"step":50,"val_loss":5.1}
 *
 * A line that cannot be written because the disk is full is queued and retried with the next, so
 * that a run can wait for room (half a MiB of lines; then some are lost, and counted); a checkpoint
 * is only made of what is on disk (log_sync).  A resumed run truncates the log to the length at its
 * checkpoint and continues from there: no step twice, none missing.
 */
#ifndef REGRAD_LOG_H
#define REGRAD_LOG_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t step, steps;
    double loss, lr, grad_norm, ms, units_per_s;
    double forward_ms, backward_ms, optimizer_ms; /* part of ms; the rest: data, results */
    double data_ms;                               /* part of ms: waiting for data */
    double accuracy;                              /* NAN: none */
    double mfu_llmc, mfu_palm;                    /* NAN: not on a GPU (train/mfu.h) */
    const char *unit;                             /* "tokens" */
    size_t peak_bytes;
    int ranks;             /* 0 in a run of one process */
    int64_t comm_bytes;    /* traffic between ranks (ranks/comm.h) */
    int64_t between_bytes; /* ... between groups of them; 0 without --shard-group */
    double comm_ms;        /* part of ms: the step was held up by communication */
    int64_t offload_bytes; /* to and from the disk (core/far.h); 0 without --offload */
    double offload_ms;     /* part of ms: waiting for the disk */
    double checkpoint_ms;  /* beside ms: how long checkpoints took since the line before */
    double seconds_left;
} step_record;

typedef struct run_log run_log;

/* A new log, replacing an existing one. */
error *log_start(const char *path, run_log **out) NODISCARD;

/* Continues a log that was `bytes` long after `step` (as log_sync said): truncates what came later.
 * *whole is false if earlier lines are missing; the existing ones are kept then. */
error *log_continue(const char *path, int64_t step, int64_t bytes, run_log **out,
                    bool *intact) NODISCARD;

/* A line; does nothing without a log (NULL).  After an error, log_waits tells whether lines are
 * queued for the next try: up to half a MiB, then they are dropped and counted. */
error *log_step(run_log *log, const step_record *s) NODISCARD;
error *log_value(run_log *log, int64_t step, const char *name, double value) NODISCARD;
bool log_waits(const run_log *log);
int64_t log_dropped(const run_log *log);

/* Syncs all lines to disk; *bytes is then the file's length. */
error *log_sync(run_log *log, int64_t *bytes) NODISCARD;
void log_close(run_log *log); /* NULL is ignored */

#endif
