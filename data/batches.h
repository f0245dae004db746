/* batches.h - which window of text goes into which batch.
 *
 * A sample is a window of T + 1 tokens: T inputs and, shifted by one, T targets.  Windows start
 * every T tokens inside a shard and never cross into the next one:
 *
 *     shard   t0 t1 t2 t3 t4 t5 t6 t7 t8 t9        T = 4: (10 - 1) / 4 = 2 windows
 *     inputs  [  window 0 ][  window 1 ]
 *     targets    [  window 0 ][  window 1 ]
 *
 * The windows of all shards are numbered consecutively, 0..W-1.  Sample s of a run, s = 0, 1, 2,
 * ..., is in epoch s / W, and its window is element s % W of that epoch's permutation, which is a
 * function of (seed, epoch) computed on the fly.  So the position of a run in its data is one
 * integer; it does not depend on batch size, accumulation or the number of processes; and any
 * sample can be read at any time.
 *
 * For marked shards, windows are packed documents (packing.h); all else is the same.
 */
#ifndef REGRAD_BATCHES_H
#define REGRAD_BATCHES_H

#include <stdint.h>

#include "data/tokens.h"

typedef enum {
    BATCHES_SHUFFLED,   /* training: every epoch in a different order */
    BATCHES_SEQUENTIAL, /* validation: the same windows in the same order each time */
} batch_order;

typedef struct batches batches;

/* Plans windows of seq tokens (T >= 1) over a set, which must outlive the result.  User error if
 * the set has fewer windows than one batch of `batch` samples. */
error *batches_open(const token_set *set, int64_t seq, int64_t batch, batch_order order,
                    uint64_t seed, batches **out) NODISCARD;
void batches_close(batches *b); /* NULL is ignored */

bool batches_packed(const batches *b);
/* One line about packing; "" for plain windows. */
void batches_about(const batches *b, char *out, size_t size);
/* Targets that are learned in samples sample .. sample + count. */
int64_t batches_learned(const batches *b, int64_t sample, int64_t count);

int64_t batches_windows(const batches *b); /* W: samples in an epoch */

/* Samples sample .. sample + count of the run; a batch may extend into the next epoch.  Errors are
 * those of tokens_read. */
error *batches_read(const batches *b, int64_t sample, int64_t count,
                    int32_t *inputs /* (count,T) */, int32_t *targets /* (count,T) */) NODISCARD;
/* The same with starts, for packed and plain windows; targets that are not learned are -1. */
error *batches_read_packed(const batches *b, int64_t sample, int64_t count, int32_t *inputs,
                           int32_t *targets, int32_t *starts /* (count,T) */) NODISCARD;

#endif
