/* normal.h - what is done to a text before it is cut: the `normalizer` of a tokenizer.json.
 *
 *     NFC, where the file has it      e + U+0301 -> U+00E9, by utf8proc (normal_nfc.c; a build without it refuses)
 *     a space in front                LLaMA's "Prepend"
 *     U+2581 -> space                 with metaspace: here a space is a space (bpe_metaspace.c)
 */
#ifndef REGRAD_NORMAL_H
#define REGRAD_NORMAL_H

#include "data/bpe/bpe_internal.h"

/* Does any of it change this text? */
bool normal_changes(const bpe *v, const uint8_t *text, size_t n);

/* *out is the caller's, and has room for one more byte.  `space`: one goes in front, if the normalizer has it. */
error *normal_text(const bpe *v, const uint8_t *text, size_t n, bool space, uint8_t **out,
                   size_t *n_out) NODISCARD;

/* Has this build NFC? */
bool nfc_available(void);

/* NFC of a text; bytes that are not UTF-8 stay as they are. */
error *nfc_text(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out) NODISCARD;

#endif
