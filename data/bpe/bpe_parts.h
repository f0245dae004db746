/* bpe_parts.h - a byte-level vocabulary piece by piece, for other programs' formats.
 *
 * GPT-2's files write tokens in characters for bytes (byte_chars.h); so do GGUF's.
 */
#ifndef REGRAD_BPE_PARTS_H
#define REGRAD_BPE_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/bpe/bpe.h"

enum { BPE_KEY_BYTES = 4 * BPE_MAX_TOKEN + 4 }; /* of a key or a merge, with its zero */

/* Token id in UTF-8: characters for bytes; a special token as it is spelled. */
size_t bpe_key(const bpe *v, int32_t id, char to[BPE_KEY_BYTES]);
bool bpe_key_special(const bpe *v, int32_t id);

/* Merge i of n, the first to be made first, as "LEFT RIGHT". */
int32_t bpe_n_merges(const bpe *v);
size_t bpe_merge_key(const bpe *v, int32_t i, char to[2 * BPE_KEY_BYTES]);

/* What llama.cpp calls the way in which the vocabulary cuts text; NULL: it has no name for it.  *exact:
 * false where it cuts some texts otherwise (a .vocab's rule). */
const char *bpe_llama_pre(const bpe *v, bool *exact);

#endif
