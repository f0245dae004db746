/* pieces.c - encodes pieces as tokens.
 *
 * The tokens of a piece are a linked list, and a heap holds the possible merges, lowest rank first,
 * leftmost first:
 *
 *     place     0    1    2    3              rank[p]: rank of the merge of the token at p with the
 *     token    ' '  't'  'h'  'e'                      next one; tells when a heap entry is stale
 *     rank      -    0    44   -
 *
 * So a piece of k bytes costs k log k, whether it is a word or a megabyte without a space.  Most
 * pieces are words that occurred before, so short ones are cached: one entry per hash, for the most
 * recent piece.
 */
#include "data/bpe/bpe_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/utf8.h"
#include "data/bpe/spellings.h"
#include "data/bpe/unigram.h"

enum {
    BLOCK = 4096,         /* ids given to the sink at a time */
    MAX_PIECE = 64 << 20, /* bytes; the workspace takes 64 for each */
    SMALL_PIECE = 64,     /* bytes for which there is room from the start */
    FEW = 16,             /* pieces with fewer tokens are scanned instead of using a heap */
    SHORT_TEXT = 256,
    CACHE = 1 << 15, /* pieces remembered */
};

error *bpe_workspace_fit(bpe_workspace *w, size_t k)
{
    if (k > MAX_PIECE)
        return user_error("%zu bytes of the text are one piece to its vocabulary, and %d MiB are "
                          "the most: put line breaks into the text",
                          k, MAX_PIECE >> 20);
    if (k <= w->capacity) return NULL;
    if (k < SMALL_PIECE) k = SMALL_PIECE;
    if (k < 2 * w->capacity) k = 2 * w->capacity;
    uint32_t **arrays[] = {&w->token, &w->next, &w->prev, &w->rank};
    for (int i = 0; i < 4; i++) {
        size_t capacity = w->capacity;
        TRY(grow_array(arrays[i], &capacity, k, sizeof **arrays[i]));
    }
    size_t capacity = 3 * w->capacity;
    TRY(grow_array(&w->heap, &capacity, 3 * k, sizeof *w->heap));
    w->capacity = k;
    return NULL;
}

void bpe_workspace_free(bpe_workspace *w)
{
    free(w->token);
    free(w->next);
    free(w->prev);
    free(w->rank);
    free(w->heap);
}

/* ---- merging ---- */

/* Records which merge, if any, the token at place p makes with its successor. */
static void consider(bpe_workspace *w, const pair_map *merged, uint32_t p)
{
    uint32_t q = w->next[p];
    w->rank[p] = q == BPE_NONE ? PAIR_ABSENT : pair_map_find(merged, w->token[p], w->token[q]);
    if (w->rank[p] != PAIR_ABSENT) heap_push(w->heap, &w->n_heap, (heap_entry){w->rank[p], p});
}

static void join_pieces(bpe_workspace *w, const bpe *v, uint32_t p)
{
    uint32_t q = w->next[p], after = w->next[q];
    w->token[p] = (uint32_t)v->made[w->rank[p]];
    w->rank[q] = PAIR_ABSENT;
    w->next[p] = after;
    if (after != BPE_NONE) w->prev[after] = p;
    consider(w, &v->merged, p);
    if (w->prev[p] != BPE_NONE) consider(w, &v->merged, w->prev[p]);
}

static void merge_many(const bpe *v, bpe_workspace *w)
{
    w->n_heap = 0;
    for (uint32_t p = 0; p != BPE_NONE; p = w->next[p])
        consider(w, &v->merged, p);
    while (w->n_heap > 0) {
        heap_entry best = heap_pop(w->heap, &w->n_heap);
        if (w->rank[best.second] == best.first) join_pieces(w, v, (uint32_t)best.second);
    }
}

/* The same for a few tokens, in an array. */
static void merge_few(const bpe *v, bpe_workspace *w, uint32_t n)
{
    uint32_t position[FEW], token[FEW], rank[FEW], k = 0;
    for (uint32_t p = 0; p != BPE_NONE; p = w->next[p], k++) {
        position[k] = p;
        token[k] = w->token[p];
    }
    for (k = 0; k + 1 < n; k++)
        rank[k] = pair_map_find(&v->merged, token[k], token[k + 1]);
    while (n > 1) {
        uint32_t best = 0;
        for (k = 1; k + 1 < n; k++)
            if (rank[k] < rank[best]) best = k;
        if (rank[best] == PAIR_ABSENT) break;
        token[best] = (uint32_t)v->made[rank[best]];
        n--;
        memmove(token + best + 1, token + best + 2, (n - best - 1) * sizeof *token);
        memmove(position + best + 1, position + best + 2, (n - best - 1) * sizeof *position);
        if (best + 2 < n) memmove(rank + best + 1, rank + best + 2, (n - best - 2) * sizeof *rank);
        if (best + 1 < n) rank[best] = pair_map_find(&v->merged, token[best], token[best + 1]);
        if (best > 0) rank[best - 1] = pair_map_find(&v->merged, token[best - 1], token[best]);
    }
    for (k = 0; k < n; k++) {
        w->token[position[k]] = token[k];
        w->next[position[k]] = k + 1 < n ? position[k + 1] : BPE_NONE;
    }
}

/* Where the tokens of a piece are put at first. */
typedef struct {
    bpe_workspace *w;
    uint32_t last, n;
} beginning;

static void put_first(beginning *b, uint32_t position, uint32_t token)
{
    b->w->token[position] = token;
    b->w->prev[position] = b->last;
    b->w->next[position] = BPE_NONE;
    if (b->last != BPE_NONE) b->w->next[b->last] = position;
    b->last = position;
    b->n++;
}

/* A character: a token, or its bytes, or the unknown token. */
static size_t put_character(const bpe *v, beginning *b, const uint8_t *piece, size_t k, uint32_t p)
{
    size_t length = v->metaspace ? utf8_length(piece + p, k - p) : 0;
    int32_t id = length ? spellings_find(v->words, piece + p, length) : -1;
    bool bytes = id < 0;
    if (!length) length = 1;
    for (size_t i = 0; i < length; i++)
        bytes = bytes && v->byte_token[piece[p + i]] >= 0;
    if (id < 0 && !bytes) id = v->unknown;
    if (!bytes && id == v->unknown && v->fuse_unknown && b->last != BPE_NONE &&
        b->w->token[b->last] == (uint32_t)id)
        return length;
    for (size_t i = 0; i < (bytes ? length : 1); i++)
        put_first(b, p + (uint32_t)i, (uint32_t)(bytes ? v->byte_token[piece[p + i]] : id));
    return length;
}

error *bpe_merge_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k)
{
    beginning b = {w, BPE_NONE, 0};
    TRY(bpe_workspace_fit(w, k));
    for (size_t p = 0; p < k;)
        p += put_character(v, &b, piece, k, (uint32_t)p);
    if (b.n <= FEW)
        merge_few(v, w, b.n);
    else
        merge_many(v, w);
    return NULL;
}

/* ---- remembering ---- */

static uint64_t hash_of(const uint8_t *p, size_t n)
{
    uint64_t h = n * UINT64_C(0x9E3779B97F4A7C15), x;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&x, p, 8);
        h = (h ^ x) * UINT64_C(0xBF58476D1CE4E5B9);
        h ^= h >> 32;
    }
    if (n) {
        x = 0;
        memcpy(&x, p, n);
        h = (h ^ x) * UINT64_C(0xBF58476D1CE4E5B9);
        h ^= h >> 32;
    }
    return h;
}

error *bpe_writer_open(bpe_writer *o, const bpe *v, bpe_sink sink, void *to)
{
    memset(o, 0, offsetof(bpe_writer, ids));
    o->v = v;
    o->sink = sink;
    o->to = to;
    return NULL;
}

void bpe_writer_free(bpe_writer *o)
{
    bpe_workspace_free(&o->w);
    free(o->cache);
}

error *bpe_writer_flush(bpe_writer *o)
{
    size_t n = o->n_ids;
    o->n_ids = 0;
    return n > 0 ? o->sink(o->to, o->ids, n) : NULL;
}

error *bpe_writer_put(bpe_writer *o, int32_t id)
{
    o->ids[o->n_ids++] = id;
    return o->n_ids >= BLOCK ? bpe_writer_flush(o) : NULL;
}

/* Caches the tokens of a short piece, which start at ids[first]. */
static void remember(bpe_writer *o, uint64_t key, const uint8_t *piece, size_t k, size_t first)
{
    bpe_cached *c = &o->cache[key % CACHE];
    size_t n = o->n_ids - first;
    if (k > sizeof c->bytes || n > 8) return;
    c->key = key;
    c->length = (uint8_t)k;
    c->n = (uint8_t)n;
    memcpy(c->bytes, piece, k);
    memcpy(c->ids, o->ids + first, n * sizeof *c->ids);
}

static error *find_tokens(bpe_writer *o, const uint8_t *piece, size_t k)
{
    const bpe *v = o->v;
    int32_t id = v->ignore_merges ? spellings_find(v->words, piece, k) : -1;
    if (id >= 0) return bpe_writer_put(o, id);
    TRY(v->score ? unigram_piece(v, &o->w, piece, k) : bpe_merge_piece(v, &o->w, piece, k));
    for (uint32_t p = 0; p != BPE_NONE; p = o->w.next[p])
        TRY(bpe_writer_put(o, (int32_t)o->w.token[p]));
    return NULL;
}

error *bpe_writer_piece(bpe_writer *o, const uint8_t *piece, size_t k)
{
    if (k > sizeof o->cache->bytes) return find_tokens(o, piece, k);
    if (o->pieces < SHORT_TEXT) { /* for so few, clearing the cache would cost more */
        o->pieces++;
        return find_tokens(o, piece, k);
    }
    if (!o->cache) TRY(alloc_array(&o->cache, CACHE, sizeof *o->cache));
    uint64_t key = hash_of(piece, k);
    const bpe_cached *c = &o->cache[key % CACHE];
    if (o->n_ids + 32 > BLOCK) TRY(bpe_writer_flush(o)); /* room for all of its tokens */
    if (c->key == key && c->length == k && !memcmp(c->bytes, piece, k)) {
        memcpy(o->ids + o->n_ids, c->ids, sizeof c->ids);
        o->n_ids += c->n;
        return NULL;
    }
    size_t first = o->n_ids;
    TRY(find_tokens(o, piece, k));
    remember(o, key, piece, k, first);
    return NULL;
}
