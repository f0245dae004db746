/* tokens_format.h - the header of a token shard; see the drawings in tokens.h */
#ifndef REGRAD_TOKENS_FORMAT_H
#define REGRAD_TOKENS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TOKENS_MAGIC_16 = 20240520, /* uint16 ids */
    TOKENS_VERSION_16 = 1,
    TOKENS_MAGIC_32 = 20240801, /* uint32 ids */
    TOKENS_VERSION_32 = 7,
    TOKENS_MAGIC_MARKED_16 =
        20261129, /* the same with documents and a mask, which llm.c does not support */
    TOKENS_MAGIC_MARKED_32 = 20261130,
    TOKENS_VERSION_MARKED = 1,
    TOKENS_LARGEST_16 = 65536, /* largest vocabulary that fits uint16 */
};

typedef struct {
    int32_t magic, version, n_tokens, n_documents, zero[252]; /* n_documents: 0 unless marked */
} tokens_header;

/* The meaning of a magic number; NULL: not a shard's. */
typedef struct {
    int32_t magic, version;
    int width; /* bytes of a token */
    bool marked;
} tokens_kind;

static inline const tokens_kind *tokens_kind_of(int32_t magic)
{
    static const tokens_kind kinds[] = {
        {TOKENS_MAGIC_16, TOKENS_VERSION_16, 2, false},
        {TOKENS_MAGIC_32, TOKENS_VERSION_32, 4, false},
        {TOKENS_MAGIC_MARKED_16, TOKENS_VERSION_MARKED, 2, true},
        {TOKENS_MAGIC_MARKED_32, TOKENS_VERSION_MARKED, 4, true},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].magic == magic) return &kinds[i];
    return NULL;
}

_Static_assert(sizeof(tokens_header) == 1024, "the header is 256 int32");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "shards are little endian, as memory must be");

#endif
