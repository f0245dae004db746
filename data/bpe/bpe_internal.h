/* bpe_internal.h - what the bpe_*.c share. */
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

typedef enum { BPE_VOCAB, BPE_TIKTOKEN, BPE_JSON } bpe_format;

typedef struct {
    int32_t id;
    bool always; /* found in text even where special tokens are text */
} bpe_special_token;

/* The bytes of all tokens lie one after another:
 *
 *     bytes  |.|.|.| ... |th|the| the| ...
 *             ^start[0]   ^start[256]        token id = bytes[start[id] .. start[id + 1])
 *
 * In a .vocab the single bytes are tokens 0..255 and merge i makes token 256 + i; elsewhere they
 * are in any order, which byte_token and made know.
 */
struct bpe {
    bpe_format format;
    int32_t size;               /* tokens, with the special ones */
    int32_t n_merges;           /* the first merge has the lowest rank, 0 */
    bpe_merge *merges;          /* (n_merges) */
    int32_t *made;              /* (n_merges): the token that the merge makes */
    uint8_t *bytes;             /* (start[size]) */
    uint32_t *start;            /* (size + 1) */
    int32_t byte_token[256];    /* the token that is this byte */
    pair_map merged;            /* (left, right) -> rank */
    pattern *cut;               /* NULL: bpe_chunk's rule */
    bpe_special_token *special; /* (n_special), the longest first */
    int32_t n_special;
    bool *is_special;    /* (size), or NULL if none is */
    int32_t end_of_text; /* or -1 */
    /* in SentencePiece's manner (bpe_metaspace.c) */
    bool metaspace, space_before;
    int32_t begin_of_text;   /* or -1 */
    struct spellings *words; /* tokens by their spelling */
    uint8_t *source;         /* (n_source): the file */
    size_t n_source;
};

/* The text with a space for each U+2581; `to` has room for n bytes. */
size_t bpe_metaspace_plain(const uint8_t *from, size_t n, uint8_t *to);

/* Checks merges and builds a .vocab vocabulary from a copy of them.  User error for a merge of
 * tokens that do not exist before it, a pair merged twice, tokens too long; it names no file. */
error *bpe_from_merges(const bpe_merge *merges /* (n) */, int32_t n, bpe **out) NODISCARD;

/* ---- building, for the readers of the other formats ---- */

typedef struct {
    const uint8_t *bytes;
    size_t n;
} bpe_spelling;

/* An empty vocabulary for bpe_close, whatever comes next. */
error *bpe_new(bpe_format format, bpe **out) NODISCARD;

/* Copies the spellings of tokens 0..n - 1, in this order; none is empty. */
error *bpe_spell(bpe *v, const bpe_spelling *list /* (n) */, int32_t n) NODISCARD;

/* Room for n merges; then the next one, which must be of a new pair. */
error *bpe_reserve_merges(bpe *v, int32_t n) NODISCARD;
error *bpe_add_merge(bpe *v, bpe_merge m, int32_t made) NODISCARD;

/* Fills byte_token; user error if a byte has no token.  Special tokens do not count. */
error *bpe_find_bytes(bpe *v) NODISCARD;

/* Makes n of the spelled tokens special ones; end_of_text is the one spelled <|endoftext|>. */
error *bpe_set_special(bpe *v, const bpe_special_token *list /* (n) */, int32_t n) NODISCARD;
bool bpe_is_special(const bpe *v, int32_t id);
#define BPE_END_OF_TEXT "<|endoftext|>"

/* A token for an error message: printable ASCII as it is, other bytes as \xNN, cut if long. */
const char *bpe_show(const uint8_t *bytes, size_t n, char out[64]);

/* ---- encoding ---- */

/* The piece being encoded; a place is the position of a token's first byte. */
typedef struct {
    uint32_t *token, *next, *prev, *rank; /* (capacity) each */
    heap_entry *heap;                     /* (3 capacity): k - 1 pairs, and two new ones a merge */
    size_t n_heap, capacity;
} bpe_workspace;

#define BPE_NO_PLACE UINT32_MAX

/* Merges what can be merged in a piece of k > 0 bytes.  Its tokens are then w->token[p] for p = 0,
 * w->next[p], ... until BPE_NO_PLACE. */
error *bpe_merge_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k) NODISCARD;
void bpe_workspace_free(bpe_workspace *w);

/* ---- the formats: bpe_open and bpe_save choose among these ---- */

enum { BPE_FILE_MAX = 64 << 20 }; /* bytes of a .tiktoken or tokenizer.json that are read */

/* From a whole file in memory, which may be changed; text[n] is 0. */
error *bpe_read_tiktoken(uint8_t *text, size_t n, bpe **out) NODISCARD;
error *bpe_read_json(uint8_t *text, size_t n, bpe **out) NODISCARD;

/* Writes a file in one step, by way of memory. */
error *bpe_write_file(const bpe *v, const char *path, void (*write)(const bpe *, FILE *)) NODISCARD;

void bpe_write_tiktoken(const bpe *v, FILE *to);
void bpe_write_json(const bpe *v, FILE *to);

/* User error for two tokens with the same key in a tokenizer.json. */
error *bpe_check_keys(const bpe *v) NODISCARD;

/* bpe_chunk's rule as a regular expression over characters. */
extern const char bpe_chunk_expression[];

#endif
