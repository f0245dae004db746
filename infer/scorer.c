/* scorer.c - see scorer.h */
#include "infer/scorer.h"

enum { MOST_ROOM = 256 };

scorer scorer_make(const model_kind *kind, run *r, model *m, int64_t length, int64_t stride)
{
    return (scorer){.kind = kind,
                    .r = r,
                    .m = m,
                    .length = length,
                    .stride = stride,
                    .room = length < MOST_ROOM ? length : MOST_ROOM};
}

void scorer_place(scorer *s)
{
    arena *a = s->r->arena;
    s->tokens = arena_keep(a, KIND_BATCH, I32, SHAPE(1, s->room), NAME("score tokens", 0));
    s->targets = arena_keep(a, KIND_BATCH, I32, SHAPE(1, s->room), NAME("score targets", 0));
    s->sum = arena_keep(a, KIND_BATCH, F64, SHAPE(1), NAME("score", 0));
}

/* Tokens ids[0 .. n) at `position`; when scored, ids[n] is the last target. */
static void step(scorer *s, const int32_t *ids, int64_t position, int64_t n, bool scored)
{
    run *r = s->r;
    loss_sink loss = {.sum = s->sum, .accumulate = true, .scale = 1};
    decode_step d = {.tokens = tensor_of(s->tokens.data, I32, SHAPE(1, n)),
                     .position = position,
                     .room = s->room,
                     .loss = &loss};
    if (scored) d.targets = tensor_of(s->targets.data, I32, SHAPE(1, n));
    arena_iteration(r->arena, ++s->steps);
    if (!arena_recording(r->arena)) {
        op_put(r->dev, r->stream, d.tokens, ids);
        if (scored) op_put(r->dev, r->stream, d.targets, ids + 1);
    }
    s->kind->decode(r, s->m, &d);
}

/* Tokens first .. end of a window that begins at ids. */
static void part(scorer *s, const int32_t *ids, int64_t first, int64_t end, bool scored)
{
    for (int64_t n; first < end && !s->r->dev->failure; first += n) {
        n = end - first < s->room ? end - first : s->room;
        step(s, ids + first, first, n, scored);
    }
}

static void begin_recording(scorer *s)
{
    s->steps = 0;
    arena_begin(s->r->arena, "score");
    s->kind->open_caches(s->r, s->m, 1, s->length);
}

static void end(scorer *s)
{
    s->kind->close_caches(s->r, s->m);
    arena_end(s->r->arena);
}

void scorer_record(scorer *s)
{
    begin_recording(s);
    step(s, NULL, 0, s->room, true);
    end(s);
}

error *scorer_run(scorer *s, const int32_t *ids, int64_t n, double *nats)
{
    run *r = s->r;
    int64_t last = n - 1, seen = 0; /* of the window's tokens, those scored before */
    op_clear(r->dev, r->stream, s->sum);
    begin_recording(s);
    for (int64_t at = 0, length = 0; at + length < last && !r->dev->failure;) {
        if (length) at += s->stride;
        length = last - at < s->length ? last - at : s->length;
        part(s, ids + at, 0, seen, false);
        part(s, ids + at, seen, length, true);
        seen = s->length - s->stride;
    }
    end(s);
    op_get(r->dev, r->stream, nats, s->sum);
    op_sync(r->dev, r->stream);
    return device_status(r->dev);
}
