/* plan_picture.h - the memory plan as a picture (SVG): the place of every block over one step.
 *
 *     MiB
 *      ^   - - - - - - - - - - - - - - - peak
 *      |   | activations  /\   gradients |
 *      |   |------------------------------|
 *      |   | states                       |      one or two plans side by side, on one scale
 *      |   | parameters                   |
 *      +---+----------+---------------+---+-> allocations, in order
 *           forward      backward       optimizer
 *
 * Adjacent persistent blocks of one kind are drawn as one; the ten largest blocks are labelled, and
 * each has a tooltip.  It is drawn here and not by a script, so that a plan needs no other program.
 */
#ifndef REGRAD_PLAN_PICTURE_H
#define REGRAD_PLAN_PICTURE_H

#include <stdio.h>

#include "train/trainer.h"

/* n plans, 1 or 2, side by side. */
error *plan_picture(const trainer *const *plans, int n, FILE *out) NODISCARD;

#endif
