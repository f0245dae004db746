/* bpe_encode.c - from text to tokens; see bpe.h
 *
 *     text -> between special tokens -> runs of UTF-8, runs of what is none -> pieces -> tokens
 *             (if they are to be         (only where an expression cuts)
 *              found at all)
 *
 * Encoding a piece.  Its tokens are a linked list, and a heap holds the merges that are possible,
 * lowest rank first, leftmost first:
 *
 *     place     0    1    2    3              rank[p]: rank of the merge of the token at p with the
 *     token    ' '  't'  'h'  'e'                      next one; tells when a heap entry is stale
 *     rank      -    0    44   -
 *
 * So a piece of k bytes costs k log k, whether it is a word or a megabyte without a space.
 */
#include "data/bpe/bpe_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "data/bpe/spellings.h"
#include "base/utf8.h"

enum {
    BLOCK = 4096,          /* ids given to the sink at a time */
    MAX_PIECE = 64 << 20,  /* bytes; the workspace takes 64 for each */
    SMALL_PIECE = 64,      /* bytes for which there is room from the start */
    INVALID_RUN = 1 << 16, /* most bytes of a piece that is no UTF-8 */
};

/* ---- a piece ---- */

static error *workspace_fit(bpe_workspace *w, size_t k)
{
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

/* Notes which merge, if any, the token at place p makes with its successor. */
static void consider(bpe_workspace *w, const pair_map *merged, uint32_t p)
{
    uint32_t q = w->next[p];
    w->rank[p] = q == BPE_NO_PLACE ? PAIR_ABSENT : pair_map_find(merged, w->token[p], w->token[q]);
    if (w->rank[p] != PAIR_ABSENT) heap_push(w->heap, &w->n_heap, (heap_entry){w->rank[p], p});
}

static void join(bpe_workspace *w, const bpe *v, uint32_t p)
{
    uint32_t q = w->next[p], after = w->next[q];
    w->token[p] = (uint32_t)v->made[w->rank[p]];
    w->rank[q] = PAIR_ABSENT;
    w->next[p] = after;
    if (after != BPE_NO_PLACE) w->prev[after] = p;
    consider(w, &v->merged, p);
    if (w->prev[p] != BPE_NO_PLACE) consider(w, &v->merged, w->prev[p]);
}

/* What the piece begins with before any merge: a byte, or a character that is a token. */
static size_t first_token(const bpe *v, const uint8_t *piece, size_t k, uint32_t *token)
{
    size_t length = v->words ? utf8_length(piece, k) : 0;
    int32_t id = length ? spellings_find(v->words, piece, length) : -1;
    *token = (uint32_t)(id < 0 ? v->byte_token[*piece] : id);
    return id < 0 ? 1 : length;
}

error *bpe_merge_piece(const bpe *v, bpe_workspace *w, const uint8_t *piece, size_t k)
{
    if (k > MAX_PIECE)
        return user_error("%zu bytes of the text are one piece to its vocabulary, and %d MiB are "
                          "the most: put spaces or line breaks into the text",
                          k, MAX_PIECE >> 20);
    TRY(workspace_fit(w, k));
    w->n_heap = 0;
    for (uint32_t p = 0, before = BPE_NO_PLACE, after; p < k; before = p, p = after) {
        size_t length = first_token(v, piece + p, k - p, &w->token[p]);
        after = p + (uint32_t)length;
        w->prev[p] = before;
        w->next[p] = after < k ? after : BPE_NO_PLACE;
    }
    for (uint32_t p = 0; k && p != BPE_NO_PLACE; p = w->next[p])
        consider(w, &v->merged, p);
    while (w->n_heap > 0) {
        heap_entry best = heap_pop(w->heap, &w->n_heap);
        if (w->rank[best.second] == best.first) join(w, v, (uint32_t)best.second);
    }
    return NULL;
}

/* ---- a text ---- */

typedef struct {
    const bpe *v;
    bpe_workspace w;
    pattern_match *match; /* NULL where the vocabulary has no expression */
    bpe_sink sink;
    void *to;
    size_t n_ids;
    int32_t ids[BLOCK];
} encoder;

static error *flush(encoder *c)
{
    size_t n = c->n_ids;
    c->n_ids = 0;
    return n > 0 ? c->sink(c->to, c->ids, n) : NULL;
}

static error *emit(encoder *c, int32_t id)
{
    c->ids[c->n_ids++] = id;
    return c->n_ids == BLOCK ? flush(c) : NULL;
}

static error *encode_piece(encoder *c, const uint8_t *piece, size_t k)
{
    TRY(bpe_merge_piece(c->v, &c->w, piece, k));
    for (uint32_t p = 0; p != BPE_NO_PLACE; p = c->w.next[p])
        TRY(emit(c, (int32_t)c->w.token[p]));
    return NULL;
}

/* By our own rule. */
static error *encode_chunks(encoder *c, const uint8_t *text, size_t n)
{
    for (size_t done = 0, k; done < n; done += k) {
        k = bpe_chunk(text + done, n - done);
        TRY(encode_piece(c, text + done, k));
    }
    return NULL;
}

/* By the expression: a piece for each match, and one for what lies between two matches. */
static error *encode_matches(encoder *c, const uint8_t *text, size_t n)
{
    for (size_t at = 0, begin, end; at < n; at = end) {
        TRY(pattern_next(c->v->cut, c->match, text, n, at, &begin, &end));
        if (begin > at) TRY(encode_piece(c, text + at, begin - at));
        if (end > begin) TRY(encode_piece(c, text + begin, end - begin));
    }
    return NULL;
}

/* Length of the longest beginning that is UTF-8. */
static size_t valid_run(const uint8_t *text, size_t n)
{
    size_t end = 0;
    for (size_t length; end < n && (length = utf8_length(text + end, n - end)) > 0;)
        end += length;
    return end;
}

static size_t invalid_run(const uint8_t *text, size_t n)
{
    size_t end = 0;
    while (end < n && end < INVALID_RUN && utf8_length(text + end, n - end) == 0)
        end++;
    return end;
}

/* In SentencePiece's manner: one piece. */
static error *encode_whole(encoder *c, const uint8_t *text, size_t n)
{
    uint8_t *plain;
    if (!n) return NULL;
    TRY(alloc_array(&plain, n + 1, 1));
    size_t used = c->v->space_before;
    *plain = ' ';
    used += bpe_metaspace_plain(text, n, plain + used);
    error *e = encode_piece(c, plain, used);
    free(plain);
    return e;
}

/* Text without special tokens. */
static error *encode_plain(encoder *c, const uint8_t *text, size_t n)
{
    if (c->v->metaspace) return encode_whole(c, text, n);
    if (!c->match) return encode_chunks(c, text, n);
    for (size_t at = 0, k; at < n; at += k) {
        k = valid_run(text + at, n - at);
        TRY(encode_matches(c, text + at, k));
        at += k;
        k = invalid_run(text + at, n - at);
        if (k > 0) TRY(encode_piece(c, text + at, k));
    }
    return NULL;
}

/* The longest special token that begins at p, or NULL. */
static const bpe_special_token *special_at(const bpe *v, bpe_special special, const uint8_t *p,
                                           size_t n)
{
    for (int32_t i = 0; i < v->n_special; i++) {
        size_t length;
        const uint8_t *bytes = bpe_token(v, v->special[i].id, &length);
        bool active = v->special[i].always || special == BPE_SPECIAL_ALLOW;
        if (active && length <= n && memcmp(bytes, p, length) == 0) return &v->special[i];
    }
    return NULL;
}

static error *encode_text(encoder *c, const uint8_t *text, size_t n, bpe_special special)
{
    const bpe *v = c->v;
    bool first[256] = {false}; /* bytes that an active special token begins with */
    bool any = false;
    for (int32_t i = 0; i < v->n_special; i++)
        if (v->special[i].always || special == BPE_SPECIAL_ALLOW)
            any = first[v->bytes[v->start[v->special[i].id]]] = true;
    size_t done = 0;
    for (size_t at = 0; any && at < n;) {
        const bpe_special_token *s = NULL;
        if (first[text[at]]) s = special_at(v, special, text + at, n - at);
        if (!s) {
            at++;
            continue;
        }
        TRY(encode_plain(c, text + done, at - done));
        TRY(emit(c, s->id));
        at += v->start[s->id + 1] - v->start[s->id];
        done = at;
    }
    return encode_plain(c, text + done, n - done);
}

error *bpe_encode_to(const bpe *v, const uint8_t *text, size_t n, bpe_special special,
                     bpe_sink sink, void *to)
{
    encoder c;
    memset(&c, 0, offsetof(encoder, ids));
    c.v = v;
    c.sink = sink;
    c.to = to;
    error *e = v->cut ? pattern_match_create(v->cut, &c.match) : NULL;
    if (!e) e = encode_text(&c, text, n, special);
    if (!e) e = flush(&c);
    pattern_match_free(c.match);
    bpe_workspace_free(&c.w);
    return e;
}

typedef struct {
    int32_t *ids;
    size_t count;
} array;

static error *append(void *to, const int32_t *ids, size_t n)
{
    array *a = to;
    memcpy(a->ids + a->count, ids, n * sizeof *ids);
    a->count += n;
    return NULL;
}

error *bpe_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids, size_t *count)
{
    array a = {ids, 0};
    TRY(bpe_encode_to(v, text, n, BPE_SPECIAL_TEXT, append, &a));
    *count = a.count;
    return NULL;
}
