/* loop.c - see loop.h */
#include "train/loop.h"
#include "core/outfile.h"
#include "io/log.h"
#include "train/plan_report.h"
#include "train/sampler.h"
#include "train/weights.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEMO_DATA "runs/data/kjv"

typedef struct {
    trainer *t;
    const options *o;
    token_set *train_set, *val_set;
    batches *train, *val;
    sampler sampler;
    FILE *log;
    double step_seconds; /* smoothed */
    double shown;        /* when a line was last shown */
} session;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- files of the run ---- */

static error *out_path(const options *o, const char *name, char *path, size_t size)
{
    if (snprintf(path, size, "%s/%s", o->out, name) >= (int)size)
        return user_error("--out %s: the path is too long", o->out);
    return NULL;
}

/* A file that `print` writes: whole, or as it was before. */
static error *write_out(const trainer *t, const char *name,
                        error *(*print)(const trainer *, FILE *))
{
    char path[4096];
    outfile *f;
    TRY(out_path(t->o, name, path, sizeof path));
    TRY(outfile_create(path, &f));
    error *e = print(t, outfile_stream(f));
    if (!e) return outfile_commit(f);
    outfile_discard(f);
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

static error *open_log(session *s)
{
    char path[4096];
    TRY(out_path(s->o, "log.jsonl", path, sizeof path));
    return log_open(path, &s->log);
}

/* ---- data ---- */

error *data_default(options *o)
{
    if (o->train_data.n) return NULL;
    if (access(DEMO_DATA "_train.bin", R_OK))
        return user_error("no --train-data, and the demo's data is not there: run `make "
                          "demo-data`, or make shards of "
                          "your own text with `./tokenize --vocab bpe:2048 -o PREFIX FILE` and "
                          "give --train-data PREFIX_train.bin");
    o->train_data = (pattern_list){.pattern = {DEMO_DATA "_train.bin"}, .n = 1};
    if (!o->val_data.n) o->val_data = (pattern_list){.pattern = {DEMO_DATA "_val.bin"}, .n = 1};
    return NULL;
}

static error *open_data(session *s)
{
    const options *o = s->o;
    TRY(tokens_open(o->train_data.pattern, o->train_data.n, o->model.vocab, &s->train_set));
    TRY(batches_open(s->train_set, o->seq, o->batch, BATCHES_SHUFFLED, (uint64_t)o->seed,
                     &s->train));
    if (o->val_data.n && o->eval_every > 0) {
        TRY(tokens_open(o->val_data.pattern, o->val_data.n, o->model.vocab, &s->val_set));
        TRY(batches_open(s->val_set, o->seq, o->batch, BATCHES_SEQUENTIAL, (uint64_t)o->seed,
                         &s->val));
    }
    if (o->sample_every > 0) TRY(sampler_open(o, &s->sampler));
    return NULL;
}

static void close_session(session *s)
{
    batches_close(s->train);
    batches_close(s->val);
    tokens_close(s->train_set);
    tokens_close(s->val_set);
    sampler_close(&s->sampler);
    if (s->log) fclose(s->log);
}

/* ---- the loop ---- */

static bool due(int64_t every, int64_t step, int64_t last)
{
    return every > 0 && (step % every == 0 || step == last);
}

static error *one_step(session *s, int64_t step)
{
    const options *o = s->o;
    double lr = schedule_lr(&o->schedule, step - 1), begin = now();
    step_result result;
    TRY(trainer_step(s->t, s->train, step, lr, &result));
    double seconds = now() - begin;
    if (!result.finite) return trainer_find_fault(s->t, s->train, step, result.loss);
    s->step_seconds = s->step_seconds > 0 ? 0.9 * s->step_seconds + 0.1 * seconds : seconds;
    step_record record = {.step = step,
                          .steps = o->steps,
                          .loss = result.loss,
                          .lr = lr,
                          .grad_norm = result.grad_norm,
                          .ms = seconds * 1e3,
                          .peak_bytes = arena_peak(s->t->arena)};
    record.tokens_per_s = (double)(o->batch * o->seq * o->accum) / seconds;
    record.seconds_left = s->step_seconds * (double)(o->steps - step);
    TRY(log_step(s->log, &record));
    if (step == 1 || step == o->steps || now() - s->shown > 1) {
        show_step(&record);
        s->shown = now();
    }
    return NULL;
}

static error *between_steps(session *s, int64_t step)
{
    const options *o = s->o;
    if (s->val && due(o->eval_every, step, o->steps)) {
        double loss;
        TRY(trainer_evaluate(s->t, s->val, &loss));
        TRY(log_value(s->log, step, "val_loss", loss));
        printf("step %5lld  validation loss %.4f\n", (long long)step, loss);
    }
    if (s->sampler.vocab && due(o->sample_every, step, o->steps))
        TRY(sampler_show(&s->sampler, s->t, step));
    return NULL;
}

/* The plan was the run: what was handed out is what was planned, and nobody wrote past it. */
static error *check_arena(const session *s)
{
    arena *a = s->t->arena;
    if (!arena_canary_intact(a)) return internal_error("something wrote past the end of the arena");
    if (arena_high_water(a) > arena_peak(a))
        return internal_error("the arena handed out %zu bytes, planned were %zu",
                              arena_high_water(a), arena_peak(a));
    return NULL;
}

static error *finish(session *s)
{
    char path[4096];
    TRY(check_arena(s));
    TRY(out_path(s->o, "model.safetensors", path, sizeof path));
    TRY(weights_write(s->o->out, &s->o->model, &s->t->params, s->t->r.dev));
    size_t peak = arena_peak(s->t->arena), resident = resident_bytes();
    TRY(log_value(s->log, s->o->steps, "high_water_bytes", (double)arena_high_water(s->t->arena)));
    TRY(log_value(s->log, s->o->steps, "resident_bytes", (double)resident));
    printf("wrote %s; memory planned %.1f MiB, handed out %.1f MiB, process %.1f MiB\n", path,
           (double)peak / 1048576.0, (double)arena_high_water(s->t->arena) / 1048576.0,
           (double)resident / 1048576.0);
    return NULL;
}

static error *run_session(session *s, device *dev)
{
    const options *o = s->o;
    TRY(open_data(s));
    TRY(make_directory(o->out));
    TRY(trainer_commit(s->t, dev, false)); /* before an older run's files are replaced */
    TRY(write_out(s->t, "options.json", print_options));
    TRY(write_out(s->t, "plan.txt", plan_print));
    TRY(write_out(s->t, "plan.svg", plan_svg));
    TRY(open_log(s));
    int64_t per_step = o->batch * o->seq * o->accum, epoch = batches_windows(s->train) * o->seq;
    printf("%lld tokens a step, %lld in an epoch; %lld steps = %.2f epochs\n", (long long)per_step,
           (long long)epoch, (long long)o->steps,
           (double)per_step * (double)o->steps / (double)epoch);
    for (int64_t step = 1; step <= o->steps; step++) {
        TRY(one_step(s, step));
        TRY(between_steps(s, step));
    }
    return finish(s);
}

error *train_loop(trainer *t, device *dev)
{
    session s = {.t = t, .o = t->o};
    error *e = run_session(&s, dev);
    close_session(&s);
    return e;
}
