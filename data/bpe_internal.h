/* bpe_internal.h - what bpe.c, bpe_train.c and bpe_file.c share. */
#ifndef REGRAD_BPE_INTERNAL_H
#define REGRAD_BPE_INTERNAL_H

#include "data/bpe.h"
#include "data/pair_map.h"

typedef struct {
    uint32_t left, right; /* ids of the tokens joined */
} bpe_merge;

/* The bytes of all tokens lie one after another:
 *
 *     bytes  |.|.|.| ... |th|the| the| ...
 *             ^start[0]   ^start[256]        token id = bytes[start[id] .. start[id + 1])
 */
struct bpe {
    int32_t size;      /* tokens */
    bpe_merge *merges; /* (size - 256) */
    uint8_t *bytes;    /* (start[size]) */
    uint32_t *start;   /* (size + 1) */
    pair_map merged;   /* (left, right) -> the token they make, which is also the merge's rank */
};

/* Checks merges and builds a vocabulary from a copy of them.  User error for a merge of tokens that
 * do not exist before it, a pair merged twice, tokens too long; it names no file. */
error *bpe_from_merges(const bpe_merge *merges /* (n) */, int32_t n, bpe **out) NODISCARD;

#endif
