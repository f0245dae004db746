/* freeze.h - which parameters are trained: --freeze, --train-only. */
#ifndef REGRAD_FREEZE_H
#define REGRAD_FREEZE_H

#include "train/options.h"

/* Marks the rows of the table.  A parameter is trained if --train-only, where given, has its name, and
 * --freeze does not have; beside adapters nothing else is.  In a pattern * stands for any part of a name, dots included, and ? for one
 * character.  User error: a pattern that fits no name of what could be trained; nothing left to train. */
error *freeze_apply(const options *o, params *p) NODISCARD;

/* Elements of the parameters that are trained. */
int64_t trained_count(const params *p);

#endif
