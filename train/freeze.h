/* freeze.h - which parameters are trained: --freeze, --train-only. */
#ifndef REGRAD_FREEZE_H
#define REGRAD_FREEZE_H

#include "train/options.h"

/* Marks the rows of the table.  A parameter is trained if it matches --train-only (if given) and
 * does not match --freeze; with adapters nothing else is trained.  In a pattern * stands for any
 * part of a name, dots included, and ? for one character.  User errors: a pattern that matches
 * nothing trainable; nothing left to train. */
error *freeze_apply(const options *o, params *p) NODISCARD;

/* Number of trainable elements. */
int64_t trained_count(const params *p);

#endif
