/* segment.h - how a long sum is divided, the same on every device.
 *
 * A tensor is divided into at most SEGMENTS segments, by its element count alone.  A segment is
 * summed in SEGMENT_LANES interleaved sums of doubles, which are then added in order; then the
 * segments' sums are added in order:
 *
 *      tensor    |  segment 0  |  segment 1  |  segment 2 |
 *      segment   lane k has elements k, k + SEGMENT_LANES, ...
 *
 * So a sum has the same bits for any number of threads, and on a GPU, where one thread sums a lane.
 *
 * The losses of a batch are summed in LOSS_LANES interleaved sums, which are then added in order:
 * one block of a GPU computes them.
 */
#ifndef REGRAD_SEGMENT_H
#define REGRAD_SEGMENT_H

#include "core/rule.h"

enum {
    SEGMENT_LANES = 32,
    LOSS_LANES = 256,
    SEGMENT_BLOCK = 2048, /* segments begin at multiples of this */
    SEGMENTS = 1024,      /* enough warps to keep a GPU's memory busy */
    SEGMENT_SMALLEST = 4 * SEGMENT_BLOCK
};

HOST_DEVICE int64_t segment_count(int64_t n)
{
    int64_t count = (n + SEGMENT_SMALLEST - 1) / SEGMENT_SMALLEST, most = SEGMENTS;
    return count < most ? count : most;
}

/* Index of the first element of segment i of n elements. */
HOST_DEVICE int64_t segment_start(int64_t n, int64_t i)
{
    int64_t count = segment_count(n), blocks = (n + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK;
    int64_t start = blocks * i / count * SEGMENT_BLOCK;
    return start < n ? start : n;
}

#endif
