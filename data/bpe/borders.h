/* borders.h - where a text of one piece can be cut without changing its tokens.
 *
 * In SentencePiece's manner a document is one piece, whatever its length.  Merges join neighbours to a
 * token of the vocabulary, so they cannot reach across a place between two characters that stand beside
 * each other in no token:
 *
 *     "the end" with LLaMA's:  no token has "e " in it, so "the" | " end"
 *
 * There it is cut: pieces are mostly words, and time is linear in the text.
 */
#ifndef REGRAD_BORDERS_H
#define REGRAD_BORDERS_H

#include "data/bpe/bpe_internal.h"

typedef struct borders borders;

/* Of the ordinary tokens of v. */
error *borders_make(const bpe *v, borders **out) NODISCARD;
void borders_free(borders *b); /* NULL is fine */

/* Bytes of a text up to the first border, n if there is none; n > 0. */
size_t borders_next(const borders *b, const uint8_t *text, size_t n);

#endif
