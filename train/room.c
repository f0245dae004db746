/* room.c - see room.h */
#include "train/room.h"

#include <stdlib.h>
#include <string.h>

/* Another way to do the same step. */
typedef struct {
    int64_t batch, accum;
    bool reduced;
    size_t peak;
} way;

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

static error *plan_way(const trainer *t, way *w)
{
    options *o;
    trainer *other;
    const char *reason;
    TRY(alloc_array(&o, 1, sizeof *o));
    *o = *t->o;
    o->batch = w->batch;
    o->accum = w->accum;
    if (w->reduced) {
        o->optim.reduced = true;
        o->optim.gradients = GRADS_AUTO;
    }
    error *e = optim_resolve(&o->optim, o->accum, &reason);
    if (!e && !(e = trainer_plan(o, t->kind, &other))) {
        w->peak = arena_peak(other->arena);
        trainer_destroy(other);
    }
    free(o);
    return e;
}

/* "--batch 4 --accum 2 --optim adamw_r": what to give in place of what was given. */
static void describe(const trainer *t, const way *w, char *text, size_t size)
{
    const char *name = rule_at(t->o->optim.rule)->name;
    int n = 0;
    text[0] = 0;
    if (w->batch != t->o->batch)
        n = snprintf(text, size, "--batch %lld --accum %lld ", (long long)w->batch,
                     (long long)w->accum);
    if (w->reduced && !t->o->optim.reduced)
        n += snprintf(text + n, size - (size_t)n, "--optim %s_r ", name);
    if (w->reduced && t->o->optim.reduced)
        n += snprintf(text + n, size - (size_t)n, "--gradients auto ");
    if (n > 0) text[n - 1] = 0;
}

/* The first way that fits; *found false: *w is the one that needs least. */
static error *search(const trainer *t, size_t free, way *w, bool *found)
{
    way least = {.peak = SIZE_MAX};
    *found = false;
    for (int64_t parts = 1; t->o->batch % parts == 0; parts *= 2)
        for (int reduced = 0; reduced < 2; reduced++) {
            *w = (way){.batch = t->o->batch / parts, .accum = t->o->accum * parts};
            w->reduced = reduced;
            if (parts == 1 && !reduced) continue; /* what was asked for */
            error *e = plan_way(t, w);
            if (e) { /* the options do not go together */
                error_free(e);
                continue;
            }
            *found = w->peak <= free;
            if (*found) return NULL;
            if (w->peak < least.peak) least = *w;
        }
    *w = least;
    return NULL;
}

error *room_check(const trainer *t, size_t free)
{
    size_t peak = arena_peak(t->arena);
    char text[120];
    way w;
    bool found;
    if (peak <= free) return NULL;
    TRY(search(t, free, &w, &found));
    describe(t, &w, text, sizeof text);
    if (found)
        return user_error("the plan needs %.1f MiB and %.1f MiB are free: %s would fit (%.1f MiB)",
                          mib(peak), mib(free), text, mib(w.peak));
    if (w.peak == SIZE_MAX)
        return user_error("the plan needs %.1f MiB and %.1f MiB are free: use a smaller model or "
                          "shorter sequences",
                          mib(peak), mib(free));
    return user_error(
        "the plan needs %.1f MiB and %.1f MiB are free; %s needs %.1f MiB still: use a "
        "smaller model, shorter sequences or another optimizer (--plan compares them)",
        mib(peak), mib(free), text, mib(w.peak));
}
