/* spellings.c - see spellings.h */
#include "data/bpe/spellings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* The slot of the spelling, or the free one where it belongs. */
static size_t spelling_slot(const spellings *s, const uint8_t *bytes, size_t n)
{
    size_t i = hash_bytes(bytes, n) & s->mask;
    for (; s->table[i] != 0; i = (i + 1) & s->mask) {
        size_t length;
        const uint8_t *other = bpe_token(s->v, (int32_t)s->table[i] - 1, &length);
        if (length == n && memcmp(other, bytes, n) == 0) break;
    }
    return i;
}

error *spellings_make(spellings *s, const bpe *v)
{
    size_t capacity = 16;
    while (capacity / 2 < (size_t)v->size)
        capacity *= 2;
    *s = (spellings){.v = v, .mask = capacity - 1};
    TRY(alloc_array(&s->table, capacity, sizeof *s->table));
    for (int32_t id = 0; id < v->size; id++) {
        if (bpe_is_special(v, id)) continue;
        size_t n;
        const uint8_t *bytes = bpe_token(v, id, &n);
        uint32_t *slot = &s->table[spelling_slot(s, bytes, n)];
        char shown[64];
        if (*slot != 0)
            return user_error("tokens %" PRIu32 " and %" PRId32 " are spelled alike (%s)",
                              *slot - 1, id, bpe_show(bytes, n, shown));
        *slot = (uint32_t)id + 1;
    }
    return NULL;
}

void spellings_free(spellings *s)
{
    free(s->table);
    *s = (spellings){0};
}

int32_t spellings_find(const spellings *s, const uint8_t *bytes, size_t n)
{
    return (int32_t)s->table[spelling_slot(s, bytes, n)] - 1;
}
