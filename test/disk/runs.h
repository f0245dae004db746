/* runs.h - whole runs of training, each in a process of its own, and what they leave.
 *
 * The process of the test itself never trains: OpenMP's threads do not survive a fork.  What a run
 * says, on stdout and stderr, is kept for the test to read.
 */
#ifndef REGRAD_TEST_DISK_RUNS_H
#define REGRAD_TEST_DISK_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { RUN_SAID = 1 << 14 };

/* A directory with shards of made-up tokens (a_train.bin ... e_train.bin,
 * other_train.bin), in which runs are. */
void runs_make(const char *directory);

/* A run with these words as options, started in the directory; `before` is
 * called in its process. */
pid_t run_start(const char *directory, const char *words, void (*before)(void *), void *context);

/* Waits for it: its exit status, or 1000 + the signal that ended it. */
int run_wait(pid_t child);

/* Both; fails the test, with what it said, unless the status is 0. */
void run_finishes(const char *directory, const char *words);
int run_status(const char *directory, const char *words);

/* What the last run said; valid until the next call. */
const char *run_said(const char *directory);

/* Fails the test unless both runs have the same: trained parameters, log (but for times), the files
 * of the checkpoint `step` (if it is not 0). */
void runs_same(const char *directory, const char *a, const char *b, int64_t step);

#endif
