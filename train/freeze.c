/* freeze.c - see freeze.h */
#include "train/freeze.h"

#include <fnmatch.h>

enum { NAME_ROOM = 128 };

static bool fits(const char *pattern, const param *row)
{
    char name[NAME_ROOM];
    return !fnmatch(pattern, param_text(row, name, sizeof name), 0);
}

static bool listed(const pattern_list *list, const param *row)
{
    for (int i = 0; i < list->n; i++)
        if (fits(list->pattern[i], row)) return true;
    return false;
}

static bool fits_any(const char *pattern, const params *p)
{
    for (int i = 0; i < p->n; i++)
        if (param_saved(p, i) && !p->row[i].spec.state && fits(pattern, &p->row[i])) return true;
    return false;
}

/* The first trainable row from i on. */
static const param *from_row(const params *p, int i)
{
    while (i + 1 < p->n && !param_saved(p, i))
        i++;
    return &p->row[i];
}

/* A pattern without effect is probably a typo. */
static error *check_list(const char *option, const pattern_list *list, const params *p)
{
    char first[NAME_ROOM], other[NAME_ROOM];
    for (int k = 0; k < list->n; k++)
        if (!fits_any(list->pattern[k], p))
            return user_error("--%s '%s' fits no parameter%s: names are like %s and %s, and * "
                              "stands for any part of one",
                              option, list->pattern[k], p->adapted ? " of an adapter" : "",
                              param_text(from_row(p, 0), first, sizeof first),
                              param_text(from_row(p, p->n / 2), other, sizeof other));
    return NULL;
}

error *freeze_apply(const options *o, params *p)
{
    int trained = 0;
    TRY(check_list("freeze", &o->freeze, p));
    TRY(check_list("train-only", &o->train_only, p));
    for (int i = 0; i < p->n; i++) {
        param *row = &p->row[i];
        row->trainable = param_saved(p, i) && !row->spec.state &&
                         (!o->train_only.n || listed(&o->train_only, row)) &&
                         !listed(&o->freeze, row);
        trained += row->trainable;
    }
    if (!trained)
        return user_error("--freeze and --train-only leave no parameter to train%s: leave a "
                          "pattern out",
                          p->adapted ? " (beside --lora only adapters are trained)" : "");
    return NULL;
}

int64_t trained_count(const params *p)
{
    int64_t sum = 0;
    for (int i = 0; i < p->n; i++)
        if (p->row[i].trainable && !param_is_pool(p, i)) sum += p->row[i].count;
    return sum;
}
