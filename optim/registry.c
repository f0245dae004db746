/* registry.c - see registry.h */
#include "optim/registry.h"
#include "base/nearest.h"

#include <stdio.h>
#include <string.h>

const rule_info *rule_at(rule_id id)
{
    static const rule_info *const rules[RULE_COUNT] = {
#define RULE_ROW(name) &name##_info,
        OPTIM_RULES(RULE_ROW)
#undef RULE_ROW
    };
    return rules[id];
}

bool rule_is_public(rule_id id)
{
    if (rule_at(id)->inner) return false;
    for (int i = 0; i < RULE_COUNT; i++) {
        const rule_info *info = rule_at((rule_id)i);
        const char *parts[] = {info->r_passes,         info->fold[FOLD_FIRST],
                               info->fold[FOLD_LATER], info->fold[FOLD_LAST],
                               info->others,           info->apply};
        for (int k = 0; k < 6; k++)
            if (parts[k] && !strcmp(parts[k], rule_at(id)->name)) return false;
    }
    return true;
}

bool rule_folds(rule_id id)
{
    return rule_at(id)->fold[FOLD_FIRST];
}

error *rule_find(const char *name, rule_id *id, bool *reduced)
{
    enum { NAME_MAX_ = 32 };
    static const char *const suffix[] = {"", "_r"};
    char text[2 * RULE_COUNT][NAME_MAX_];
    const char *names[2 * RULE_COUNT];
    size_t n = 0;
    for (int i = 0; i < RULE_COUNT; i++) {
        if (!rule_is_public((rule_id)i)) continue;
        for (int r = 0; r < 2; r++) {
            snprintf(text[n], NAME_MAX_, "%s%s", rule_at((rule_id)i)->name, suffix[r]);
            if (!strcmp(text[n], name)) {
                *id = (rule_id)i;
                *reduced = r;
                return NULL;
            }
            names[n] = text[n];
            n++;
        }
    }
    return user_error(
        "--optim %s: there is no such optimizer; the nearest is %s (--help lists them all)", name,
        nearest_name(name, names, n));
}
