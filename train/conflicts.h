/* conflicts.h - which options cannot be combined: one table, for the parser, the ranks, the plan
 * and its tables of other optimizers and models. */
#ifndef REGRAD_CONFLICTS_H
#define REGRAD_CONFLICTS_H

#include "train/options.h"

/* Checks what was given, before anything is resolved or opened; and everything that is known by
 * now: conditions on ranks apply once they are connected. */
error *options_refuse_given(const options *o) NODISCARD;
error *options_refuse(const options *o) NODISCARD;

/* What the device of --attention cannot do for this model, known without opening it: words that
 * complete the option; NULL: nothing.  ATTENTION_AUTO has no such limits. */
const char *options_attention_lacks(const options *o);

/* The same for a variant that was not asked for, including the optimizer's own conflicts: is it
 * refused, and a short note why (NULL: not worth a line)? */
bool options_conflict(const options *o, const char **with);

#endif
