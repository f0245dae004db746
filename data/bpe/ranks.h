/* ranks.h - shared by the formats that list tokens in order: .tiktoken and tekken.json. */
#ifndef REGRAD_RANKS_H
#define REGRAD_RANKS_H

#include "data/bpe/bpe_internal.h"
#include "data/bpe/ranks_known.h"

/* Ids from `first` on are ordinary, in the order in which they are made; the others are special. */
typedef struct {
    bpe_spelling *list; /* (n_ranks + n_special) by id */
    int32_t first, n_ranks, n_special;
    bpe_special_token *special; /* (n_named) those that are tokens */
    int32_t n_named;
} rank_tokens;

/* Fills a new vocabulary.  irregular: some tokens are not two earlier ones joined. */
error *bpe_from_ranks(bpe *v, const rank_tokens *t, const char *expression,
                      bool irregular) NODISCARD;

/* Decodes n base64 characters in place; returns the number of bytes, 0 if invalid or empty. */
size_t base64_decode(uint8_t *text, size_t n);

/* Reads a .tiktoken of that kind; NULL: of the kind with this content, or a user error. */
error *bpe_read_ranks(uint8_t *text, size_t n, const ranks_kind *kind, bpe **out) NODISCARD;

#endif
