/* batches.c - see batches.h */
#include "data/batches.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

struct batches {
    const token_set *set;
    int64_t seq;    /* T */
    int64_t *first; /* (shards + 1): number of each shard's first window; the last entry is W */
    batch_order order;
    uint64_t seed;
};

static error *too_few(const token_set *set, int64_t windows, int64_t seq, int64_t batch)
{
    char others[40] = "";
    int n = tokens_shards(set);
    if (n > 1) snprintf(others, sizeof others, " and %d more", n - 1);
    return user_error("token shard '%s'%s: too short for one batch: %" PRId64 " windows of %" PRId64
                      " + 1 tokens, and a batch takes %" PRId64 ": use more text, a smaller batch "
                      "or a shorter sequence",
                      tokens_path(set, 0), others, windows, seq, batch);
}

error *batches_open(const token_set *set, int64_t seq, int64_t batch, batch_order order,
                    uint64_t seed, batches **out)
{
    if (seq < 1 || batch < 1)
        return user_error("a batch of %" PRId64 " windows of %" PRId64
                          " tokens is empty: both must be at least 1",
                          batch, seq);
    int n = tokens_shards(set);
    int64_t *first;
    TRY(alloc_array(&first, (size_t)n + 1, sizeof *first));
    for (int i = 0; i < n; i++)
        first[i + 1] = first[i] + (tokens_count(set, i) - 1) / seq;
    error *e = first[n] < batch ? too_few(set, first[n], seq, batch) : NULL;
    batches *b;
    if (!e) e = alloc_array(&b, 1, sizeof *b);
    if (e) {
        free(first);
        return e;
    }
    *b = (batches){set, seq, first, order, seed};
    *out = b;
    return NULL;
}

void batches_close(batches *b)
{
    if (!b) return;
    free(b->first);
    free(b);
}

int64_t batches_windows(const batches *b)
{
    return b->first[tokens_shards(b->set)];
}

/* The shard that window w is in: the last one whose first window is not after w. */
static int shard_of(const batches *b, int64_t w)
{
    int low = 0, high = tokens_shards(b->set); /* first[low] <= w < first[high] */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (b->first[middle] <= w)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int64_t window_of(const batches *b, int64_t sample)
{
    int64_t n = batches_windows(b), epoch = sample / n, position = sample % n;
    if (b->order == BATCHES_SEQUENTIAL) return position;
    return (int64_t)rng_permute(b->seed, RNG_ORDER, (uint64_t)epoch, (uint64_t)position,
                                (uint64_t)n);
}

error *batches_read(const batches *b, int64_t sample, int64_t count, int32_t *inputs,
                    int32_t *targets)
{
    if (sample < 0 || count < 0 || count > INT64_MAX - sample)
        return internal_error("samples %" PRId64 " + %" PRId64, sample, count);
    for (int64_t i = 0; i < count; i++) {
        int64_t window = window_of(b, sample + i);
        int shard = shard_of(b, window);
        int64_t start = (window - b->first[shard]) * b->seq;
        TRY(tokens_read(b->set, shard, start, b->seq, inputs + i * b->seq));
        TRY(tokens_read(b->set, shard, start + 1, b->seq, targets + i * b->seq));
    }
    return NULL;
}
