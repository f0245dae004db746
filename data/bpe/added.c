/* added.c - see added.h */
#include "data/bpe/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "data/bpe/normal.h"

typedef struct {
    uint8_t *bytes; /* (n) */
    size_t n;
    const bpe_special_token *token;
} entry;

struct added_set {
    entry *list; /* (n) */
    size_t n;
    uint32_t *table; /* (mask + 1): index + 1, 0: free */
    size_t mask;
    uint16_t length[BPE_MAX_TOKEN + 1]; /* (n_lengths) different ones, the longest first */
    int n_lengths;
    bool first[256]; /* first bytes of these tokens */
    bool any_always, any_word;
    bool plain_spaces; /* U+2581 counts as a space, not as a character */
    pattern *word;     /* a character of a word */
};

static size_t slot_of(const added_set *s, const uint8_t *bytes, size_t n)
{
    size_t i = hash_bytes(bytes, n) & s->mask;
    for (; s->table[i]; i = (i + 1) & s->mask) {
        const entry *e = &s->list[s->table[i] - 1];
        if (e->n == n && !memcmp(e->bytes, bytes, n)) break;
    }
    return i;
}

static error *add(added_set *s, const bpe *v, const bpe_special_token *token)
{
    entry *e = &s->list[s->n];
    if (token->normalized) {
        TRY(normal_text(v, token->content, token->n, v->space == SPACE_EACH, &e->bytes, &e->n));
    } else {
        TRY(alloc_array(&e->bytes, token->n, 1));
        memcpy(e->bytes, token->content, token->n);
        e->n = token->n;
    }
    s->n++; /* from here on added_free frees it */
    size_t slot = slot_of(s, e->bytes, e->n);
    if (s->table[slot] || !e->n || e->n > BPE_MAX_TOKEN) return NULL; /* the first one counts */
    e->token = token;
    s->table[slot] = (uint32_t)s->n;
    s->first[*e->bytes] = true;
    s->any_always |= token->always;
    s->any_word |= token->word;
    return NULL;
}

static void list_lengths(added_set *s)
{
    bool seen[BPE_MAX_TOKEN + 1] = {false};
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].token) seen[s->list[i].n] = true;
    for (int n = BPE_MAX_TOKEN; n > 0; n--)
        if (seen[n]) s->length[s->n_lengths++] = (uint16_t)n;
}

error *added_make(const bpe *v, bool normalized, added_set **out)
{
    size_t n = 0, capacity = 16;
    for (int32_t i = 0; i < v->n_special; i++)
        n += v->special[i].normalized == normalized;
    *out = NULL;
    if (!n) return NULL;
    while (capacity / 2 < n)
        capacity *= 2;
    TRY(alloc_array(out, 1, sizeof **out));
    added_set *s = *out;
    s->mask = capacity - 1;
    s->plain_spaces = normalized && v->replaces;
    TRY(alloc_array(&s->table, capacity, sizeof *s->table));
    TRY(alloc_array(&s->list, n, sizeof *s->list));
    for (int32_t i = 0; i < v->n_special; i++)
        if (v->special[i].normalized == normalized) TRY(add(s, v, &v->special[i]));
    list_lengths(s);
    return s->any_word ? pattern_compile(PATTERN_WORD, &s->word) : NULL;
}

void added_free(added_set *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i].bytes);
    free(s->list);
    free(s->table);
    pattern_free(s->word);
    free(s);
}

bool added_active(const added_set *s, bpe_special special)
{
    return s && (special == BPE_SPECIAL_ALLOW || s->any_always);
}

/* ---- neighbouring characters ---- */

/* Unicode's White_Space. */
static bool is_space(const added_set *s, uint32_t c)
{
    if (c == ' ') return !s->plain_spaces;
    return (c >= 9 && c <= 13) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static size_t length_of(const uint8_t *p, size_t n, uint32_t *c)
{
    size_t length = n ? utf8_length(p, n) : 0;
    *c = length ? utf8_decode(p, length) : 0xFFFD;
    return length ? length : n > 0;
}

/* Bytes of the character that ends at text + n. */
static size_t length_before(const uint8_t *text, size_t n, uint32_t *c)
{
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if ((text[n - k] & 0xC0) != 0x80) {
            if (length_of(text + n - k, k, c) == k) return k;
            break;
        }
    *c = 0xFFFD;
    return n > 0;
}

static bool is_word(const added_set *s, const uint8_t *p, size_t n)
{
    pattern_match *m;
    size_t begin = 1, end = 1;
    if (!n || !utf8_length(p, n)) return false;
    error *e = pattern_match_create(s->word, &m);
    if (!e) {
        e = pattern_next(s->word, m, p, n, 0, &begin, &end);
        pattern_match_free(m);
    }
    error_free(e);
    return !begin && end == n;
}

static bool stands_alone(const added_set *s, const uint8_t *text, size_t n, size_t begin,
                         size_t end)
{
    uint32_t c;
    size_t before = length_before(text, begin, &c), behind = length_of(text + end, n - end, &c);
    return !is_word(s, text + begin - before, before) && !is_word(s, text + end, behind);
}

/* ---- finding ---- */

static const entry *find(const added_set *s, const uint8_t *p, size_t n)
{
    for (int i = 0; i < s->n_lengths; i++) {
        if (s->length[i] > n) continue;
        uint32_t found = s->table[slot_of(s, p, s->length[i])];
        if (found) return &s->list[found - 1];
    }
    return NULL;
}

bool added_next(const added_set *s, const uint8_t *text, size_t n, size_t at, size_t done,
                bpe_special special, added_match *out)
{
    uint32_t c;
    for (const entry *e; at < n; at += e ? e->n : 1) {
        e = s->first[text[at]] ? find(s, text + at, n - at) : NULL;
        if (!e || (special == BPE_SPECIAL_TEXT && !e->token->always)) continue;
        size_t begin = at, end = at + e->n;
        if (e->token->word && !stands_alone(s, text, n, begin, end)) continue;
        for (size_t k; e->token->left && (k = length_before(text, begin, &c)) && is_space(s, c);)
            begin -= k;
        if (e->token->left && begin < done) begin = done;
        for (size_t k;
             e->token->right && (k = length_of(text + end, n - end, &c)) && is_space(s, c);)
            end += k;
        *out = (added_match){e->token, begin, end, at + e->n};
        return true;
    }
    return false;
}
