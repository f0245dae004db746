/* bpe_parts.h - a byte-level vocabulary part by part, for other programs' formats.
 *
 * GPT-2's files write tokens in characters for bytes (byte_chars.h); so do GGUF's.
 */
#ifndef REGRAD_BPE_PARTS_H
#define REGRAD_BPE_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/bpe/bpe.h"

enum { BPE_KEY_BYTES = 4 * BPE_MAX_TOKEN + 4 }; /* of a key or a merge, with its zero */

/* Token id in UTF-8: characters for bytes; a special token unchanged. */
size_t bpe_key(const bpe *v, int32_t id, char to[BPE_KEY_BYTES]);
bool bpe_key_special(const bpe *v, int32_t id);

/* Merge i of n, in order of application, as "LEFT RIGHT". */
int32_t bpe_n_merges(const bpe *v);
size_t bpe_merge_key(const bpe *v, int32_t i, char to[2 * BPE_KEY_BYTES]);

/* llama.cpp's name for the vocabulary's pre-tokenization; NULL: it has none.  *exact: false if it
 * cuts some texts differently (the rule of a .vocab). */
const char *bpe_llama_pre(const bpe *v, bool *exact);

#endif
