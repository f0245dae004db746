/* bpe.h - text to tokens and back: byte-level byte-pair encoding.
 *
 * (Sennrich, Haddow, Birch: "Neural machine translation of rare words with subword units", 2016;
 * on bytes as in Radford et al.: "Language models are unsupervised multitask learners", 2019.)
 *
 * A token is a string of bytes.  Ids 0..255 are the single bytes, so that any input can be encoded;
 * merge i joins two earlier tokens to token 256 + i.  To encode, a text is cut into chunks, each
 * starts as its bytes, and the merge with the lowest id is applied first:
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
 * A run longer than 64 KiB is cut there.  The chunks concatenated are the text, byte for byte.
 *
 * Five formats of vocabulary are read, distinguished by their contents (docs/formats.md has a
 * table):
 *
 *   .vocab           ours, as described above.  Text: a head line, then the two ids of each merge:
 *                        regrad-vocab 1 2048   <- format version 1; 2048 tokens, so 1792 merges
 *                        101 32                <- token 256 is token 101 ('e') and token 32 (' ')
 *                    Version 2 has one more token, the last: the special <|endoftext|>.
 *   .tiktoken        lines "BASE64 ID", ids 0, 1, 2, ... in order.  Such a file contains neither the
 *                    pre-tokenization nor the special tokens, so it must be a known one
 *                    (ranks_known.h), identified by its content.
 *   tokenizer.json   Hugging Face's, BPE or unigram, with the rules around the model
 *                    (bpe_json_rules.c); others are refused, with their names.
 *   tekken.json      Mistral's: ranks, an expression and special tokens in one file.
 *   .model           SentencePiece's own file, BPE or unigram.
 *
 * All but the first pre-tokenize by Unicode characters, so the text should be UTF-8.  If it is not,
 * nothing is lost: each run of invalid bytes (The Unicode Standard, table 3-7) is a piece of its
 * own, and the text before and after it is treated as if it ended and began there.
 *
 * Special tokens, such as <|endoftext|>, are not part of any text.  If a text contains their
 * spelling, it is ordinary text (BPE_SPECIAL_TEXT) unless the caller allows special tokens in it
 * (BPE_SPECIAL_ALLOW): then the leftmost, longest match counts.
 */
#ifndef REGRAD_BPE_H
#define REGRAD_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    BPE_BYTES = 256,         /* tokens that are single bytes */
    BPE_MAX_SIZE = 1 << 20,  /* most tokens in a vocabulary */
    BPE_MAX_TOKEN = 1 << 10, /* most bytes in a token */
};

typedef struct bpe bpe;

/* The 256 bytes and no merges. */
error *bpe_bytes(bpe **out) NODISCARD;

/* Trains a vocabulary of `size` tokens (257..BPE_MAX_SIZE) on a text.  The most frequent pair of
 * neighbours inside the chunks is merged first; ties go to the lowest left, then right id.  A pair
 * must occur twice.  User error if the text does not have enough pairs, with the size it has. */
error *bpe_learn(const uint8_t *text, size_t n, int64_t size, bpe **out) NODISCARD;

/* Appends the special token <|endoftext|> to a vocabulary from bpe_bytes or bpe_learn that has
 * none. */
error *bpe_add_end_of_text(bpe *v) NODISCARD;

/* Reads and checks a vocabulary in any of the formats; user errors name the file and the
 * problem. */
error *bpe_open(const char *path, bpe **out) NODISCARD;

/* Writes it in the format that it was read from, for bpe_open: complete or not at all.  (A
 * tokenizer.json comes out as bpe_write_hf writes it.) */
error *bpe_save(const bpe *v, const char *path) NODISCARD;

/* Writes tokenizer.json, vocab.json, merges.txt and tokenizer_config.json into an existing
 * directory.  bpe_open of the tokenizer.json gives the same ids for any text.  Other programs give
 * the same ids for text in UTF-8 (and, for a .vocab, runs up to 64 KiB).  User error if two tokens
 * have the same spelling, which these files cannot express, or for SentencePiece's scheme. */
error *bpe_write_hf(const bpe *v, const char *dir) NODISCARD;

/* Does transformers' Qwen2Tokenizer, which takes vocabulary and merges from these files but always
 * uses Qwen's pre-tokenization after NFC and requires a token <|endoftext|>, give the same ids? */
bool bpe_is_for_qwen2(const bpe *v);

void bpe_close(bpe *v); /* NULL is ignored */

int32_t bpe_size(const bpe *v); /* tokens, including special ones */

/* The token between documents, or -1. */
int32_t bpe_end_of_text(const bpe *v);

/* The token that the file's own program puts in front of a text (LLaMA's <s>), or -1. */
int32_t bpe_begin_of_text(const bpe *v);

/* The bytes of token id, 0 <= id < size; valid as long as v. */
const uint8_t *bpe_token(const bpe *v, int32_t id, size_t *n_bytes);

/* The most tokens that n bytes of text can make: n + 1 (a space in front), unless added tokens
 * insert spaces, or NFC decomposes characters. */
size_t bpe_most_tokens(const bpe *v, size_t n);

/* Encodes n bytes as *count <= bpe_most_tokens(v, n) token ids.  Special tokens are text. */
error *bpe_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids /* (most) */,
                  size_t *count) NODISCARD;

/* The same for text of any length: the ids go to the sink, some thousands at a time.  Costs at most
 * n log n, however long the pieces are; a single piece has at most 64 MiB. */
typedef enum { BPE_SPECIAL_TEXT, BPE_SPECIAL_ALLOW } bpe_special;
typedef error *(*bpe_sink)(void *to, const int32_t *ids /* (n) */, size_t n);
error *bpe_encode_to(const bpe *v, const uint8_t *text, size_t n, bpe_special special,
                     bpe_sink sink, void *to) NODISCARD;

/* The same for many texts, one after another: the cache of pieces is kept. */
typedef struct bpe_encoder bpe_encoder;
error *bpe_encoder_open(const bpe *v, bpe_special special, bpe_sink sink, void *to,
                        bpe_encoder **out) NODISCARD;
/* inside: the text continues an earlier one (bpe_part). */
error *bpe_encoder_text(bpe_encoder *c, const uint8_t *text, size_t n, bool inside) NODISCARD;
void bpe_encoder_close(bpe_encoder *c); /* NULL is ignored */

/* Can texts be split without changing their tokens?  Then returns the first such place at or after
 * `at` > 0, n if there is none. */
bool bpe_can_part(const bpe *v);
size_t bpe_part(const bpe *v, const uint8_t *text, size_t n, size_t at);

/* Decodes tokens to *n_bytes bytes in *out, which the caller frees.  User error for an id outside
 * v. */
error *bpe_decode(const bpe *v, const int32_t *ids /* (n) */, size_t n, uint8_t **out,
                  size_t *n_bytes) NODISCARD;

/* Length of the first chunk of a text by the rule above; 0 only if n is 0. */
size_t bpe_chunk(const uint8_t *text, size_t n);

#endif
