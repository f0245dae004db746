/* all.h - the list of rules: one line in OPTIM_RULES and one header make an optimizer.
 *
 * optim/registry.c reads each NAME_info; cpu/optim.c and the CUDA device compile each NAME_pass.
 */
#ifndef REGRAD_RULES_ALL_H
#define REGRAD_RULES_ALL_H

#include "optim/rules/adama.h"
#include "optim/rules/adamw.h"
#include "optim/rules/adan.h"
#include "optim/rules/average.h"
#include "optim/rules/lion.h"
#include "optim/rules/lion_substituted.h"
#include "optim/rules/muon.h"
#include "optim/rules/sgd.h"

#include <string.h>

#define OPTIM_RULES(X)                                                                             \
    X(adamw)                                                                                       \
    X(adama)                                                                                       \
    X(adama_first)                                                                                 \
    X(adama_later)                                                                                 \
    X(adama_last) X(adan) X(lion) X(lion_substituted) X(muon) X(muon_apply) X(muon_others) X(sgd)  \
        X(average)

typedef enum {
#define RULE_ENUM(name) RULE_##name,
    OPTIM_RULES(RULE_ENUM)
#undef RULE_ENUM
        RULE_COUNT
} rule_id;

/* The rule with exactly this name; RULE_COUNT if there is none. */
static inline rule_id rule_named(const char *name)
{
#define RULE_NAME(rule)                                                                            \
    if (!strcmp(name, #rule)) return RULE_##rule;
    OPTIM_RULES(RULE_NAME)
#undef RULE_NAME
    return RULE_COUNT;
}

#endif
