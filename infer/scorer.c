/* scorer.c - see scorer.h */
#include "infer/scorer.h"

#include <string.h>

enum { MOST_ROOM = 256 };

scorer scorer_make(const model_kind *kind, runtime *r, model *m, int64_t length, int64_t stride)
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
    runtime *r = s->r;
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

static void take_sum(const scorer *s, double *nats)
{
    op_get(s->r->dev, s->r->stream, nats, s->sum);
    op_sync(s->r->dev, s->r->stream);
}

error *scorer_run(scorer *s, const int32_t *ids, int64_t n, double *nats)
{
    runtime *r = s->r;
    int64_t last = n - 1, seen = 0; /* tokens of the window that were scored before */
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
    take_sum(s, nats);
    return device_status(r->dev);
}

error *scorer_run_learned(scorer *s, const int32_t *ids, const uint8_t *learned, int64_t n,
                          double *nats)
{
    runtime *r = s->r;
    int64_t last = 0; /* nothing after the last learned token needs to be read */
    for (int64_t i = 1; i < n; i++)
        if (learned[i]) last = i;
    op_clear(r->dev, r->stream, s->sum);
    begin_recording(s);
    for (int64_t i = 0, next; i < last; i = next) {
        for (next = i + 1; next < last && learned[next + 1] == learned[i + 1];)
            next++;
        part(s, ids, i, next, learned[i + 1]);
    }
    end(s);
    take_sum(s, nats);
    return device_status(r->dev);
}

/* The text's last token and the ending's, which overwrite those of the previous ending in the
 * caches. */
static void ending(scorer *s, int32_t last, int64_t position, const scorer_ending *e, double *nats)
{
    runtime *r = s->r;
    op_clear(r->dev, r->stream, s->sum);
    for (int64_t at = 0, count; at < e->n && !r->dev->failure; at += count) {
        int32_t ids[MOST_ROOM + 1];
        count = e->n - at < s->room ? e->n - at : s->room;
        ids[0] = at ? e->ids[at - 1] : last;
        memcpy(ids + 1, e->ids + at, (size_t)count * sizeof *ids);
        step(s, ids, position + at, count, true);
    }
    take_sum(s, nats);
}

error *scorer_run_endings(scorer *s, const int32_t *ids, int64_t n, const scorer_ending *endings,
                          int count, double *nats)
{
    begin_recording(s);
    part(s, ids, 0, n - 1, false);
    for (int i = 0; i < count && !s->r->dev->failure; i++)
        ending(s, ids[n - 1], n - 1, &endings[i], &nats[i]);
    end(s);
    return device_status(s->r->dev);
}
