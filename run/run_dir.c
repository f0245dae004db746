/* run_dir.c - see life.h */
#include "run/run_dir.h"
#include "train/join.h"
#include "infer/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- where to begin ---- */

static void say_broken(void *context, error *why)
{
    *(bool *)context = true;
    error_warn(error_context(why, "not a whole checkpoint"));
}

static error *newest(life *l, const options *o)
{
    bool broken = false;
    TRY(checkpoints_newest(l->all, say_broken, &broken, l->from, &l->state.step));
    if (l->state.step >= 0) return NULL;
    l->state.step = 0;
    printf("--resume auto: no %scheckpoint in %s, so the run begins at step 1\n",
           broken ? "whole " : "", o->out);
    return NULL;
}

/* Are they the same directory? */
static bool same_place(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static error *given(life *l, const options *o)
{
    char parent[PATH_LENGTH];
    int64_t step = checkpoint_step(o->resume), latest = checkpoints_latest(l->all);
    if (step < 0)
        return user_error("--resume %s: give a checkpoint's directory (.../step_00001000), or auto",
                          o->resume);
    TRY(error_context(manifest_check(o->resume, step), "--resume %s", o->resume));
    TRY(path_join(parent, o->resume, ".."));
    if (latest > (same_place(parent, o->out) ? step : -1))
        return user_error("--resume %s: --out %s has a checkpoint of step %lld, which would become "
                          "another run's: give another --out, or move it away",
                          o->resume, o->out, (long long)latest);
    l->state.step = step;
    snprintf(l->from, sizeof l->from, "%s", o->resume);
    return NULL;
}

static error *decide(life *l, const options *o)
{
    int left = 0;
    error *e = checkpoints_clean(l->all, &left);
    if (e) error_warn(error_context(e, "what is left of an unfinished checkpoint stays"));
    if (left) printf("removed %d unfinished or half-removed checkpoint(s) in %s\n", left, o->out);
    if (!o->resume && checkpoints_count(l->all))
        return user_error("--out %s has %lld checkpoint(s), up to step %lld: go on with --resume "
                          "auto, give another --out, or remove them",
                          o->out, (long long)checkpoints_count(l->all),
                          (long long)checkpoints_latest(l->all));
    if (!o->resume) return NULL;
    TRY(strcmp(o->resume, "auto") ? given(l, o) : newest(l, o));
    if (l->state.step > o->steps)
        return user_error("--steps %lld: %s is further on already; give --steps more than %lld",
                          (long long)o->steps, l->from, (long long)l->state.step);
    return NULL;
}

error *life_open(life *l, trainer *t, uint64_t data)
{
    const options *o = t->o;
    l->state = (run_state){.t = t, .data = data, .vocab = l->vocab};
    error *e = vocab_path(o, l->vocab, sizeof l->vocab);
    if (e) { /* no tokenizer is known, so none is kept */
        error_free(e);
        l->state.vocab = NULL;
    }
    e = NULL;
    if (comm_rank(o->comm) == 0) { /* the others follow */
        e = checkpoints_open(o->out, &l->all);
        if (!e) e = decide(l, o);
    }
    TRY(comm_agree(o->comm, e));
    TRY(ranks_tell(o->comm, l->from, sizeof l->from));
    return ranks_tell(o->comm, &l->state.step, sizeof l->state.step);
}

static error *log_path(const life *l, char *path)
{
    return path_join(path, l->state.t->o->out, "log.jsonl");
}

error *life_begin(life *l)
{
    char path[PATH_LENGTH];
    char parent[PATH_LENGTH];
    bool whole = true;
    bool first = comm_rank(l->state.t->o->comm) == 0;
    TRY(log_path(l, path));
    if (!*l->from) return first ? log_start(path, &l->log) : NULL;
    printf("resuming from %s\n", l->from);
    TRY(run_state_read(l->from, &l->state));
    if (checkpoint_step(l->from) != l->state.step)
        return user_error("%s is the checkpoint of step %lld: give it back its name", l->from,
                          (long long)l->state.step);
    if (!first) return NULL;
    TRY(path_join(parent, l->from, ".."));
    if (!same_place(parent, l->state.t->o->out)) return log_start(path, &l->log);
    TRY(log_continue(path, l->state.step, l->state.log_bytes, &l->log, &whole));
    if (!whole) printf("%s lacks lines from before step %lld\n", path, (long long)l->state.step);
    return NULL;
}

/* ---- on the way ---- */

error *life_logged(life *l, error *e)
{
    bool failed = e, again = l->warned;
    if (failed && !log_keeps(l->log)) return e;
    l->warned = failed;
    if (failed && again)
        error_free(e);
    else if (failed)
        error_warn(error_context(e, "the log waits, the training goes on"));
    return NULL;
}

/* Before a checkpoint: where it goes, and the log that it says the length of. */
static error *make_ready(life *l, run_state *now)
{
    TRY(make_directory(l->state.t->o->out, "--out")); /* it may have been removed */
    return log_sync(l->log, &now->log_bytes);
}

error *life_keep(life *l, int64_t step)
{
    const options *o = l->state.t->o;
    bool first = comm_rank(o->comm) == 0;
    if (step == l->state.step) return NULL;
    run_state now = l->state;
    now.step = step;
    double limit = comm_patience(o->comm, PATIENCE);
    error *e = first ? make_ready(l, &now) : NULL;
    error *written = run_state_write(e ? NULL : l->all, &now); /* all gather, come what may */
    e = comm_agree(o->comm, e ? e : written);
    comm_patience(o->comm, limit);
    TRY(e);
    l->state = now;
    e = first ? checkpoints_prune(l->all, o->keep) : NULL;
    if (e) error_warn(error_context(e, "old checkpoints stay"));
    return NULL;
}

void life_close(life *l)
{
    log_close(l->log);
    checkpoints_close(l->all);
}
