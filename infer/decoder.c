/* decoder.c - see decoder.h */
#include "infer/decoder.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ROOM = 256 }; /* tokens: enough for fast products */

error *decoder_open(const model_kind *kind, runtime *r, model *m, int64_t length, decoder *out)
{
    *out = (decoder){.kind = kind, .r = r, .m = m, .length = length};
    out->room = length < MOST_ROOM ? length : MOST_ROOM;
    return alloc_array(&out->window, (unsigned long)length, sizeof *out->window);
}

void decoder_close(decoder *d)
{
    free(d->window);
    *d = (decoder){0};
}

void decoder_place(decoder *d, int64_t vocab)
{
    arena *a = d->r->arena;
    d->tokens = arena_keep(a, KIND_BATCH, I32, SHAPE(1, d->room), NAME("sample tokens", 0));
    d->logits =
        arena_keep(a, KIND_BATCH, d->r->params->type, SHAPE(1, vocab), NAME("sample logits", 0));
}

/* Adds the next n tokens of the window to the caches. */
static void step(decoder *d, int64_t n, bool last)
{
    runtime *r = d->r;
    decode_step s = {.tokens = tensor_of(d->tokens.data, I32, SHAPE(1, n)),
                     .position = d->cached,
                     .room = d->room};
    if (last) s.logits = d->logits;
    arena_iteration(r->arena, ++d->steps);
    if (!arena_recording(r->arena)) op_put(r->dev, r->stream, s.tokens, d->window + d->cached);
    d->kind->decode(r, d->m, &s);
    d->cached += n;
}

void decoder_begin(decoder *d)
{
    d->used = d->cached = 0;
    d->steps = 0;
    arena_begin(d->r->arena, "sample");
    d->kind->open_caches(d->r, d->m, 1, d->length);
}

void decoder_end(decoder *d)
{
    d->kind->close_caches(d->r, d->m);
    arena_end(d->r->arena);
}

void decoder_record(decoder *d)
{
    decoder_begin(d);
    step(d, d->room, true);
    decoder_end(d);
}

void decoder_push(decoder *d, const int32_t *tokens, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (d->used == d->length) {
            d->used = d->length / 2;
            d->cached = 0;
            memmove(d->window, d->window + d->length - d->used,
                    (size_t)d->used * sizeof *d->window);
        }
        d->window[d->used++] = tokens[i];
    }
}

error *decoder_next(decoder *d, float *logits)
{
    runtime *r = d->r;
    while (d->cached < d->used && !r->dev->failure) {
        int64_t left = d->used - d->cached, n = left < d->room ? left : d->room;
        step(d, n, n == left);
    }
    op_get_floats(r->dev, r->stream, logits, d->logits);
    return device_status(r->dev);
}
