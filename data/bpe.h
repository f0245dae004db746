/* bpe.h - text to tokens and back: byte-level byte-pair encoding.
 *
 * (Sennrich, Haddow, Birch: "Neural machine translation of rare words with subword units", 2016;
 * on bytes as in Radford et al.: "Language models are unsupervised multitask learners", 2019.)
 *
 * A token is a string of bytes.  Ids 0..255 are the single bytes, so that any input whatever can be
 * written in tokens; merge i joins two earlier tokens to token 256 + i.  To encode, a text is cut
 * into chunks, each starts as its bytes, and the merge with the lowest id goes first:
 *
 *     "the there"  ->  "the" | " there"        t h   -> 256        " t h e r e"
 *                                              256 e -> 257        " 256   e r e"
 *                                              _ 257 -> 258        " 257     r e"
 *                                                                   258      r e
 *
 * The cutting rule (after GPT-2's, for bytes instead of Unicode classes).  A chunk is
 *   - an optional space and a run of letters (A-Z, a-z, and every byte >= 0x80, so that words
 *     in UTF-8 stay whole), or
 *   - an optional space and a run of digits, or
 *   - an optional space and a run of other bytes, or
 *   - a run of white space (space, \t \n \v \f \r), without its last space if a word follows it.
 * A run longer than 64 KiB is cut there.  Chunks put together are the text, byte for byte.
 *
 * The .vocab file is text: a head line, then the two ids of each merge on a line:
 *
 *     regrad-vocab 1 2048      <- format version 1; 2048 tokens, so 1792 merges follow
 *     101 32                   <- token 256 is token 101 ('e') and token 32 (' ')
 *     ...
 */
#ifndef REGRAD_BPE_H
#define REGRAD_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum {
    BPE_BYTES = 256,         /* tokens that are single bytes */
    BPE_MAX_SIZE = 1 << 20,  /* most tokens in a vocabulary */
    BPE_MAX_TOKEN = 1 << 10, /* most bytes in a token */
};

typedef struct bpe bpe;

/* The 256 bytes and no merges. */
error *bpe_bytes(bpe **out) NODISCARD;

/* Learns `size` tokens (257..BPE_MAX_SIZE) from a text.  The most frequent pair of neighbours
 * inside the chunks is merged first; among equals the one with the lowest left, then right id.  A
 * pair must occur twice.  User error when the text has not pairs enough, naming the size it has. */
error *bpe_learn(const uint8_t *text, size_t n, int64_t size, bpe **out) NODISCARD;

/* Reads and checks a .vocab file; user error naming the file and what is wrong. */
error *bpe_open(const char *path, bpe **out) NODISCARD;

/* Writes a .vocab file: wholly or not at all. */
error *bpe_save(const bpe *v, const char *path) NODISCARD;

void bpe_close(bpe *v); /* NULL is fine */

int32_t bpe_size(const bpe *v); /* tokens */

/* The bytes of token id, 0 <= id < size; valid as long as v. */
const uint8_t *bpe_token(const bpe *v, int32_t id, size_t *n_bytes);

/* Text of n bytes to *count <= n token ids; `ids` has room for n. */
error *bpe_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids /* (n) */,
                  size_t *count) NODISCARD;

/* Tokens to *n_bytes bytes in *out, which the caller frees.  User error for an id outside v. */
error *bpe_decode(const bpe *v, const int32_t *ids /* (n) */, size_t n, uint8_t **out,
                  size_t *n_bytes) NODISCARD;

/* Length of the first chunk of a text; 0 only if n is 0. */
size_t bpe_chunk(const uint8_t *text, size_t n);

/* Length of the longest beginning of a text that is whole chunks and at most `limit` bytes, or of
 * the first chunk if that is longer.  Pieces cut so encode to the same tokens as the whole. */
size_t bpe_piece(const uint8_t *text, size_t n, size_t limit);

#endif
