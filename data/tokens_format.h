/* tokens_format.h - the header of a token shard; the pictures are in tokens.h */
#ifndef REGRAD_TOKENS_FORMAT_H
#define REGRAD_TOKENS_FORMAT_H

#include <stdint.h>

enum {
    TOKENS_MAGIC_16 = 20240520, /* uint16 ids */
    TOKENS_VERSION_16 = 1,
    TOKENS_MAGIC_32 = 20240801, /* uint32 ids */
    TOKENS_VERSION_32 = 7,
    TOKENS_MAGIC_MARKED_16 =
        20261129, /* the same with documents and a mask, which llm.c does not know */
    TOKENS_MAGIC_MARKED_32 = 20261130,
    TOKENS_VERSION_MARKED = 1,
    TOKENS_LARGEST_16 = 65536, /* largest vocabulary that uint16 can write */
};

typedef struct {
    int32_t magic, version, n_tokens, n_documents, zero[252]; /* n_documents: 0 unless marked */
} tokens_header;

_Static_assert(sizeof(tokens_header) == 1024, "the header is 256 int32");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "shards are little endian, as memory must be");

#endif
