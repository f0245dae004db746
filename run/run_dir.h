/* run_dir.h - the directory of a run that may span several processes.
 *
 *   run_dir_open         locks --out, so that no two processes write there; removes what a stopped
 *                        one left; chooses the checkpoint to resume from, as --resume says.
 *                        Nothing else is changed yet.
 *   run_dir_resume       fills the tensors from that checkpoint, if there is one, and opens the log
 *   run_dir_logged       a line of the log that could not be written is not a reason to stop
 *   run_dir_checkpoint   syncs the log, writes a checkpoint, removes old ones
 *   run_dir_checkpoint_beside, run_dir_proceed, run_dir_wait
 *                        the same from a copy, in a thread, while the training continues; in parts
 *                        the second is called after each step
 *
 * With several ranks all of them call each of these; the first one has the lock, the log and the
 * checkpoints, and tells the others where to begin.
 *
 *     without --resume   a new run; refused if --out has checkpoints of another
 *     --resume auto      from the newest complete one in --out; if there is none a new run, and a
 *                        message
 *     --resume DIR       from that one; refused if it is incomplete, or if --out has later ones,
 *                        which would become another run's
 */
#ifndef REGRAD_RUN_DIR_H
#define REGRAD_RUN_DIR_H

#include "base/files.h"
#include "run/log.h"
#include "run/checkpoint_thread.h"
#include "run/run_state.h"

typedef struct {
    const char *path;   /* --out */
    const char *resume; /* ? --resume */
    int64_t steps;      /* --steps */
    int64_t keep;       /* --keep: number of checkpoints */
    bool beside;        /* --checkpoint-async */
    char *copy;         /* ? the room for a copy, on the first rank; in parts on each */
} run_dir_options;

typedef struct {
    run_dir_options o;
    run_contents *contents; /* its step: the last one in a checkpoint; 0 in a new run */
    comm *comm;
    checkpoints *all;
    char from[PATH_LENGTH]; /* the checkpoint to resume from; empty in a new run */
    run_log *log;
    checkpoint_thread beside;
    bool parted; /* in every rank a thread writes its part, about which they have yet to agree */
    bool warned; /* that the log is waiting for the disk */
} run_dir;

error *run_dir_open(run_dir *d, const run_dir_options *o, run_contents *contents) NODISCARD;
error *run_dir_resume(run_dir *d) NODISCARD;
error *run_dir_logged(run_dir *d, error *e) NODISCARD;
/* Its current path, for files of the run; NULL except on the first rank.  It is found again if it
 * was renamed (with a message), and created again if it was removed. */
error *run_dir_path(run_dir *d, const char **path) NODISCARD;
/* Called by all ranks, after something was written: if the first one's error is a full disk, and a
 * checkpoint can be spared, that is removed, the error freed and *again true. */
error *run_dir_make_room(run_dir *d, error **e, bool *again) NODISCARD;
/* Writes a checkpoint after the step; nothing if there is one already. */
error *run_dir_checkpoint(run_dir *d, int64_t step) NODISCARD;
/* The same from a copy, while the training continues; of several ranks all gather, and the first
 * one copies and writes, or in parts each its own.  Until run_dir_wait only run_dir_logged,
 * run_dir_proceed and run_dir_written may be called. */
error *run_dir_checkpoint_beside(run_dir *d, int64_t step) NODISCARD;
/* Called by all ranks between two steps: when each has its part of that of *step, the first one's
 * thread completes it.  Error: there is no checkpoint of that step. */
error *run_dir_proceed(run_dir *d, int64_t *step) NODISCARD;
/* Leaves parts that are being written alone, where the other ranks can no longer be asked. */
void run_dir_drop_parts(run_dir *d);
/* Is there one whose end need not be waited for? */
bool run_dir_written(run_dir *d);
/* Waits for it, in all ranks; *step is -1 if there is none.  Error: there is no checkpoint of that
 * step. */
error *run_dir_wait(run_dir *d, int64_t *step) NODISCARD;
void run_dir_close(run_dir *d);

#endif
