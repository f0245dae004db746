/* conflicts.h - which options do not go together: one table, for the parser, the ranks, the plan
 * and its tables of other optimizers and models. */
#ifndef REGRAD_CONFLICTS_H
#define REGRAD_CONFLICTS_H

#include "train/options.h"

/* Of what was given, before anything is resolved or opened; and of all that is known by now:
 * conditions of ranks hold once they have met. */
error *options_refuse_given(const options *o) NODISCARD;
error *options_refuse(const options *o) NODISCARD;

/* The same of a variant that nobody asked for, the optimizer's own conflicts among them: is it
 * refused, and with what in few words (NULL: not worth a line)? */
bool options_conflict(const options *o, const char **with);

#endif
