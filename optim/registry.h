/* registry.h - optimizers by name.
 *
 * A rule consists of its header (optim/rules/NAME.h: the info and the passes) and its line in
 * OPTIM_RULES (optim/rules/all.h); nothing else needs to change to add one.  Every name also exists
 * with the suffix _r: the same rule with the memory-reduced policies.
 */
#ifndef REGRAD_REGISTRY_H
#define REGRAD_REGISTRY_H

#include "base/error.h"
#include "optim/rules/all.h"

const rule_info *rule_at(rule_id id);

/* "adan_r" -> RULE_adan, reduced.  User error that suggests the nearest name if there is none. */
error *rule_find(const char *name, rule_id *id, bool *reduced) NODISCARD;

/* True for rules that users choose; false for those that only do a part for another. */
bool rule_is_public(rule_id id);

/* True for rules that accumulate each micro-batch's gradient at once. */
bool rule_folds(rule_id id);

#endif
