/* placement.c - see place.h */
#include "core/placement.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double key;
    int64_t start;
    size_t index;
} ranked;

static int by_key(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    if (a->start != b->start) return a->start < b->start ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

enum { ORDER_SIZE, ORDER_AREA, ORDER_LIFETIME, ORDER_START, ORDER_END, ORDER_COUNT };

static double order_key(const placement *b, int order)
{
    double life = (double)(b->end - b->start), bytes = (double)b->bytes;
    switch (order) {
    case ORDER_SIZE:
        return bytes;
    case ORDER_AREA:
        return bytes * life;
    case ORDER_LIFETIME:
        return life;
    case ORDER_START:
        return -(double)b->start;
    default:
        return (double)b->end; /* latest first */
    }
}

/* Blocks placed so far, by offset. */
typedef struct {
    const placement *blocks;
    const size_t *offset;
    size_t *index;
    size_t n;
} placed;

/* The smallest gap that is sufficient, or the lowest; else the top. */
static size_t find_gap(const placed *p, const placement *b, bool lowest)
{
    size_t cursor = 0, best = 0, best_size = SIZE_MAX;
    for (size_t i = 0; i < p->n; i++) {
        const placement *other = &p->blocks[p->index[i]];
        if (other->end <= b->start || other->start >= b->end) continue;
        size_t at = p->offset[p->index[i]];
        if (at >= cursor && at - cursor >= b->bytes && at - cursor < best_size) {
            if (lowest) return cursor;
            best = cursor;
            best_size = at - cursor;
        }
        if (at + other->bytes > cursor) cursor = at + other->bytes;
    }
    return best_size == SIZE_MAX ? cursor : best;
}

static void insert(placed *p, size_t index)
{
    size_t i = p->n++;
    while (i > 0 && p->offset[p->index[i - 1]] > p->offset[index]) {
        p->index[i] = p->index[i - 1];
        i--;
    }
    p->index[i] = index;
}

typedef struct {
    placement *blocks;
    size_t n;
    ranked *rank; /* (2n): the order under way, and room to change it */
    size_t *work; /* (2n): indices by offset, and offsets */
    size_t best;
} search;

/* Places them in the order of `rank`; keeps the offsets if none before was as low. */
static size_t place_ranked(search *s, bool lowest)
{
    size_t top = 0, *offset = s->work + s->n;
    placed p = {s->blocks, offset, s->work, 0};
    for (size_t i = 0; i < s->n; i++) {
        size_t which = s->rank[i].index;
        offset[which] = find_gap(&p, &s->blocks[which], lowest);
        insert(&p, which);
        size_t end = offset[which] + s->blocks[which].bytes;
        if (end > top) top = end;
    }
    if (top < s->best) {
        s->best = top;
        for (size_t i = 0; i < s->n; i++)
            s->blocks[i].offset = offset[i];
    }
    return top;
}

static void rank_by(search *s, int order)
{
    for (size_t i = 0; i < s->n; i++)
        s->rank[i] = (ranked){order_key(&s->blocks[i], order), s->blocks[i].start, i};
    qsort(s->rank, s->n, sizeof *s->rank, by_key);
}

/* The blocks that stuck out above `load` go first, the rest stays in its order. */
static void promote(search *s, size_t load)
{
    const size_t *offset = s->work + s->n;
    ranked *later = s->rank + s->n;
    size_t first = 0, rest = 0;
    for (size_t i = 0; i < s->n; i++) {
        ranked r = s->rank[i];
        bool out = offset[r.index] + s->blocks[r.index].bytes > load;
        if (out)
            s->rank[first++] = r;
        else
            later[rest++] = r;
    }
    memcpy(s->rank + first, later, rest * sizeof *later);
}

static bool near(const search *s, size_t load)
{
    return s->best <= load + load / 1000;
}

error *place_blocks(placement *blocks, size_t n, size_t *top)
{
    enum { ROUNDS = 20 };
    search s = {.blocks = blocks, .n = n, .best = SIZE_MAX};
    size_t load = 0;
    *top = 0;
    error *e = place_load(blocks, n, &load, NULL);
    if (!e) e = alloc_array(&s.rank, 2 * n, sizeof *s.rank);
    if (!e) e = alloc_array(&s.work, 2 * n, sizeof *s.work);
    for (int way = 0; !e && way < 2 * ORDER_COUNT && s.best > load; way++) {
        rank_by(&s, way % ORDER_COUNT);
        place_ranked(&s, way >= ORDER_COUNT);
    }
    for (int way = 0; !e && way < 2 * ORDER_COUNT && !near(&s, load); way++) {
        rank_by(&s, way % ORDER_COUNT);
        for (int round = 0; round < ROUNDS && !near(&s, load); round++) {
            place_ranked(&s, way >= ORDER_COUNT);
            promote(&s, load);
        }
    }
    if (!e) *top = s.best == SIZE_MAX ? 0 : s.best;
    free(s.rank);
    free(s.work);
    return e;
}

typedef struct {
    int64_t when;
    bool begins;
    size_t bytes;
} edge;

static int by_time(const void *pa, const void *pb)
{
    const edge *a = pa, *b = pb;
    if (a->when != b->when) return a->when < b->when ? -1 : 1;
    return (int)a->begins - (int)b->begins; /* ends first: lifetimes are half open */
}

error *place_load(const placement *blocks, size_t n, size_t *load, int64_t *when)
{
    edge *edges = NULL;
    TRY(alloc_array(&edges, 2 * n, sizeof *edges));
    for (size_t i = 0; i < n; i++) {
        size_t bytes =
            blocks[i].start < blocks[i].end ? blocks[i].bytes : 0; /* else alive at no time */
        edges[2 * i] = (edge){blocks[i].start, true, bytes};
        edges[2 * i + 1] = (edge){blocks[i].end, false, bytes};
    }
    qsort(edges, 2 * n, sizeof *edges, by_time);
    size_t live = 0;
    *load = 0;
    for (size_t i = 0; i < 2 * n; i++) {
        live = edges[i].begins ? live + edges[i].bytes : live - edges[i].bytes;
        if (live <= *load) continue;
        *load = live;
        if (when) *when = edges[i].when;
    }
    free(edges);
    return NULL;
}
