/* text_source.c - see text_source.h */
#include "data/text_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/mixture.h"

typedef struct {
    source base;
    mixture *sets;
    int64_t seq;
} text_source;

static error *text_read(source *base, int64_t first, int64_t count, void *inputs, void *targets)
{
    if (base->packed) return internal_error("packed windows are read with their starts");
    return mixture_read(((text_source *)base)->sets, first, count, inputs, targets, NULL);
}

static error *text_read_packed(source *base, int64_t first, int64_t count, void *inputs,
                               void *targets, int32_t *starts)
{
    return mixture_read(((text_source *)base)->sets, first, count, inputs, targets, starts);
}

static int64_t text_learned(const source *base, int64_t first, int64_t count)
{
    return mixture_learned(((const text_source *)base)->sets, first, count);
}

static error *text_fingerprint(const source *base, const fingerprint *known, fingerprint *out)
{
    return mixture_fingerprint(((const text_source *)base)->sets, known, out);
}

/* Shards shorter than a window. */
static int64_t text_unused(const source *base, char *why, size_t size)
{
    const text_source *s = (const text_source *)base;
    const char *example = NULL;
    int all = 0, few = 0;
    for (int k = 0; k < mixture_sets(s->sets) && !base->packed; k++) {
        const token_set *set = mixture_set(s->sets, k);
        all += tokens_shards(set);
        for (int i = 0; i < tokens_shards(set); i++)
            if (tokens_count(set, i) <= s->seq && !few++) example = tokens_path(set, i);
    }
    if (few)
        snprintf(
            why, size,
            "%d of %d token shards have less than the %lld + 1 tokens of a window, such as '%s'",
            few, all, (long long)s->seq, example);
    return few;
}

static void text_close(source *base)
{
    text_source *s = (text_source *)base;
    mixture_close(s->sets);
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
    error *e = mixture_open(patterns, n, vocab, seq, batch, order, seed, &s->sets);
    if (e) {
        text_close(&s->base);
        return e;
    }
    s->base.count = mixture_windows(s->sets);
    s->base.packed = mixture_packed(s->sets);
    mixture_about(s->sets, s->base.about, sizeof s->base.about);
    *out = &s->base;
    return NULL;
}
