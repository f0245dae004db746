/* log.h - a run's records for programs: log.jsonl.
 *
 * log.jsonl has one object a line, written line by line; floats as %.9g, which gives back the same
 * float bits, whole numbers (bytes) to the last digit.  What is not a finite number is null.
 *
 *   {"step":1,"loss":7.6,"lr":0.0003,"grad_norm":1.2,"ms":150.1,"forward_ms":44.7,"backward_ms":98.1,
 *    "optimizer_ms":6.9,"tokens_per_s":27000,"peak_bytes":123}         (in one line)
 *   ... "comm_ms":3.1,"comm_bytes":6992000,"ranks":4,"peak_bytes":123}     with several ranks
 *   {"step":50,"val_loss":5.1}
 *
 * A line that the disk does not take waits and is tried again with the next, so that a run can wait
 * for room (half a MiB of lines; then some are lost, and counted); a checkpoint is only made of what is on the disk (log_sync).  A run that is resumed
 * cuts the log where its checkpoint was made and continues from there: no step twice, none missing.
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
    double forward_ms, backward_ms, optimizer_ms; /* of ms; the rest: data, results */
    double data_ms;                               /* of ms: waiting for data */
    double accuracy;                              /* NAN: none */
    double mfu_llmc, mfu_palm;                    /* NAN: not on a GPU (train/mfu.h) */
    const char *unit;                             /* "tokens" */
    size_t peak_bytes;
    int ranks;          /* 0 in a run of one process */
    int64_t comm_bytes; /* moved between ranks (ranks/comm.h) */
    double comm_ms;     /* of ms: this process has waited for them */
    double seconds_left;
} step_record;

typedef struct run_log run_log;

/* A new log, in place of what is there. */
error *log_start(const char *path, run_log **out) NODISCARD;

/* Continues one that was `bytes` long after `step` (as log_sync said): cuts what came later.
 * *whole is false when lines from before are missing; then those that are there are kept. */
error *log_continue(const char *path, int64_t step, int64_t bytes, run_log **out,
                    bool *intact) NODISCARD;

/* A line; nothing without a log (NULL).  After an error, log_waits says whether lines wait for the next
 * try: half a MiB of them, then they are left out and counted. */
error *log_step(run_log *log, const step_record *s) NODISCARD;
error *log_value(run_log *log, int64_t step, const char *name, double value) NODISCARD;
bool log_waits(const run_log *log);
int64_t log_dropped(const run_log *log);

/* All lines to the disk; *bytes is then the file's length. */
error *log_sync(run_log *log, int64_t *bytes) NODISCARD;
void log_close(run_log *log); /* NULL is fine */

#endif
