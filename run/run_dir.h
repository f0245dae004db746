/* run_dir.h - one run over several processes: where each begins, and what the next one finds.
 *
 *   life_open      locks --out, so that no two processes write there; removes what a stopped one
 *                  left; decides where to begin, as --resume says.  Nothing else is touched yet.
 *   life_begin     fills the tensors from the checkpoint, if there is one, and opens the log there
 *   life_logged    a line of the log that the disk did not take is no reason to stop
 *   life_keep      log to disk, checkpoint, old ones away
 *
 * With several ranks all of them come to each of these; the first one has the lock, the log and the
 * checkpoints, the others hear from it where to begin.
 *
 *     without --resume   a new run; refused where --out has checkpoints of another
 *     --resume auto      the newest whole one in --out; a new run, and saying so, where none is
 *     --resume DIR       that one; refused when it is not whole, or when --out has later ones, which
 *                        would become another run's
 */
#ifndef REGRAD_LIFE_H
#define REGRAD_LIFE_H

#include "base/files.h"
#include "run/log.h"
#include "run/run_state.h"

typedef struct {
    checkpoints *all;
    run_state state; /* step: the last one that is in a checkpoint; 0 in a new run */
    char from[PATH_LENGTH], vocab[PATH_LENGTH];
    run_log *log;
    bool warned; /* that the log waits for the disk */
} life;

/* `data` is the training data's fingerprint. */
error *life_open(life *l, trainer *t, uint64_t data) NODISCARD;
error *life_begin(life *l) NODISCARD;
error *life_logged(life *l, error *e) NODISCARD;
/* A checkpoint after step; nothing if there is one already. */
error *life_keep(life *l, int64_t step) NODISCARD;
void life_close(life *l);

#endif
