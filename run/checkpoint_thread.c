/* checkpoint_thread.c - see checkpoint_thread.h */
#include "run/checkpoint_thread.h"
#include "base/thread.h"

enum { STACK = 1 << 20 };

static void *write_and_prune(void *argument)
{
    checkpoint_thread *t = argument;
    do {
        error_free(t->failure);
        t->failure = run_copy_write(t->all, t->copy);
    } while (t->failure && t->all && checkpoints_make_room(t->all, t->failure));
    if (t->all && t->failure) run_copy_abandon(t->all, t->copy);
    if (t->all && !t->failure) t->not_pruned = checkpoints_prune(t->all, t->keep);
    atomic_store(&t->done, true);
    return NULL;
}

bool checkpoint_thread_start(checkpoint_thread *t, checkpoints *all, int64_t keep, run_copy *copy)
{
    t->all = all;
    t->keep = keep;
    t->copy = copy;
    atomic_store(&t->done, false);
    t->started = !thread_start(&t->thread, STACK, write_and_prune, t);
    return t->started;
}

void checkpoint_thread_write(checkpoint_thread *t)
{
    write_and_prune(t);
}

bool checkpoint_thread_done(checkpoint_thread *t)
{
    return t->copy && atomic_load(&t->done);
}

error *checkpoint_thread_take(checkpoint_thread *t, run_copy **copy)
{
    if (t->copy && t->started) pthread_join(t->thread, NULL);
    error *e = t->failure;
    if (t->not_pruned)
        error_warn(error_context(t->not_pruned, "old checkpoints could not be removed"));
    *copy = t->copy;
    t->copy = NULL;
    t->failure = t->not_pruned = NULL;
    return e;
}

error *checkpoint_thread_join(checkpoint_thread *t, int64_t *step)
{
    run_copy *copy;
    error *e = checkpoint_thread_take(t, &copy);
    *step = copy ? run_copy_step(copy) : -1;
    run_copy_free(copy);
    return e;
}
