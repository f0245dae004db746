/* normal.h - the `normalizer` of a tokenizer.json: what is done to a text before it is cut.
 *
 *     NFC, if the file has it          e + U+0301 -> U+00E9, with utf8proc (a build without it refuses)
 *     a space in front                LLaMA's "Prepend"
 *     U+2581 -> space                 with metaspace: here a space is a space (bpe_metaspace.c)
 */
#ifndef REGRAD_NORMAL_H
#define REGRAD_NORMAL_H

#include "data/bpe/bpe_internal.h"

/* Does the normalizer change this text? */
bool normal_changes(const bpe *v, const uint8_t *text, size_t n);

/* *out belongs to the caller, and has room for one more byte.  `space`: adds one in front, if the
 * normalizer does. */
error *normal_text(const bpe *v, const uint8_t *text, size_t n, bool space, uint8_t **out,
                   size_t *n_out) NODISCARD;

/* Does this build have NFC? */
bool nfc_available(void);

/* NFC of a text; bytes that are not UTF-8 stay as they are. */
error *nfc_text(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out) NODISCARD;

#endif
