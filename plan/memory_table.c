/* memory_table.c - the table of what trains in how much memory: see memory_search.h. */
#include "plan/memory_search.h"
#include "train/conflicts.h"
#include "train/task.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#define GIB 1073741824.0

enum { MOST_PRESETS = 256, MOST_BATCH = 65536 };

/* An optimizer in a given form, and its need for each preset with one sample. */
typedef struct {
    char name[40];
    bool reduced;
    size_t one[MOST_PRESETS];
} row;

static const model_config *preset(const options *o, int i)
{
    const preset_list *list = o->task->kind->presets;
    return i < list->n ? &list->row[i] : NULL;
}

/* --model may select some of them. */
static bool is_meant(const options *o, int i)
{
    bool pattern = o->model_name && strpbrk(o->model_name, "*?[");
    return !pattern || !fnmatch(o->model_name, preset(o, i)->name, 0);
}

/* The length of its sequences: the context, or --seq if that is shorter. */
static int64_t length_of(const options *o, int i)
{
    int64_t context = preset(o, i)->context;
    return o->longest && o->longest < context ? o->longest : context;
}

/* The options of one cell: this optimizer and model, one micro-batch of that many samples. */
static error *options_of(const options *asked, const row *r, const model_config *m, int64_t seq,
                         int64_t samples, options *o)
{
    *o = *asked;
    o->model = *m;
    o->seq = seq;
    o->batch = samples;
    o->accum = 1;
    o->freeze.n = o->train_only.n = 0; /* names of another model's parameters */
    recompute_level most = o->offload_activations ? RECOMPUTE_BLOCK : RECOMPUTE_SQRT;
    options_recompute(o, r->reduced ? most : RECOMPUTE_NONE);
    return optim_another(r->name, &o->optim, &o->optim);
}

/* What conflicts with the rest (--attention cudnn with ALiBi) fits nowhere. */
static error *peak_of(const options *asked, const row *r, int which, int64_t samples, size_t *peak)
{
    options o;
    trainer *t;
    const char *with;
    TRY(options_of(asked, r, preset(asked, which), length_of(asked, which), samples, &o));
    *peak = SIZE_MAX;
    if (options_conflict(&o, &with)) return NULL;
    TRY(optim_resolve(&o.optim, 1, &o.policy_reason));
    TRY(trainer_plan(&o, o.task->kind, &t));
    *peak = arena_peak(t->arena);
    trainer_destroy(t);
    return NULL;
}

/* The largest batch of preset `which` that fits: by doubling, then bisection. */
static error *most_samples(const options *o, const row *r, int which, size_t bytes, int64_t *out)
{
    int64_t low = 1, high = 2;
    size_t peak = 0;
    while (high <= MOST_BATCH) {
        TRY(peak_of(o, r, which, high, &peak));
        if (peak > bytes) break;
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        TRY(peak_of(o, r, which, middle, &peak));
        if (peak > bytes)
            high = middle;
        else
            low = middle;
    }
    *out = low;
    return NULL;
}

/* Is preset i the larger one: by what it needs, or (what is offloaded needs little) by its
 * parameters? */
static bool larger(const options *o, const row *r, int i, int best)
{
    if (!options_offloads(o)) return r->one[i] > r->one[best];
    return config_parameters(preset(o, i)) > config_parameters(preset(o, best));
}

static error *print_cell(const options *o, const row *r, size_t bytes, FILE *out)
{
    int best = -1;
    int64_t samples;
    char text[64] = "none";
    for (int i = 0; preset(o, i) && i < MOST_PRESETS; i++)
        if (r->one[i] && r->one[i] <= bytes && (best < 0 || larger(o, r, i, best))) best = i;
    if (best >= 0) {
        TRY(most_samples(o, r, best, bytes, &samples));
        snprintf(text, sizeof text, "%s x %lld", preset(o, best)->name, (long long)samples);
    }
    fprintf(out, "  %-20s", text);
    return NULL;
}

static error *print_row(const options *o, row *r, const size_t *sizes, int n, FILE *out)
{
    for (int i = 0; preset(o, i) && i < MOST_PRESETS; i++)
        if (is_meant(o, i)) TRY(peak_of(o, r, i, 1, &r->one[i]));
    fprintf(out, "  %-9s", r->name);
    for (int i = 0; i < n; i++)
        TRY(print_cell(o, r, sizes[i], out));
    fputc('\n', out);
    return NULL;
}

/* Are there such runs, with the requested forms and ranks? */
static error *is_possible(const options *asked, const row *r, bool *possible)
{
    options o;
    const char *with;
    TRY(options_of(asked, r, &asked->model, asked->seq, 1, &o));
    *possible = !options_conflict(&o, &with);
    return NULL;
}

error *fit_presets(const options *o, const size_t *sizes, int n, FILE *out)
{
    fprintf(out,
            "the largest preset that trains, and with how many samples of %s in a "
            "step; with _r: least gradients, --recompute sqrt\n\n  %-9s",
            o->longest ? "--seq tokens" : "its full length", "optimizer");
    for (int i = 0; i < n; i++)
        fprintf(out, "  %-16.4gGiB ", (double)sizes[i] / GIB);
    fputc('\n', out);
    for (int id = 0; id < RULE_COUNT; id++)
        for (int reduced = 0; reduced < 2 && rule_is_public((rule_id)id); reduced++) {
            row r = {.reduced = reduced};
            bool possible;
            snprintf(r.name, sizeof r.name, "%s%s", rule_at((rule_id)id)->name,
                     reduced ? "_r" : "");
            TRY(is_possible(o, &r, &possible));
            if (possible) TRY(print_row(o, &r, sizes, n, out));
        }
    return NULL;
}
