/* loop.c - see loop.h */
#include "train/loop.h"
#include "core/outfile.h"
#include "train/life.h"
#include "train/plan_report.h"
#include "train/sampler.h"
#include "train/stop.h"
#include "train/weights.h"

#include <errno.h>
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
    life life;
    double step_seconds; /* smoothed */
    double shown;        /* when a line was last shown */
    int64_t first;       /* step of this process */
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

static error *open_out(const options *o, const char *name, FILE **f)
{
    char path[4096];
    TRY(out_path(o, name, path, sizeof path));
    *f = fopen(path, "w");
    return *f ? NULL : user_error("%s cannot be written: %s", path, strerror(errno));
}

static error *close_out(const options *o, const char *name, FILE *f)
{
    bool bad = ferror(f);
    if (fclose(f) || bad)
        return user_error("%s/%s cannot be written: %s", o->out, name, strerror(errno));
    return NULL;
}

static error *write_plan(const trainer *t)
{
    FILE *f;
    TRY(open_out(t->o, "plan.txt", &f));
    error *e = plan_print(t, f), *closed = close_out(t->o, "plan.txt", f);
    if (e || closed) {
        if (e && closed) error_free(closed);
        return e ? e : closed;
    }
    TRY(open_out(t->o, "plan.svg", &f));
    e = plan_svg(t, f);
    closed = close_out(t->o, "plan.svg", f);
    if (e && closed) error_free(closed);
    return e ? e : closed;
}

static error *write_config(const options *o)
{
    char path[4096], *text;
    outfile *f;
    TRY(out_path(o, "options.json", path, sizeof path));
    TRY(options_json(o, &text));
    error *e = outfile_create(path, &f);
    if (!e) {
        e = outfile_write(f, text, strlen(text));
        if (!e) e = outfile_write(f, "\n", 1);
        if (!e)
            e = outfile_commit(f);
        else
            outfile_discard(f);
    }
    free(text);
    return e;
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

/* What the order of samples depends on, besides the seed. */
static uint64_t fingerprint(const session *s)
{
    uint64_t h = (uint64_t)s->o->seq;
    for (int i = 0; i < tokens_shards(s->train_set); i++)
        h = h * 1000003 + (uint64_t)tokens_count(s->train_set, i);
    return h;
}

static void close_session(session *s)
{
    batches_close(s->train);
    batches_close(s->val);
    tokens_close(s->train_set);
    tokens_close(s->val_set);
    sampler_close(&s->sampler);
    life_close(&s->life);
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
    TRY(life_logged(&s->life, log_step(s->life.log, &record)));
    if (step == s->first || step == o->steps || now() - s->shown > 1) {
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
        TRY(life_logged(&s->life, log_value(s->life.log, step, "val_loss", loss)));
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
    const options *o = s->o;
    char path[4096];
    int64_t bytes;
    TRY(check_arena(s));
    TRY(make_directory(o->out)); /* it may have been removed */
    TRY(out_path(o, "model.safetensors", path, sizeof path));
    TRY(weights_write(o->out, &o->model, &s->t->params, s->t->r.dev));
    run_log *log = s->life.log;
    size_t peak = arena_peak(s->t->arena), resident = resident_bytes(),
           high = arena_high_water(s->t->arena);
    TRY(life_logged(&s->life, log_value(log, o->steps, "high_water_bytes", (double)high)));
    TRY(life_logged(&s->life, log_value(log, o->steps, "resident_bytes", (double)resident)));
    printf("wrote %s; memory planned %.1f MiB, handed out %.1f MiB, process %.1f MiB\n", path,
           (double)peak / 1048576.0, (double)high / 1048576.0, (double)resident / 1048576.0);
    return log_sync(log, &bytes);
}

/* A checkpoint that fails is a pity; the training goes on, and the one before stays. */
static void keep(session *s, int64_t step)
{
    error *e = life_keep(&s->life, step);
    if (e)
        error_warn(error_context(e, "no checkpoint of step %lld", (long long)step));
    else
        printf("step %5lld  checkpoint\n", (long long)step);
}

/* After `step`, as far as it came: asked to stop. */
static error *stop(session *s, int64_t step, const char *signal_name)
{
    TRY(check_arena(s));
    TRY(life_keep(&s->life, step));
    printf("stopped by %s after step %lld; go on with --resume auto --out %s\n", signal_name,
           (long long)step, s->o->out);
    return NULL;
}

static error *run_steps(session *s)
{
    const options *o = s->o;
    int64_t step = s->first - 1;
    while (step < o->steps && !stop_asked()) {
        TRY(one_step(s, ++step));
        TRY(between_steps(s, step));
        if (due(o->checkpoint_every, step, o->steps) && !stop_asked()) keep(s, step);
    }
    return step < o->steps ? stop(s, step, stop_asked()) : finish(s);
}

static error *run_session(session *s, device *dev)
{
    const options *o = s->o;
    TRY(open_data(s));
    TRY(make_directory(o->out));
    TRY(life_open(&s->life, s->t, fingerprint(s)));
    TRY(trainer_commit(s->t, dev, false)); /* before an older run's files are replaced */
    TRY(life_begin(&s->life));
    TRY(write_config(o));
    TRY(write_plan(s->t));
    s->first = s->life.state.step + 1;
    int64_t per_step = o->batch * o->seq * o->accum, epoch = batches_windows(s->train) * o->seq;
    printf("%lld tokens a step, %lld in an epoch; %lld steps = %.2f epochs\n", (long long)per_step,
           (long long)epoch, (long long)o->steps,
           (double)per_step * (double)o->steps / (double)epoch);
    return run_steps(s);
}

error *train_loop(trainer *t, device *dev)
{
    session s = {.t = t, .o = t->o};
    stop_listen();
    error *e = run_session(&s, dev);
    stop_unlisten();
    close_session(&s);
    return e;
}
