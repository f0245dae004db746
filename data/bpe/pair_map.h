/* pair_map.h - a hash map from pairs of token ids to numbers.
 *
 * Open addressing with linear probing, at most half full.  Nothing is ever removed, so a search
 * ends at the first free slot:
 *
 *     hash(left, right)
 *            |
 *     ... [used][used][ here ][free] ...
 */
#ifndef REGRAD_PAIR_MAP_H
#define REGRAD_PAIR_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PAIR_ABSENT UINT32_MAX /* result for an unknown pair; never a value */

typedef struct {
    uint64_t key;          /* left << 32 | right */
    uint32_t value_plus_1; /* 0: free */
} pair_slot;

typedef struct {
    pair_slot *slots; /* (mask + 1), a power of two */
    size_t mask, count;
} pair_map;

/* An empty map with room for `expected` pairs; it grows if necessary. */
error *pair_map_init(pair_map *m, size_t expected) NODISCARD;
error *pair_map_insert(pair_map *m, uint32_t left, uint32_t right, uint32_t value) NODISCARD;
void pair_map_free(pair_map *m);

/* The slot of the key, or the free one where it belongs. */
static inline size_t pair_map_slot(const pair_map *m, uint64_t key)
{
    uint64_t hash = key * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio: spreads upward */
    size_t i = (size_t)(hash >> 32 ^ hash) & m->mask;
    while (m->slots[i].value_plus_1 != 0 && m->slots[i].key != key)
        i = (i + 1) & m->mask;
    return i;
}

static inline uint32_t pair_map_find(const pair_map *m, uint32_t left, uint32_t right)
{
    return m->slots[pair_map_slot(m, (uint64_t)left << 32 | right)].value_plus_1 - 1;
}

#endif
