/* bpe.c - cutting, encoding, decoding; see bpe.h
 *
 * Encoding a chunk.  Its tokens are a linked list, and a heap holds the merges that are possible,
 * lowest rank first, leftmost first:
 *
 *     place     0    1    2    3              rank[p]: rank of the merge of the token at p with the
 *     token    ' '  't'  'h'  'e'                      next one; tells when a heap entry is stale
 *     rank      -   256  300   -
 *
 * So a chunk of k bytes costs k log k, whether it is a word or 64 KiB without a space.
 */
#include "data/bpe_internal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/grow.h"
#include "data/heap.h"

enum {
    MAX_RUN = 1 << 16,         /* bytes in a chunk */
    MAX_ALL_TOKENS = 64 << 20, /* bytes of all tokens together: 64 each in the largest vocabulary */
};
#define NO_PLACE UINT32_MAX
#define MEND     "make the vocabulary again with ./tokenize --vocab bpe:N"

typedef enum { WHITE, LETTER, DIGIT, OTHER } byte_kind;

static byte_kind kind_of(uint8_t c)
{
    if (c == ' ' || (c >= '\t' && c <= '\r')) return WHITE;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80) return LETTER;
    return c >= '0' && c <= '9' ? DIGIT : OTHER;
}

size_t bpe_chunk(const uint8_t *text, size_t n)
{
    if (n == 0) return 0;
    size_t first = n > 1 && text[0] == ' ' && kind_of(text[1]) != WHITE;
    byte_kind kind = kind_of(text[first]);
    size_t end = first + 1;
    while (end < n && end < MAX_RUN && kind_of(text[end]) == kind)
        end++;
    bool word_follows = kind == WHITE && end < n && kind_of(text[end]) != WHITE;
    if (word_follows && end > 1 && text[end - 1] == ' ') end--;
    return end;
}

size_t bpe_piece(const uint8_t *text, size_t n, size_t limit)
{
    size_t end = bpe_chunk(text, n);
    while (end < n) {
        size_t length = bpe_chunk(text + end, n - end);
        if (length > limit || end > limit - length) break;
        end += length;
    }
    return end;
}

/* Fills start[], and says how many bytes the tokens have together. */
static error *measure(bpe *v)
{
    uint32_t *start = v->start;
    for (int32_t id = 0; id < v->size; id++) {
        uint32_t length = 1;
        if (id >= BPE_BYTES) {
            bpe_merge m = v->merges[id - BPE_BYTES];
            if (m.left >= (uint32_t)id || m.right >= (uint32_t)id)
                return user_error("token %" PRId32 " joins tokens %" PRIu32 " and %" PRIu32
                                  ", which must both be smaller: " MEND,
                                  id, m.left, m.right);
            length = start[m.left + 1] - start[m.left] + start[m.right + 1] - start[m.right];
        }
        if (length > BPE_MAX_TOKEN)
            return user_error("token %" PRId32 " has %" PRIu32 " bytes, more than %d: " MEND, id,
                              length, BPE_MAX_TOKEN);
        if (start[id] + length > MAX_ALL_TOKENS)
            return user_error("tokens 0 to %" PRId32 " have more than %d MiB together: " MEND, id,
                              MAX_ALL_TOKENS >> 20);
        start[id + 1] = start[id] + length;
    }
    return NULL;
}

static void spell(bpe *v)
{
    for (int32_t i = 0; i < BPE_BYTES; i++)
        v->bytes[i] = (uint8_t)i;
    for (int32_t id = BPE_BYTES; id < v->size; id++) {
        bpe_merge m = v->merges[id - BPE_BYTES];
        size_t n_left, n_right;
        const uint8_t *left = bpe_token(v, (int32_t)m.left, &n_left);
        const uint8_t *right = bpe_token(v, (int32_t)m.right, &n_right);
        memcpy(v->bytes + v->start[id], left, n_left);
        memcpy(v->bytes + v->start[id] + n_left, right, n_right);
    }
}

static error *build(bpe *v, const bpe_merge *merges, int32_t n)
{
    v->size = BPE_BYTES + n;
    TRY(alloc_array(&v->merges, (size_t)n, sizeof *v->merges));
    TRY(alloc_array(&v->start, (size_t)v->size + 1, sizeof *v->start));
    if (n > 0) memcpy(v->merges, merges, (size_t)n * sizeof *merges);
    TRY(measure(v));
    TRY(alloc_array(&v->bytes, v->start[v->size], 1));
    spell(v);

    TRY(pair_map_init(&v->merged, (size_t)n));
    for (int32_t i = 0; i < n; i++) {
        bpe_merge m = merges[i];
        uint32_t earlier = pair_map_find(&v->merged, m.left, m.right);
        if (earlier != PAIR_ABSENT)
            return user_error("tokens %" PRIu32 " and %" PRId32
                              " join the same two tokens, %" PRIu32 " and %" PRIu32 ": " MEND,
                              earlier, BPE_BYTES + i, m.left, m.right);
        TRY(pair_map_insert(&v->merged, m.left, m.right, (uint32_t)(BPE_BYTES + i)));
    }
    return NULL;
}

error *bpe_from_merges(const bpe_merge *merges, int32_t n, bpe **out)
{
    bpe *v;
    TRY(alloc_array(&v, 1, sizeof *v));
    error *e = build(v, merges, n);
    if (e) {
        bpe_close(v);
        return e;
    }
    *out = v;
    return NULL;
}

error *bpe_bytes(bpe **out)
{
    return bpe_from_merges(NULL, 0, out);
}

void bpe_close(bpe *v)
{
    if (!v) return;
    free(v->merges);
    free(v->bytes);
    free(v->start);
    pair_map_free(&v->merged);
    free(v);
}

int32_t bpe_size(const bpe *v)
{
    return v->size;
}

const uint8_t *bpe_token(const bpe *v, int32_t id, size_t *n_bytes)
{
    *n_bytes = v->start[id + 1] - v->start[id];
    return v->bytes + v->start[id];
}

/* The chunk being encoded; a place is the position of a token's first byte. */
typedef struct {
    uint32_t *token, *next, *prev, *rank; /* (capacity) each */
    heap_entry *heap;                     /* (3 capacity): k - 1 pairs, and two new ones a merge */
    size_t n_heap, capacity;
} workspace;

static error *workspace_fit(workspace *w, size_t k)
{
    if (k <= w->capacity) return NULL;
    uint32_t **arrays[] = {&w->token, &w->next, &w->prev, &w->rank};
    for (int i = 0; i < 4; i++) {
        size_t capacity = w->capacity;
        TRY(grow_array(arrays[i], &capacity, 2 * k, sizeof **arrays[i]));
    }
    size_t capacity = 3 * w->capacity;
    TRY(grow_array(&w->heap, &capacity, 6 * k, sizeof *w->heap));
    w->capacity = 2 * k;
    return NULL;
}

static void workspace_free(workspace *w)
{
    free(w->token);
    free(w->next);
    free(w->prev);
    free(w->rank);
    free(w->heap);
}

/* Notes which merge, if any, the token at place p makes with its successor. */
static void consider(workspace *w, const pair_map *merged, uint32_t p)
{
    uint32_t q = w->next[p];
    w->rank[p] = q == NO_PLACE ? PAIR_ABSENT : pair_map_find(merged, w->token[p], w->token[q]);
    if (w->rank[p] != PAIR_ABSENT) heap_push(w->heap, &w->n_heap, (heap_entry){w->rank[p], p});
}

static void join(workspace *w, const pair_map *merged, uint32_t p)
{
    uint32_t q = w->next[p], after = w->next[q];
    w->token[p] = w->rank[p];
    w->rank[q] = PAIR_ABSENT;
    w->next[p] = after;
    if (after != NO_PLACE) w->prev[after] = p;
    consider(w, merged, p);
    if (w->prev[p] != NO_PLACE) consider(w, merged, w->prev[p]);
}

/* Encodes one chunk of k > 0 bytes, for which w has room; returns the number of tokens. */
static size_t encode_chunk(const bpe *v, workspace *w, const uint8_t *text, size_t k, int32_t *ids)
{
    w->n_heap = 0;
    for (uint32_t p = 0; p < k; p++) {
        w->token[p] = text[p];
        w->prev[p] = p > 0 ? p - 1 : NO_PLACE;
        w->next[p] = p + 1 < k ? p + 1 : NO_PLACE;
    }
    for (uint32_t p = 0; p < k; p++)
        consider(w, &v->merged, p);
    while (w->n_heap > 0) {
        heap_entry best = heap_pop(w->heap, &w->n_heap);
        if (w->rank[best.second] == best.first) join(w, &v->merged, (uint32_t)best.second);
    }
    size_t count = 0;
    for (uint32_t p = 0; p != NO_PLACE; p = w->next[p])
        ids[count++] = (int32_t)w->token[p];
    return count;
}

error *bpe_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids, size_t *count)
{
    workspace w = {0};
    error *e = NULL;
    *count = 0;
    for (size_t done = 0, k; done < n && !e; done += k) {
        k = bpe_chunk(text + done, n - done);
        e = workspace_fit(&w, k);
        if (!e) *count += encode_chunk(v, &w, text + done, k, ids + *count);
    }
    workspace_free(&w);
    return e;
}

error *bpe_decode(const bpe *v, const int32_t *ids, size_t n, uint8_t **out, size_t *n_bytes)
{
    size_t total = 0, length;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= v->size)
            return user_error("token %zu is %" PRId32 ", but the vocabulary has %" PRId32
                              " tokens: decode with the vocabulary that the tokens were made with",
                              i, ids[i], v->size);
        bpe_token(v, ids[i], &length);
        total += length;
    }
    uint8_t *bytes;
    TRY(alloc_array(&bytes, total, 1));
    *out = bytes;
    *n_bytes = total;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *token = bpe_token(v, ids[i], &length);
        memcpy(bytes, token, length);
        bytes += length;
    }
    return NULL;
}
