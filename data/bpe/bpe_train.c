/* bpe_train.c - trains a vocabulary on a text; see bpe.h
 *
 * The text is cut into chunks and equal chunks are counted: four megabytes of English have some
 * fifteen thousand different words.  Only these are kept, once each, end to end, and every place in
 * them knows its neighbours and the pair that it begins:
 *
 *     place      0   1   2 | 3   4   5   6   7 | ...
 *     token     't' 'h' 'e'|' ' 't' 'h' 'e' 'n'| ...      chunk "the" x 4210, " then" x 2103
 *
 *     pair (t,h):  count 4210 + 2103,  places 0 <-> 4 <-> ...   (a doubly linked list)
 *
 * A merge visits only the places of its pair, removes the pairs left and right of each from their
 * lists, and adds the new ones.  The most frequent pair comes from a heap.  Counts of old pairs
 * only decrease, and pairs with the new token are new, so a heap entry is never too small: one that
 * is too large is pushed again with its current count.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/chunk_set.h"
#include "base/grow.h"
#include "data/bpe/heap.h"

#define NONE UINT32_MAX
enum { MIN_COUNT = 2 }; /* a pair seen once teaches nothing */

typedef struct {
    uint32_t left, right; /* tokens */
    uint32_t first;       /* head of its list of places, or NONE */
    int64_t count;        /* of its places, each as often as its chunk occurs */
} pair;

typedef struct {
    uint32_t *token;          /* (n_positions) each */
    uint32_t *next, *prev;    /* neighbours in the chunk, or NONE */
    uint32_t *chunk;          /* index in chunks.items */
    uint32_t *pair;           /* the pair that begins here, or NONE */
    uint32_t *later, *sooner; /* neighbours in the pair's list, or NONE */
    size_t n_positions;
    uint32_t *visit; /* (visit_capacity) places of the pair being merged */
    size_t visit_capacity;

    pair *pairs;
    size_t n_pairs, pair_capacity;
    pair_map index; /* (left, right) -> pairs[] */

    heap_entry *heap; /* first: INT64_MAX - count; second: left << 32 | right */
    size_t n_heap, heap_capacity;

    chunk_set chunks;
} learner;

/* Adds place p, which has a successor, to the list of the pair that it begins. */
static error *link_position(learner *l, uint32_t p)
{
    uint32_t left = l->token[p], right = l->token[l->next[p]];
    uint32_t i = pair_map_find(&l->index, left, right);
    if (i == PAIR_ABSENT) {
        TRY(grow_array(&l->pairs, &l->pair_capacity, l->n_pairs + 1, sizeof *l->pairs));
        i = (uint32_t)l->n_pairs;
        TRY(pair_map_insert(&l->index, left, right, i));
        l->pairs[l->n_pairs++] = (pair){left, right, NONE, 0};
    }
    pair *q = &l->pairs[i];
    if (q->first != NONE) l->sooner[q->first] = p;
    l->later[p] = q->first;
    l->sooner[p] = NONE;
    l->pair[p] = i;
    q->first = p;
    q->count += l->chunks.items[l->chunk[p]].count;
    return NULL;
}

static void unlink_position(learner *l, uint32_t p)
{
    pair *q = &l->pairs[l->pair[p]];
    if (l->sooner[p] != NONE)
        l->later[l->sooner[p]] = l->later[p];
    else
        q->first = l->later[p];
    if (l->later[p] != NONE) l->sooner[l->later[p]] = l->sooner[p];
    q->count -= l->chunks.items[l->chunk[p]].count;
    l->pair[p] = NONE;
}

static error *push_pair(learner *l, uint32_t i)
{
    pair q = l->pairs[i];
    if (q.count < MIN_COUNT) return NULL;
    TRY(grow_array(&l->heap, &l->heap_capacity, l->n_heap + 1, sizeof *l->heap));
    uint64_t rarity = (uint64_t)(INT64_MAX - q.count);
    heap_push(l->heap, &l->n_heap, (heap_entry){rarity, (uint64_t)q.left << 32 | q.right});
    return NULL;
}

/* The index of the most frequent pair that makes no overlong token, or NONE. */
static error *best_pair(learner *l, const uint32_t *token_length, uint32_t *out)
{
    *out = NONE;
    while (l->n_heap > 0) {
        heap_entry e = heap_pop(l->heap, &l->n_heap);
        uint32_t i = pair_map_find(&l->index, (uint32_t)(e.second >> 32), (uint32_t)e.second);
        pair q = l->pairs[i];
        if (token_length[q.left] + token_length[q.right] > BPE_MAX_TOKEN) continue;
        if ((uint64_t)(INT64_MAX - q.count) == e.first) {
            *out = i;
            return NULL;
        }
        TRY(push_pair(l, i));
    }
    return NULL;
}

static int by_position(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The places of pair i, from left to right where it matters: in "aaa" the pair (a, a) overlaps
 * itself, and encoding takes the left one. */
static error *positions_of(learner *l, uint32_t i, size_t *n)
{
    *n = 0;
    for (uint32_t p = l->pairs[i].first; p != NONE; p = l->later[p]) {
        TRY(grow_array(&l->visit, &l->visit_capacity, *n + 1, sizeof *l->visit));
        l->visit[(*n)++] = p;
    }
    if (*n > 0 && l->pairs[i].left == l->pairs[i].right)
        qsort(l->visit, *n, sizeof *l->visit, by_position);
    return NULL;
}

/* Writes `token` for pair i at all its places. */
static error *merge(learner *l, uint32_t i, uint32_t token)
{
    size_t n, n_pairs = l->n_pairs;
    TRY(positions_of(l, i, &n));
    for (size_t k = 0; k < n; k++) {
        uint32_t p = l->visit[k];
        if (l->pair[p] != i) continue; /* its left token became part of the previous merge */
        uint32_t before = l->prev[p], q = l->next[p], after = l->next[q];
        unlink_position(l, p);
        if (before != NONE) unlink_position(l, before);
        if (after != NONE) {
            unlink_position(l, q);
            l->prev[after] = p;
        }
        l->token[p] = token;
        l->next[p] = after;
        if (before != NONE) TRY(link_position(l, before));
        if (after != NONE) TRY(link_position(l, p));
    }
    for (size_t k = n_pairs; k < l->n_pairs; k++)
        TRY(push_pair(l, (uint32_t)k));
    return NULL;
}

/* Lays the chunks end to end and lists their pairs. */
static error *lay_out(learner *l)
{
    const chunk_set *s = &l->chunks;
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->items[i].length;
    if (n >= NONE)
        return user_error("the text has more than 4 GiB of different words: learn the vocabulary "
                          "from a part of it");
    uint32_t **arrays[] = {&l->token, &l->next,  &l->prev,  &l->chunk,
                           &l->pair,  &l->later, &l->sooner};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        TRY(alloc_array(arrays[i], n, sizeof **arrays[i]));
    TRY(pair_map_init(&l->index, 1 << 12));

    uint32_t p = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->items[i].length; k++, p++) {
            l->token[p] = s->items[i].text[k];
            l->chunk[p] = (uint32_t)i;
            l->prev[p] = k > 0 ? p - 1 : NONE;
            l->next[p] = k + 1 < s->items[i].length ? p + 1 : NONE;
            l->pair[p] = NONE;
        }
    for (p = 0; p < n; p++)
        if (l->next[p] != NONE) TRY(link_position(l, p));
    for (size_t i = 0; i < l->n_pairs; i++)
        TRY(push_pair(l, (uint32_t)i));
    return NULL;
}

/* Fills merges[] while there are pairs, up to n_wanted; *n is the number. */
static error *learn_merges(learner *l, bpe_merge *merges, uint32_t *token_length, int32_t n_wanted,
                           int32_t *n)
{
    TRY(lay_out(l));
    for (int32_t i = 0; i < BPE_BYTES; i++)
        token_length[i] = 1;
    for (*n = 0; *n < n_wanted; ++*n) {
        uint32_t best;
        TRY(best_pair(l, token_length, &best));
        if (best == NONE) return NULL;
        uint32_t token = (uint32_t)(BPE_BYTES + *n);
        bpe_merge m = {l->pairs[best].left, l->pairs[best].right};
        merges[*n] = m;
        token_length[token] = token_length[m.left] + token_length[m.right];
        TRY(merge(l, best, token));
    }
    return NULL;
}

static void learner_free(learner *l)
{
    uint32_t *arrays[] = {l->token, l->next,  l->prev,   l->chunk,
                          l->pair,  l->later, l->sooner, l->visit};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free(l->pairs);
    free(l->heap);
    chunk_set_free(&l->chunks);
    pair_map_free(&l->index);
}

static error *too_little_text(int64_t size, int32_t n)
{
    if (n == 0)
        return user_error("bpe:%" PRId64 ": no two neighbouring bytes of the text occur twice: use "
                          "--vocab bytes, or give more text",
                          size);
    return user_error("bpe:%" PRId64 ": the text has repeated pairs for %d tokens only: use "
                      "--vocab bpe:%d or less, or give more text",
                      size, BPE_BYTES + n, BPE_BYTES + n);
}

error *bpe_learn(const uint8_t *text, size_t n_bytes, int64_t size, bpe **out)
{
    if (size <= BPE_BYTES || size > BPE_MAX_SIZE)
        return user_error("a vocabulary of %" PRId64
                          " tokens cannot be learned: choose %d to %d, or "
                          "--vocab bytes for the %d bytes alone",
                          size, BPE_BYTES + 1, BPE_MAX_SIZE, BPE_BYTES);
    int32_t n_wanted = (int32_t)size - BPE_BYTES, n = 0;
    learner l = {0};
    bpe_merge *merges = NULL;
    uint32_t *token_length = NULL;
    error *e = chunk_set_count(&l.chunks, text, n_bytes);
    if (!e) e = alloc_array(&merges, (size_t)n_wanted, sizeof *merges);
    if (!e) e = alloc_array(&token_length, (size_t)size, sizeof *token_length);
    if (!e) e = learn_merges(&l, merges, token_length, n_wanted, &n);
    if (!e && n < n_wanted) e = too_little_text(size, n);
    if (!e) e = bpe_from_merges(merges, n, out);
    free(token_length);
    free(merges);
    learner_free(&l);
    return e;
}
