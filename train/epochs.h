/* epochs.h - converts --epochs to a number of steps. */
#ifndef REGRAD_EPOCHS_H
#define REGRAD_EPOCHS_H

#include "train/options.h"

/* Call once --batch and --accum are chosen and the ranks are connected; does nothing without
 * --epochs.  Opens the data. */
error *epochs_take(options *o) NODISCARD;

#endif
