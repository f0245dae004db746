/* bpe_internal.h - shared by the bpe_*.c. */
#ifndef REGRAD_BPE_INTERNAL_H
#define REGRAD_BPE_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>

#include "data/bpe/bpe.h"
#include "data/bpe/heap.h"
#include "data/bpe/pair_map.h"
#include "data/bpe/pattern.h"

typedef struct {
    uint32_t left, right; /* ids of the tokens joined */
} bpe_merge;

typedef enum { BPE_VOCAB, BPE_TIKTOKEN, BPE_JSON, BPE_TEKKEN, BPE_SENTENCEPIECE } bpe_format;

/* A token that is searched for before the text is cut (added.h). */
typedef struct {
    int32_t id;
    bool always;     /* matched even in text without special tokens */
    bool normalized; /* matched after normalization, which also applies to its content */
    bool left, right,
        word; /* strips white space on its left, on its right; must not touch letters */
    const uint8_t *content; /* (n) as it is searched for */
    uint32_t n;
} bpe_special_token;

/* A step of pre-tokenization, which cuts the pieces of the previous step. */
typedef struct {
    pattern
        *cut; /* every match is a piece, and every text between two; NULL: from here on texts are
               * in */
} bpe_step;   /* GPT-2's characters for bytes (byte_chars.h) */

enum { BPE_STEPS = 8 };

/* Is a space added in front?  Also to a text that starts with one:
 *   SPACE_ONCE      at the very beginning (SentencePiece's dummy prefix)
 *   SPACE_EACH      also after every added token (a normalizer's Prepend)
 * or only to a text that does not (Metaspace's prepend_scheme):
 *   SPACE_FIRST     at the very beginning
 *   SPACE_ALWAYS    also after every added token */
typedef enum { SPACE_NEVER, SPACE_ONCE, SPACE_EACH, SPACE_FIRST, SPACE_ALWAYS } bpe_space;

/* The bytes of all tokens, one after another:
 *
 *     bytes  |.|.|.| ... |th|the| the| ...
 *             ^start[0]   ^start[256]        token id = bytes[start[id] .. start[id + 1])
 *
 * In a .vocab the single bytes are tokens 0..255 and merge i makes token 256 + i; in other formats
 * they are in any order, given by byte_token and made.
 */
struct bpe {
    bpe_format format;
    int32_t size;            /* tokens, including special ones */
    int32_t n_merges;        /* the first merge has the lowest rank, 0 */
    bpe_merge *merges;       /* (n_merges) */
    int32_t *made;           /* (n_merges): the token that the merge makes */
    uint8_t *bytes;          /* (start[size]) */
    uint32_t *start;         /* (size + 1) */
    int32_t byte_token[256]; /* the token for each byte */
    pair_map merged;         /* (left, right) -> rank */
    bool joins_all; /* merges is NULL: any two tokens that spell a third one join; rank -> made */
    bpe_step step[BPE_STEPS]; /* (n_steps) none: bpe_chunk's rule, or with metaspace bpe_borders' */
    int n_steps;
    bpe_special_token *special; /* (n_special) */
    int32_t n_special;
    uint8_t *contents; /* storage for theirs */
    struct added_set *added,
        *added_normalized; /* ? those of special[] to match in text, and after normalization */
    bool *is_special;      /* (size), or NULL if none is */
    int32_t end_of_text;   /* or -1 */
    bool compose;          /* the normalizer has NFC */
    bool ignore_merges;    /* a piece that is a token is that token, merges or not */
    /* SentencePiece's scheme (bpe_metaspace.c) */
    bool metaspace, replaces; /* replaces: by the normalizer, before added tokens are searched
                               * for */
    bpe_space space;
    bool cut_at_spaces;      /* a piece begins at each space */
    int32_t unknown;         /* ? replaces unknown characters; -1: all bytes can be encoded */
    bool fuse_unknown;       /* several in a row become one */
    struct borders *borders; /* where a text can be cut because no token reaches across */
    double *score;           /* ? (size): unigram, not merges (unigram.c) */
    double least_score;      /* of all tokens */
    size_t longest;          /* bytes of a token */
    bool single_sums;        /* scores are summed in single precision, as in SentencePiece */
    bool bytes_by_name;      /* a text "<0x41>" may be the token for that byte */
    int32_t begin_of_text;   /* or -1 */
    struct spellings *words; /* ? tokens by spelling; with ignore_merges or metaspace */
    uint8_t *source;         /* ? (n_source): the file, which bpe_save writes */
    size_t n_source;
};

/* Replaces each U+2581 by a space; `to` has room for n bytes. */
#define BPE_META "\xe2\x96\x81"
size_t bpe_metaspace_plain(const uint8_t *from, size_t n, uint8_t *to);
/* The byte in "<0x41>", or -1. */
int bpe_metaspace_byte(const char *name);

/* Checks merges and builds a .vocab vocabulary from a copy of them.  User error for a merge of
 * tokens that do not exist yet, a pair merged twice, or too long tokens; without a file name. */
error *bpe_from_merges(const bpe_merge *merges /* (n) */, int32_t n, bpe **out) NODISCARD;

/* ---- building, for the readers of the other formats ---- */

typedef struct {
    const uint8_t *bytes;
    size_t n;
} bpe_spelling;

/* An empty vocabulary, valid for bpe_close. */
error *bpe_new(bpe_format format, bpe **out) NODISCARD;
/* The end of opening v: *out, or after an error e, which it returns, nothing. */
error *bpe_opened(error *e, bpe *v, bpe **out) NODISCARD;

/* Copies the spellings of tokens 0..n - 1, in this order; none is empty. */
error *bpe_spell(bpe *v, const bpe_spelling *list /* (n) */, int32_t n) NODISCARD;

/* Room for n merges; then the next one, which must be of a new pair. */
error *bpe_reserve_merges(bpe *v, int32_t n) NODISCARD;
error *bpe_add_merge(bpe *v, bpe_merge m, int32_t made) NODISCARD;

/* Fills byte_token; user error if a byte has no token.  Special tokens do not count. */
error *bpe_find_bytes(bpe *v) NODISCARD;

/* Makes n of the spelled tokens special ones; end_of_text becomes the one with a well-known name
 * (listed in bpe.c). */
error *bpe_set_special(bpe *v, const bpe_special_token *list /* (n) */, int32_t n) NODISCARD;
bool bpe_is_special(const bpe *v, int32_t id);
#define BPE_END_OF_TEXT "<|endoftext|>"

/* The last step of reading a vocabulary: the tables for added tokens and whole pieces. */
error *bpe_index(bpe *v) NODISCARD;

/* Any two tokens that spell one of these n join to it, earlier ones first: as tiktoken does by id,
 * and SentencePiece by score. */
error *bpe_join_all(bpe *v, const int32_t *order /* (n) */, int32_t n) NODISCARD;

/* Makes the special token with that content end-of-text; false if there is none. */
bool bpe_choose_end_of_text(bpe *v, const char *content);

/* A token for an error message: printable ASCII unchanged, other bytes as \xNN, truncated if
 * long. */
const char *bpe_show(const uint8_t *bytes, size_t n, char out[64]);

/* ---- encoding ---- */

/* The piece being encoded; a place is the position of a token's first byte. */
typedef struct {
    uint32_t *token, *next, *prev, *rank; /* (capacity) each */
    heap_entry *heap;                     /* (3 capacity): k - 1 pairs, and two new ones a merge */
    size_t n_heap, capacity;
} bpe_workspace;

#define BPE_NONE UINT32_MAX

/* Applies all merges in a piece of k > 0 bytes.  Its tokens are then w->token[p] for p = 0,
 * w->next[p], ... until BPE_NONE. */
error *bpe_merge_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k) NODISCARD;
void bpe_workspace_free(bpe_workspace *w);
error *bpe_workspace_fit(bpe_workspace *w, size_t k) NODISCARD;

/* ---- the pieces of a text ---- */

typedef struct {
    uint64_t key; /* hash of the bytes */
    uint8_t length, n;
    uint8_t bytes[22];
    int32_t ids[8];
} bpe_cached; /* one cache line */

/* Encodes pieces, with a cache of short ones. */
typedef struct {
    const bpe *v;
    bpe_workspace w;
    bpe_cached *cache; /* ? (CACHE), allocated after SHORT_TEXT pieces */
    size_t pieces;     /* up to there */
    bpe_sink sink;
    void *to;
    size_t n_ids;
    int32_t ids[4096 + 8];
} bpe_writer;

error *bpe_writer_open(bpe_writer *o, const bpe *v, bpe_sink sink, void *to) NODISCARD;
error *bpe_writer_put(bpe_writer *o, int32_t id) NODISCARD;
error *bpe_writer_piece(bpe_writer *o, const uint8_t *piece, size_t k) NODISCARD; /* k > 0 */
error *bpe_writer_flush(bpe_writer *o) NODISCARD;
void bpe_writer_free(bpe_writer *o);

/* ---- the formats: bpe_open and bpe_save choose among these ---- */

enum { BPE_FILE_MAX = 64 << 20 }; /* largest .tiktoken or tokenizer.json in bytes */

/* From a complete file in memory, which may be modified; text[n] is 0. */
error *bpe_read_tiktoken(uint8_t *text, size_t n, bpe **out) NODISCARD;
error *bpe_read_json(uint8_t *text, size_t n, bpe **out) NODISCARD; /* also tekken.json */
error *bpe_read_sentencepiece(uint8_t *bytes, size_t n, bpe **out) NODISCARD;

/* Keeps the file itself, which bpe_save then writes. */
error *bpe_keep_source(bpe *v, const uint8_t *text, size_t n) NODISCARD;

/* Writes a file in one step, through memory. */
error *bpe_write_file(const bpe *v, const char *path, void (*write)(const bpe *, FILE *)) NODISCARD;

void bpe_write_tiktoken(const bpe *v, FILE *to);
void bpe_write_json(const bpe *v, FILE *to);

/* User error for two tokens with the same key in a tokenizer.json. */
error *bpe_check_keys(const bpe *v) NODISCARD;

/* bpe_chunk's rule as a regular expression over characters. */
extern const char bpe_chunk_expression[];

#endif
