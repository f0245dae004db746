/* unigram.h - the most likely segmentation of a piece (Kudo: "Subword regularization", 2018): every
 * token has a log probability, and their sum is maximized.
 *
 *     best[p]: the best segmentation of piece[0, p), by its last token; computed from left to right
 */
#ifndef REGRAD_UNIGRAM_H
#define REGRAD_UNIGRAM_H

#include "data/bpe/bpe_internal.h"

/* The tokens of a piece of k > 0 bytes, in order, in the workspace as after bpe_merge_piece. */
error *unigram_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k) NODISCARD;

/* Fills least_score and longest, once all tokens have spellings. */
void unigram_prepare(bpe *v);

#endif
