/* freeze.c - see freeze.h */
#include "train/freeze.h"
#include "train/tuning.h"

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

/* A pattern without effect is a slip of the pen. */
static error *check_list(const char *option, const pattern_list *list, const params *p)
{
    char first[NAME_ROOM], other[NAME_ROOM];
    for (int k = 0; k < list->n; k++) {
        int i = 0;
        while (i < p->n && !fits(list->pattern[k], &p->row[i]))
            i++;
        if (i == p->n)
            return user_error("--%s '%s' fits no parameter: names are like %s and %s, and * stands "
                              "for any part of one",
                              option, list->pattern[k], param_text(&p->row[0], first, sizeof first),
                              param_text(&p->row[p->n / 2], other, sizeof other));
    }
    return NULL;
}

error *freeze_apply(const options *o, params *p)
{
    int trained = 0;
    TRY(tuning_check(o, p));
    TRY(check_list("freeze", &o->freeze, p));
    TRY(check_list("train-only", &o->train_only, p));
    for (int i = 0; i < p->n; i++) {
        param *row = &p->row[i];
        row->trainable = param_saved(p, i) && (!o->train_only.n || listed(&o->train_only, row)) &&
                         !listed(&o->freeze, row);
        trained += row->trainable;
    }
    if (!trained) return user_error("--freeze leaves no parameter to train: leave a pattern out");
    return NULL;
}

int64_t trained_count(const params *p)
{
    int64_t sum = 0;
    for (int i = 0; i < p->n; i++)
        if (p->row[i].trainable && !param_is_pool(p, i)) sum += p->row[i].count;
    return sum;
}
