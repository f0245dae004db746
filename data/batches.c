/* batches.c - see batches.h */
#include "data/batches.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/packing.h"

struct batches {
    const token_set *set;
    int64_t seq;     /* T */
    int64_t *first;  /* (shards + 1): number of each shard's first window; the last entry is W */
    packing *packed; /* ? of marked shards */
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
    batches *b;
    bool marked = false;
    TRY(alloc_array(&b, 1, sizeof *b));
    *b = (batches){.set = set, .seq = seq, .order = order, .seed = seed};
    error *e = alloc_array(&b->first, (size_t)n + 1, sizeof *b->first);
    for (int i = 0; i < n && !e; i++) {
        b->first[i + 1] = b->first[i] + (tokens_count(set, i) - 1) / seq;
        marked = marked || tokens_documents(set, i);
    }
    if (!e && marked) e = packing_open(set, seq, &b->packed);
    if (!e && batches_windows(b) < batch) e = too_few(set, batches_windows(b), seq, batch);
    if (e) {
        batches_close(b);
        return e;
    }
    *out = b;
    return NULL;
}

void batches_close(batches *b)
{
    if (!b) return;
    packing_close(b->packed);
    free(b->first);
    free(b);
}

int64_t batches_windows(const batches *b)
{
    return b->packed ? packing_windows(b->packed) : b->first[tokens_shards(b->set)];
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

/* starts: only for packed ones */
static error *read_window(const batches *b, int64_t window, int32_t *inputs, int32_t *targets,
                          int32_t *starts)
{
    if (b->packed) return packing_read(b->packed, window, inputs, targets, starts);
    int shard = shard_of(b, window);
    int64_t start = (window - b->first[shard]) * b->seq;
    TRY(tokens_read(b->set, shard, start, b->seq, inputs));
    return tokens_read(b->set, shard, start + 1, b->seq, targets);
}

error *batches_read_packed(const batches *b, int64_t sample, int64_t count, int32_t *inputs,
                           int32_t *targets, int32_t *starts)
{
    if (sample < 0 || count < 0 || count > INT64_MAX - sample)
        return internal_error("samples %" PRId64 " + %" PRId64, sample, count);
    if (starts && !b->packed) memset(starts, 0, (size_t)(count * b->seq) * sizeof *starts);
    for (int64_t i = 0; i < count; i++)
        TRY(read_window(b, window_of(b, sample + i), inputs + i * b->seq, targets + i * b->seq,
                        starts ? starts + i * b->seq : NULL));
    return NULL;
}

error *batches_read(const batches *b, int64_t sample, int64_t count, int32_t *inputs,
                    int32_t *targets)
{
    if (b->packed) return internal_error("packed windows are read with their starts");
    return batches_read_packed(b, sample, count, inputs, targets, NULL);
}

bool batches_packed(const batches *b)
{
    return b->packed != NULL;
}

int64_t batches_learned(const batches *b, int64_t sample, int64_t count)
{
    int64_t n = b->packed ? 0 : count * b->seq;
    for (int64_t i = 0; i < count && b->packed; i++)
        n += packing_learned(b->packed, window_of(b, sample + i));
    return n;
}

void batches_about(const batches *b, char *out, size_t size)
{
    int64_t left_out = 0, windows = batches_windows(b);
    *out = 0;
    if (!b->packed) return;
    int64_t documents = packing_documents(b->packed, &left_out);
    double learned = 0;
    for (int64_t w = 0; w < windows; w++)
        learned += (double)packing_learned(b->packed, w);
    snprintf(out, size,
             "%" PRId64 " documents in %" PRId64 " rows of %" PRId64 ": %.1f %% of the tokens are "
             "learned, %.2f %% are filling%s",
             documents, windows, b->seq, 100 * learned / ((double)windows * (double)b->seq),
             100 * packing_waste(b->packed),
             left_out ? "; those of which nothing is learned are left out" : "");
}
