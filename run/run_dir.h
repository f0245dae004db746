/* run_dir.h - a run's directory: one run over several processes.
 *
 *   run_dir_open         locks --out, so that no two processes write there; removes what a stopped
 *                        one left; decides which checkpoint to resume from, as --resume says.
 *                        Nothing else is touched yet.
 *   run_dir_resume       fills the tensors from that checkpoint, if there is one, and opens the log
 *   run_dir_logged       a line of the log that the disk did not take is not a reason to stop
 *   run_dir_checkpoint   log to disk, checkpoint, old ones away
 *
 * With several ranks all of them come to each of these; the first one has the lock, the log and the
 * checkpoints, the others hear from it where to begin.
 *
 *     without --resume   a new run; refused where --out has checkpoints of another
 *     --resume auto      the newest whole one in --out; a new run, and saying so, where none is
 *     --resume DIR       that one; refused when it is not whole, or when --out has later ones, which
 *                        would become another run's
 */
#ifndef REGRAD_RUN_DIR_H
#define REGRAD_RUN_DIR_H

#include "base/files.h"
#include "run/log.h"
#include "run/run_state.h"

typedef struct {
    const char *path;   /* --out */
    const char *resume; /* ? --resume */
    int64_t steps;      /* --steps */
    int64_t keep;       /* --keep: checkpoints */
} run_dir_options;

typedef struct {
    run_dir_options o;
    run_contents *contents; /* its step: the last one that is in a checkpoint; 0 in a new run */
    comm *comm;
    checkpoints *all;
    char from[PATH_LENGTH]; /* the checkpoint to resume from; empty in a new run */
    run_log *log;
    bool warned; /* that the log waits for the disk */
} run_dir;

error *run_dir_open(run_dir *d, const run_dir_options *o, run_contents *contents) NODISCARD;
error *run_dir_resume(run_dir *d) NODISCARD;
error *run_dir_logged(run_dir *d, error *e) NODISCARD;
/* Where it is now, for files of the run; NULL but in the first rank.  It is found again when it was
 * renamed (with a message), and created again when it was removed. */
error *run_dir_path(run_dir *d, const char **path) NODISCARD;
/* By all ranks, after something was written: if the first one's error is that the disk is full, and a
 * checkpoint can be spared, that is removed, the error freed and *again true. */
error *run_dir_make_room(run_dir *d, error **e, bool *again) NODISCARD;
/* A checkpoint after step; nothing if there is one already. */
error *run_dir_checkpoint(run_dir *d, int64_t step) NODISCARD;
void run_dir_close(run_dir *d);

#endif
