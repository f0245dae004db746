/* jinja_lex.c - splits a template into tokens; and the memory pool.  See jinja.h.
 *
 * White space around tags, as in Jinja2 with trim_blocks and lstrip_blocks:
 *
 *     ..... \n   {% x %}\n     blanks before a {% or {# that starts its line are removed; so is the
 *           ^^^^^       ^^     line break after it
 *     ...   {%- x -%}   ...    all white space on that side is removed; also for {{ }}
 *     ...   {%+ x +%}\n        is kept
 */
#include "data/chat/jinja_internal.h"

#include <stdlib.h>

#include "base/grow.h"

/* ---- the pool ---- */

struct pool_block {
    pool_block *before;
    _Alignas(16) char bytes[];
};

error *pool_take(pool *p, size_t bytes, void *out_pointer)
{
    enum { BLOCK = 16 << 10, ALIGN = 16 };
    size_t most = p->most ? p->most : SIZE_MAX / 4;
    if (bytes > most - p->bytes)
        return user_error("the template makes more than %zu MiB of values: it does not end, or is "
                          "not meant for such a conversation",
                          most >> 20);
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!p->last || bytes > p->room - p->used) {
        size_t room = bytes > BLOCK ? bytes : BLOCK;
        pool_block *block = calloc(1, sizeof *block + room);
        if (!block) return user_error("out of memory allocating %zu bytes", room);
        block->before = p->last;
        p->last = block;
        p->room = room;
        p->used = 0;
    }
    void *at = p->last->bytes + p->used;
    p->used += bytes;
    p->bytes += bytes;
    memcpy(out_pointer, &at, sizeof at);
    return NULL;
}

error *pool_step(pool *p)
{
    return ++p->steps <= JINJA_MOST_STEPS
               ? NULL
               : user_error("it takes more than %d steps", JINJA_MOST_STEPS);
}

void pool_free(pool *p)
{
    for (pool_block *b = p->last, *before; b; b = before) {
        before = b->before;
        free(b);
    }
    *p = (pool){0};
}

/* ---- words ---- */

typedef struct {
    pool *pool;
    const char *text;
    size_t n, at;
    int line;
    bool line_begins; /* only text that a tag has consumed precedes `at` in its line */
    words *out;
} lexer;

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool follows(const lexer *l, const char *what)
{
    size_t n = strlen(what);
    return l->n - l->at >= n && !memcmp(l->text + l->at, what, n);
}

static error *add_word(lexer *l, word w)
{
    w.line = l->line;
    TRY(grow_array(&l->out->word, &l->out->capacity, l->out->n + 1, sizeof w));
    l->out->word[l->out->n++] = w;
    return NULL;
}

static void pass(lexer *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        l->line += l->text[l->at + i] == '\n';
    l->at += n;
}

static void pass_space(lexer *l)
{
    for (size_t size; (size = blank_first(l->text + l->at, l->n - l->at)) > 0;)
        pass(l, size);
}

/* ---- escapes in strings, Python's ---- */

static void put_code(uint32_t code, char *to, size_t *used)
{
    int more = code < 0x80      ? 0
               : code < 0x800   ? 1
               : code < 0x10000 ? 2
                                : 3; /* bytes after the first */
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    to[(*used)++] = (char)(first[more] | code >> 6 * more);
    while (more-- > 0)
        to[(*used)++] = (char)(0x80 | (code >> 6 * more & 63));
}

/* Reads n digits of base 8 or 16; fewer are fine if there are at least `least`, else false. */
static bool read_code(const char *from, size_t n, size_t least, uint32_t base, uint32_t *code,
                      size_t *used)
{
    *code = 0;
    for (*used = 0; *used < n; ++*used) {
        char c = from[*used], lower = (char)(c | 0x20);
        uint32_t digit = is_digit(c)                    ? (uint32_t)(c - '0')
                         : lower >= 'a' && lower <= 'f' ? (uint32_t)(lower - 'a' + 10)
                                                        : base;
        if (digit >= base) break;
        *code = *code * base + digit;
    }
    return *used >= least;
}

/* The meaning of a backslash sequence of n > 1 bytes: its *size.  false: it has none. */
static bool unescape(const char *from, size_t n, char *to, size_t *used, size_t *size)
{
    static const char plain[] = "n\nt\tr\rb\bf\fv\va\a\\\\''\"\"", wide[] = "xuU";
    const char c = from[1], *kind = strchr(wide, c);
    uint32_t code;
    size_t digits;
    *size = 2;
    if (c == '\n') return true; /* a line continuation */
    for (size_t i = 0; i + 1 < sizeof plain; i += 2)
        if (c == plain[i]) {
            to[(*used)++] = plain[i + 1];
            return true;
        }
    if (c >= '0' && c <= '7') {
        read_code(from + 1, n - 1 < 3 ? n - 1 : 3, 1, 8, &code, &digits);
        *size = 1 + digits;
    } else if (c && kind) {
        size_t wanted = (size_t)2 << (kind - wide); /* 2, 4, 8 */
        if (n - 2 < wanted || !read_code(from + 2, wanted, wanted, 16, &code, &digits))
            return false;
        *size = 2 + digits;
    } else {
        to[(*used)++] = '\\'; /* as Python has it */
        *size = 1;
        return c != 'N' && (unsigned char)c < 0x80;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    put_code(code, to, used);
    return true;
}

static error *lex_string(lexer *l)
{
    char quote = l->text[l->at], *to;
    size_t end = l->at + 1, used = 0;
    while (end < l->n && l->text[end] != quote)
        end += l->text[end] == '\\' ? 2 : 1;
    if (end >= l->n) return user_error("line %d: a string that does not end", l->line);
    TRY(pool_take(l->pool, end - l->at, &to));
    for (size_t i = l->at + 1; i < end;) {
        if (l->text[i] != '\\') {
            to[used++] = l->text[i++];
            continue;
        }
        size_t size;
        if (!unescape(l->text + i, end - i, to, &used, &size)) {
            pass(l, i - l->at);
            return user_error("line %d: \\%.*s in a string is not supported", l->line,
                              (int)character_size(l->text + i + 1, end - i - 1), l->text + i + 1);
        }
        i += size;
    }
    TRY(add_word(l, (word){.kind = W_STRING, .text = to, .n = used}));
    pass(l, end + 1 - l->at);
    return NULL;
}

static error *lex_number(lexer *l)
{
    char digits[40];
    size_t n = 0;
    bool real = false;
    while (l->at + n < l->n && n + 1 < sizeof digits &&
           (is_digit(l->text[l->at + n]) || l->text[l->at + n] == '.')) {
        if (l->text[l->at + n] == '.') {
            if (real || l->at + n + 1 >= l->n || !is_digit(l->text[l->at + n + 1])) break;
            real = true;
        }
        digits[n] = l->text[l->at + n];
        n++;
    }
    digits[n] = 0;
    if (n > 18) return user_error("line %d: the number %.20s... is too long", l->line, digits);
    word w = {.kind = real ? W_REAL : W_INTEGER,
              .text = l->text + l->at,
              .n = n,
              .whole = strtoll(digits, NULL, 10),
              .real = strtod(digits, NULL)};
    TRY(add_word(l, w));
    l->at += n;
    return NULL;
}

static error *lex_operator(lexer *l)
{
    static const char *const all[] = {"==", "!=", "<=", ">=", "//", "**", "+", "-", "*",
                                      "/",  "%",  "~",  "<",  ">",  "(",  ")", "[", "]",
                                      "{",  "}",  ",",  ":",  ".",  "|",  "="};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (follows(l, all[i])) {
            TRY(add_word(l, (word){.kind = W_OPERATOR, .text = all[i], .n = strlen(all[i])}));
            l->at += strlen(all[i]);
            return NULL;
        }
    return user_error("line %d: '%.*s' has no meaning there", l->line,
                      (int)character_size(l->text + l->at, l->n - l->at), l->text + l->at);
}

static error *lex_word(lexer *l, int *depth)
{
    char c = l->text[l->at];
    size_t n = 0;
    if (c == '\'' || c == '"') return lex_string(l);
    if (is_digit(c)) return lex_number(l);
    while (l->at + n < l->n &&
           (is_letter(l->text[l->at + n]) || (n && is_digit(l->text[l->at + n]))))
        n++;
    if (n) {
        TRY(add_word(l, (word){.kind = W_NAME, .text = l->text + l->at, .n = n}));
        l->at += n;
        return NULL;
    }
    *depth += strchr("([{", c) ? 1 : strchr(")]}", c) && *depth ? -1 : 0;
    return lex_operator(l);
}

/* After the end of a tag: consumes the text that belongs to it. */
static void end_tag(lexer *l, bool trims)
{
    char sign = l->text[l->at];
    pass(l, sign == '-' || sign == '+' ? 3 : 2);
    if (sign == '-')
        pass_space(l);
    else if (sign != '+' && trims && l->at < l->n && l->text[l->at] == '\n')
        pass(l, 1);
    l->line_begins = l->text[l->at - 1] == '\n';
}

/* Are we at the end of a tag that ends with these two characters? */
static bool at_end(const lexer *l, const char *end)
{
    const char minus[] = {'-', end[0], end[1], 0}, plus[] = {'+', end[0], end[1], 0};
    return follows(l, end) || follows(l, minus) || (end[0] != '}' && follows(l, plus));
}

static error *lex_comment(lexer *l, int begun)
{
    while (l->at < l->n && !at_end(l, "#}"))
        pass(l, 1);
    if (l->at >= l->n) return user_error("line %d: a comment that does not end", begun);
    end_tag(l, true);
    return NULL;
}

static error *lex_tag(lexer *l, bool print)
{
    const char *end = print ? "}}" : "%}";
    int depth = 0, begun = l->line;
    TRY(add_word(l, (word){.kind = print ? W_PRINT : W_BLOCK}));
    for (;;) {
        pass_space(l);
        if (l->at >= l->n)
            return user_error("line %d: a tag %s that does not end", begun, print ? "{{" : "{%");
        if (!depth && at_end(l, end)) break;
        TRY(lex_word(l, &depth));
    }
    TRY(add_word(l, (word){.kind = print ? W_PRINT_END : W_BLOCK_END}));
    end_tag(l, !print);
    return NULL;
}

/* How much of the text before a tag is kept. */
static size_t kept(const lexer *l, size_t tag)
{
    size_t end = tag, line = tag;
    char sign = tag + 2 < l->n ? l->text[tag + 2] : 0;
    if (sign == '-') {
        for (size_t size; (size = blank_last(l->text + l->at, end - l->at)) > 0;)
            end -= size;
        return end;
    }
    if (sign == '+' || l->text[tag + 1] == '{') return end;
    while (line > l->at && l->text[line - 1] != '\n')
        line--;
    if (line == l->at && !l->line_begins) return end;
    for (size_t i = line, size; i < tag; i += size)
        if (!(size = blank_first(l->text + i, tag - i))) return end;
    return line;
}

static size_t next_tag(const lexer *l)
{
    for (size_t i = l->at; i + 1 < l->n; i++)
        if (l->text[i] == '{' && strchr("{%#", l->text[i + 1]) && l->text[i + 1]) return i;
    return l->n;
}

error *jinja_words(pool *p, const char *text, size_t n, words *out)
{
    lexer l = {.pool = p, .text = text, .n = n, .line = 1, .line_begins = true, .out = out};
    while (l.at < n) {
        size_t tag = next_tag(&l), end = tag < n ? kept(&l, tag) : n;
        if (end > l.at)
            TRY(add_word(&l, (word){.kind = W_DATA, .text = text + l.at, .n = end - l.at}));
        pass(&l, tag - l.at);
        if (tag == n) break;
        char kind = text[tag + 1];
        bool sign = tag + 2 < n && (text[tag + 2] == '-' || text[tag + 2] == '+');
        pass(&l, sign ? 3 : 2);
        TRY(kind == '#' ? lex_comment(&l, l.line) : lex_tag(&l, kind == '{'));
    }
    return add_word(&l, (word){.kind = W_END});
}
