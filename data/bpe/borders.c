/* borders.c - see borders.h */
#include "data/bpe/borders.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "data/bpe/spellings.h"

enum { ASCII = 128, NO_CHAR = 0x110000 /* + a byte that is not UTF-8 */ };

struct borders {
    const bpe *v;
    bool ascii[ASCII][ASCII]; /* do they occur side by side in a token? */
    pair_map other;           /* the same if one of them is not ASCII */
};

static size_t next_char(const uint8_t *p, size_t n, uint32_t *c)
{
    size_t length = utf8_length(p, n);
    *c = length ? utf8_decode(p, length) : (uint32_t)NO_CHAR + *p;
    return length ? length : 1;
}

static error *note(borders *b, const uint8_t *bytes, size_t n)
{
    uint32_t left, right;
    for (size_t at = next_char(bytes, n, &left); at < n; left = right) {
        at += next_char(bytes + at, n - at, &right);
        if (left < ASCII && right < ASCII)
            b->ascii[left][right] = true;
        else
            TRY(pair_map_insert(&b->other, left, right, 0));
    }
    return NULL;
}

static error *fill_borders(borders *b, const bpe *v)
{
    TRY(pair_map_init(&b->other, 0)); /* most vocabularies have few of them, or thousands */
    for (int32_t id = 0; id < v->size; id++) {
        size_t n;
        const uint8_t *bytes = bpe_token(v, id, &n);
        if (n > 1 && !bpe_is_special(v, id)) TRY(note(b, bytes, n));
    }
    char name[8];
    for (int byte = 0; byte < 256 && v->bytes_by_name; byte++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        TRY(note(b, (const uint8_t *)name, strlen(name)));
    }
    return NULL;
}

error *borders_make(const bpe *v, borders **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    (*out)->v = v;
    return fill_borders(*out, v);
}

void borders_free(borders *b)
{
    if (!b) return;
    pair_map_free(&b->other);
    free(b);
}

/* Unknown characters in a row may become one token: no border between them. */
static bool both_unknown(const bpe *v, const uint8_t *p, size_t n, const uint8_t *q, size_t k)
{
    return v->unknown >= 0 && spellings_find(v->words, p, n) < 0 &&
           spellings_find(v->words, q, k) < 0;
}

size_t borders_next(const borders *b, const uint8_t *text, size_t n)
{
    uint32_t left, right;
    size_t length, before = next_char(text, n, &left);
    for (size_t at = before; at < n; left = right, before = length, at += length) {
        length = next_char(text + at, n - at, &right);
        bool beside = left < ASCII && right < ASCII
                          ? b->ascii[left][right]
                          : pair_map_find(&b->other, left, right) != PAIR_ABSENT;
        if (b->v->cut_at_spaces && right == ' ') return at;
        if (!beside && !both_unknown(b->v, text + at - before, before, text + at, length))
            return at;
    }
    return n;
}
