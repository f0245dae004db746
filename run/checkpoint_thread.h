/* checkpoint_thread.h - writes a checkpoint from its copy beside the training: one at a time.
 *
 * From start to join the thread has the checkpoints (run/checkpoint.h) to itself: it writes one
 * with the guarantees that any has, makes room on a full disk, and removes old ones.  The training
 * may look whether it is done, and must join before it does anything else in the run's directory
 * but log.  In parts each rank's thread writes its own; when all have, as their trainings have told
 * each other (run/run_dir.h), the first rank's thread completes the checkpoint.
 */
#ifndef REGRAD_CHECKPOINT_THREAD_H
#define REGRAD_CHECKPOINT_THREAD_H

#include "run/run_state.h"

#include <pthread.h>
#include <stdatomic.h>

/* Zeros: nothing is under way. */
typedef struct {
    checkpoints *all;
    int64_t keep;
    run_copy *copy; /* under way, of which step */
    pthread_t thread;
    bool started; /* otherwise it was written by whoever started it */
    atomic_bool done;
    error *failure, *not_pruned;
} checkpoint_thread;

/* The copy is the thread's from here on.  False: no thread can be started, and the caller must have
 * it written.  all is NULL: a rank's own part (run/run_state.h), after which the copy is taken
 * back. */
bool checkpoint_thread_start(checkpoint_thread *t, checkpoints *all, int64_t keep,
                             run_copy *copy) NODISCARD;
void checkpoint_thread_write(checkpoint_thread *t);

/* Is one under way whose end need not be waited for? */
bool checkpoint_thread_done(checkpoint_thread *t);

/* Waits for it; *step is -1 if none was under way.  Error: why there is no checkpoint of that
 * step. */
error *checkpoint_thread_join(checkpoint_thread *t, int64_t *step) NODISCARD;
/* The same, but the copy is not freed: the caller owns it (NULL if none was under way). */
error *checkpoint_thread_take(checkpoint_thread *t, run_copy **copy) NODISCARD;

#endif
