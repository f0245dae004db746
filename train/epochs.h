/* epochs.h - --epochs: how many steps so many passes over the training data are. */
#ifndef REGRAD_EPOCHS_H
#define REGRAD_EPOCHS_H

#include "train/options.h"

/* Once --batch and --accum are chosen, and the ranks have met; nothing without
 * --epochs.  Opens the data. */
error *epochs_take(options *o) NODISCARD;

#endif
