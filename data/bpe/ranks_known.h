/* ranks_known.h - the vocabularies that are published as ranks only.
 *
 * A .tiktoken file has tokens and their order, but neither the pre-tokenization nor the special
 * tokens: these are in the program that it belongs to.  So a file is identified by its content, or
 * refused.
 */
#ifndef REGRAD_RANKS_KNOWN_H
#define REGRAD_RANKS_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

/* Special tokens in the order of their ids: `count` of them, numbered from `first` in place of %d,
 * if the name has one; NULL: ids that are not tokens. */
typedef struct {
    const char *name;
    int32_t first, count;
} special_run;

typedef struct {
    const char *name;
    int32_t n_ranks;
    uint64_t
        fingerprint; /* FNV-1a of all tokens: length in two bytes, low one first, then the bytes */
    const char *expression;
    const special_run *special; /* ends with a count of 0 */
    const char *begin;          /* ? what is put in front of a text */
    bool irregular;             /* some tokens are not two earlier ones put together */
    bool compose;               /* NFC first */
} ranks_kind;

/* GPT-2's, which is also how our own tests' are cut. */
extern const ranks_kind ranks_gpt2;

/* The kind with that content, or NULL. */
const ranks_kind *ranks_find(int32_t n_ranks, uint64_t fingerprint);

/* Qwen's pre-tokenization, which transformers' Qwen2Tokenizer always uses. */
extern const char ranks_qwen_expression[];

/* Is this the expression of one of them? */
bool ranks_cuts_so(const char *expression);

/* The names of all of them, for a message. */
#define RANKS_NAMES "GPT-2's, Qwen's, Llama 3's, Llama 4's, cl100k_base or o200k_base"

#endif
