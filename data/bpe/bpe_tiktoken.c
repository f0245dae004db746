/* bpe_tiktoken.c - vocabularies as lines "BASE64 ID", such as GPT-2's r50k_base.tiktoken
 *
 * The file gives spellings only; merges are won back by encoding.  Token after token, in the order
 * of ids, its bytes are encoded by the merges found so far.  Two tokens are left over, and their
 * merge is the one that makes it:
 *
 *     256 " t"     ' ' 't'            merge 0: ' ' + 't'
 *     ...
 *     262 " the"   ' t' 'h' 'e' -> ' t' 'he'      (258 was "he")
 *
 * That is all of it, as a span of text between two token borders is merged as if it stood alone:
 * what reaches past its borders would have removed them.  More than two left over mean that the
 * file was not learned by byte-pair encoding, and it is refused.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/spellings.h"

static const char mend[] = "get the file again";

/* Files of this many tokens are other known ones, whose text is cut in other ways. */
static const struct {
    int32_t n_tokens;
    const char *name;
} others[] = {{100256, "cl100k_base"}, {199998, "o200k_base"}};

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes n characters in place; the number of bytes, 0 if that is no base64 or of nothing. */
static size_t base64_decode(uint8_t *text, size_t n)
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

/* The digits between p and end; -1 if that is no number up to 10^8. */
static int64_t number(const uint8_t *p, const uint8_t *end)
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
    int64_t given = space ? number(space + 1, line + n) : -1;
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
static error *find_merges(bpe *v, int32_t n_tokens, bpe_workspace *w)
{
    for (int32_t id = 0; id < n_tokens; id++) {
        size_t n;
        char shown[64];
        const uint8_t *bytes = bpe_token(v, id, &n);
        if (n == 1) continue;
        TRY(bpe_merge_piece(v, w, bytes, n));
        uint32_t second = w->next[0];
        if (second == BPE_NO_PLACE || w->next[second] != BPE_NO_PLACE)
            return user_error("token %" PRId32 " (%s) is not two earlier tokens put together, as "
                              "in byte-pair encoding it must be: %s",
                              id, bpe_show(bytes, n, shown), mend);
        TRY(bpe_add_merge(v, (bpe_merge){w->token[0], w->token[second]}, id));
    }
    return NULL;
}

static error *check_spellings(const bpe *v)
{
    spellings s;
    error *e = spellings_make(&s, v);
    spellings_free(&s);
    return e;
}

static error *fill(bpe *v, const bpe_spelling *list, int32_t n_tokens)
{
    TRY(bpe_spell(v, list, n_tokens + 1));
    TRY(bpe_set_special(v, &(bpe_special_token){.id = n_tokens}, 1));
    TRY(check_spellings(v));
    TRY(bpe_find_bytes(v));
    TRY(bpe_reserve_merges(v, n_tokens - BPE_BYTES));
    TRY(pattern_compile(PATTERN_GPT2, &v->cut));
    bpe_workspace w = {0};
    error *e = find_merges(v, n_tokens, &w);
    bpe_workspace_free(&w);
    return e;
}

static error *check_count(size_t n)
{
    if (n < BPE_BYTES || n >= BPE_MAX_SIZE)
        return user_error("has %zu tokens, but a vocabulary has %d to %d: %s", n, BPE_BYTES,
                          BPE_MAX_SIZE - 1, mend);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if ((size_t)others[i].n_tokens == n)
            return user_error("has %zu tokens as %s has, which cuts text by another expression "
                              "than GPT-2's: use its tokenizer.json, which says how",
                              n, others[i].name);
    return NULL;
}

error *bpe_read_tiktoken(uint8_t *text, size_t n, bpe **out)
{
    size_t n_lines = 0;
    for (const uint8_t *p = text; (p = memchr(p, '\n', (size_t)(text + n - p))) != NULL; p++)
        n_lines++;
    TRY(check_count(n_lines));
    bpe_spelling *list = NULL;
    bpe *v = NULL;
    error *e = bpe_new(BPE_TIKTOKEN, &v);
    if (!e) e = alloc_array(&list, n_lines + 1, sizeof *list);
    if (!e) e = read_lines(text, n, list, (int32_t)n_lines);
    if (!e) {
        list[n_lines] = (bpe_spelling){(const uint8_t *)BPE_END_OF_TEXT, strlen(BPE_END_OF_TEXT)};
        e = fill(v, list, (int32_t)n_lines);
    }
    free(list);
    if (e) {
        bpe_close(v);
        return e;
    }
    *out = v;
    return NULL;
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
    for (int32_t id = 0; id < v->end_of_text; id++) {
        size_t n;
        const uint8_t *bytes = bpe_token(v, id, &n);
        write_base64(bytes, n, to);
        fprintf(to, " %" PRId32 "\n", id);
    }
}
