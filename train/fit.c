/* fit.c - see fit.h */
#include "train/fit.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB 1048576.0
#define GIB 1073741824.0

/* ---- sizes ---- */

static bool take_size(const char **at, size_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(*at, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == *at || !(value > 0)) return false;
    if (unit) end++;
    for (; unit && unit >= units; unit--)
        value *= 1024;
    if (value > 1e18 || (*end && *end != ',')) return false;
    *out = (size_t)value;
    *at = end;
    return true;
}

error *fit_parse(const char *text, size_t sizes[MOST_SIZES], int *n)
{
    const char *at = text;
    *n = 0;
    sizes[0] = 0;
    if (!strcmp(text, "auto")) {
        *n = 1;
        return NULL;
    }
    do {
        if (*n == MOST_SIZES || !take_size(&at, &sizes[*n]))
            return user_error("--memory %s: must be a size like 8G or 600M, or auto; with --plan "
                              "up to %d sizes with commas between",
                              text, MOST_SIZES);
        ++*n;
    } while (*at++ == ',');
    return NULL;
}

error *fit_available(device *dev, size_t *out)
{
    *out = device_free_memory(dev);
    if (*out) return NULL;
    FILE *f = fopen("/proc/meminfo", "r");
    char line[200];
    unsigned long long kib = 0;
    while (f && !kib && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) != 1) kib = 0;
    if (f) fclose(f);
    if (!kib)
        return user_error("--memory auto: /proc/meminfo does not say what is free: give the size, "
                          "like 8G");
    *out = (size_t)kib * 1024;
    return NULL;
}

/* ---- rates ---- */

enum { SIDE = 1024, STREAM_FLOATS = 16 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of an operation: the least of some. */
static double time_of(device *dev, void (*work)(device *, void *), void *memory)
{
    double best = INFINITY, total = 0;
    work(dev, memory); /* threads and pages are there from here on */
    op_sync(dev, STREAM_COMPUTE);
    for (int i = 0; i < 20 && total < 0.25; i++) {
        double begin = now();
        work(dev, memory);
        op_sync(dev, STREAM_COMPUTE);
        double took = now() - begin;
        total += took;
        best = fmin(best, took);
    }
    return best;
}

static tensor square_at(void *memory, int i)
{
    return tensor_of((float *)memory + (size_t)i * SIDE * SIDE, F32, SHAPE(SIDE, SIDE));
}

static void multiply(device *dev, void *memory)
{
    OP(linear, dev, STREAM_COMPUTE, .out = square_at(memory, 0), .x = square_at(memory, 1),
       .w = square_at(memory, 2));
}

static void stream(device *dev, void *memory)
{
    int64_t half = STREAM_FLOATS / 2;
    OP(copy, dev, STREAM_COMPUTE, .dst = tensor_of(memory, F32, SHAPE(half)),
       .src = tensor_of((float *)memory + half, F32, SHAPE(half)));
}

error *fit_measure(device *dev, machine_rates *out)
{
    void *memory;
    size_t bytes = (size_t)STREAM_FLOATS * sizeof(float);
    TRY(dev->ops->alloc(dev, bytes, &memory));
    op_clear(dev, STREAM_COMPUTE, tensor_of(memory, F32, SHAPE(STREAM_FLOATS)));
    out->gflops = 2.0 * SIDE * SIDE * SIDE / time_of(dev, multiply, memory) * 1e-9;
    out->gbs = (double)bytes / time_of(dev, stream, memory) * 1e-9;
    dev->ops->release(dev, memory);
    return device_status(dev);
}

double fit_seconds(const work_count *work, const machine_rates *rates)
{
    return work->flops / (rates->gflops * 1e9) + work->bytes / (rates->gbs * 1e9);
}

/* ---- candidates ---- */

typedef struct {
    options o;
    size_t peak;
    double seconds;
} candidate;

static error *plan_candidate(candidate *c, const model_kind *kind, const machine_rates *rates)
{
    trainer *t;
    TRY(recompute_parse(c->o.recompute, c->o.model.layers, &c->o.model.recompute));
    TRY(trainer_plan(&c->o, kind, &t));
    c->peak = arena_peak(t->arena);
    c->seconds = fit_seconds(&t->work, rates);
    trainer_destroy(t);
    return NULL;
}

/* The policy that needs least of those that the options allow. */
static error *least_gradients(options *o)
{
    bool given = o->gradients && strcmp(o->gradients, "auto");
    if (given || rule_folds(o->optim.rule)) return NULL; /* asked for; the only one */
    o->optim.gradients = GRADS_AUTO;
    TRY(optim_resolve(&o->optim, o->accum, &o->policy_reason));
    o->policy_reason = "chosen by --memory";
    return NULL;
}

static bool faster(const candidate *a, const candidate *b)
{
    return a->seconds < b->seconds || (a->seconds <= b->seconds && a->peak < b->peak);
}

typedef struct {
    size_t bytes;
    candidate best, second, least, more; /* more: the best in a GiB more */
    bool fits, has_second, has_more, has_least;
} search;

static void consider(search *s, const candidate *c)
{
    if (!s->has_least || c->peak < s->least.peak) s->least = *c;
    s->has_least = true;
    if (c->peak <= s->bytes + (size_t)GIB && (!s->has_more || faster(c, &s->more))) {
        s->more = *c;
        s->has_more = true;
    }
    if (c->peak > s->bytes) return;
    if (!s->fits || faster(c, &s->best)) {
        s->second = s->best;
        s->has_second = s->fits;
        s->best = *c;
        s->fits = true;
    } else if (!s->has_second || faster(c, &s->second)) {
        s->second = *c;
        s->has_second = true;
    }
}

/* The whole batch, split into micro-batches in every way: fewer samples each than asked for, but no
 * more.  A rule that takes in each micro-batch by itself would be trained otherwise. */
static error *search_all(const options *o, const model_kind *kind, const machine_rates *rates,
                         search *s)
{
    int64_t all = o->batch * o->accum;
    candidate *c;
    TRY(alloc_array(&c, 1, sizeof *c));
    error *e = NULL;
    for (int64_t micro = o->batch; micro >= 1 && !e; micro--) {
        if (all % micro || (micro != o->batch && rule_folds(o->optim.rule))) continue;
        for (int level = 0; level < RECOMPUTE_LEVELS && !e; level++) {
            c->o = *o;
            c->o.batch = micro;
            c->o.accum = all / micro;
            c->o.recompute = recompute_name((recompute_level)level);
            if (o->optim.gradients == GRADS_RELEASE && o->gradients && c->o.accum > 1) continue;
            e = least_gradients(&c->o);
            if (!e) e = plan_candidate(c, kind, rates);
            if (!e) consider(s, c);
        }
    }
    free(c);
    return e;
}

/* ---- words ---- */

static void print_candidate(FILE *out, const char *name, const candidate *c)
{
    fprintf(out,
            "  %-10s %9.1f MiB  --recompute %s --batch %lld --accum %lld --gradients %s, %.3g s a "
            "step predicted\n",
            name, (double)c->peak / MIB, c->o.recompute, (long long)c->o.batch,
            (long long)c->o.accum, grad_policy_name(c->o.optim.gradients), c->seconds);
}

static void print_choice(FILE *out, const search *s, const machine_rates *rates)
{
    fprintf(out, "memory: %.1f MiB; products %.0f GFLOP/s, stream %.1f GB/s\n",
            (double)s->bytes / MIB, rates->gflops, rates->gbs);
    print_candidate(out, "chosen", &s->best);
    if (s->has_second) print_candidate(out, "runner-up", &s->second);
    if (faster(&s->more, &s->best))
        print_candidate(out, "+ 1 GiB", &s->more);
    else
        fprintf(out, "  + 1 GiB    would buy nothing\n");
}

/* A change of what is trained that would make it fit, in words; empty if none is known. */
static error *what_helps(const options *o, const model_kind *kind, size_t bytes,
                         const machine_rates *rates, char *text, size_t room)
{
    candidate *c;
    const char *reason;
    *text = 0;
    TRY(alloc_array(&c, 1, sizeof *c));
    c->o = *o;
    c->o.recompute = "sqrt";
    c->o.batch = c->o.accum = 1;
    error *e = least_gradients(&c->o);
    if (!e) e = plan_candidate(c, kind, rates);
    if (!e && c->peak <= bytes)
        snprintf(text, room, "a step of fewer samples (--batch 1 --accum 1)");
    if (!e && !*text) {
        optim_config with = c->o.optim;
        e = optim_defaults("lion_r", &c->o.optim);
        c->o.optim.type = with.type;
        c->o.optim.state = with.state;
        c->o.optim.state_all = with.state_all;
        c->o.optim.sparse = with.sparse;
        c->o.gradients = NULL;
        if (!e) e = optim_resolve(&c->o.optim, 1, &reason);
        if (!e) e = plan_candidate(c, kind, rates);
        if (!e && c->peak <= bytes)
            snprintf(text, room, "--optim lion_r, which has one state, with --batch 1 --accum 1");
    }
    free(c);
    return e;
}

static error *nothing_fits(const options *o, const model_kind *kind, const search *s,
                           const machine_rates *rates)
{
    char help[200];
    TRY(what_helps(o, kind, s->bytes, rates, help, sizeof help));
    return user_error("--memory %s: nothing fits; %.1f MiB are missing with --recompute %s --batch "
                      "%lld; try %s",
                      o->memory, (double)(s->least.peak - s->bytes) / MIB, s->least.o.recompute,
                      (long long)s->least.o.batch, *help ? help : "a smaller model, or --freeze");
}

error *fit_memory(options *o, const model_kind *kind, size_t bytes, const machine_rates *rates,
                  FILE *out)
{
    search *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->bytes = bytes;
    error *e = search_all(o, kind, rates, s);
    if (!e && !s->fits) e = nothing_fits(o, kind, s, rates);
    if (!e) {
        if (out) print_choice(out, s, rates);
        *o = s->best.o;
    }
    free(s);
    return e;
}
