/* stored.h - moves an optimizer's numbers between memory and panels of floats. */
#ifndef REGRAD_CPU_STORED_H
#define REGRAD_CPU_STORED_H

#include "core/ops.h"
#include "core/segment.h"

/* The parts of a block of an item that are not f32 in memory, as floats. */
typedef struct {
    float p[SEGMENT_BLOCK], g[SEGMENT_BLOCK], s[MAX_STATES][SEGMENT_BLOCK];
} decoded;

/* Elements [first, first + n), first a multiple of SEGMENT_BLOCK, n at most that. */
void decode_block(const optim_item *it, int64_t first, int64_t n, decoded *d);
/* Weight, master and states; g is unchanged. */
void encode_block(const optim_item *it, const hyper *h, int64_t first, int64_t n, const decoded *d);

#endif
