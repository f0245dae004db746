/* bpe.c - building vocabularies, our own pre-tokenization, decoding; see bpe.h */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "data/bpe/added.h"
#include "data/bpe/borders.h"
#include "data/bpe/spellings.h"

enum {
    MAX_RUN = 1 << 16,         /* bytes in a chunk */
    MAX_ALL_TOKENS = 64 << 20, /* bytes of all tokens together: 64 each in the largest vocabulary */
};
#define MEND "make the vocabulary again with ./tokenize --vocab bpe:N"

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

const char bpe_chunk_expression[] =
    " ?[A-Za-z\\x{80}-\\x{10FFFF}]+| ?[0-9]+| ?[^A-Za-z0-9\\x{80}-\\x{10FFFF} \\t-\\r]+|"
    "[ \\t-\\r]+(?= [^ \\t-\\r])|[ \\t-\\r]+";

/* Fills start[], and returns the total length of the tokens. */
static error *measure(bpe *v, const bpe_merge *merges)
{
    uint32_t *start = v->start;
    for (int32_t id = 0; id < v->size; id++) {
        uint32_t length = 1;
        if (id >= BPE_BYTES) {
            bpe_merge m = merges[id - BPE_BYTES];
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

static void spell(bpe *v, const bpe_merge *merges)
{
    for (int32_t i = 0; i < BPE_BYTES; i++)
        v->bytes[i] = (uint8_t)i;
    for (int32_t id = BPE_BYTES; id < v->size; id++) {
        bpe_merge m = merges[id - BPE_BYTES];
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
    TRY(bpe_reserve_merges(v, n));
    TRY(alloc_array(&v->start, (size_t)v->size + 1, sizeof *v->start));
    TRY(measure(v, merges));
    TRY(alloc_array(&v->bytes, v->start[v->size], 1));
    spell(v, merges);
    for (int32_t i = 0; i < n; i++)
        TRY(bpe_add_merge(v, merges[i], BPE_BYTES + i));
    return bpe_find_bytes(v);
}

error *bpe_opened(error *e, bpe *v, bpe **out)
{
    if (e)
        bpe_close(v);
    else
        *out = v;
    return e;
}

error *bpe_from_merges(const bpe_merge *merges, int32_t n, bpe **out)
{
    bpe *v;
    TRY(bpe_new(BPE_VOCAB, &v));
    error *e = build(v, merges, n);
    return bpe_opened(e, v, out);
}

error *bpe_bytes(bpe **out)
{
    return bpe_from_merges(NULL, 0, out);
}

error *bpe_new(bpe_format format, bpe **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    (*out)->format = format;
    (*out)->end_of_text = -1;
    (*out)->begin_of_text = -1;
    (*out)->unknown = -1;
    return NULL;
}

error *bpe_spell(bpe *v, const bpe_spelling *list, int32_t n)
{
    size_t total = 0;
    char shown[64];
    for (int32_t id = 0; id < n; id++) {
        if (list[id].n > BPE_MAX_TOKEN)
            return user_error("token %" PRId32 " (%s) has %zu bytes, more than %d", id,
                              bpe_show(list[id].bytes, list[id].n, shown), list[id].n,
                              BPE_MAX_TOKEN);
        total += list[id].n;
    }
    if (total > MAX_ALL_TOKENS)
        return user_error("the tokens have more than %d MiB together", MAX_ALL_TOKENS >> 20);
    TRY(alloc_array(&v->start, (size_t)n + 1, sizeof *v->start));
    TRY(alloc_array(&v->bytes, total, 1));
    v->size = n;
    for (int32_t id = 0; id < n; id++) {
        memcpy(v->bytes + v->start[id], list[id].bytes, list[id].n);
        v->start[id + 1] = v->start[id] + (uint32_t)list[id].n;
    }
    return NULL;
}

error *bpe_reserve_merges(bpe *v, int32_t n)
{
    TRY(alloc_array(&v->merges, (size_t)n, sizeof *v->merges));
    TRY(alloc_array(&v->made, (size_t)n, sizeof *v->made));
    return pair_map_init(&v->merged, (size_t)n);
}

error *bpe_add_merge(bpe *v, bpe_merge m, int32_t made)
{
    uint32_t earlier = pair_map_find(&v->merged, m.left, m.right);
    if (earlier != PAIR_ABSENT)
        return user_error("tokens %" PRId32 " and %" PRId32 " join the same two tokens, %" PRIu32
                          " and %" PRIu32 ": " MEND,
                          v->made[earlier], made, m.left, m.right);
    TRY(pair_map_insert(&v->merged, m.left, m.right, (uint32_t)v->n_merges));
    v->made[v->n_merges] = made;
    v->merges[v->n_merges++] = m;
    return NULL;
}

/* Common names of the end-of-text token, the most likely first. */
#define DEEPSEEK_END                                                                               \
    "<\xef\xbd\x9c"                                                                                \
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"
static const char *const end_names[] = {BPE_END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>",
                                        (DEEPSEEK_END),  "<|eos|>",         "[EOS]"};

static int32_t find_special(const bpe *v, const char *content)
{
    for (int32_t i = 0; i < v->n_special; i++)
        if (v->special[i].n == strlen(content) &&
            !memcmp(v->special[i].content, content, v->special[i].n))
            return v->special[i].id;
    return -1;
}

bool bpe_choose_end_of_text(bpe *v, const char *content)
{
    int32_t id = find_special(v, content);
    if (id >= 0) v->end_of_text = id;
    return id >= 0;
}

/* A copy of v->special. */
static error *copy_special(bpe *v, const bpe_special_token *list, int32_t n)
{
    size_t total = 0;
    for (int32_t i = 0; i < n; i++)
        total += list[i].n;
    TRY(alloc_array(&v->special, (size_t)n, sizeof *v->special));
    TRY(alloc_array(&v->contents, total, 1));
    uint8_t *to = v->contents;
    for (int32_t i = 0; i < n; i++) {
        v->special[i] = list[i];
        v->special[i].content = to;
        memcpy(to, list[i].content, list[i].n);
        to += list[i].n;
    }
    v->n_special = n;
    return NULL;
}

error *bpe_set_special(bpe *v, const bpe_special_token *list, int32_t n)
{
    TRY(copy_special(v, list, n));
    if (!v->is_special) TRY(alloc_array(&v->is_special, (size_t)v->size, sizeof *v->is_special));
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names && v->end_of_text < 0; i++)
        v->end_of_text = find_special(v, end_names[i]);
    return NULL;
}

error *bpe_index(bpe *v)
{
    TRY(added_make(v, false, &v->added));
    TRY(added_make(v, true, &v->added_normalized));
    if (!v->ignore_merges && !v->metaspace) return NULL;
    TRY(alloc_array(&v->words, 1, sizeof *v->words));
    TRY(spellings_make(v->words, v));
    return v->metaspace ? borders_make(v, &v->borders) : NULL;
}

error *bpe_add_end_of_text(bpe *v)
{
    size_t n_bytes = v->start[v->size], n = strlen(BPE_END_OF_TEXT);
    size_t byte_capacity = n_bytes, start_capacity = (size_t)v->size + 1;
    if (v->end_of_text >= 0 || v->size >= BPE_MAX_SIZE)
        return internal_error("no room for an end-of-text token");
    TRY(grow_array(&v->bytes, &byte_capacity, n_bytes + n, 1));
    TRY(grow_array(&v->start, &start_capacity, start_capacity + 1, sizeof *v->start));
    memcpy(v->bytes + n_bytes, BPE_END_OF_TEXT, n);
    v->start[++v->size] = (uint32_t)(n_bytes + n);
    const bpe_special_token end = {
        .id = v->size - 1, .content = (const uint8_t *)BPE_END_OF_TEXT, .n = (uint32_t)n};
    TRY(bpe_set_special(v, &end, 1));
    v->is_special[v->size - 1] = true;
    return bpe_index(v);
}

/* ---- joining any two tokens that spell a third ---- */

static error *join_splits(bpe *v, const spellings *s, int32_t id, uint32_t rank)
{
    size_t n;
    const uint8_t *bytes = bpe_token(v, id, &n);
    for (size_t k = 1; k < n; k++) {
        int32_t left = spellings_find(s, bytes, k);
        int32_t right = left < 0 ? -1 : spellings_find(s, bytes + k, n - k);
        if (right >= 0) TRY(pair_map_insert(&v->merged, (uint32_t)left, (uint32_t)right, rank));
    }
    return NULL;
}

error *bpe_join_all(bpe *v, const int32_t *order, int32_t n)
{
    spellings s;
    v->joins_all = true;
    TRY(alloc_array(&v->made, (size_t)n, sizeof *v->made));
    memcpy(v->made, order, (size_t)n * sizeof *order);
    error *e = pair_map_init(&v->merged, 2 * (size_t)n);
    if (e) return e;
    e = spellings_make(&s, v);
    for (int32_t rank = 0; rank < n && !e; rank++)
        e = join_splits(v, &s, order[rank], (uint32_t)rank);
    spellings_free(&s);
    return e;
}

bool bpe_is_special(const bpe *v, int32_t id)
{
    return v->is_special && v->is_special[id];
}

error *bpe_find_bytes(bpe *v)
{
    memset(v->byte_token, 0xff, sizeof v->byte_token); /* all -1 */
    for (int32_t id = 0; id < v->size; id++)
        if (v->start[id + 1] - v->start[id] == 1 && !bpe_is_special(v, id))
            v->byte_token[v->bytes[v->start[id]]] = id;
    for (int byte = 0; byte < 256; byte++)
        if (v->byte_token[byte] < 0)
            return user_error("has no token for the byte 0x%02x: every one of the 256 bytes needs "
                              "a token, so that any text can be written",
                              (unsigned)byte);
    return NULL;
}

const char *bpe_show(const uint8_t *bytes, size_t n, char out[64])
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (used > 56) {
            memcpy(out + used, "...", 4);
            return out;
        }
        bool plain = bytes[i] > ' ' && bytes[i] < 0x7f && bytes[i] != '\\';
        used += (size_t)snprintf(out + used, 64 - used, plain ? "%c" : "\\x%02x", bytes[i]);
    }
    out[used] = 0;
    return out;
}

void bpe_close(bpe *v)
{
    if (!v) return;
    free(v->merges);
    free(v->made);
    free(v->bytes);
    free(v->start);
    free(v->special);
    free(v->contents);
    free(v->is_special);
    free(v->score);
    pair_map_free(&v->merged);
    for (int i = 0; i < v->n_steps; i++)
        pattern_free(v->step[i].cut);
    added_free(v->added);
    added_free(v->added_normalized);
    borders_free(v->borders);
    if (v->words) spellings_free(v->words);
    free(v->words);
    free(v->source);
    free(v);
}

int32_t bpe_end_of_text(const bpe *v)
{
    return v->end_of_text;
}

int32_t bpe_begin_of_text(const bpe *v)
{
    return v->begin_of_text;
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
