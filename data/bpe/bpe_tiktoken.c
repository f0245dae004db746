/* bpe_tiktoken.c - vocabularies in lines "BASE64 ID", such as GPT-2's r50k_base.tiktoken
 *
 * The file has spellings only; merges are recovered by encoding.  Each token's bytes, in the order
 * of ids, are encoded with the merges found so far.  Two tokens remain, and merging them makes the
 * token:
 *
 *     256 " t"     ' ' 't'            merge 0: ' ' + 't'
 *     ...
 *     262 " the"   ' t' 'h' 'e' -> ' t' 'he'      (258 was "he")
 *
 * This is complete, since a span of text between two token borders is merged as if it stood alone:
 * a merge across its borders would have removed them.  If more than two remain, byte-pair encoding
 * has not learned this token: Llama 3's file has 678 such tokens.  In these files any two tokens
 * join that spell a third one, as in the file's own program, the lowest id first; and a piece that
 * is a token as a whole is that token.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "data/bpe/ranks.h"

static const char mend[] = "get the file again";

enum { MOST_RANKS = BPE_MAX_SIZE - (1 << 13) };

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t base64_decode(uint8_t *text, size_t n)
{
    size_t padding = 0, out = 0;
    if (n % 4 != 0) return 0;
    while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
        padding++;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int value = i < n - padding ? base64_value(text[i]) : 0;
        if (value < 0) return 0;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 3) continue;
        for (int shift = 16; shift >= 0; shift -= 8)
            text[out++] = (uint8_t)(bits >> shift);
    }
    uint32_t unused = padding > 0 ? bits & ((1u << 8 * padding) - 1) : 0;
    return unused ? 0 : out - padding;
}

/* The number between p and end; -1 if it is not a number up to 10^8. */
static int64_t rank_number(const uint8_t *p, const uint8_t *end)
{
    int64_t value = 0;
    if (p == end || end - p > 8) return -1;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') return -1;
        value = 10 * value + (*p - '0');
    }
    return value;
}

/* One line without its end. */
static error *read_line(uint8_t *line, size_t n, int32_t id, bpe_spelling *out)
{
    uint8_t *space = memchr(line, ' ', n);
    int64_t given = space ? rank_number(space + 1, line + n) : -1;
    if (given < 0)
        return user_error("line %" PRId32 " is not a token in base64, a space and an id: %s",
                          id + 1, mend);
    if (given != id)
        return user_error("line %" PRId32 " has id %" PRId64 " where %" PRId32
                          " must follow (ids go 0, 1, 2, ... without gap or repetition): %s",
                          id + 1, given, id, mend);
    *out = (bpe_spelling){line, base64_decode(line, (size_t)(space - line))};
    if (out->n == 0)
        return user_error("line %" PRId32 ": the token is not base64: %s", id + 1, mend);
    return NULL;
}

static error *read_lines(uint8_t *text, size_t n, bpe_spelling *list, int32_t n_lines)
{
    if (text[n - 1] != '\n') return user_error("is cut: its last line has no end: %s", mend);
    uint8_t *at = text;
    for (int32_t id = 0; id < n_lines; id++) {
        uint8_t *end = memchr(at, '\n', (size_t)(text + n - at));
        TRY(read_line(at, (size_t)(end - at), id, &list[id]));
        at = end + 1;
    }
    return NULL;
}

/* Finds the merge that makes each longer token. */
static error *find_merges(bpe *v, int32_t first, int32_t n_tokens, bpe_workspace *w)
{
    for (int32_t id = first; id < first + n_tokens; id++) {
        size_t n;
        char shown[64];
        const uint8_t *bytes = bpe_token(v, id, &n);
        if (n == 1) continue;
        TRY(bpe_merge_piece(v, w, bytes, n));
        uint32_t second = w->next[0];
        if (second == BPE_NONE || w->next[second] != BPE_NONE)
            return user_error("token %" PRId32 " (%s) is not two earlier tokens put together, as "
                              "in byte-pair encoding it must be: %s",
                              id, bpe_show(bytes, n, shown), mend);
        TRY(bpe_add_merge(v, (bpe_merge){w->token[0], w->token[second]}, id));
    }
    return NULL;
}

static error *compile(bpe *v, const char *expression)
{
    v->n_steps = 1;
    return pattern_compile(expression, &v->step[0].cut);
}

/* Finds the merges, or notes that any two tokens join that spell a third one. */
static error *learn_merges(bpe *v, int32_t first, int32_t n, bool irregular)
{
    if (!irregular) {
        bpe_workspace w = {0};
        TRY(bpe_reserve_merges(v, n - BPE_BYTES));
        error *e = find_merges(v, first, n, &w);
        bpe_workspace_free(&w);
        return e;
    }
    int32_t *order;
    TRY(alloc_array(&order, (size_t)n, sizeof *order));
    for (int32_t i = 0; i < n; i++)
        order[i] = first + i;
    error *e = bpe_join_all(v, order, n);
    free(order);
    return e;
}

error *bpe_from_ranks(bpe *v, const rank_tokens *t, const char *expression, bool irregular)
{
    int32_t size = t->n_ranks + t->n_special;
    TRY(bpe_spell(v, t->list, size));
    TRY(alloc_array(&v->is_special, (size_t)size, sizeof *v->is_special));
    for (int32_t id = 0; id < size; id++)
        v->is_special[id] = id < t->first || id >= t->first + t->n_ranks;
    TRY(bpe_set_special(v, t->special, t->n_named));
    v->ignore_merges = true;
    TRY(bpe_find_bytes(v));
    TRY(bpe_index(v)); /* also refuses duplicate spellings */
    TRY(learn_merges(v, t->first, t->n_ranks, irregular));
    return compile(v, expression);
}

/* ---- special tokens ---- */

static int32_t count_special(const ranks_kind *kind)
{
    int32_t n = 0;
    for (const special_run *r = kind->special; r->count; r++)
        n += r->count;
    return n;
}

enum { NAME_ROOM = 80 };

/* After the ranks; `names` has room for all. */
static void list_special(const ranks_kind *kind, rank_tokens *t, char (*names)[NAME_ROOM])
{
    int32_t id = t->n_ranks;
    for (const special_run *r = kind->special; r->count; r++)
        for (int32_t i = 0; i < r->count; i++, id++, names++) {
            const char *number = r->name ? strstr(r->name, "%d") : NULL;
            if (number)
                snprintf(*names, NAME_ROOM, "%.*s%" PRId32 "%s", (int)(number - r->name), r->name,
                         r->first + i, number + 2);
            else
                snprintf(*names, NAME_ROOM, "%s", r->name ? r->name : "");
            t->list[id] = (bpe_spelling){(const uint8_t *)*names, strlen(*names)};
            if (!r->name) continue;
            t->special[t->n_named++] = (bpe_special_token){
                .id = id, .content = (const uint8_t *)*names, .n = (uint32_t)strlen(*names)};
        }
}

static error *fill(bpe *v, rank_tokens *t, const ranks_kind *kind)
{
    char(*names)[NAME_ROOM];
    TRY(alloc_array(&names, (size_t)t->n_special, sizeof *names));
    list_special(kind, t, names);
    error *e = bpe_from_ranks(v, t, kind->expression, kind->irregular);
    free(names);
    if (e || !kind->begin) return e;
    for (int32_t i = 0; i < v->n_special; i++)
        if (v->special[i].n == strlen(kind->begin) &&
            !memcmp(v->special[i].content, kind->begin, v->special[i].n))
            v->begin_of_text = v->special[i].id;
    return NULL;
}

/* ---- identifying the file ---- */

static uint64_t fingerprint(const bpe_spelling *list, int32_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    const uint64_t prime = UINT64_C(0x100000001b3);
    for (int32_t i = 0; i < n; i++) {
        h = (h ^ (list[i].n & 0xff)) * prime;
        h = (h ^ (list[i].n >> 8 & 0xff)) * prime;
        for (size_t k = 0; k < list[i].n; k++)
            h = (h ^ list[i].bytes[k]) * prime;
    }
    return h;
}

static error *check_count(size_t n)
{
    if (n >= BPE_BYTES && n <= MOST_RANKS) return NULL;
    return user_error("has %zu tokens, but a vocabulary has %d to %d: %s", n, BPE_BYTES, MOST_RANKS,
                      mend);
}

static error *find_kind(const bpe_spelling *list, int32_t n, const ranks_kind **kind)
{
    if (!*kind) *kind = ranks_find(n, fingerprint(list, n));
    if (*kind) return NULL;
    return user_error("is a list of %" PRId32 " tokens that are not " RANKS_NAMES
                      ": such a file does not say how its text is cut, so use the model's "
                      "tokenizer.json, which does",
                      n);
}

static error *read_kind(uint8_t *text, size_t n, const ranks_kind *kind, rank_tokens *t, bpe *v)
{
    TRY(alloc_array(&t->list, (size_t)t->n_ranks, sizeof *t->list));
    TRY(read_lines(text, n, t->list, t->n_ranks));
    TRY(find_kind(t->list, t->n_ranks, &kind));
    t->n_special = count_special(kind);
    size_t capacity = (size_t)t->n_ranks, size = capacity + (size_t)t->n_special;
    TRY(grow_array(&t->list, &capacity, size, sizeof *t->list));
    TRY(alloc_array(&t->special, (size_t)t->n_special, sizeof *t->special));
    v->compose = kind->compose;
    return fill(v, t, kind);
}

error *bpe_read_ranks(uint8_t *text, size_t n, const ranks_kind *kind, bpe **out)
{
    size_t n_lines = 0;
    for (const uint8_t *p = text; (p = memchr(p, '\n', (size_t)(text + n - p))) != NULL; p++)
        n_lines++;
    TRY(check_count(n_lines));
    rank_tokens t = {.n_ranks = (int32_t)n_lines};
    bpe *v;
    TRY(bpe_new(BPE_TIKTOKEN, &v));
    error *e = read_kind(text, n, kind, &t, v);
    free(t.list);
    free(t.special);
    return bpe_opened(e, v, out);
}

error *bpe_read_tiktoken(uint8_t *text, size_t n, bpe **out)
{
    return bpe_read_ranks(text, n, NULL, out);
}

static void write_base64(const uint8_t *bytes, size_t n, FILE *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (i + k < n ? bytes[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            fputc(i + k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=', to);
    }
}

void bpe_write_tiktoken(const bpe *v, FILE *to)
{
    for (int32_t id = 0; id < v->size; id++) {
        size_t n;
        if (bpe_is_special(v, id)) continue;
        const uint8_t *bytes = bpe_token(v, id, &n);
        write_base64(bytes, n, to);
        fprintf(to, " %" PRId32 "\n", id);
    }
}
