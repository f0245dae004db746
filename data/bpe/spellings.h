/* spellings.h - a hash map from the bytes of a token to its id.
 *
 * Open addressing, at most half full; the bytes stay in the vocabulary. */
#ifndef REGRAD_SPELLINGS_H
#define REGRAD_SPELLINGS_H

#include "data/bpe/bpe_internal.h"

typedef struct spellings {
    const bpe *v;
    uint32_t *table; /* (mask + 1): id + 1, or 0: free */
    size_t mask;
} spellings;

/* Adds all tokens but the special ones; user error naming two with the same spelling.  The caller
 * frees it, also after an error. */
error *spellings_make(spellings *s, const bpe *v) NODISCARD;
void spellings_free(spellings *s);

/* The token with this spelling, or -1. */
int32_t spellings_find(const spellings *s, const uint8_t *bytes, size_t n);

#endif
