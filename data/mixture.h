/* mixture.h - several sets of token shards, sampled by weight: --train-data A:0.7 --train-data
 * B:0.3
 *
 * Samples come in rounds of 10,000.  In each round, every set has a share by its weight, and a
 * permutation that is a function of (seed, round) assigns the places of the round:
 *
 *     place in round r      0 1 2 3 4 5 6 7 8 9 ...
 *     permuted              7 2 9 0 4 1 8 3 6 5            A's quota: 0 .. 6, B's: 7 .. 9
 *     of set                B A B A A A B A A A
 *     sample of that set    7 r + its permuted number (A),  3 r + it - 7 (B)
 *
 * So which sample of which set becomes sample s of the run depends only on the seed and s: not on
 * batches, ranks, or where the run was resumed; and each set's own samples come once per epoch
 * (batches.h), whatever the others do.  Weights are accurate to 1 / 10,000.
 *
 * Words without weights form a single set, and the mixture is simply its batches.
 */
#ifndef REGRAD_MIXTURE_H
#define REGRAD_MIXTURE_H

#include "data/batches.h"

enum { MIXTURE_ROUND = 10000 };

typedef struct mixture mixture;

/* Words as in token_pattern.h.  User errors: some have a weight and some do not, a weight below 1 /
 * 10,000 of the total, weights for an unshuffled order; and those of tokens_open and
 * batches_open. */
error *mixture_open(const char *const *words /* (n) */, int n, int64_t vocab, int64_t seq,
                    int64_t batch, batch_order order, uint64_t seed, mixture **out) NODISCARD;
void mixture_close(mixture *m); /* NULL is ignored */

int mixture_sets(const mixture *m);
const token_set *mixture_set(const mixture *m, int i);

/* Which sample of which set becomes sample s of the run. */
int64_t mixture_place(const mixture *m, int64_t s, int *set);

/* As in batches.h, over all sets: the windows in an epoch are those of all. */
int64_t mixture_windows(const mixture *m);
bool mixture_packed(const mixture *m);
void mixture_about(const mixture *m, char *out, size_t size);
int64_t mixture_learned(const mixture *m, int64_t sample, int64_t count);
error *mixture_read(const mixture *m, int64_t sample, int64_t count, int32_t *inputs,
                    int32_t *targets, int32_t *starts /* ? (count,T) */) NODISCARD;
error *mixture_fingerprint(const mixture *m, const fingerprint *known, fingerprint *out) NODISCARD;

#endif
