/* placement.h - offsets for blocks with lifetimes (dynamic storage allocation, offline).
 *
 * NP-complete in general; greedy placement in a good order is within 1 % of the lower bound LOAD on
 * training schedules.  Each block goes into the smallest gap that is large enough between the
 * blocks already placed that overlap it in time, else on top (the arena planner of TensorFlow Lite
 * and XLA's heap simulator work the same way).  Five orders are tried - size, size x lifetime,
 * lifetime, start, end - and then the same five with the lowest gap in place of the smallest; the
 * lowest result wins, and the search ends early if it equals LOAD.  If none comes within 0.1 % of
 * LOAD, each order is improved: the blocks that rose above LOAD go first in the next round (squeaky
 * wheel optimization: Joslin, Clements 1999), for at most 20 rounds.
 */
#ifndef REGRAD_CORE_PLACEMENT_H
#define REGRAD_CORE_PLACEMENT_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t bytes;       /* already rounded up to the alignment */
    int64_t start, end; /* alive in [start, end) */
    size_t offset;      /* out */
} placement;

/* Fills in the offsets; *top = bytes of the region. */
error *place_blocks(placement *blocks, size_t n, size_t *top) NODISCARD;

/* LOAD: the largest sum of live bytes at any time, and (if asked) the first time it is reached. */
error *place_load(const placement *blocks, size_t n, size_t *load, int64_t *when) NODISCARD;

#endif
