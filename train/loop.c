/* loop.c - see loop.h */
#include "train/loop.h"
#include "base/files.h"
#include "base/clock.h"
#include "base/process_memory.h"
#include "run/gather.h"
#include "run/run_dir.h"
#include "run/run_state.h"
#include "run/stop.h"
#include "run/tensorboard.h"
#include "train/contents.h"
#include "train/holdings.h"
#include "train/mfu.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    trainer *t;
    const options *o;
    source *train, *val;
    void *own; /* the task's */
    const run_report *reports;
    run_contents contents; /* of the run, for its directory */
    run_dir dir;
    tensorboard *board;  /* ? of the first rank */
    double step_seconds; /* smoothed */
    double shown;        /* when a line was last shown */
    double kept_seconds; /* that checkpoints took since the log's last step */
    double peak_flops;   /* of the GPU; NAN on the CPU */
    int64_t first;       /* step of this process */
    int64_t bad;         /* samples skipped, as far as reported */
    int64_t warned;      /* samples read with a warning, as far as reported */
    bool too_many;       /* unreadable samples: more than --bad-images allows */
    bool settled;        /* --stop-after: too many evaluations without improvement */
    bool stopped;        /* requested by a signal to this process or to another rank */
} session;

/* ---- a step as a line on the terminal ---- */

/* "1:02:03", "2:03" */
static const char *duration_text(double seconds, char *buffer, size_t size)
{
    long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buffer, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, size, "%lld:%02lld", s / 60, s % 60);
    return buffer;
}

static void show_step(const step_record *s, const char *unit)
{
    char left[32], mfu[40] = "";
    if (!isnan(s->mfu_llmc)) snprintf(mfu, sizeof mfu, "  mfu %.1f %%", 100 * s->mfu_llmc);
    printf("step %5lld/%lld  loss %7.4f  norm %6.3f  lr %.2e  %6.0f ms  %6.0f %s/s%s  left %s  "
           "%.0f MiB\n",
           (long long)s->step, (long long)s->steps, s->loss, s->grad_norm, s->lr, s->ms,
           s->units_per_s, unit, mfu, duration_text(s->seconds_left, left, sizeof left),
           (double)s->peak_bytes / 1048576.0);
    fflush(stdout);
}

/* ---- files of the run ---- */

error *run_report_write(const trainer *t, const run_report *r)
{
    char path[PATH_LENGTH];
    memory_stream m;
    TRY(path_join(path, t->o->out, r->name));
    TRY(memory_stream_open(&m, r->name));
    error *e = r->print(t, m.to);
    e = error_first(e, memory_stream_close(&m));
    if (!e) e = file_write_all(path, m.text, m.n);
    free(m.text);
    return e;
}

static error *print_options(const trainer *t, FILE *f)
{
    char *text;
    TRY(options_json(t->o, &text));
    fprintf(f, "%s\n", text);
    free(text);
    return NULL;
}

/* ---- data ---- */

static error *open_data(session *s)
{
    const options *o = s->o;
    TRY(o->task->open(o, true, &s->train));
    if ((o->val_data.n || o->images.how.split > 0) && o->eval_every > 0)
        TRY(o->task->open(o, false, &s->val));
    if (!s->val && (o->save_best || o->stop_after))
        return user_error("%s: only with --val-data, on which the model is evaluated",
                          o->save_best ? "--save-best" : "--stop-after");
    return o->task->begin ? o->task->begin(o, &s->own) : NULL;
}

/* ---- checkpoints beside the training ---- */

static void tell_kept(const session *s, int64_t step)
{
    int parts = s->o->checkpoint_parts ? comm_size(s->o->comm) : 0;
    printf("step %5lld  checkpoint", (long long)step);
    if (parts) printf(", in %d part%s", parts, parts > 1 ? "s" : "");
    putchar('\n');
}

/* What cannot be written and is not fatal: training continues, and older files stay. */
static void tell_lost(session *s, error *e, const char *what, int64_t step)
{
    comm *c = s->o->comm;
    if (c && c->told)
        error_free(e);
    else
        error_warn(error_context(e, "no %s of step %lld", what, (long long)step));
    if (c) c->agreed = c->told = false;
}

/* One that is written beside the training: nothing else happens in the directory before its end.
 * Of several ranks only the first knows how it went; of a part that failed, all. */
static void wait_for_checkpoint(session *s)
{
    double begin = clock_now();
    int64_t step;
    error *e = run_dir_wait(&s->dir, &step);
    s->kept_seconds += clock_now() - begin;
    if (e)
        tell_lost(s, e, "checkpoint", step);
    else if (step >= 0)
        tell_kept(s, step);
}

/* After a step: of one in parts all ranks must know when the others have theirs.  Where a rank does
 * not answer, the run ends, as in a step. */
static error *look_after_checkpoint(session *s)
{
    const comm *c = s->o->comm;
    double begin = clock_now();
    bool parted = s->dir.parted;
    int64_t step;
    error *e = run_dir_proceed(&s->dir, &step);
    if (parted) s->kept_seconds += clock_now() - begin;
    if (e && comm_size(c) > 1 && !c->agreed) return e;
    if (e) tell_lost(s, e, "checkpoint", step);
    if (run_dir_written(&s->dir)) wait_for_checkpoint(s);
    return NULL;
}

/* The run may have failed in this rank alone, and the others are elsewhere. */
static void end_checkpoint(session *s)
{
    comm *c = s->o->comm, before = c ? *c : (comm){0};
    if (comm_size(c) > 1 && !before.agreed) run_dir_drop_parts(&s->dir);
    wait_for_checkpoint(s);
    if (c) c->agreed = before.agreed, c->told = before.told;
}

/* ---- its end ---- */

static void close_session(session *s)
{
    source_close(s->train);
    source_close(s->val);
    if (s->o->task->end) s->o->task->end(s->own);
    end_checkpoint(s);
    run_dir_close(&s->dir);
    tensorboard_close(s->board);
    contents_free(&s->contents);
}

/* ---- the loop ---- */

static bool due(int64_t every, int64_t step, int64_t last)
{
    return every > 0 && (step % every == 0 || step == last);
}

static int64_t units_per_step(const options *o)
{
    return o->batch * o->task->units(o) * o->accum * comm_size(o->comm);
}

/* Traffic between ranks so far. */
typedef struct {
    comm_traffic moved;
    double seconds;
} comm_state;

static comm_state comm_so_far(const session *s)
{
    comm *c = s->o->comm;
    return c ? (comm_state){c->moved, comm_waited(c, s->t->r.dev)} : (comm_state){0};
}

/* What has been moved, and waited for, since `before`. */
static void add_traffic(const session *s, comm_state before, step_record *record)
{
    if (comm_size(s->o->comm) == 1) return;
    comm_state after = comm_so_far(s);
    record->ranks = comm_size(s->o->comm);
    record->comm_bytes = after.moved.all - before.moved.all;
    record->between_bytes = after.moved.between - before.moved.between;
    record->comm_ms = (after.seconds - before.seconds) * 1e3;
}

/* What was offloaded, until now. */
static far_moved far_of(const session *s)
{
    far *f = s->t->params.far;
    return f ? far_so_far(f) : (far_moved){0};
}

/* The GPU's peak FLOP/s, from the table or else measured. */
static error *find_peak(session *s, device *dev)
{
    char about[320];
    dtype type = s->t->params.type;
    s->peak_flops = NAN;
    if (!dev->async) return NULL;
    s->peak_flops = mfu_listed_peak(device_describe(dev, about, sizeof about), dtype_size(type));
    if (!isnan(s->peak_flops)) return NULL;
    TRY(mfu_measure_peak(dev, type, device_memory(dev), &s->peak_flops));
    printf("mfu against %.1f TFLOP/s: a product measured here, for this GPU is not in the table\n",
           s->peak_flops * 1e-12);
    return NULL;
}

static void add_mfu(const session *s, step_record *record)
{
    const options *o = s->o;
    int64_t units = o->task->units(o), length = o->task->positions(o);
    double tokens = record->units_per_s / (double)units * (double)length / s->peak_flops;
    int64_t n = params_count(&s->t->params);
    record->mfu_llmc = tokens * mfu_llmc(&o->model, n, length);
    record->mfu_palm = tokens * mfu_palm(&o->model, n, length);
}

/* Training does not stop for a full disk, but nothing more is written. */
static void show_board(session *s, int64_t step, const tensorboard_scalar *scalar, int n)
{
    error *e = tensorboard_add(s->board, step, scalar, n);
    if (!e) return;
    error_warn(error_context(e, "no more is written for TensorBoard, the training continues"));
    tensorboard_close(s->board);
    s->board = NULL;
}

static void show_step_on_board(session *s, const step_record *r)
{
    char speed[40];
    snprintf(speed, sizeof speed, "speed/%s_per_s", r->unit);
    const tensorboard_scalar all[] = {
        {"loss/train", r->loss},
        {"accuracy/train", r->accuracy},
        {"optimizer/lr", r->lr},
        {"optimizer/grad_norm", r->grad_norm},
        {speed, r->units_per_s},
        {"memory/planned_mib", (double)r->peak_bytes / 1048576.0},
        {"memory/process_mib", (double)peak_resident_bytes() / 1048576.0},
    };
    show_board(s, r->step, all, sizeof all / sizeof *all);
}

static error *one_step(session *s, int64_t step)
{
    const options *o = s->o;
    double lr = schedule_lr(&o->schedule, step - 1), begin = clock_now();
    step_result result;
    comm_state before = comm_so_far(s);
    far_moved far_before = far_of(s);
    s->t->stop = stop_asked() || s->too_many;
    error *e = trainer_step(s->t, s->train, step, lr, &result);
    if (e && s->t->r.dev->async) return error_context(e, "step %lld", (long long)step);
    if (e) return e;
    double seconds = clock_now() - begin;
    if (!result.finite) /* for all ranks if for one */
        return comm_agree(o->comm, trainer_find_fault(s->t, s->train, step, result.loss));
    s->step_seconds = s->step_seconds > 0 ? 0.9 * s->step_seconds + 0.1 * seconds : seconds;
    step_record record = {.step = step,
                          .steps = o->steps,
                          .loss = result.loss,
                          .lr = lr,
                          .grad_norm = result.grad_norm,
                          .ms = seconds * 1e3,
                          .forward_ms = result.seconds[PHASE_FORWARD] * 1e3,
                          .backward_ms = result.seconds[PHASE_BACKWARD] * 1e3,
                          .optimizer_ms = result.seconds[PHASE_OPTIMIZER] * 1e3,
                          .peak_bytes = arena_peak(s->t->arena)};
    record.units_per_s = (double)units_per_step(o) / seconds;
    record.unit = o->task->unit;
    add_mfu(s, &record);
    record.accuracy = result.accuracy;
    record.data_ms = result.data_seconds * 1e3;
    add_traffic(s, before, &record);
    far_moved far_after = far_of(s);
    record.offload_bytes =
        far_after.read - far_before.read + far_after.written - far_before.written;
    record.offload_ms = (far_after.waited - far_before.waited) * 1e3;
    record.checkpoint_ms = s->kept_seconds * 1e3;
    s->stopped = comm_size(o->comm) > 1 ? result.stop : stop_asked() != NULL;
    record.seconds_left = s->step_seconds * (double)(o->steps - step);
    bool logs = step == 1 || due(o->log_every, step, o->steps);
    if (logs) TRY(run_dir_logged(&s->dir, log_step(s->dir.log, &record)));
    if (logs) show_step_on_board(s, &record);
    if (logs) s->kept_seconds = 0;
    if (step == s->first || step == o->steps || (logs && clock_now() - s->shown > 1)) {
        show_step(&record, o->task->unit_3);
        s->shown = clock_now();
    }
    return NULL;
}

/* Reports it again if more samples have been skipped. */
static error *tell_bad(session *s, int64_t step)
{
    char why[400];
    int64_t warned = source_warned(s->train, why, sizeof why);
    if (warned && !s->warned)
        printf("step %5lld  decoded with a warning: %s (the first of such)\n", (long long)step,
               why);
    s->warned = warned;
    int64_t in_val = s->val ? source_bad(s->val, why, sizeof why) : 0,
            in_train = source_bad(s->train, in_val ? NULL : why, in_val ? 0 : sizeof why),
            bad = in_train + in_val;
    s->too_many = (double)in_train > s->o->images.bad_share * (double)s->train->count;
    if (bad == s->bad) return NULL;
    s->bad = bad;
    printf("step %5lld  %lld bad samples were left out; the last: %s\n", (long long)step,
           (long long)bad, why);
    return run_dir_logged(&s->dir, log_value(s->dir.log, step, "bad_samples", (double)bad));
}

/* Saves the model to --out or a directory there: written by the first rank, while all gather what
 * is sharded. */
static error *try_model(session *s, const char *within)
{
    char inner[PATH_LENGTH];
    const char *path = NULL;
    tensor_source room;
    gather walk = gather_begin(&s->contents.tensors, GATHER_PARAMETERS);
    error *e = run_dir_path(&s->dir, &path);
    if (!e && path && within) {
        e = path_join(inner, path, within);
        if (!e) e = make_directory(inner, "--save-best");
        path = inner;
    }
    if (!e && path) {
        e = run_model_write(path, &s->contents, gather_source(&walk, &room));
        if (!e) e = run_vocab_write(path, &s->contents);
        if (!e && s->o->task->describe) e = s->o->task->describe(s->o, path);
        if (!e) e = directory_sync(path);
    }
    gather_finish(&walk);
    return e;
}

/* On a full disk, checkpoints are removed to make room for it, except the newest. */
static error *write_model(session *s, const char *within)
{
    error *e = NULL, *lost = NULL;
    double limit = comm_patience(s->o->comm, COMM_DISK_SECONDS);
    trainer_exchange(s->t);
    for (bool again = true; again && !lost;) {
        e = try_model(s, within);
        lost = run_dir_make_room(&s->dir, &e, &again);
    }
    trainer_exchange(s->t);
    if (lost) error_free(e);
    e = comm_agree(s->o->comm, lost ? lost : e);
    comm_patience(s->o->comm, limit);
    return e;
}

/* Counts evaluations without improvement; saves the best model so far. */
static void note_best(session *s, int64_t step, double loss)
{
    run_contents *c = &s->contents;
    bool gain = loss < c->best_loss;
    c->since_best = gain ? 0 : c->since_best + 1;
    if (gain) {
        c->best_loss = loss;
        c->best_step = step;
    }
    if (!gain || !s->o->save_best) return;
    wait_for_checkpoint(s);
    error *e = write_model(s, RUN_BEST);
    if (e)
        tell_lost(s, e, "best model", step);
    else
        printf("step %5lld  the best so far: wrote %s/" RUN_BEST "/%s\n", (long long)step,
               s->dir.o.path, run_model_file(c));
}

/* --stop-after */
static bool has_settled(const session *s)
{
    return s->o->stop_after > 0 && s->contents.since_best >= s->o->stop_after;
}

static error *tell_evaluation(session *s, int64_t step, const eval_result *r)
{
    const char *of = s->o->ema > 0 ? "  (averaged weights)" : "";
    if (r->stopped) {
        printf("step %5lld  evaluation skipped: asked to stop\n", (long long)step);
        return NULL;
    }
    TRY(run_dir_logged(&s->dir, log_value(s->dir.log, step, "val_loss", r->loss)));
    show_board(
        s, step,
        (tensorboard_scalar[]){{"loss/validation", r->loss}, {"accuracy/validation", r->accuracy}},
        2);
    if (isnan(r->accuracy)) {
        printf("step %5lld  validation loss %.4f%s\n", (long long)step, r->loss, of);
        return NULL;
    }
    TRY(run_dir_logged(&s->dir, log_value(s->dir.log, step, "val_accuracy", r->accuracy)));
    printf("step %5lld  validation loss %.4f  accuracy %.2f %%%s\n", (long long)step, r->loss,
           100 * r->accuracy, of);
    return NULL;
}

static error *between_steps(session *s, int64_t step)
{
    const options *o = s->o;
    if (s->val && due(o->eval_every, step, o->steps)) {
        eval_result result;
        TRY(trainer_evaluate(s->t, s->val, &result));
        TRY(tell_evaluation(s, step, &result));
        if (!result.stopped) note_best(s, step, result.loss);
    }
    TRY(tell_bad(s, step));
    s->settled = has_settled(s);
    bool last = step == o->steps || s->settled;
    return o->task->between ? o->task->between(s->own, s->t, step, last) : NULL;
}

/* The run must match the plan: what was allocated is what was planned, and nothing was written past
 * it. */
static error *check_arena(const session *s)
{
    arena *a = s->t->arena;
    if (!arena_canary_intact(a)) return internal_error("something wrote past the end of the arena");
    if (arena_high_water(a) > arena_peak(a))
        return internal_error("the arena allocated %zu bytes, but %zu were planned",
                              arena_high_water(a), arena_peak(a));
    return NULL;
}

/* At the end of the run, however it ends. */
static void print_lost_lines(const run_log *log)
{
    if (log_dropped(log))
        printf("log.jsonl lacks %lld lines for which there was no room\n",
               (long long)log_dropped(log));
}

static void tell_offloaded(const session *s)
{
    far_moved m = far_of(s);
    double all = (double)m.read + (double)m.written;
    double mib = s->t->params.far ? (double)far_bytes(s->t->params.far) / 1048576.0 : 0;
    if (m.busy > 0)
        printf("offloaded %.1f MiB: the disk moved %.2f GB/s, waited for it %.1f s in all\n", mib,
               all / m.busy * 1e-9, m.waited);
    else if (all > 0)
        printf("offloaded %.1f MiB: %.1f GB were copied, the GPU waited for them %.1f s in all\n",
               mib, all * 1e-9, m.waited);
}

static error *finish_run(session *s, int64_t step)
{
    char path[PATH_LENGTH];
    int64_t bytes;
    wait_for_checkpoint(s);
    TRY(check_arena(s));
    TRY(write_model(s, NULL));
    TRY(path_join(path, s->dir.o.path, run_model_file(&s->contents)));
    run_log *log = s->dir.log;
    size_t peak = arena_peak(s->t->arena), resident = peak_resident_bytes(),
           high = arena_high_water(s->t->arena);
    TRY(run_dir_logged(&s->dir, log_value(log, step, "high_water_bytes", (double)high)));
    TRY(run_dir_logged(&s->dir, log_value(log, step, "resident_bytes", (double)resident)));
    printf("wrote %s; memory planned %.1f MiB, allocated %.1f MiB, process %.1f MiB\n", path,
           (double)peak / 1048576.0, (double)high / 1048576.0, (double)resident / 1048576.0);
    tell_offloaded(s);
    print_lost_lines(log);
    return log_sync(log, &bytes);
}

static void keep(session *s, int64_t step, bool last)
{
    bool beside = s->o->checkpoint_async && !last;
    wait_for_checkpoint(s);
    double begin = clock_now();
    error *e =
        beside ? run_dir_checkpoint_beside(&s->dir, step) : run_dir_checkpoint(&s->dir, step);
    s->kept_seconds += clock_now() - begin;
    if (e)
        tell_lost(s, e, "checkpoint", step);
    else if (!beside)
        tell_kept(s, step);
}

/* After `step` was interrupted: stop was requested. */
static error *stop(session *s, int64_t step, const char *signal_name)
{
    TRY(check_arena(s));
    wait_for_checkpoint(s);
    print_lost_lines(
        s->dir.log); /* a disk that was full may have no room for the checkpoint, either */
    TRY(run_dir_checkpoint(&s->dir, step));
    printf("stopped by %s after step %lld; resume with --resume auto --out %s\n", signal_name,
           (long long)step, s->dir.o.path);
    return NULL;
}

/* After `step`: too many samples are unreadable.  What was trained is saved. */
static error *give_up(session *s, int64_t step)
{
    char why[400];
    int64_t bad = source_bad(s->train, why, sizeof why);
    TRY(stop(s, step, "bad data"));
    return user_error("%lld of %lld %s cannot be read; the last: %s: mend them, or give "
                      "--bad-images skip",
                      (long long)bad, (long long)s->train->count, s->o->task->samples, why);
}

static void tell_settled(const session *s, int64_t step)
{
    const run_contents *c = &s->contents;
    printf("ended after step %lld: %lld evaluations without gain; the lowest loss was %.4f, after "
           "step %lld\n",
           (long long)step, (long long)c->since_best, c->best_loss, (long long)c->best_step);
}

static error *run_steps(session *s)
{
    const options *o = s->o;
    int64_t step = s->first - 1;
    s->stopped = comm_size(o->comm) == 1 && stop_asked();
    s->settled = has_settled(s);
    while (step < o->steps && !s->stopped && !s->settled) {
        TRY(one_step(s, ++step));
        error *e = between_steps(s, step);
        if (e) return s->t->r.dev->async ? error_context(e, "after step %lld", (long long)step) : e;
        if (comm_size(o->comm) == 1) s->stopped = stop_asked() || s->too_many;
        s->stopped |= s->t->stop_agreed;
        TRY(look_after_checkpoint(s));
        bool last = step == o->steps || s->settled; /* otherwise nobody keeps it */
        if (due(o->checkpoint_every, step, last ? step : o->steps) && (last || !s->stopped))
            keep(s, step, last || s->stopped);
    }
    const char *by = stop_asked() ? stop_asked() : "another rank";
    if (s->settled) tell_settled(s, step);
    if (step == o->steps || s->settled) return finish_run(s, step);
    return s->too_many ? give_up(s, step) : stop(s, step, by);
}

static error *write_reports(session *s, const data_prints *prints)
{
    if (comm_rank(s->o->comm)) return NULL;
    TRY(data_prints_keep(s->o->out, prints));
    TRY(run_report_write(s->t, &(run_report){"options.json", print_options}));
    for (const run_report *r = s->reports; r->name; r++)
        TRY(run_report_write(s->t, r));
    return NULL;
}

/* All ranks do each of these; a failure in one ends all. */
static error *begin(session *s, device *dev)
{
    const options *o = s->o;
    comm *c = o->comm;
    const run_dir_options where = {.path = o->out,
                                   .resume = o->resume,
                                   .steps = o->steps,
                                   .keep = o->keep,
                                   .beside = o->checkpoint_async};
    data_prints prints;
    error *e = open_data(s);
    if (!e && comm_rank(c) == 0) e = make_directory(o->out, "--out");
    if (!e) e = data_prints_take(o->out, s->train, s->val, &prints);
    if (!e) e = contents_describe(s->t, prints.train.value, prints.val.value, &s->contents);
    TRY(comm_agree(c, e));
    TRY(holdings_compare_data(c, &prints, s->contents.vocab));
    TRY(run_dir_open(&s->dir, &where, &s->contents));
    TRY(holdings_compare_checkpoints(c, s->dir.from));
    e = find_peak(s, dev);
    if (!e) e = trainer_commit(s->t, dev, false); /* before an older run's files are replaced */
    s->dir.o.copy = trainer_copy_room(s->t);
    if (!e) e = run_dir_resume(&s->dir);
    TRY(comm_agree(c, e));
    TRY(holdings_compare_weights(s->t, *s->dir.from));
    TRY(comm_agree(c, write_reports(s, &prints)));
    comm_patience(c, (double)o->watchdog);
    return NULL;
}

/* How much of the data is in no sample, or in no evaluation. */
static void tell_unused(const session *s)
{
    const options *o = s->o;
    char why[400];
    if (source_unused(s->train, why, sizeof why)) printf("--train-data: %s: left out\n", why);
    if (!s->val) return;
    if (source_unused(s->val, why, sizeof why)) printf("--val-data: %s: left out\n", why);
    int64_t takes = trainer_eval_samples(s->t, s->val);
    if (takes < o->eval_batches * o->batch * comm_size(o->comm))
        printf("--eval-batches %lld: an evaluation takes %lld %s, as --val-data has only %lld\n",
               (long long)o->eval_batches, (long long)takes, o->task->samples,
               (long long)s->val->count);
}

static error *run_session(session *s, device *dev)
{
    const options *o = s->o;
    TRY(begin(s, dev));
    tell_unused(s);
    s->first = s->contents.step + 1;
    error *e = NULL;
    if (o->tensorboard && comm_rank(o->comm) == 0)
        e = tensorboard_open(o->tensorboard, s->first, &s->board);
    TRY(comm_agree(o->comm, e));
    int64_t per_step = units_per_step(o), epoch = s->train->count * o->task->units(o);
    printf("%lld %s a step, %lld in an epoch; %lld steps = %.2f epochs\n", (long long)per_step,
           o->task->unit, (long long)epoch, (long long)o->steps,
           (double)per_step * (double)o->steps / (double)epoch);
    if (*s->train->about) printf("training: %s\n", s->train->about);
    if (s->val && *s->val->about) printf("validation: %s\n", s->val->about);
    return run_steps(s);
}

/* A rank that fails alone waits for the thread that writes its part: the others wait for less. */
static void tell_before_waiting(const session *s, const error *e)
{
    const comm *c = s->o->comm;
    if (!s->dir.parted || comm_size(c) == 1 || c->agreed || c->told) return;
    error_warn(user_error("rank %d ends when its part of a checkpoint is written: %s", comm_rank(c),
                          error_text(e)));
}

error *train_loop(trainer *t, device *dev, const run_report *reports)
{
    session s = {.t = t, .o = t->o, .reports = reports};
    stop_listen();
    error *e = run_session(&s, dev);
    if (e) tell_before_waiting(&s, e);
    stop_unlisten();
    close_session(&s);
    return e;
}
