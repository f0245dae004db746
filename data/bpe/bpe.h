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
 * Five formats of vocabulary are read, and distinguished by what is in the file (docs/formats.md has a table):
 *
 *   .vocab           ours: what is said above.  Text: a head line, then the two ids of each merge:
 *                        regrad-vocab 1 2048   <- format version 1; 2048 tokens, so 1792 merges
 *                        101 32                <- token 256 is token 101 ('e') and token 32 (' ')
 *                    Version 2 is the same with one more token, the last: the special <|endoftext|>.
 *   .tiktoken        lines "BASE64 ID", ids 0, 1, 2, ... in order.  Such a file says neither how text is
 *                    cut nor what is special, so it is known by its content (ranks_known.h) or refused.
 *   tokenizer.json   Hugging Face's, of BPE or unigram, with whatever stands around the model
 *                    (bpe_json_rules.c); what is not known there is refused, with a message that names it.
 *   tekken.json      Mistral's: ranks, an expression and special tokens in one file.
 *   .model           SentencePiece's own file, BPE or unigram.
 *
 * All but the first cut by Unicode characters, for which the text is UTF-8.  Where it is not, nothing is
 * lost: each run of bytes that are not UTF-8 (as The Unicode Standard, table 3-7, has it) is a piece
 * of its own, and the text before and after it is cut as if it ended and began there.
 *
 * Special tokens, such as <|endoftext|>, stand for what no text says.  Where a text does contain
 * their spelling, it is text like any other (BPE_SPECIAL_TEXT) unless the caller says that the text
 * may speak in them (BPE_SPECIAL_ALLOW): then the leftmost, longest one counts.
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

/* Learns `size` tokens (257..BPE_MAX_SIZE) from a text.  The most frequent pair of neighbours
 * inside the chunks is merged first; among equals the one with the lowest left, then right id.  A
 * pair must occur twice.  User error when the text does not have enough pairs, naming the size it has. */
error *bpe_learn(const uint8_t *text, size_t n, int64_t size, bpe **out) NODISCARD;

/* Adds the special token <|endoftext|>, after the last one, to a vocabulary of bpe_bytes or
 * bpe_learn that has none. */
error *bpe_add_end_of_text(bpe *v) NODISCARD;

/* Reads and checks a vocabulary in any of the formats; user error naming the file and what is
 * wrong. */
error *bpe_open(const char *path, bpe **out) NODISCARD;

/* Writes it in the format that it was read in, for bpe_open: wholly or not at all.  (A
 * tokenizer.json comes out as bpe_write_hf has it.) */
error *bpe_save(const bpe *v, const char *path) NODISCARD;

/* Writes tokenizer.json, vocab.json, merges.txt and tokenizer_config.json into a directory that is
 * there.  bpe_open of the tokenizer.json gives a vocabulary of the same ids, for any text.  Other
 * programs give the same ids for text in UTF-8 (and, for a .vocab, runs up to 64 KiB).  User
 * error if two tokens are spelled alike, which these files cannot say, or if the vocabulary is in
 * SentencePiece's manner. */
error *bpe_write_hf(const bpe *v, const char *dir) NODISCARD;

/* Does transformers' Qwen2Tokenizer, which takes vocabulary and merges from these files but cuts by Qwen's rule after
 * NFC and wants a token <|endoftext|>, give the same ids? */
bool bpe_is_for_qwen2(const bpe *v);

void bpe_close(bpe *v); /* NULL is fine */

int32_t bpe_size(const bpe *v); /* tokens, special ones too */

/* The token between documents, or -1 if there is none. */
int32_t bpe_end_of_text(const bpe *v);

/* The token that the file's own program puts in front of a text (LLaMA's <s>), or -1. */
int32_t bpe_begin_of_text(const bpe *v);

/* The bytes of token id, 0 <= id < size; valid as long as v. */
const uint8_t *bpe_token(const bpe *v, int32_t id, size_t *n_bytes);

/* The most tokens that n bytes of text can make: n + 1 (a space in front), but where added tokens put spaces
 * between, or NFC takes characters apart. */
size_t bpe_most_tokens(const bpe *v, size_t n);

/* Text of n bytes to *count <= bpe_most_tokens(v, n) token ids.  Special tokens are text. */
error *bpe_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids /* (most) */,
                  size_t *count) NODISCARD;

/* The same, for any length of text: the ids go to the sink, some thousands at a time.  Costs
 * n log n at most, however long the pieces are; a single piece has at most 64 MiB. */
typedef enum { BPE_SPECIAL_TEXT, BPE_SPECIAL_ALLOW } bpe_special;
typedef error *(*bpe_sink)(void *to, const int32_t *ids /* (n) */, size_t n);
error *bpe_encode_to(const bpe *v, const uint8_t *text, size_t n, bpe_special special,
                     bpe_sink sink, void *to) NODISCARD;

/* The same for many texts, one after another: what was learned of pieces is kept. */
typedef struct bpe_encoder bpe_encoder;
error *bpe_encoder_open(const bpe *v, bpe_special special, bpe_sink sink, void *to,
                        bpe_encoder **out) NODISCARD;
/* inside: the text continues from one before it (bpe_part). */
error *bpe_encoder_text(bpe_encoder *c, const uint8_t *text, size_t n, bool inside) NODISCARD;
void bpe_encoder_close(bpe_encoder *c); /* NULL is fine */

/* Can texts be parted without changing their tokens?  Then the first place at or after `at` > 0 where that is
 * so, n if there is none. */
bool bpe_can_part(const bpe *v);
size_t bpe_part(const bpe *v, const uint8_t *text, size_t n, size_t at);

/* Tokens to *n_bytes bytes in *out, which the caller frees.  User error for an id outside v. */
error *bpe_decode(const bpe *v, const int32_t *ids /* (n) */, size_t n, uint8_t **out,
                  size_t *n_bytes) NODISCARD;

/* Length of the first chunk of a text by the rule above; 0 only if n is 0. */
size_t bpe_chunk(const uint8_t *text, size_t n);

#endif
