/* packing.c - see packing.h */
#include "data/packing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int32_t shard, first, places, learned; /* length: its tokens but the last */
} document;

struct packing {
    const token_set *set;
    int64_t seq;
    document *documents; /* (n): grouped by window */
    int64_t n, left_out, windows, places;
    int64_t *first;   /* (windows + 1): the first document of each window */
    int64_t *learned; /* (windows) */
};

/* ---- the documents ---- */

static error *too_long(const packing *p, int shard, int64_t index, int64_t tokens)
{
    return user_error(
        "token shard '%s': document %" PRId64 " has %" PRId64 " tokens, and --seq %" PRId64
        " takes %" PRId64
        ": use a longer --seq, or make the shards with ./tokenize --max-tokens %" PRId64,
        tokens_path(p->set, shard), index, tokens, p->seq, p->seq + 1, p->seq + 1);
}

static error *add_shard(packing *p, int shard, const int32_t *starts, uint8_t *learned)
{
    for (int64_t i = 0; i < tokens_documents(p->set, shard); i++) {
        int32_t first = starts[i], n = starts[i + 1] - first, count = 0;
        if (n > p->seq + 1) return too_long(p, shard, i, n);
        TRY(tokens_learned(p->set, shard, first, n, learned));
        for (int32_t k = 1; k < n; k++)
            count += learned[k];
        if (!count) {
            p->left_out++;
            continue;
        }
        p->documents[p->n++] = (document){shard, first, n - 1, count};
        p->places += n - 1;
    }
    return NULL;
}

static error *collect_documents(packing *p)
{
    int64_t most = 0;
    for (int i = 0; i < tokens_shards(p->set); i++) {
        int64_t n = tokens_documents(p->set, i);
        if (!n)
            return user_error(
                "token shard '%s' has no documents, others of the set have: do not mix "
                "plain shards with those of ./tokenize --chat",
                tokens_path(p->set, i));
        most += n;
    }
    TRY(alloc_array(&p->documents, (unsigned long)most, sizeof *p->documents));
    for (int i = 0; i < tokens_shards(p->set); i++) {
        int32_t *starts = NULL;
        uint8_t *learned = NULL;
        error *e =
            alloc_array(&starts, (unsigned long)tokens_documents(p->set, i) + 1, sizeof *starts);
        if (!e) e = alloc_array(&learned, (unsigned long)p->seq + 1, 1);
        if (!e) e = tokens_document_starts(p->set, i, starts);
        if (!e) e = add_shard(p, i, starts, learned);
        free(starts);
        free(learned);
        TRY(e);
    }
    return p->n ? NULL
                : user_error(
                      "token shard '%s': nothing in it is learned: make it with --learn all, or "
                      "look what --show says",
                      tokens_path(p->set, 0));
}

/* ---- which document goes where ---- */

/* Windows by remaining room: a list for each room, and a bitmap of non-empty lists. */
typedef struct {
    int64_t *head; /* (T + 1): a window, -1 for none */
    int64_t *next; /* (n) */
    uint64_t *some;
    int64_t seq;
} rooms;

static void put_window(rooms *r, int64_t room, int64_t window)
{
    r->next[window] = r->head[room];
    r->head[room] = window;
    r->some[room / 64] |= UINT64_C(1) << room % 64;
}

/* A window with the least room >= wanted, removed from its list; -1 if there is none. */
static int64_t take_window(rooms *r, int64_t wanted, int64_t *room)
{
    for (int64_t w = wanted / 64; w <= r->seq / 64; w++) {
        uint64_t bits = r->some[w];
        if (w == wanted / 64) bits &= ~UINT64_C(0) << wanted % 64;
        if (!bits) continue;
        *room = w * 64 + __builtin_ctzll(bits);
        int64_t window = r->head[*room];
        r->head[*room] = r->next[window];
        if (r->head[*room] < 0) r->some[*room / 64] &= ~(UINT64_C(1) << *room % 64);
        return window;
    }
    return -1;
}

static int longer_first(const void *a, const void *b)
{
    const document *x = a, *y = b;
    if (x->places != y->places) return x->places > y->places ? -1 : 1;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    return (x->first > y->first) - (x->first < y->first);
}

/* window[i]: where document i goes */
static void fit_documents(packing *p, rooms *r, int64_t *window)
{
    for (int64_t i = 0; i <= p->seq; i++)
        r->head[i] = -1;
    for (int64_t i = 0; i < p->n; i++) {
        int64_t room = p->seq, wanted = p->documents[i].places;
        int64_t w = take_window(r, wanted, &room);
        if (w < 0) w = p->windows++;
        window[i] = w;
        put_window(r, room - wanted, w);
    }
}

/* Sorts documents by window (counting sort). */
static error *gather(packing *p, const int64_t *window)
{
    document *sorted;
    TRY(alloc_array(&p->first, (unsigned long)p->windows + 2, sizeof *p->first));
    TRY(alloc_array(&p->learned, (unsigned long)p->windows, sizeof *p->learned));
    TRY(alloc_array(&sorted, (unsigned long)p->n, sizeof *sorted));
    for (int64_t i = 0; i < p->n; i++) {
        p->first[window[i] + 2]++;
        p->learned[window[i]] += p->documents[i].learned;
    }
    for (int64_t w = 0; w < p->windows; w++)
        p->first[w + 2] += p->first[w + 1];
    for (int64_t i = 0; i < p->n; i++)
        sorted[p->first[window[i] + 1]++] = p->documents[i];
    free(p->documents);
    p->documents = sorted;
    return NULL;
}

static error *pack(packing *p)
{
    rooms r = {.seq = p->seq};
    int64_t *window = NULL;
    qsort(p->documents, (size_t)p->n, sizeof *p->documents, longer_first);
    error *e = alloc_array(&r.head, (unsigned long)p->seq + 1, sizeof *r.head);
    if (!e) e = alloc_array(&r.next, (unsigned long)p->n, sizeof *r.next);
    if (!e) e = alloc_array(&r.some, (unsigned long)p->seq / 64 + 1, sizeof *r.some);
    if (!e) e = alloc_array(&window, (unsigned long)p->n, sizeof *window);
    if (!e) {
        fit_documents(p, &r, window);
        e = gather(p, window);
    }
    free(r.head);
    free(r.next);
    free(r.some);
    free(window);
    return e;
}

error *packing_open(const token_set *set, int64_t seq, packing **out)
{
    packing *p;
    if (seq < 1 || seq >= INT32_MAX) return internal_error("windows of %" PRId64 " tokens", seq);
    TRY(alloc_array(&p, 1, sizeof *p));
    p->set = set;
    p->seq = seq;
    error *e = collect_documents(p);
    if (!e) e = pack(p);
    if (e) {
        packing_close(p);
        return e;
    }
    *out = p;
    return NULL;
}

void packing_close(packing *p)
{
    if (!p) return;
    free(p->documents);
    free(p->first);
    free(p->learned);
    free(p);
}

int64_t packing_windows(const packing *p)
{
    return p->windows;
}

int64_t packing_learned(const packing *p, int64_t window)
{
    return p->learned[window];
}

int64_t packing_documents(const packing *p, int64_t *left_out)
{
    *left_out = p->left_out;
    return p->n;
}

double packing_waste(const packing *p)
{
    return 1 - (double)p->places / ((double)p->windows * (double)p->seq);
}

/* ---- reading ---- */

static error *read_document(const packing *p, const document *d, int32_t at, int32_t *inputs,
                            int32_t *targets, int32_t *starts)
{
    uint8_t learned[512];
    TRY(tokens_read(p->set, d->shard, d->first, d->places, inputs));
    TRY(tokens_read(p->set, d->shard, d->first + 1, d->places, targets));
    for (int32_t done = 0, n; done < d->places; done += n) {
        n = d->places - done < (int32_t)sizeof learned ? d->places - done : (int32_t)sizeof learned;
        TRY(tokens_learned(p->set, d->shard, d->first + 1 + done, n, learned));
        for (int32_t i = 0; i < n; i++) {
            if (!learned[i]) targets[done + i] = -1;
            starts[done + i] = at;
        }
    }
    return NULL;
}

error *packing_read(const packing *p, int64_t window, int32_t *inputs, int32_t *targets,
                    int32_t *starts)
{
    int32_t at = 0;
    for (int64_t i = p->first[window]; i < p->first[window + 1]; i++) {
        const document *d = &p->documents[i];
        TRY(read_document(p, d, at, inputs + at, targets + at, starts + at));
        at += d->places;
    }
    for (int32_t i = at; i < p->seq; i++) { /* one more document, with nothing to learn */
        inputs[i] = 0;
        targets[i] = -1;
        starts[i] = at;
    }
    return NULL;
}
