/* unigram.h - the most likely tokens of a piece (Kudo: "Subword regularization", 2018): every token has the
 * logarithm of its probability, and the sum of all must be the largest.
 *
 *     best[p]: of all ways to write piece[0, p), by the last token of each; found from left to right
 */
#ifndef REGRAD_UNIGRAM_H
#define REGRAD_UNIGRAM_H

#include "data/bpe/bpe_internal.h"

/* The tokens of a piece of k > 0 bytes, one after another, in the workspace as bpe_merge_piece's. */
error *unigram_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k) NODISCARD;

/* Fills least_score and longest, when all tokens are spelled. */
void unigram_prepare(bpe *v);

#endif
