/* pair_map.c - see pair_map.h */
#include "data/bpe/pair_map.h"

#include <stdlib.h>

error *pair_map_init(pair_map *m, size_t expected)
{
    size_t capacity = 16;
    while (capacity / 2 < expected)
        capacity *= 2;
    *m = (pair_map){.mask = capacity - 1};
    return alloc_array(&m->slots, capacity, sizeof *m->slots);
}

static error *make_room(pair_map *m)
{
    pair_map bigger;
    TRY(pair_map_init(&bigger, m->mask + 1));
    for (size_t i = 0; i <= m->mask; i++)
        if (m->slots[i].value_plus_1 != 0)
            bigger.slots[pair_map_slot(&bigger, m->slots[i].key)] = m->slots[i];
    bigger.count = m->count;
    free(m->slots);
    *m = bigger;
    return NULL;
}

error *pair_map_insert(pair_map *m, uint32_t left, uint32_t right, uint32_t value)
{
    if (m->count >= (m->mask + 1) / 2) TRY(make_room(m));
    uint64_t key = (uint64_t)left << 32 | right;
    pair_slot *slot = &m->slots[pair_map_slot(m, key)];
    if (slot->value_plus_1 == 0) m->count++;
    *slot = (pair_slot){key, value + 1};
    return NULL;
}

void pair_map_free(pair_map *m)
{
    free(m->slots);
    *m = (pair_map){0};
}
