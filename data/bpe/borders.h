/* borders.h - where a text without pre-tokenization can be cut without changing its tokens.
 *
 * In SentencePiece's scheme a document is one piece, whatever its length.  Merges join neighbours
 * to a token of the vocabulary, so they cannot reach across a place between two characters that are
 * adjacent in no token:
 *
 *     "the end" with LLaMA's:  no token has "e " in it, so "the" | " end"
 *
 * The text is cut there: most pieces are words, and time is linear in the text.
 */
#ifndef REGRAD_BORDERS_H
#define REGRAD_BORDERS_H

#include "data/bpe/bpe_internal.h"

typedef struct borders borders;

/* Built from the ordinary tokens of v. */
error *borders_make(const bpe *v, borders **out) NODISCARD;
void borders_free(borders *b); /* NULL is ignored */

/* Bytes of a text up to the first border, n if there is none; n > 0. */
size_t borders_next(const borders *b, const uint8_t *text, size_t n);

#endif
