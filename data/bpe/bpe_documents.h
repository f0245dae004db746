/* bpe_documents.h - encodes many documents with several threads, in order.
 *
 *     documents   |......A......|.B.|.C.|..........D..........|
 *     parts       |  1  |   2   | 3 | 4 |  5  |   6   |   7   |     long ones are split where no token reaches across
 *     units       |  1  |   2   |   3   |  5  |   6   |   7   |     about a quarter of a megabyte each
 *
 * The ids are the same for any number of threads.
 */
#ifndef REGRAD_BPE_DOCUMENTS_H
#define REGRAD_BPE_DOCUMENTS_H

#include "data/bpe/bpe.h"

typedef struct {
    const uint8_t *text; /* (n), n > 0 */
    size_t n;
} bpe_document;

/* Encodes all of them, with the end-of-text token in between, if the vocabulary has one. */
error *bpe_encode_documents(const bpe *v, const bpe_document *list /* (n) */, size_t n,
                            bpe_special special, int threads, bpe_sink sink, void *to) NODISCARD;

#endif
