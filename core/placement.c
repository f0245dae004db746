/* placement.c - see placement.h */
#include "core/placement.h"
#include "core/placed_list.h"

#include <stdbool.h>
#include <stdint.h>
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
    double lifetime = (double)(b->end - b->start), bytes = (double)b->bytes;
    switch (order) {
    case ORDER_SIZE:
        return bytes;
    case ORDER_AREA:
        return bytes * lifetime;
    case ORDER_LIFETIME:
        return lifetime;
    case ORDER_START:
        return -(double)b->start;
    default:
        return (double)b->end; /* latest first */
    }
}

/* ---- what is occupied, where and when ----
 *
 * A block's place depends only on which offsets are occupied at some time of its lifetime.  Of few
 * blocks a list does for that (placed_list.h), of many a segment tree over time.  Its leaves are
 * the times at which blocks begin; a node has two sets of offsets:
 *
 *     ever      of all blocks that are alive at some time of this node
 *     always    of those that are alive throughout this node, but not throughout its parent
 *
 * A lifetime covers O(log n) whole nodes (`ever` of these) below O(log n) others (`always` of
 * these).  A set is a list of spans; as blocks are stacked without gaps, it is short: n blocks are
 * placed in about n log n steps. */

typedef struct {
    size_t from, to;
} span;

/* Ascending; no two touch. */
typedef struct {
    span *list;
    uint32_t n, room;
} span_set;

typedef struct {
    span_set ever, always;
} node;

/* A position in a set: the spans not visited yet. */
typedef struct {
    const span *at, *end;
} view;

typedef struct {
    node *nodes;       /* (2 leaves): 1 is the root, 2i and 2i + 1 are below i */
    size_t leaves;     /* a power of two */
    view seen[4 * 64]; /* sets for the current block: at most four per level */
    int n_seen;
    bool failed; /* out of memory */
} time_tree;

/* The first span that ends at `from` or later. */
static uint32_t first_at(const span_set *s, size_t from)
{
    uint32_t low = 0, high = s->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->list[middle].to < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool add_span(span_set *s, span new)
{
    uint32_t first = first_at(s, new.from), last = first;
    for (; last < s->n && s->list[last].from <= new.to; last++) {
        if (s->list[last].from < new.from) new.from = s->list[last].from;
        if (s->list[last].to > new.to) new.to = s->list[last].to;
    }
    if (first == last && s->n == s->room) {
        uint32_t room = s->room ? 2 * s->room : 2;
        span *list = realloc(s->list, room * sizeof *list);
        if (!list) return false;
        s->list = list;
        s->room = room;
    }
    memmove(s->list + first + 1, s->list + last, (s->n - last) * sizeof *s->list);
    s->n = s->n - (last - first) + 1;
    s->list[first] = new;
    return true;
}

/* Marks the block's offsets in all nodes of times [low, high) that overlap its lifetime [start,
 * end). */
static void occupy(time_tree *t, size_t at, size_t low, size_t high, size_t start, size_t end,
                   span s)
{
    if (end <= low || high <= start) return;
    node *now = &t->nodes[at];
    bool covers = start <= low && high <= end;
    if (!add_span(&now->ever, s) || (covers && !add_span(&now->always, s))) t->failed = true;
    if (covers) return;
    size_t middle = low + (high - low) / 2;
    occupy(t, 2 * at, low, middle, start, end, s);
    occupy(t, 2 * at + 1, middle, high, start, end, s);
}

/* Collects the sets that together hold everything occupied at some time of [start, end). */
static void look_for_gap(time_tree *t, size_t at, size_t low, size_t high, size_t start, size_t end)
{
    if (end <= low || high <= start) return;
    bool covers = start <= low && high <= end;
    const span_set *s = covers ? &t->nodes[at].ever : &t->nodes[at].always;
    if (s->n) t->seen[t->n_seen++] = (view){s->list, s->list + s->n};
    if (covers) return;
    size_t middle = low + (high - low) / 2;
    look_for_gap(t, 2 * at, low, middle, start, end);
    look_for_gap(t, 2 * at + 1, middle, high, start, end);
}

/* The first span that ends after `cursor`: usually one of the next. */
static const span *skip(view v, size_t cursor)
{
    size_t step = 1;
    if (v.at == v.end || v.at->to > cursor) return v.at;
    for (; step < (size_t)(v.end - v.at) && v.at[step].to <= cursor; step *= 2)
        v.at += step;
    for (; step; step /= 2) /* v.at ends at cursor or before it */
        if (step < (size_t)(v.end - v.at) && v.at[step].to <= cursor) v.at += step;
    return v.at + 1;
}

/* The end of what is occupied from cursor on; *next: where the next span begins after that. */
static size_t end_of_taken(time_tree *t, size_t cursor, size_t *next)
{
    for (bool moved = true; moved;) {
        moved = false;
        *next = SIZE_MAX;
        for (int i = 0; i < t->n_seen; i++) {
            view *v = &t->seen[i];
            v->at = skip(*v, cursor);
            if (v->at == v->end) {
                *v-- = t->seen[--t->n_seen];
                i--;
            } else if (v->at->from <= cursor) {
                cursor = v->at->to;
                moved = true;
            } else if (v->at->from < *next) {
                *next = v->at->from;
            }
        }
    }
    return cursor;
}

/* The smallest gap that is large enough, or the lowest; else the top. */
static size_t find_gap(time_tree *t, size_t bytes, bool lowest)
{
    size_t best = 0, best_size = SIZE_MAX, next;
    for (size_t at = end_of_taken(t, 0, &next);; at = end_of_taken(t, next, &next)) {
        if (next == SIZE_MAX) return best_size == SIZE_MAX ? at : best;
        if (next - at < bytes || next - at >= best_size) continue;
        if (lowest) return at;
        best = at;
        best_size = next - at;
    }
}

static void tree_clear(time_tree *t)
{
    for (size_t i = 0; i < 2 * t->leaves; i++)
        t->nodes[i].ever.n = t->nodes[i].always.n = 0;
}

static void tree_free(time_tree *t)
{
    for (size_t i = 0; t->nodes && i < 2 * t->leaves; i++) {
        free(t->nodes[i].ever.list);
        free(t->nodes[i].always.list);
    }
    free(t->nodes);
}

/* ---- orders ---- */

/* With 3,000 the list is still twice as fast, but its time grows by n * n. */
enum { FEW_BLOCKS = 1000 };

/* A block's lifetime, in leaves: [first, last). */
typedef struct {
    size_t first, last;
} lifetime;

typedef struct {
    placement *blocks;
    size_t n;
    ranked *rank; /* (2n): the current order, and room to change it */
    lifetime *lifetimes;
    size_t *offset;
    time_tree tree;
    placed_block *list; /* where it is used in place of the tree */
    size_t listed;
    size_t best;
} search;

static size_t place_one(search *s, size_t bytes, lifetime l, bool lowest)
{
    uint32_t first = (uint32_t)l.first, last = (uint32_t)l.last;
    if (s->list) {
        size_t at = placed_list_gap(s->list, s->listed, bytes, first, last, lowest);
        if (bytes)
            placed_list_add(s->list, s->listed++, (placed_block){at, at + bytes, first, last});
        return at;
    }
    s->tree.n_seen = 0;
    look_for_gap(&s->tree, 1, 0, s->tree.leaves, l.first, l.last);
    size_t at = find_gap(&s->tree, bytes, lowest);
    if (bytes) occupy(&s->tree, 1, 0, s->tree.leaves, l.first, l.last, (span){at, at + bytes});
    return at;
}

/* Places the blocks in the order of `rank`; keeps the offsets if they are the lowest so far.
 * Unless all of them are wanted, stops as soon as it cannot become the lowest. */
static void place_ranked(search *s, bool lowest, bool all)
{
    size_t top = 0;
    s->listed = 0;
    tree_clear(&s->tree);
    for (size_t i = 0; i < s->n; i++) {
        size_t which = s->rank[i].index, bytes = s->blocks[which].bytes;
        size_t at = s->offset[which] = place_one(s, bytes, s->lifetimes[which], lowest);
        if (at + bytes > top) top = at + bytes;
        if (top >= s->best && !all) return;
    }
    if (top >= s->best || s->tree.failed) return;
    s->best = top;
    for (size_t i = 0; i < s->n; i++)
        s->blocks[i].offset = s->offset[i];
}

static void rank_by(search *s, int order)
{
    for (size_t i = 0; i < s->n; i++)
        s->rank[i] = (ranked){order_key(&s->blocks[i], order), s->blocks[i].start, i};
    qsort(s->rank, s->n, sizeof *s->rank, by_key);
}

/* Moves the blocks that rose above `load` to the front; the others keep their order. */
static void promote(search *s, size_t load)
{
    ranked *later = s->rank + s->n;
    size_t first = 0, rest = 0;
    for (size_t i = 0; i < s->n; i++) {
        ranked r = s->rank[i];
        bool out = s->offset[r.index] + s->blocks[r.index].bytes > load;
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

static int by_value(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;
    return a < b ? -1 : a > b;
}

/* How many of the n distinct times are before `when`. */
static size_t times_before(const int64_t *times, size_t n, int64_t when)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (times[middle] < when)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Two blocks overlap in time if one begins in the lifetime of the other: so only the times at which
 * blocks begin matter. */
static error *count_leaves(search *s)
{
    int64_t *times = NULL;
    size_t n = 0;
    TRY(alloc_array(&times, s->n, sizeof *times));
    for (size_t i = 0; i < s->n; i++)
        times[i] = s->blocks[i].start;
    qsort(times, s->n, sizeof *times, by_value);
    for (size_t i = 0; i < s->n; i++)
        if (!n || times[i] != times[n - 1]) times[n++] = times[i];
    for (size_t i = 0; i < s->n; i++)
        s->lifetimes[i] = (lifetime){times_before(times, n, s->blocks[i].start),
                                     times_before(times, n, s->blocks[i].end)};
    free(times);
    if (s->n <= FEW_BLOCKS) return alloc_array(&s->list, s->n, sizeof *s->list);
    for (s->tree.leaves = 1; s->tree.leaves < n;)
        s->tree.leaves *= 2;
    return alloc_array(&s->tree.nodes, 2 * s->tree.leaves, sizeof *s->tree.nodes);
}

static error *search_begin(search *s, placement *blocks, size_t n)
{
    *s = (search){.blocks = blocks, .n = n, .best = SIZE_MAX};
    TRY(alloc_array(&s->rank, 2 * n, sizeof *s->rank));
    TRY(alloc_array(&s->lifetimes, n, sizeof *s->lifetimes));
    TRY(alloc_array(&s->offset, n, sizeof *s->offset));
    return count_leaves(s);
}

static void search_end(search *s)
{
    tree_free(&s->tree);
    free(s->list);
    free(s->rank);
    free(s->lifetimes);
    free(s->offset);
}

error *place_blocks(placement *blocks, size_t n, size_t *top)
{
    enum { ROUNDS = 20 };
    static const int soonest[ORDER_COUNT] = {ORDER_SIZE, ORDER_START, ORDER_END, ORDER_AREA,
                                             ORDER_LIFETIME};
    search s;
    size_t load = 0;
    *top = 0;
    error *e = search_begin(&s, blocks, n);
    if (!e) e = place_load(blocks, n, &load, NULL);
    for (int way = 0; !e && way < 2 * ORDER_COUNT && s.best > load; way++) {
        rank_by(&s, soonest[way % ORDER_COUNT]);
        place_ranked(&s, way >= ORDER_COUNT, false);
    }
    for (int way = 0; !e && way < 2 * ORDER_COUNT && !near(&s, load); way++) {
        rank_by(&s, way % ORDER_COUNT);
        for (int round = 0; round < ROUNDS && !near(&s, load); round++) {
            place_ranked(&s, way >= ORDER_COUNT, true);
            promote(&s, load);
        }
    }
    if (!e && s.tree.failed) e = user_error("out of memory while planning: close other programs");
    if (!e) *top = s.best == SIZE_MAX ? 0 : s.best;
    search_end(&s);
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
    return (int)a->begins - (int)b->begins; /* drops come first: lifetimes are half open */
}

error *place_load(const placement *blocks, size_t n, size_t *load, int64_t *when)
{
    edge *edges = NULL;
    TRY(alloc_array(&edges, 2 * n, sizeof *edges));
    for (size_t i = 0; i < n; i++) {
        size_t bytes =
            blocks[i].start < blocks[i].end ? blocks[i].bytes : 0; /* otherwise it is never alive */
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
