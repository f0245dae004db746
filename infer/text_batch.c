/* text_batch.c - see text_batch.h */
#include "infer/text_batch.h"

enum { MOST_ROOM = 256 }; /* tokens of all texts in a step: enough for fast products */

text_batch text_batch_make(const model_kind *kind, runtime *r, model *m, int64_t n, int64_t length)
{
    int64_t room = n < MOST_ROOM ? MOST_ROOM / n : 1;
    return (text_batch){.kind = kind,
                        .r = r,
                        .m = m,
                        .n = n,
                        .length = length,
                        .room = room < length ? room : length};
}

void text_batch_place(text_batch *b, int64_t vocab)
{
    arena *a = b->r->arena;
    b->tokens = arena_keep(a, KIND_BATCH, I32, SHAPE(b->n, b->room), NAME("texts' tokens", 0));
    b->logits =
        arena_keep(a, KIND_BATCH, b->r->params->type, SHAPE(b->n, vocab), NAME("texts' logits", 0));
}

static void take_step(text_batch *b, const int32_t *tokens, int64_t count, bool last)
{
    runtime *r = b->r;
    decode_step s = {.tokens = tensor_of(b->tokens.data, I32, SHAPE(b->n, count)),
                     .position = b->position,
                     .room = b->room};
    if (last) s.logits = b->logits;
    arena_iteration(r->arena, ++b->steps);
    if (!arena_recording(r->arena)) op_put(r->dev, r->stream, s.tokens, tokens);
    b->kind->decode(r, b->m, &s);
    b->position += count;
}

void text_batch_begin(text_batch *b)
{
    b->position = 0;
    b->steps = 0;
    arena_begin(b->r->arena, "texts");
    b->kind->open_caches(b->r, b->m, b->n, b->length);
}

void text_batch_end(text_batch *b)
{
    b->kind->close_caches(b->r, b->m);
    arena_end(b->r->arena);
}

void text_batch_record(text_batch *b)
{
    text_batch_begin(b);
    take_step(b, NULL, b->room, true);
    text_batch_end(b);
}

error *text_batch_push(text_batch *b, const int32_t *tokens, int64_t count, float *logits)
{
    runtime *r = b->r;
    take_step(b, tokens, count, logits);
    if (logits) op_get_floats(r->dev, r->stream, logits, b->logits);
    op_sync(r->dev, r->stream);
    return device_status(r->dev);
}
