/* chunk_set.h - the distinct chunks of a text, with counts.
 *
 * A hash table of indices into an array, so that the chunks stay in the order in which they first
 * appear: training on them then depends only on the text.
 */
#ifndef REGRAD_CHUNK_SET_H
#define REGRAD_CHUNK_SET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
    const uint8_t *text; /* (length) inside the text counted */
    size_t length, hash;
    int64_t count;
} chunk;

typedef struct {
    chunk *items; /* (n) */
    size_t n, capacity;
    uint32_t *table; /* (mask + 1): index in items or UINT32_MAX; at most half full */
    size_t mask;
} chunk_set;

/* Cuts the text by bpe_chunk and counts; s is zeroed first.  Free it with chunk_set_free, also
 * after an error.  The text must outlive s. */
error *chunk_set_count(chunk_set *s, const uint8_t *text, size_t n) NODISCARD;
void chunk_set_free(chunk_set *s);

#endif
