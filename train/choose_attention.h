/* choose_attention.h - --attention auto: the device's own method, or a library's where that is taken to be faster.
 *
 *   bf16, and the device has another method    the first of these, if it takes this model and starts on all ranks
 *   else                                       the device's own
 */
#ifndef REGRAD_CHOOSE_ATTENTION_H
#define REGRAD_CHOOSE_ATTENTION_H

#include "train/options.h"

#include <stdio.h>

/* Sets o->training.attention; nothing if a method was named.  o->device: resolved.  dev: ? open; of a plan, for which
 * none is, the other method is taken to start.  Why it does not is printed to `out` (NULL: nowhere). */
error *choose_attention(options *o, device *dev, FILE *out) NODISCARD;

#endif
