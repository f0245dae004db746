/* bpe_documents.c - see bpe_documents.h */
#include "data/bpe/bpe_documents.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"

enum { UNIT = 1 << 18 /* bytes of text */, UNITS_EACH = 16 /* that a thread has ahead of it */ };

typedef struct {
    const uint8_t *text;
    size_t n;
    bool inside, last; /* of its document */
} part;

typedef struct {
    part *list; /* (n) */
    size_t n, capacity;
} parts;

/* The tokens of a unit. */
typedef struct {
    size_t first, end; /* its parts */
    int32_t *ids;
    size_t n, capacity;
    error *failed;
} unit;

typedef struct {
    const bpe *v;
    bpe_special special;
    int threads;
    parts parts;
    unit *unit;            /* (threads * UNITS_EACH) */
    bpe_encoder **encoder; /* (threads) */
    unit **current;        /* (threads): where each thread's tokens go */
} work;

static error *add_part(parts *p, part x)
{
    TRY(grow_array(&p->list, &p->capacity, p->n + 1, sizeof *p->list));
    p->list[p->n++] = x;
    return NULL;
}

static error *add_document(work *w, const bpe_document *d, bool can_part)
{
    for (size_t at = 0, end; at < d->n; at = end) {
        bool long_one = can_part && d->n - at > 2 * UNIT;
        end = long_one ? at + bpe_part(w->v, d->text + at, d->n - at, UNIT) : d->n;
        TRY(add_part(&w->parts, (part){d->text + at, end - at, at > 0, end == d->n}));
    }
    return NULL;
}

static error *collect_ids(void *to, const int32_t *ids, size_t n)
{
    unit *u = *(unit **)to;
    TRY(grow_array(&u->ids, &u->capacity, u->n + n, sizeof *u->ids));
    memcpy(u->ids + u->n, ids, n * sizeof *ids);
    u->n += n;
    return NULL;
}

/* Opens the thread's encoder, if it has none.  Done by the thread itself, so that what an encoder
 * writes for each match is in that thread's malloc arena, not in a cache line shared with
 * another's. */
static error *encode_unit(work *w, int thread, unit *u)
{
    int32_t end = bpe_end_of_text(w->v);
    if (!w->encoder[thread])
        TRY(bpe_encoder_open(w->v, w->special, collect_ids, &w->current[thread],
                             &w->encoder[thread]));
    w->current[thread] = u;
    for (size_t i = u->first; i < u->end; i++) {
        const part *p = &w->parts.list[i];
        TRY(bpe_encoder_text(w->encoder[thread], p->text, p->n, p->inside));
        bool between = p->last && i + 1 < w->parts.n && end >= 0;
        if (between) TRY(collect_ids(&w->current[thread], &end, 1));
    }
    return NULL;
}

/* The next units from part `at` on; returns how many. */
static int lay_out(work *w, size_t *at)
{
    int n = 0;
    for (; n < w->threads * UNITS_EACH && *at < w->parts.n; n++) {
        unit *u = &w->unit[n];
        u->first = *at;
        u->n = 0;
        for (size_t bytes = 0; *at < w->parts.n && bytes < UNIT; ++*at)
            bytes += w->parts.list[*at].n;
        u->end = *at;
    }
    return n;
}

static error *encode_round(work *w, int n, bpe_sink sink, void *to)
{
    int threads = w->threads < n ? w->threads : n;
    atomic_int next = 0; /* the first that is not taken yet: a thread on a busy core takes fewer */
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++) /* a thread's own encoder */
        for (int i; (i = atomic_fetch_add(&next, 1)) < n;)
            w->unit[i].failed = encode_unit(w, t, &w->unit[i]);
    error *e = NULL;
    for (int i = 0; i < n; i++) {
        unit *u = &w->unit[i];
        if (e)
            error_free(u->failed);
        else
            e = u->failed;
        if (!e && u->n) e = sink(to, u->ids, u->n);
    }
    return e;
}

static error *prepare_documents(work *w, const bpe_document *list, size_t n)
{
    bool can_part = bpe_can_part(w->v);
    for (size_t i = 0; i < n; i++)
        TRY(add_document(w, &list[i], can_part));
    TRY(alloc_array(&w->unit, (size_t)(w->threads * UNITS_EACH), sizeof *w->unit));
    TRY(alloc_array(&w->encoder, (size_t)w->threads, sizeof *w->encoder));
    return alloc_array(&w->current, (size_t)w->threads, sizeof *w->current);
}

static void release(work *w)
{
    for (int t = 0; w->encoder && t < w->threads; t++)
        bpe_encoder_close(w->encoder[t]);
    for (int i = 0; w->unit && i < w->threads * UNITS_EACH; i++)
        free(w->unit[i].ids);
    free(w->unit);
    free(w->encoder);
    free(w->current);
    free(w->parts.list);
}

error *bpe_encode_documents(const bpe *v, const bpe_document *list, size_t n, bpe_special special,
                            int threads, bpe_sink sink, void *to)
{
    work w = {.v = v, .special = special, .threads = threads};
    error *e = prepare_documents(&w, list, n);
    for (size_t at = 0; !e && at < w.parts.n;) {
        int units = lay_out(&w, &at);
        e = encode_round(&w, units, sink, to);
    }
    release(&w);
    return e;
}
