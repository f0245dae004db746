/* checkpoint.h - checkpoints of a run: each is whole or not there, whenever the power goes.
 *
 * A checkpoint is a directory in the run's.  It is made under another name, and gets its own by one
 * rename when every byte of it is on the disk:
 *
 *     mkdir   step_00001000.tmp
 *     write   step_00001000.tmp/model.safetensors      fsync     (as many files as there are,
 *     write   step_00001000.tmp/state.json             fsync      by as many processes)
 *     write   step_00001000.tmp/manifest.json          fsync     sizes and hashes of all: last
 *     fsync   step_00001000.tmp                        the names of all
 *     rename  step_00001000.tmp -> step_00001000
 *     fsync   the run's directory                      from here on it counts
 *
 *     rename  step_00000800 -> step_00000800.trash     only now an old one goes: first its name,
 *     fsync   the run's directory                      then its files
 *     unlink  step_00000800.trash/...
 *
 * So what is called step_N was whole when it got that name.  Disks fail and files are copied badly
 * all the same, so nothing is believed: the newest checkpoint is the newest one whose manifest
 * holds (run/manifest.h), and the last K that are kept are the last K that do.
 *
 *     .tmp, .trash    left by a process that was stopped; removed when the directory is opened next
 *     .broken         one that does not hold and was in the way of a new one; never removed here
 *
 * Here is what is done with names and files; what the files mean is run/run_state.h's.
 */
#ifndef REGRAD_CHECKPOINT_H
#define REGRAD_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "run/manifest.h"

/* The checkpoints of a run's directory. */
typedef struct checkpoints checkpoints;

/* Opens the directory (which must exist) and locks it until it is closed.  User error when another
 * process has it open. */
error *checkpoints_open(const char *directory, checkpoints **out) NODISCARD;
void checkpoints_close(checkpoints *c); /* NULL is fine */

/* Where it is now: the directory is held by its descriptor, so a run continues in it when it is renamed. */
const char *checkpoints_path(const checkpoints *c);

/* Finds it again after it may have been renamed (*moved), or removed: then it is created again, and has no
 * checkpoints.  User error: it can be neither found nor made. */
error *checkpoints_follow(checkpoints *c, bool *moved) NODISCARD;

/* Removes what stopped processes left: *n is how many unfinished checkpoints, and files of the run that
 * had not got their names. */
error *checkpoints_clean(checkpoints *c, int *n) NODISCARD;

/* The disk is full: removes the oldest one, if a newer one is whole; *step is -1 if there is none to
 * spare. */
error *checkpoints_give_way(checkpoints *c, int64_t *step) NODISCARD;

/* How many directories are called step_N, whole or not, and the largest N (-1 without any). */
int64_t checkpoints_count(const checkpoints *c);
int64_t checkpoints_latest(const checkpoints *c);

/* Finds the newest whole one.  Each newer one that is not goes to report (which owns the error).
 * *step is -1, and the path empty, when there is none. */
error *checkpoints_newest(checkpoints *c, void (*report)(void *context, error *why), void *context,
                          char *path /* PATH_LENGTH */, int64_t *step) NODISCARD;

/* The largest N < step of a directory step_N in there, whole or not, and its path; -1 if there is none.  Nothing is
 * locked: it may be gone or renamed a moment later. */
int64_t checkpoint_below(const char *directory, int64_t step, char *path /* PATH_LENGTH */);

/* The step of a directory by its name, -1 if it is not a checkpoint's. */
int64_t checkpoint_step(const char *path);

/* A file of a checkpoint and how it is made: wholly, and synced, at this path. */
typedef struct {
    const char *name;
    error *(*write)(void *context, const char *path);
} checkpoint_part;

/* Writes a checkpoint of n files.  On failure nothing of it is left, as far as the disk allows, and
 * all others are as they were.  What is called step_N already is set aside if it is not whole; if
 * it is, that is a user error. */
error *checkpoint_write(checkpoints *c, int64_t step, const checkpoint_part *parts, int n,
                        void *context) NODISCARD;

/* Removes all that is older than the newest `keep` (1, 2, ...) whole ones. */
error *checkpoints_prune(checkpoints *c, int64_t keep) NODISCARD;

#endif
