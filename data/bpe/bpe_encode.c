/* bpe_encode.c - from text to pieces; see bpe.h
 *
 *     text -> between added tokens -> normalized -> between added tokens that are normalized
 *          -> runs of UTF-8, runs of invalid bytes -> pieces -> tokens (pieces.c)
 *             (only with an expression)
 *
 * The order is that of Hugging Face's library.  The steps of pre-tokenization are nested: each cuts
 * the pieces of the previous one.
 */
#include "data/bpe/bpe_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "data/bpe/added.h"
#include "data/bpe/borders.h"
#include "data/bpe/byte_chars.h"
#include "data/bpe/normal.h"
#include "data/bpe/ranks_known.h"

enum { INVALID_RUN = 1 << 16 /* longest piece of invalid UTF-8 */ };

struct bpe_encoder {
    const bpe *v;
    bpe_special special;
    pattern_match *match[BPE_STEPS];
    bpe_writer out;
};

typedef struct bpe_encoder encoder;

/* The position of a part in its text. */
typedef enum { BEGINS, BEHIND_TOKEN, INSIDE } position;

/* ---- pieces by steps ---- */

static error *encode_step(encoder *c, int i, const uint8_t *text, size_t n, bool mapped);

/* Converts characters for bytes back to the bytes. */
static error *encode_mapped(encoder *c, const uint8_t *text, size_t n)
{
    uint8_t small[256], *bytes = small;
    size_t used = 0;
    if (n > sizeof small) TRY(alloc_array(&bytes, n, 1));
    for (size_t at = 0, length; at < n; at += length) {
        length = text[at] < 0x80 ? 1 : 2;
        bytes[used++] = (uint8_t)byte_of_char(utf8_decode(text + at, length));
    }
    error *e = bpe_writer_piece(&c->out, bytes, used);
    if (bytes != small) free(bytes);
    return e;
}

/* The bytes as characters, which the further steps cut. */
static error *encode_mapping(encoder *c, int i, const uint8_t *text, size_t n)
{
    uint8_t small[512], *chars = small;
    size_t used = 0;
    if (2 * n > sizeof small) TRY(alloc_array(&chars, 2 * n, 1));
    for (size_t k = 0; k < n; k++) {
        uint32_t x = byte_to_char(text[k]);
        if (x >= 0x80) chars[used++] = (uint8_t)(0xC0 | x >> 6);
        chars[used++] = (uint8_t)(x >= 0x80 ? 0x80 | (x & 0x3F) : x);
    }
    error *e = encode_step(c, i, chars, used, true);
    if (chars != small) free(chars);
    return e;
}

/* A piece for each match, and one for the text between two matches. */
static error *encode_matches(encoder *c, int i, const uint8_t *text, size_t n, bool mapped)
{
    const pattern *cut = c->v->step[i].cut;
    for (size_t at = 0, begin, end; at < n; at = end) {
        TRY(pattern_next(cut, c->match[i], text, n, at, &begin, &end));
        if (begin > at) TRY(encode_step(c, i + 1, text + at, begin - at, mapped));
        if (end > begin) TRY(encode_step(c, i + 1, text + begin, end - begin, mapped));
    }
    return NULL;
}

static error *encode_step(encoder *c, int i, const uint8_t *text, size_t n, bool mapped)
{
    if (i < c->v->n_steps && c->v->step[i].cut) return encode_matches(c, i, text, n, mapped);
    if (i < c->v->n_steps) return encode_mapping(c, i + 1, text, n);
    return mapped ? encode_mapped(c, text, n) : bpe_writer_piece(&c->out, text, n);
}

/* ---- a text without added tokens ---- */

/* By our own rule. */
static error *encode_chunks(encoder *c, const uint8_t *text, size_t n)
{
    for (size_t done = 0, k; done < n; done += k) {
        k = bpe_chunk(text + done, n - done);
        TRY(bpe_writer_piece(&c->out, text + done, k));
    }
    return NULL;
}

/* Length of the longest prefix that is UTF-8. */
static size_t valid_run(const uint8_t *text, size_t n)
{
    size_t end = 0;
    for (size_t length; end < n; end += length) {
        uint64_t eight;
        while (n - end >= 8 && (memcpy(&eight, text + end, 8), !(eight & 0x8080808080808080U)))
            end += 8;
        if (end == n || (length = utf8_length(text + end, n - end)) == 0) break;
    }
    return end;
}

static size_t invalid_run(const uint8_t *text, size_t n)
{
    size_t end = 0;
    while (end < n && end < INVALID_RUN && utf8_length(text + end, n - end) == 0)
        end++;
    return end;
}

static error *encode_runs(encoder *c, const uint8_t *text, size_t n)
{
    for (size_t at = 0, k; at < n; at += k) {
        k = valid_run(text + at, n - at);
        if (k > 0) TRY(encode_step(c, 0, text + at, k, false));
        at += k;
        k = invalid_run(text + at, n - at);
        if (k > 0) TRY(bpe_writer_piece(&c->out, text + at, k));
    }
    return NULL;
}

/* SentencePiece's scheme: one piece, cut where no token reaches across. */
static error *encode_text(encoder *c, const uint8_t *text, size_t n)
{
    for (size_t done = 0, k; done < n; done += k) {
        k = borders_next(c->v->borders, text + done, n - done);
        TRY(bpe_writer_piece(&c->out, text + done, k));
    }
    return NULL;
}

/* The text, with a space before it if Metaspace adds one. */
static error *encode_spaced(encoder *c, const uint8_t *text, size_t n, position at)
{
    bpe_space space = c->v->space;
    bool wanted = (space == SPACE_ALWAYS && at != INSIDE) || (space == SPACE_FIRST && at == BEGINS);
    if (!wanted || *text == ' ') return encode_text(c, text, n);
    size_t k = borders_next(c->v->borders, text, n);
    uint8_t *first; /* the first piece is encoded again, the others are unchanged */
    TRY(alloc_array(&first, k + 1, 1));
    *first = ' ';
    memcpy(first + 1, text, k);
    error *e = encode_text(c, first, k + 1);
    free(first);
    return e || k == n ? e : encode_text(c, text + k, n - k);
}

/* Replaces U+2581 by spaces, if no normalizer has done so. */
static error *encode_metaspace(encoder *c, const uint8_t *text, size_t n, position at)
{
    uint8_t *plain;
    if (c->v->replaces || !memmem(text, n, BPE_META, sizeof BPE_META - 1))
        return encode_spaced(c, text, n, at);
    TRY(alloc_array(&plain, n, 1));
    error *e = encode_spaced(c, plain, bpe_metaspace_plain(text, n, plain), at);
    free(plain);
    return e;
}

/* Normalized text without added tokens. */
static error *encode_plain(encoder *c, const uint8_t *text, size_t n, position at)
{
    if (c->v->metaspace) return encode_metaspace(c, text, n, at);
    return c->v->n_steps ? encode_runs(c, text, n) : encode_chunks(c, text, n);
}

/* ---- added tokens ---- */

typedef error *encode_part(encoder *c, const uint8_t *text, size_t n, position at);

/* Every match of the set, and through `part` the text in between. */
static error *encode_between(encoder *c, const added_set *set, const uint8_t *text, size_t n,
                             position begin, encode_part *part)
{
    size_t done = 0;
    added_match m;
    for (size_t at = 0;
         added_active(set, c->special) && added_next(set, text, n, at, done, c->special, &m);
         at = m.go_on) {
        if (done < m.begin) TRY(part(c, text + done, m.begin - done, done ? BEHIND_TOKEN : begin));
        TRY(bpe_writer_put(&c->out, m.token->id));
        done = m.end;
        begin = BEHIND_TOKEN;
    }
    return done < n ? part(c, text + done, n - done, done ? BEHIND_TOKEN : begin) : NULL;
}

static error *encode_normalized(encoder *c, const uint8_t *text, size_t n, position at)
{
    return encode_between(c, c->v->added_normalized, text, n, at, encode_plain);
}

static error *encode_raw(encoder *c, const uint8_t *text, size_t n, position at)
{
    uint8_t *normal;
    size_t n_normal;
    bool space = c->v->space == SPACE_EACH ? at != INSIDE : at == BEGINS;
    if (!normal_changes(c->v, text, n)) return encode_normalized(c, text, n, at);
    TRY(normal_text(c->v, text, n, space, &normal, &n_normal));
    error *e = encode_normalized(c, normal, n_normal, at);
    free(normal);
    return e;
}

error *bpe_encoder_open(const bpe *v, bpe_special special, bpe_sink sink, void *to, encoder **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    encoder *c = *out;
    c->v = v;
    c->special = special;
    error *e = bpe_writer_open(&c->out, v, sink, to);
    for (int i = 0; i < v->n_steps && !e; i++)
        if (v->step[i].cut) e = pattern_match_create(v->step[i].cut, &c->match[i]);
    if (e) {
        bpe_encoder_close(c);
        *out = NULL;
    }
    return e;
}

void bpe_encoder_close(encoder *c)
{
    if (!c) return;
    for (int i = 0; i < BPE_STEPS; i++)
        pattern_match_free(c->match[i]);
    bpe_writer_free(&c->out);
    free(c);
}

error *bpe_encoder_text(encoder *c, const uint8_t *text, size_t n, bool inside)
{
    TRY(encode_between(c, c->v->added, text, n, inside ? INSIDE : BEGINS, encode_raw));
    return bpe_writer_flush(&c->out);
}

error *bpe_encode_to(const bpe *v, const uint8_t *text, size_t n, bpe_special special,
                     bpe_sink sink, void *to)
{
    encoder *c;
    TRY(bpe_encoder_open(v, special, sink, to, &c));
    error *e = bpe_encoder_text(c, text, n, false);
    bpe_encoder_close(c);
    return e;
}

/* ---- where a text can be split ---- */

/* No supported rule has a piece that spans the border between a single line break and a letter:
 * white space is cut after the break, or joined with what precedes it; and no word starts with a
 * break. */
static bool is_line_border(const uint8_t *text, size_t at)
{
    uint8_t before = text[at - 2], letter = text[at] | 0x20;
    return text[at - 1] == '\n' && before > ' ' && before < 0x7f && letter >= 'a' && letter <= 'z';
}

/* Does an added token span that place, or consume white space there? */
static bool added_in_the_way(const bpe *v)
{
    for (int32_t i = 0; i < v->n_special; i++) {
        const bpe_special_token *s = &v->special[i];
        const uint8_t *line = memchr(s->content, '\n', s->n);
        uint8_t first = s->content[0] | 0x20;
        if ((s->left && first >= 'a' && first <= 'z') || (line && line + 1 < s->content + s->n))
            return true;
    }
    return false;
}

bool bpe_can_part(const bpe *v)
{
    bool known = v->metaspace || v->n_steps == 0;
    if (v->n_steps == 1 && v->step[0].cut)
        known = ranks_cuts_so(pattern_expression(v->step[0].cut));
    return known && !added_in_the_way(v);
}

size_t bpe_part(const bpe *v, const uint8_t *text, size_t n, size_t at)
{
    for (; at < n; at++) {
        const uint8_t *line = memchr(text + at, '\n', n - at);
        if (!line) break;
        at = (size_t)(line - text) + 1;
        if (at < n && at >= 2 && is_line_border(text, at) &&
            (!v->metaspace || borders_next(v->borders, text + at - 1, 2) == 1))
            return at;
        at--;
    }
    return n;
}

size_t bpe_most_tokens(const bpe *v, size_t n)
{
    size_t each = v->compose ? 3 : 1; /* no character's NFC is longer */
    if (v->space == SPACE_EACH || v->space == SPACE_ALWAYS) each++;
    if (v->n_special == 0) each = v->compose ? 3 : 1;
    return each * n + 1;
}

typedef struct {
    int32_t *ids; /* (room) */
    size_t count, room;
} array;

static error *append_ids(void *to, const int32_t *ids, size_t n)
{
    array *a = to;
    if (n > a->room - a->count) return internal_error("%zu tokens and more of a text", a->room);
    memcpy(a->ids + a->count, ids, n * sizeof *ids);
    a->count += n;
    return NULL;
}

error *bpe_encode(const bpe *v, const uint8_t *text, size_t n, int32_t *ids, size_t *count)
{
    array a = {ids, 0, bpe_most_tokens(v, n)};
    TRY(bpe_encode_to(v, text, n, BPE_SPECIAL_TEXT, append_ids, &a));
    *count = a.count;
    return NULL;
}
