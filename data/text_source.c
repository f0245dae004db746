/* text_source.c - see text_source.h */
#include "data/text_source.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    source base;
    token_set *set;
    batches *windows;
    int64_t seq;
} text_source;

static error *text_read(source *base, int64_t first, int64_t count, void *inputs, void *targets)
{
    return batches_read(((text_source *)base)->windows, first, count, inputs, targets);
}

static error *text_read_packed(source *base, int64_t first, int64_t count, void *inputs,
                               void *targets, int32_t *starts)
{
    return batches_read_packed(((text_source *)base)->windows, first, count, inputs, targets,
                               starts);
}

static int64_t text_learned(const source *base, int64_t first, int64_t count)
{
    return batches_learned(((const text_source *)base)->windows, first, count);
}

static error *text_fingerprint(const source *base, const fingerprint *known, fingerprint *out)
{
    return tokens_fingerprint(((const text_source *)base)->set, known, out);
}

/* Shards that are shorter than a window. */
static int64_t text_unused(const source *base, char *why, size_t size)
{
    const text_source *s = (const text_source *)base;
    int all = base->packed ? 0 : tokens_shards(s->set), few = 0, first = -1;
    for (int i = 0; i < all; i++)
        if (tokens_count(s->set, i) <= s->seq && !few++) first = i;
    if (few)
        snprintf(
            why, size,
            "%d of %d token shards have less than the %lld + 1 tokens of a window, such as '%s'",
            few, all, (long long)s->seq, tokens_path(s->set, first));
    return few;
}

static void text_close(source *base)
{
    text_source *s = (text_source *)base;
    batches_close(s->windows);
    tokens_close(s->set);
    free(s);
}

error *text_source_open(const char *const *patterns, int n, int64_t vocab, int64_t seq,
                        int64_t batch, batch_order order, uint64_t seed, source **out)
{
    static const source_ops ops = {.read = text_read,
                                   .fingerprint = text_fingerprint,
                                   .close = text_close,
                                   .unused = text_unused,
                                   .read_packed = text_read_packed,
                                   .learned = text_learned};
    text_source *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->base.ops = &ops;
    s->seq = seq;
    error *e = tokens_open(patterns, n, vocab, &s->set);
    if (!e) e = batches_open(s->set, seq, batch, order, seed, &s->windows);
    if (e) {
        text_close(&s->base);
        return e;
    }
    s->base.count = batches_windows(s->windows);
    s->base.packed = batches_packed(s->windows);
    batches_about(s->windows, s->base.about, sizeof s->base.about);
    *out = &s->base;
    return NULL;
}
