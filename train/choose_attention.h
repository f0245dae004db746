/* choose_attention.h - --attention auto: the device's own method, or a library's where that is
 * taken to be faster.
 *
 *   bf16, and the device has another method    the first of these, if it takes this model, starts on all ranks, and
 *                                              its workspace has room
 *   else                                       the device's own, which needs none
 *
 * Whether there is room is known later, with a plan: of --memory nothing fits, or a plan is larger
 * than what is free.
 */
#ifndef REGRAD_CHOOSE_ATTENTION_H
#define REGRAD_CHOOSE_ATTENTION_H

#include "train/trainer.h"

#include <stdio.h>

/* Sets o->training.attention; nothing if a method was named.  o->device: resolved.  dev: ? open; of
 * a plan, for which none is, the other method is taken to start.  Why it does not is printed to
 * `out` (NULL: nowhere). */
error *choose_attention(options *o, device *dev, FILE *out) NODISCARD;

/* From the other method back to the device's own, which is printed with the reason.  False: a
 * method was named, or it is the device's own already. */
bool attention_give_way(options *o, const char *why, FILE *out);

/* Plans *t once more, with the device's own method if it is larger than what is free on some rank's
 * device. */
error *choose_attention_by_room(options *o, device *dev, FILE *out, trainer **t) NODISCARD;

#endif
