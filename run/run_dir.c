/* run_dir.c - see run_dir.h */
#include "run/run_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- where to begin ---- */

static void say_broken(void *context, error *why)
{
    *(bool *)context = true;
    error_warn(error_context(why, "not a complete checkpoint"));
}

static error *take_newest(run_dir *d)
{
    bool broken = false;
    TRY(checkpoints_newest(d->all, say_broken, &broken, d->from, &d->contents->step));
    if (d->contents->step >= 0) return NULL;
    d->contents->step = 0;
    printf("--resume auto: no %scheckpoint in %s, so the run begins at step 1\n",
           broken ? "complete " : "", d->o.path);
    return NULL;
}

/* Are they the same directory? */
static bool same_directory(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static error *take_given(run_dir *d)
{
    char parent[PATH_LENGTH];
    int64_t step = checkpoint_step(d->o.resume), latest = checkpoints_latest(d->all);
    if (step < 0)
        return user_error("--resume %s: give a checkpoint's directory (.../step_00001000), or auto",
                          d->o.resume);
    TRY(error_context(manifest_check(d->o.resume, step), "--resume %s", d->o.resume));
    TRY(path_join(parent, d->o.resume, ".."));
    if (latest > (same_directory(parent, d->o.path) ? step : -1))
        return user_error("--resume %s: --out %s has a checkpoint of step %lld, which would become "
                          "another run's: give another --out, or move it away",
                          d->o.resume, d->o.path, (long long)latest);
    d->contents->step = step;
    snprintf(d->from, sizeof d->from, "%s", d->o.resume);
    return NULL;
}

static error *decide(run_dir *d)
{
    int left = 0;
    error *e = checkpoints_clean(d->all, &left);
    if (e)
        error_warn(
            error_context(e, "the remains of an unfinished checkpoint could not be removed"));
    if (left)
        printf("removed %d unfinished or half-removed checkpoint(s) in %s\n", left, d->o.path);
    if (!d->o.resume && checkpoints_count(d->all))
        return user_error("--out %s has %lld checkpoint(s), up to step %lld: resume with --resume "
                          "auto, give another --out, or remove them",
                          d->o.path, (long long)checkpoints_count(d->all),
                          (long long)checkpoints_latest(d->all));
    if (!d->o.resume) return NULL;
    TRY(strcmp(d->o.resume, "auto") ? take_given(d) : take_newest(d));
    if (d->contents->step > d->o.steps)
        return user_error("--steps %lld: %s is further on already; give --steps more than %lld",
                          (long long)d->o.steps, d->from, (long long)d->contents->step);
    return NULL;
}

error *run_dir_open(run_dir *d, const run_dir_options *o, run_contents *contents)
{
    error *e = NULL;
    d->o = *o;
    d->contents = contents;
    d->comm = contents->tensors.r->comm;
    if (comm_rank(d->comm) == 0) { /* the other ranks follow */
        e = checkpoints_open(d->o.path, &d->all);
        if (!e) e = decide(d);
    }
    TRY(comm_agree(d->comm, e));
    TRY(comm_tell(d->comm, d->from, sizeof d->from));
    return comm_tell(d->comm, &contents->step, sizeof contents->step);
}

static error *log_path(const run_dir *d, char *path)
{
    return path_join(path, d->o.path, "log.jsonl");
}

/* Nothing is written if this run's files have no place. */
static error *begin_log(run_dir *d, const char *path)
{
    TRY(run_model_place(d->o.path, d->contents));
    return log_start(path, &d->log);
}

error *run_dir_resume(run_dir *d)
{
    char path[PATH_LENGTH], parent[PATH_LENGTH];
    bool intact = true;
    bool first = comm_rank(d->comm) == 0;
    TRY(log_path(d, path));
    if (!*d->from) return first ? begin_log(d, path) : NULL;
    printf("resuming from %s\n", d->from);
    TRY(run_state_resume(d->from, d->contents));
    if (checkpoint_step(d->from) != d->contents->step)
        return user_error("%s is the checkpoint of step %lld: rename it back", d->from,
                          (long long)d->contents->step);
    if (!first) return NULL;
    TRY(path_join(parent, d->from, ".."));
    if (!same_directory(parent, d->o.path)) return begin_log(d, path);
    TRY(run_model_place(d->o.path, d->contents));
    TRY(log_continue(path, d->contents->step, d->contents->log_bytes, &d->log, &intact));
    if (!intact)
        printf("%s lacks lines from before step %lld\n", path, (long long)d->contents->step);
    return NULL;
}

/* ---- on the way ---- */

error *run_dir_logged(run_dir *d, error *e)
{
    bool failed = e, again = d->warned;
    if (failed && !log_waits(d->log)) return e;
    d->warned = failed;
    if (failed && again)
        error_free(e);
    else if (failed)
        error_warn(error_context(e, "the log cannot be written for now; the training continues"));
    return NULL;
}

error *run_dir_path(run_dir *d, const char **path)
{
    bool moved = false;
    *path = NULL;
    if (!d->all) return NULL;
    TRY(checkpoints_follow(d->all, &moved));
    d->o.path = *path = checkpoints_path(d->all);
    if (moved) printf("--out was renamed: the run continues in %s\n", *path);
    return NULL;
}

error *run_dir_make_room(run_dir *d, error **e, bool *again)
{
    *again = d->all && checkpoints_make_room(d->all, *e);
    TRY(comm_tell(d->comm, again, sizeof *again));
    if (*again) {
        error_free(*e);
        *e = NULL;
    }
    return NULL;
}

/* Before a checkpoint: finds its directory, and syncs the log whose length it records. */
static error *make_ready(run_dir *d, run_contents *now)
{
    const char *path;
    TRY(run_dir_path(d, &path));
    return log_sync(d->log, &now->log_bytes);
}

/* All ranks gather, whatever happens in the first. */
static error *write_checkpoint(run_dir *d, run_contents *now)
{
    error *e = NULL;
    for (bool again = true; again;) {
        e = comm_rank(d->comm) == 0 ? make_ready(d, now) : NULL;
        error *written = run_state_write(e ? NULL : d->all, now);
        if (!e) e = written;
        error *lost = run_dir_make_room(d, &e, &again);
        if (lost) {
            error_free(e);
            return lost;
        }
    }
    return e;
}

/* Only the first rank knows whether one that was written beside the training is complete. */
static error *tell_step(run_dir *d)
{
    return d->o.beside ? comm_tell(d->comm, &d->contents->step, sizeof d->contents->step) : NULL;
}

error *run_dir_checkpoint(run_dir *d, int64_t step)
{
    double limit = comm_patience(d->comm, COMM_DISK_SECONDS);
    error *e = tell_step(d);
    run_contents now = *d->contents;
    now.step = step;
    if (!e && step != d->contents->step) e = comm_agree(d->comm, write_checkpoint(d, &now));
    comm_patience(d->comm, limit);
    if (e || step == d->contents->step) return e;
    *d->contents = now;
    e = d->all ? checkpoints_prune(d->all, d->o.keep) : NULL;
    if (e) error_warn(error_context(e, "old checkpoints could not be removed"));
    return NULL;
}

/* ---- beside the training ---- */

/* All ranks: has a thread write what is this one's (? copy, which is the thread's then).  A rank
 * for which there is no thread tells the others before it writes itself, and they wait for it here,
 * as long as a disk may take: in their next step they would not. */
static error *write_beside(run_dir *d, checkpoints *all, run_copy *copy)
{
    bool alone = copy && !checkpoint_thread_start(&d->beside, all, d->o.keep, copy), any = alone;
    error *e = comm_any(d->comm, &any);
    double limit = comm_patience(d->comm, COMM_DISK_SECONDS);
    if (alone) checkpoint_thread_write(&d->beside);
    if (!e && any) e = comm_any(d->comm, &any);
    comm_patience(d->comm, limit);
    return e;
}

/* ---- in parts ---- */

/* All ranks, with what went wrong in this one (consumed, as is the copy): once more, if there was
 * no room and an older checkpoint was removed. */
static error *begin_again(run_dir *d, run_copy *copy, error *e, bool *again)
{
    error *lost = run_dir_make_room(d, &e, again);
    if (!lost && *again) return NULL;
    run_copy_free(copy);
    return lost ? error_first(e, lost) : comm_agree(d->comm, e);
}

/* All ranks begin to write their parts; the copy is the thread's. */
static error *begin_parts(run_dir *d, run_copy *copy)
{
    for (bool again = true; again;) {
        error *e = run_copy_begin(d->all, copy);
        if (!e && run_copy_begun(copy)) {
            d->parted = true;
            return write_beside(d, NULL, copy);
        }
        TRY(begin_again(d, copy, e, &again));
    }
    return NULL;
}

/* All ranks, each when its part is written. */
static error *conclude_parts(run_dir *d, int64_t *step)
{
    run_copy *copy;
    bool again = false;
    error *e = checkpoint_thread_take(&d->beside, &copy);
    d->parted = false;
    *step = run_copy_step(copy);
    e = run_copy_conclude(d->all, copy, e);
    if (!e && !d->all) {
        run_copy_free(copy);
        copy = NULL;
    }
    if (!e) return write_beside(d, d->all, copy);
    double limit = comm_patience(d->comm, COMM_DISK_SECONDS); /* the first one removes files */
    e = begin_again(d, copy, e, &again);
    if (!e) e = begin_parts(d, copy);
    comm_patience(d->comm, limit);
    return e;
}

error *run_dir_proceed(run_dir *d, int64_t *step)
{
    if (!d->parted) return NULL;
    bool busy = !checkpoint_thread_done(&d->beside);
    *step = run_copy_step(d->beside.copy);
    TRY(comm_any(d->comm, &busy));
    return busy ? NULL : conclude_parts(d, step);
}

void run_dir_drop_parts(run_dir *d)
{
    run_copy *copy;
    if (!d->parted) return;
    error_free(checkpoint_thread_take(&d->beside, &copy));
    run_copy_free(copy);
    d->parted = false;
}

/* ---- whole, or in parts ---- */

error *run_dir_checkpoint_beside(run_dir *d, int64_t step)
{
    run_contents now = *d->contents;
    run_copy *copy = NULL;
    now.step = step;
    double limit = comm_patience(d->comm, COMM_DISK_SECONDS);
    error *e = comm_rank(d->comm) == 0 ? make_ready(d, &now) : NULL;
    error *taken = run_copy_take(&now, e ? NULL : d->o.copy, &copy);
    e = comm_agree(d->comm, error_first(e, taken));
    if (e)
        run_copy_free(copy);
    else if (now.tensors.in_parts)
        e = begin_parts(d, copy);
    else
        e = write_beside(d, d->all, copy);
    comm_patience(d->comm, limit);
    return e;
}

bool run_dir_written(run_dir *d)
{
    return !d->parted && checkpoint_thread_done(&d->beside);
}

error *run_dir_wait(run_dir *d, int64_t *step)
{
    double limit = comm_patience(d->comm, COMM_DISK_SECONDS);
    error *e = NULL;
    while (!e && d->parted)
        e = conclude_parts(d, step);
    comm_patience(d->comm, limit);
    TRY(e);
    e = checkpoint_thread_join(&d->beside, step);
    if (!e && *step >= 0) d->contents->step = *step;
    return e;
}

void run_dir_close(run_dir *d)
{
    log_close(d->log);
    checkpoints_close(d->all);
}
