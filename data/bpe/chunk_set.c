/* chunk_set.c - see chunk_set.h */
#include "data/bpe/chunk_set.h"

#include <stdlib.h>
#include <string.h>

#include "data/bpe/bpe.h"
#include "base/grow.h"
#include "base/hash.h"

#define FREE UINT32_MAX

/* The slot of c, or the free one where it belongs. */
static size_t chunk_slot(const chunk_set *s, const chunk *c)
{
    size_t i = c->hash & s->mask;
    for (; s->table[i] != FREE; i = (i + 1) & s->mask) {
        const chunk *other = &s->items[s->table[i]];
        if (other->hash == c->hash && other->length == c->length &&
            memcmp(other->text, c->text, c->length) == 0)
            break;
    }
    return i;
}

static error *make_table(chunk_set *s, size_t capacity)
{
    uint32_t *table;
    TRY(alloc_array(&table, capacity, sizeof *table));
    free(s->table);
    s->table = table;
    s->mask = capacity - 1;
    memset(table, 0xff, capacity * sizeof *table); /* all FREE */
    for (size_t i = 0; i < s->n; i++)
        table[chunk_slot(s, &s->items[i])] = (uint32_t)i;
    return NULL;
}

error *chunk_set_count(chunk_set *s, const uint8_t *text, size_t n)
{
    TRY(make_table(s, 1 << 12));
    for (size_t done = 0, length; done < n; done += length) {
        length = bpe_chunk(text + done, n - done);
        chunk c = {text + done, length, hash_bytes(text + done, length), 1};
        size_t slot = chunk_slot(s, &c);
        if (s->table[slot] != FREE) {
            s->items[s->table[slot]].count++;
            continue;
        }
        if (s->n == FREE)
            return user_error("the text has more different words than can be counted: learn the "
                              "vocabulary from a part of it");
        TRY(grow_array(&s->items, &s->capacity, s->n + 1, sizeof *s->items));
        s->table[slot] = (uint32_t)s->n;
        s->items[s->n++] = c;
        if (2 * s->n > s->mask) TRY(make_table(s, 2 * (s->mask + 1)));
    }
    return NULL;
}

void chunk_set_free(chunk_set *s)
{
    free(s->items);
    free(s->table);
    *s = (chunk_set){0};
}
