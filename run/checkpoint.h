/* checkpoint.h - checkpoints of a run: each is complete or not there, even after a power cut.
 *
 * A checkpoint is a subdirectory of the run's.  It is written under another name, and gets its own
 * by one rename when every byte of it is on disk:
 *
 *     mkdir   step_00001000.tmp
 *     write   step_00001000.tmp/model.safetensors      fsync     (any number of files,
 *     write   step_00001000.tmp/state.json             fsync      by any number of processes)
 *     write   step_00001000.tmp/manifest.json          fsync     sizes and hashes of all: last
 *     fsync   step_00001000.tmp                        the directory entries
 *     rename  step_00001000.tmp -> step_00001000
 *     fsync   the run's directory                      from here on it counts
 *
 *     rename  step_00000800 -> step_00000800.trash     only now is an old one removed: first its
 *     fsync   the run's directory                      name, then its files
 *     unlink  step_00000800.trash/...
 *
 * So a directory named step_N was complete when it got that name.  Disks fail and files are copied
 * badly all the same, so nothing is trusted: the newest checkpoint is the newest one whose manifest
 * matches (run/manifest.h), and the last K that are kept are the last K that match.
 *
 *     .tmp, .trash    left by a process that was stopped; removed when the directory is next opened
 *     .broken         one that does not match and was in the way of a new one; never removed here
 *
 * This file handles names and files; run/run_state.h defines their contents.
 */
#ifndef REGRAD_CHECKPOINT_H
#define REGRAD_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "run/manifest.h"

/* The directory in a run's that holds a model as --out does, that of the lowest loss. */
#define RUN_BEST "best"

/* The checkpoints of a run's directory. */
typedef struct checkpoints checkpoints;

/* Opens the directory (which must exist) and locks it until it is closed.  User error if another
 * process has it open. */
error *checkpoints_open(const char *directory, checkpoints **out) NODISCARD;
void checkpoints_close(checkpoints *c); /* NULL is ignored */

/* Its current path: the directory is held by its descriptor, so a run continues in it after a
 * rename. */
const char *checkpoints_path(const checkpoints *c);

/* Finds it again after it may have been renamed (*moved), or removed: then it is created again,
 * without checkpoints.  User error if it can be neither found nor created. */
error *checkpoints_follow(checkpoints *c, bool *moved) NODISCARD;

/* Removes what stopped processes left: *n is the number of unfinished checkpoints and unfinished
 * files of the run and of its best model. */
error *checkpoints_clean(checkpoints *c, int *n) NODISCARD;

/* The disk is full: removes the oldest one, if a newer one is complete; *step is -1 if none can be
 * spared. */
error *checkpoints_give_way(checkpoints *c, int64_t *step) NODISCARD;

/* The same after something could not be written: is that for want of room, and was one removed
 * (with a message), so that it is worth another try? */
bool checkpoints_make_room(checkpoints *c, const error *why);

/* How many directories are named step_N, complete or not, and the largest N (-1 if none). */
int64_t checkpoints_count(const checkpoints *c);
int64_t checkpoints_latest(const checkpoints *c);

/* Finds the newest complete one.  Each newer one that is not goes to report (which owns the error).
 * *step is -1, and the path empty, if there is none. */
error *checkpoints_newest(checkpoints *c, void (*report)(void *context, error *why), void *context,
                          char *path /* PATH_LENGTH */, int64_t *step) NODISCARD;

/* The largest N < step of a directory step_N, complete or not, and its path; -1 if there is none.
 * Takes no lock: it may be gone or renamed a moment later. */
int64_t checkpoint_below(const char *directory, int64_t step, char *path /* PATH_LENGTH */);

/* The step in a directory's name, -1 if it is not a checkpoint's. */
int64_t checkpoint_step(const char *path);

/* A file of a checkpoint and the function that writes it: completely, and synced, at this path. */
typedef struct {
    const char *name;
    error *(*write)(void *context, const char *path);
} checkpoint_part;

/* Writes a checkpoint of n files.  On failure nothing of it is left, as far as the disk permits,
 * and all others are unchanged.  An existing step_N is set aside if it is not complete; if it is,
 * that is a user error. */
error *checkpoint_write(checkpoints *c, int64_t step, const checkpoint_part *parts, int n,
                        void *context) NODISCARD;

/* The same where several processes write files, in three steps: one begins, and tells the others
 * the directory (PATH_LENGTH); each writes its own; when all have, the first ends, with the names
 * of all files and what is known of them (run/manifest.h), or abandons it. */
error *checkpoint_begin(checkpoints *c, int64_t step, char *directory) NODISCARD;
error *checkpoint_write_parts(const char *directory, const checkpoint_part *parts, int n,
                              void *context) NODISCARD;
error *checkpoint_end(checkpoints *c, int64_t step, const char *const *names,
                      const file_facts *facts, int n) NODISCARD;
void checkpoint_abandon(checkpoints *c, int64_t step);

/* Removes everything older than the newest `keep` (1, 2, ...) complete ones. */
error *checkpoints_prune(checkpoints *c, int64_t keep) NODISCARD;

#endif
