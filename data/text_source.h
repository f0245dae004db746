/* text_source.h - windows of tokens (batches.h) as a source.
 *
 * A sample's inputs are T i32 tokens, its targets the T tokens shifted by one.
 */
#ifndef REGRAD_TEXT_SOURCE_H
#define REGRAD_TEXT_SOURCE_H

#include "data/batches.h"
#include "data/source.h"

/* Opens the shards that match the patterns (tokens_open) and plans windows of seq tokens
 * (batches_open). */
error *text_source_open(const char *const *patterns /* (n) */, int n, int64_t vocab, int64_t seq,
                        int64_t batch, batch_order order, uint64_t seed, source **out) NODISCARD;

#endif
