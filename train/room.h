/* room.h - the plan beside the memory that is free, before any of it is taken. */
#ifndef REGRAD_ROOM_H
#define REGRAD_ROOM_H

#include "train/trainer.h"

/* User error when the plan needs more than `free` bytes: by how much, and which of these would fit, the
 * first that does: the optimizer's memory-reduced form, fewer samples in a micro-batch and more of
 * these (the same step), both; else what the least of them needs. */
error *room_check(const trainer *t, size_t free) NODISCARD;

#endif
