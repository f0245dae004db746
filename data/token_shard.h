/* token_shard.h - one open file of token ids, in any of the supported formats.
 *
 *     our shards, llm.c's      header of 1024 bytes         tokens.c
 *     raw16:FILE, raw32:FILE   ids only                     tokens_foreign.c: nanoGPT's train.bin
 *     FILE.npy                 NumPy's header               one dimension of integers
 *     FILE.bin, FILE.idx       the ids; their type and      Megatron-LM's indexed data set
 *                              boundaries in the index
 *
 * All of them are contiguous ids from some byte on, which is all that reading needs.
 */
#ifndef REGRAD_TOKEN_SHARD_H
#define REGRAD_TOKEN_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum { ID_U8, ID_U16, ID_U32, ID_I16, ID_I32, ID_I64, ID_TYPES } id_type;

enum { ID_MOST_BYTES = 8 };

static inline int id_bytes(id_type t)
{
    static const int bytes[ID_TYPES] = {1, 2, 4, 2, 4, 8};
    return bytes[t];
}

typedef struct {
    char *path;
    int fd;
    id_type type;
    int64_t first;                 /* byte of the first id */
    int64_t n_tokens, n_documents; /* n_documents: 0 of a plain one */
    bool marked;
    bool foreign; /* not a shard of ours or llm.c's */
} token_shard;

/* How to read a file without a header. */
typedef enum { TOKENS_AS_THEY_SAY, TOKENS_RAW_16, TOKENS_RAW_32 } token_form;

/* Each fills in type, first and n_tokens of an open file of `size` bytes; user errors say what is
 * wrong. */
error *tokens_check_raw(token_shard *s, token_form form, int64_t size) NODISCARD;
error *tokens_check_npy(token_shard *s, int64_t size) NODISCARD;
error *tokens_check_megatron(token_shard *s, int64_t size) NODISCARD; /* s->path: the .bin */

/* By the file's first bytes; or by a FILE.idx beside FILE.bin that starts like Megatron's. */
bool tokens_are_npy(const uint8_t *head, size_t n);
bool tokens_are_megatron(const char *path);

#endif
