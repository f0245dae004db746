/* memory_candidates.c - plans the possible settings one by one: see memory_search.h. */
#include "plan/memory_search.h"
#include "train/choose_attention.h"
#include "train/conflicts.h"

#include <stdlib.h>
#include <string.h>

#define MIB 1048576.0
#define GIB 1073741824.0

typedef struct {
    options o;
    size_t peak, far; /* bytes on the device, in the second place */
    double seconds;
} candidate;

typedef struct {
    const model_kind *kind;
    const machine_rates *rates;
    size_t bytes;
    candidate now, best, second, least, more; /* more: the best with a GiB more */
    bool fits, has_second, has_more, has_least;
    size_t least_far; /* of those that --host-memory has no room for; 0: there are none */
} search;

static error *search_new(const model_kind *kind, size_t bytes, const machine_rates *rates,
                         search **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    (*out)->kind = kind;
    (*out)->bytes = bytes;
    (*out)->rates = rates;
    return NULL;
}

/* ---- candidates ---- */

/* What lies in the second place; on a GPU's host the copy of a checkpoint, too. */
static size_t second_place_bytes(const trainer *t)
{
    return (t->params.far ? far_bytes(t->params.far) : 0) + trainer_host_bytes(t);
}

static error *plan_candidate(const search *s, candidate *c)
{
    trainer *t;
    TRY(trainer_plan(&c->o, s->kind, &t));
    c->peak = arena_peak(t->arena);
    c->far = second_place_bytes(t);
    c->seconds = fit_step_seconds(t, s->rates);
    trainer_destroy(t);
    return NULL;
}

/* The policy that needs least among those that the options allow. */
static error *least_gradients(options *o)
{
    bool given = o->gradients && strcmp(o->gradients, "auto");
    if (given || rule_folds(o->optim.rule)) return NULL; /* given: the only one */
    o->optim.gradients = GRADS_AUTO;
    TRY(optim_resolve(&o->optim, o->accum, &o->policy_reason));
    o->policy_reason = "chosen by --memory";
    return NULL;
}

/* bf16 weights with this master, states in this form; -1: unchanged. */
static void take_forms(options *o, int master, int state)
{
    if (master >= 0) {
        o->dtype_name = "bf16";
        o->master_name = master_names[master];
        o->type = o->optim.type = BF16;
        o->master = (master_form)master;
    }
    if (state >= 0) {
        o->state_name = state_names[state];
        o->optim.state = (state_form)state;
    }
}

/* Of two that take the same time, the one that moves less, then the smaller one. */
static bool faster(const candidate *a, const candidate *b)
{
    if (a->seconds < b->seconds || a->seconds > b->seconds) return a->seconds < b->seconds;
    return a->far != b->far ? a->far < b->far : a->peak < b->peak;
}

static void consider(search *s, const candidate *c)
{
    if (c->o.host_bytes && c->far > c->o.host_bytes) {
        if (!s->least_far || c->far < s->least_far) s->least_far = c->far;
        return;
    }
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

/* One setting; if the device prefers large chunks of logits, also with smaller ones, unless their
 * size was given. */
static error *search_logits(search *s, int64_t given)
{
    candidate *c = &s->now;
    int64_t wanted = device_kind_at(c->o.device)->logits_mib;
    const int64_t smaller[] = {wanted / 4, DEFAULT_LOGITS_MIB};
    c->o.training.logits_mib = given;
    TRY(plan_candidate(s, c));
    consider(s, c);
    for (int i = 0; i < 2 && wanted && !given; i++) {
        size_t before = c->peak;
        c->o.training.logits_mib = smaller[i];
        TRY(plan_candidate(s, c));
        if (c->peak != before) consider(s, c); /* otherwise they are small anyway */
    }
    return NULL;
}

/* The whole batch, split into micro-batches in every way: fewer samples in each than requested,
 * never more.  A rule that accumulates each micro-batch by itself, and BatchNorm, whose means are
 * those of a micro-batch, would be trained differently. */
static error *search_splits(search *s, const options *o)
{
    int64_t all = o->batch * o->accum;
    bool whole = rule_folds(o->optim.rule) || o->model.norm == NORM_BATCH;
    candidate *c = &s->now;
    for (int64_t micro = o->batch; micro >= 1; micro--) {
        if (all % micro || (micro != o->batch && whole)) continue;
        for (int level = 0; level < RECOMPUTE_LEVELS; level++) {
            if (o->offload_activations && level == RECOMPUTE_SQRT) continue;
            c->o = *o;
            c->o.batch = micro;
            c->o.accum = all / micro;
            options_recompute(&c->o, (recompute_level)level);
            if (o->optim.gradients == GRADS_RELEASE && o->gradients && c->o.accum > 1) continue;
            TRY(least_gradients(&c->o));
            TRY(search_logits(s, o->training.logits_mib));
        }
    }
    return NULL;
}

/* As requested, and in each of the forms that --allow lists. */
static error *search_all(search *s, const options *o)
{
    options *with;
    error *e = NULL;
    TRY(alloc_array(&with, 1, sizeof *with));
    for (int m = -1; m < MASTER_FORMS && !e; m++)
        for (int k = -1; k < STATE_FORMS && !e; k++) {
            if ((m >= 0 && !(o->allow_masters >> m & 1)) || (k >= 0 && !(o->allow_states >> k & 1)))
                continue;
            *with = *o;
            take_forms(with, m, k);
            e = search_splits(s, with);
        }
    free(with);
    return e;
}

/* With what --host-memory allows to be offloaded, too, if that was not said. */
static error *search_places(search *s, const options *o)
{
    options *with;
    error *e = search_all(s, o);
    bool said = o->offload != OFFLOAD_NONE || (o->offload_name && !o->offload_activations);
    if (e || !o->host_bytes || said) return e;
    TRY(alloc_array(&with, 1, sizeof *with));
    for (int level = OFFLOAD_STATES; level <= OFFLOAD_PARAMS && !e; level++) {
        const char *conflict;
        if (s->fits && !(s->rates->host_gbs > 0)) break;
        *with = *o;
        options_offload(with, (offload_level)level);
        if (!options_conflict(with, &conflict)) e = search_all(s, with);
    }
    free(with);
    return e;
}

/* ---- words ---- */

/* "--recompute block --batch 4 --accum 2 --gradients overlay": what to give in addition. */
static const char *settings(const candidate *c, const options *given, char *text, size_t room)
{
    int n = snprintf(text, room, "--recompute %s --batch %lld --accum %lld --gradients %s",
                     c->o.recompute, (long long)c->o.batch, (long long)c->o.accum,
                     grad_policy_name(c->o.optim.gradients));
    if (c->o.type != given->type || c->o.master != given->master)
        n += snprintf(text + n, room - (size_t)n, " --dtype bf16 --master %s",
                      master_names[c->o.master]);
    if (c->o.optim.state != given->optim.state)
        n += snprintf(text + n, room - (size_t)n, " --state %s", state_names[c->o.optim.state]);
    if (c->o.offload != given->offload)
        n += snprintf(text + n, room - (size_t)n, " --offload %s", c->o.offload_name);
    if (c->o.training.logits_mib != given->training.logits_mib)
        snprintf(text + n, room - (size_t)n, " --logits-mib %lld",
                 (long long)c->o.training.logits_mib);
    return text;
}

static void print_candidate(FILE *out, const char *name, const candidate *c, const options *given)
{
    char text[250];
    fprintf(out, "  %-10s %9.1f MiB  %s, %.3g s a step predicted\n", name, (double)c->peak / MIB,
            settings(c, given, text, sizeof text), c->seconds);
    if (c->far) fprintf(out, "  %10s %9.1f MiB  in the second place\n", "", (double)c->far / MIB);
}

static void print_choice(FILE *out, const search *s, const options *given)
{
    fprintf(out, "memory: %.1f MiB; products %.0f GFLOP/s", (double)s->bytes / MIB,
            s->rates->gflops);
    if (given->type == BF16 || given->allow_masters)
        fprintf(out, " (in bf16 %.0f)", s->rates->gflops_bf16);
    fprintf(out, ", stream %.1f GB/s", s->rates->gbs);
    if (given->type == BF16 || given->allow_masters)
        fprintf(out, " (in bf16 %.1f)", s->rates->gbs_bf16);
    if (s->rates->host_gbs > 0 && given->device == DEVICE_CUDA)
        fprintf(out, ", host %.1f GB/s", s->rates->host_gbs);
    fputc('\n', out);
    print_candidate(out, "chosen", &s->best, given);
    if (s->has_second) print_candidate(out, "runner-up", &s->second, given);
    if (faster(&s->more, &s->best))
        print_candidate(out, "+ 1 GiB", &s->more, given);
    else
        fprintf(out, "  + 1 GiB    would gain nothing\n");
}

/* ---- if nothing fits ---- */

/* A change of what is trained, or of where it lies. */
typedef struct {
    bool forms, one, lion;
    offload_level offload;
    const char *words;
} way;

static const way ways[] = {
    {.offload = OFFLOAD_STATES, .words = "--offload states"},
    {.offload = OFFLOAD_PARAMS, .words = "--offload params"},
    {.forms = true, .words = "--allow master=split8,state=int8"},
    {.one = true, .words = "a step of fewer samples (--batch 1 --accum 1)"},
    {.forms = true,
     .one = true,
     .words = "--allow master=split8,state=int8 with --batch 1 --accum 1"},
    {.one = true,
     .lion = true,
     .words = "--optim lion_r, which has one state, with --batch 1 --accum 1"},
    {.forms = true,
     .one = true,
     .lion = true,
     .words = "--optim lion_r --allow master=split8,state=int8 --batch 1 --accum 1"},
};

static error *take_way(const way *w, options *o)
{
    const char *with;
    if (w->offload && (options_offloads(o) || o->host_bytes))
        return user_error("%s: it was said what is offloaded", w->words);
    if (w->offload) options_offload(o, w->offload);
    if (w->offload && options_conflict(o, &with)) return user_error("%s: not here", w->words);
    if (w->lion) {
        TRY(optim_another("lion_r", &o->optim, &o->optim));
        o->gradients = NULL;
    }
    if (w->one) o->batch = o->accum = 1;
    if (w->forms) take_forms(o, MASTER_SPLIT8, STATE_INT8);
    return optim_resolve(&o->optim, o->accum, &o->policy_reason);
}

/* The peak of the setting that needs least, changed that way; 0 if it cannot be changed so. */
static size_t peak_with(search *s, const way *w)
{
    candidate *c = &s->now;
    *c = s->least;
    error *e = take_way(w, &c->o);
    if (!e) e = least_gradients(&c->o);
    if (!e) e = plan_candidate(s, c);
    bool planned = !e;
    error_free(e); /* these cannot be combined */
    return planned ? c->peak : 0;
}

/* What is left when no option is enough. */
static const char *last_resort(const options *o)
{
    bool offload = !options_offloads(o) && !o->host_bytes;
    return offload ? "a smaller model, shorter sequences, --freeze or --offload"
                   : "a smaller model, shorter sequences or --freeze";
}

/* All ways that make it fit, in the order of what they save, with what is then needed. */
static const char *what_helps(search *s, char *text, size_t room)
{
    enum { WAYS = sizeof ways / sizeof *ways };
    const way *fit[WAYS];
    size_t peak[WAYS], n = 0, used = 0;
    for (size_t i = 0; i < WAYS; i++) {
        size_t needs = peak_with(s, &ways[i]), at = n;
        if (!needs || needs > s->bytes) continue;
        for (; at > 0 && peak[at - 1] > needs; at--) {
            peak[at] = peak[at - 1];
            fit[at] = fit[at - 1];
        }
        peak[at] = needs;
        fit[at] = &ways[i];
        n++;
    }
    if (!n) return last_resort(&s->least.o);
    for (size_t i = 0; i < n && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%s: %.1f MiB", i ? "; or " : "",
                                 fit[i]->words, (double)peak[i] / MIB);
    return text;
}

error *fit_memory(options *o, const model_kind *kind, size_t bytes, const machine_rates *rates,
                  FILE *out)
{
    search *s;
    char text[250], help[800];
    TRY(search_new(kind, bytes, rates, &s));
    error *e = search_places(s, o);
    if (!e && !s->fits && o->training.attention != ATTENTION_OWN) {
        snprintf(text, sizeof text, "with %s nothing fits into --memory %s", options_attention(o),
                 o->memory);
        if (attention_give_way(o, text, out)) e = search_places(s, o);
    }
    if (!e && !s->has_least)
        e = user_error("--host-memory %s: %.1f MiB would lie there: give more, or offload less",
                       o->host_memory, (double)s->least_far / MIB);
    if (!e && !s->fits)
        e = user_error("--memory %s: nothing fits; %.1f MiB are missing with %s; try %s", o->memory,
                       (double)(s->least.peak - bytes) / MIB,
                       settings(&s->least, o, text, sizeof text), what_helps(s, help, sizeof help));
    if (!e) {
        if (out) print_choice(out, s, o);
        *o = s->best.o;
    }
    free(s);
    return e;
}

error *fit_check(const trainer *t, size_t free_bytes)
{
    /* of some GPU: which settings fit does not depend on it */
    static const machine_rates rates = {2e4, 2e3, 2e5, 2e3, 25};
    search *s;
    char text[250], help[800];
    double needs = (double)arena_peak(t->arena) / MIB, has = (double)free_bytes / MIB;
    if (arena_peak(t->arena) <= free_bytes) return NULL;
    TRY(search_new(t->kind, free_bytes, &rates, &s));
    error *e = search_places(s, t->o);
    if (!e && s->fits)
        e = user_error("the plan needs %.1f MiB and %.1f MiB are free: %s would fit (%.1f MiB)",
                       needs, has, settings(&s->best, t->o, text, sizeof text),
                       (double)s->best.peak / MIB);
    else if (!e)
        e = user_error("the plan needs %.1f MiB and %.1f MiB are free; %s needs %.1f MiB still: "
                       "use %s",
                       needs, has, settings(&s->least, t->o, text, sizeof text),
                       (double)s->least.peak / MIB, what_helps(s, help, sizeof help));
    free(s);
    return e;
}

error *fit_second_place(const trainer *t, size_t free_bytes)
{
    const options *o = t->o;
    size_t needs = second_place_bytes(t);
    const char *less = o->offload == OFFLOAD_PARAMS ? "--offload states" : "leave out --offload";
    if (o->host_bytes && needs > o->host_bytes)
        return user_error("--host-memory %s: %.1f MiB would lie there: give more, or %s",
                          o->host_memory, (double)needs / MIB, less);
    if (free_bytes && needs > free_bytes)
        return user_error("--offload %s: %.1f MiB would lie in the host's memory, which has %.1f "
                          "MiB free: %s",
                          o->offload_name, (double)needs / MIB, (double)free_bytes / MIB, less);
    return NULL;
}
