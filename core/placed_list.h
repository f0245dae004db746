/* placed_list.h - what is occupied, where and when, as a list: for few blocks.
 *
 * The blocks that have a place, by ascending offset.  To find a place is to walk along all of them:
 * n blocks are placed in n * n / 2 steps, but of a nanosecond each, where the tree of placement.c
 * needs a microsecond for a block.  A model of twelve layers has about 200 blocks, and --memory
 * plans hundreds of settings of it.
 */
#ifndef REGRAD_CORE_PLACED_LIST_H
#define REGRAD_CORE_PLACED_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t from, to;      /* offsets */
    uint32_t first, last; /* alive in [first, last) */
} placed_block;

/* The offset of the smallest gap of at least `bytes` between those of the list that are alive at
 * some time of [first, last), or of the lowest; else where they end. */
size_t placed_list_gap(const placed_block *list, size_t n, size_t bytes, uint32_t first,
                       uint32_t last, bool lowest);

/* Into a list of n that has room for one more. */
void placed_list_add(placed_block *list, size_t n, placed_block added);

#endif
