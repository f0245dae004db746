/* recompute.c - see recompute.h */
#include "model/training_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"none", "norms", "gelu", "attention", "block", "sqrt"};

const char *recompute_name(recompute_level level)
{
    return names[level];
}

const training_policy plain_training = {0};

/* ---- the text ---- */

static bool take_level(const char **at, recompute_level *out)
{
    size_t n = strcspn(*at, ":,");
    for (int i = 0; i < RECOMPUTE_LEVELS; i++)
        if (strlen(names[i]) == n && !strncmp(*at, names[i], n)) {
            *at += n;
            *out = (recompute_level)i;
            return true;
        }
    return false;
}

static bool take_layer(const char **at, int64_t *out)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    *out = strtoll(*at, &end, 10);
    *at = end;
    return true;
}

/* ":FIRST-LAST", ":LAYER", or nothing for all of them. */
static bool take_layers(const char **at, int64_t layers, recompute_range *out)
{
    out->first = 0;
    out->last = layers - 1;
    if (**at != ':') return true;
    ++*at;
    if (!take_layer(at, &out->first)) return false;
    out->last = out->first;
    if (**at != '-') return true;
    ++*at;
    return take_layer(at, &out->last);
}

static error *check_range(const recompute_plan *p, const recompute_range *r, const char *text,
                          int64_t layers)
{
    if (r->first > r->last || r->last >= layers)
        return user_error("--recompute %s: %s:%lld-%lld are not layers of this model: it has 0 to "
                          "%lld, give the lower one first",
                          text, names[r->level], (long long)r->first, (long long)r->last,
                          (long long)layers - 1);
    for (int i = 0; i < p->n; i++) {
        int64_t twice = r->first > p->range[i].first ? r->first : p->range[i].first;
        if (twice <= r->last && twice <= p->range[i].last)
            return user_error("--recompute %s: layer %lld has two levels: let the ranges not "
                              "overlap",
                              text, (long long)twice);
    }
    return NULL;
}

error *recompute_parse(const char *text, int64_t layers, recompute_plan *out)
{
    *out = (recompute_plan){0};
    const char *at = text;
    for (bool more = true; more;) {
        recompute_range r;
        bool parsed = take_level(&at, &r.level) && take_layers(&at, layers, &r);
        if (!parsed || (*at && *at != ','))
            return user_error("--recompute %s: must be none, norms, gelu, attention, block or "
                              "sqrt, for all layers or for some: block:0-5,norms:6-11",
                              text);
        if (out->n == RECOMPUTE_RANGES)
            return user_error("--recompute %s: more than %d ranges", text, RECOMPUTE_RANGES);
        TRY(check_range(out, &r, text, layers));
        out->range[out->n++] = r;
        more = *at++ == ',';
    }
    return NULL;
}

/* ---- the layers ---- */

recompute_plan recompute_all(recompute_level level, int64_t layers)
{
    return (recompute_plan){.range = {{level, 0, layers - 1}}, .n = 1};
}

static const recompute_range *range_of(const recompute_plan *p, int64_t layer)
{
    for (int i = 0; i < p->n; i++)
        if (p->range[i].first <= layer && layer <= p->range[i].last) return &p->range[i];
    return NULL;
}

recompute_level recompute_of(const recompute_plan *p, int64_t layer)
{
    const recompute_range *r = range_of(p, layer);
    return r ? r->level : RECOMPUTE_NONE;
}

bool recompute_input(const recompute_plan *p, int64_t layer)
{
    const recompute_range *r = range_of(p, layer);
    if (!r || r->level != RECOMPUTE_SQRT) return false;
    int64_t n = r->last - r->first + 1, every = 1;
    while (every * every < n)
        every++;
    return (layer - r->first) % every;
}
