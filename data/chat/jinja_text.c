/* jinja_text.c - string filters and methods, as in Python.  See jinja.h. */
#include "data/chat/jinja_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/utf8.h"

/* ---- white space ---- */

/* Python's str.isspace(). */
static bool is_blank(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Bytes of the last character; invalid UTF-8 counts byte by byte. */
static size_t last_size(const char *text, size_t n)
{
    size_t size = 1;
    while (size < 4 && size < n && ((unsigned char)text[n - size] & 0xc0) == 0x80)
        size++;
    return utf8_length((const uint8_t *)text + n - size, size) == size ? size : 1;
}

static size_t if_blank(const char *c, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)c;
    return utf8_length(bytes, size) == size && is_blank(utf8_decode(bytes, size)) ? size : 0;
}

size_t blank_first(const char *text, size_t n)
{
    return n ? if_blank(text, character_size(text, n)) : 0;
}

size_t blank_last(const char *text, size_t n)
{
    size_t size = n ? last_size(text, n) : 0;
    return n ? if_blank(text + n - size, size) : 0;
}

/* Its size if the character is in the set, else 0. */
static size_t if_in(const char *c, size_t n, const value *set)
{
    for (size_t i = 0, m; i < set->n; i += m) {
        m = character_size(set->text + i, set->n - i);
        if (m == n && !memcmp(c, set->text + i, n)) return n;
    }
    return 0;
}

error *strip_by(value x, const value *set, bool left, bool right, value *out)
{
    size_t begin = 0, end = x.n, size;
    if (x.kind != V_STRING) return user_error("strip of %s", v_kind_name(x));
    if (set && set->kind == V_NONE) set = NULL;
    if (set) TRY(need_string(set, "strip"));
    while (left && begin < end) {
        const char *c = x.text + begin;
        size = set ? if_in(c, character_size(c, end - begin), set) : blank_first(c, end - begin);
        if (!size) break;
        begin += size;
    }
    while (right && begin < end) {
        size = last_size(x.text + begin, end - begin);
        size = set ? if_in(x.text + end - size, size, set) : if_blank(x.text + end - size, size);
        if (!size) break;
        end -= size;
    }
    *out = v_string(x.text + begin, end - begin);
    return NULL;
}

CALLABLE(text_strip, strip_by(x, v[0], true, true, out))
CALLABLE(text_strip_left, strip_by(x, v[0], true, false, out))
CALLABLE(text_strip_right, strip_by(x, v[0], false, true, out))

/* ---- letters ---- */

static error *change_case(pool *p, value x, bool upper, value *out)
{
    char *text;
    if (x.kind != V_STRING) return user_error("upper or lower of %s", v_kind_name(x));
    TRY(pool_take(p, x.n + 1, &text));
    for (size_t i = 0; i < x.n; i++) {
        unsigned char c = (unsigned char)x.text[i];
        if (c >= 0x80) return user_error("upper and lower are for ASCII here, and the text is not");
        bool turns = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
        text[i] = (char)(turns ? c ^ 0x20 : c);
    }
    *out = v_string(text, x.n);
    return NULL;
}

CALLABLE(text_upper, change_case(p, x, true, out))
CALLABLE(text_lower, change_case(p, x, false, out))

typedef enum { OF_TEXT, OF_WORDS, AFTER_OTHERS } capitals_of;

/* Capitalizes first letters: of the text; of words after blanks, hyphens and opening brackets (the
 * filter title); of all that do not follow a letter (the method title). */
static error *capitals(pool *p, value x, capitals_of which, value *out)
{
    TRY(change_case(p, x, false, out));
    char *text = (char *)(size_t)out->text; /* made just now */
    bool first = true;
    for (size_t i = 0; i < out->n; i++) {
        char c = text[i];
        bool letter = c >= 'a' && c <= 'z';
        if (first && letter) text[i] = (char)(c ^ 0x20);
        first = which == OF_WORDS ? blank_first(&c, 1) || (c && strchr("-({[<", c))
                                  : which == AFTER_OTHERS && !letter;
    }
    return NULL;
}

CALLABLE(text_capitalize, capitals(p, x, OF_TEXT, out))
CALLABLE(text_title, capitals(p, x, AFTER_OTHERS, out))
CALLABLE(text_title_words, capitals(p, x, OF_WORDS, out))

/* ---- parts ---- */

error *text_replace(pool *p, value x, const value **v, value *out)
{
    buffer text = {0};
    TRY(need_string(v[0], "replace"));
    TRY(need_string(v[1], "replace"));
    if (x.kind != V_STRING) return user_error("replace in %s", v_kind_name(x));
    if (!v[0]->n) return user_error("replace of an empty string is not supported");
    for (size_t at = 0, end; at < x.n; at = end) {
        const char *found = memmem(x.text + at, x.n - at, v[0]->text, v[0]->n);
        end = found ? (size_t)(found - x.text) : x.n;
        TRY(buffer_add(p, &text, x.text + at, end - at));
        if (!found) break;
        TRY(buffer_add(p, &text, v[1]->text, v[1]->n));
        end += v[0]->n;
    }
    *out = v_string(text.text ? text.text : "", text.n);
    return NULL;
}

error *join_items(pool *p, value list, value between, bool shows, value *out)
{
    buffer text = {0};
    for (size_t i = 0; i < list.items->n; i++) {
        value item = list.items->item[i];
        if (shows)
            TRY(v_shown(p, item, &item));
        else
            TRY(need_string(&item, "join"));
        if (i) TRY(buffer_add(p, &text, between.text, between.n));
        TRY(buffer_add(p, &text, item.text, item.n));
    }
    *out = v_string(text.text ? text.text : "", text.n);
    return NULL;
}

error *text_join(pool *p, value x, const value **v, value *out)
{
    value list;
    TRY(v_items(p, *v[0], &list));
    return join_items(p, list, x, false, out);
}

/* Words, between any white space. */
static error *split_words(pool *p, value x, value *out)
{
    TRY(v_new(p, V_LIST, out));
    for (size_t i = 0, end, size; i < x.n; i = end) {
        while ((size = blank_first(x.text + i, x.n - i)) > 0)
            i += size;
        for (end = i; end < x.n && !blank_first(x.text + end, x.n - end);)
            end += character_size(x.text + end, x.n - end);
        if (end > i) TRY(v_append(p, *out, v_string(x.text + i, end - i)));
    }
    return NULL;
}

error *text_split(pool *p, value x, const value **v, value *out)
{
    int64_t most = v[1] ? v[1]->whole : -1;
    if (v[1] && v[1]->kind != V_INTEGER) return user_error("split takes a number as its second");
    if (!v[0] || v[0]->kind == V_NONE)
        return v[1] ? user_error("split by white space with maxsplit is not supported")
                    : split_words(p, x, out);
    TRY(need_string(v[0], "split"));
    if (!v[0]->n) return user_error("split by an empty string");
    size_t at = 0;
    TRY(v_new(p, V_LIST, out));
    for (const char *found; most != 0; most -= most > 0) {
        found = x.n > at ? memmem(x.text + at, x.n - at, v[0]->text, v[0]->n) : NULL;
        if (!found) break;
        TRY(v_append(p, *out, v_string(x.text + at, (size_t)(found - x.text) - at)));
        at = (size_t)(found - x.text) + v[0]->n;
    }
    return v_append(p, *out, v_string(x.text + at, x.n - at));
}

error *text_starts(pool *p, value x, const value **v, value *out)
{
    (void)p;
    TRY(need_string(v[0], "startswith"));
    *out = v_bool(v[0]->n <= x.n && (!v[0]->n || !memcmp(x.text, v[0]->text, v[0]->n)));
    return NULL;
}

error *text_ends(pool *p, value x, const value **v, value *out)
{
    (void)p;
    size_t n = v[0]->n;
    TRY(need_string(v[0], "endswith"));
    *out = v_bool(n <= x.n && (!n || !memcmp(x.text + x.n - n, v[0]->text, n)));
    return NULL;
}

/* ---- numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t pass_digits(const char *text, size_t i)
{
    while (is_digit(text[i]))
        i++;
    return i;
}

/* Is it a number in Python?  *whole: also for int(). */
static bool is_number(const char *text, bool *whole)
{
    size_t i = *text == '-' || *text == '+', begin = i, digits;
    i = pass_digits(text, i);
    digits = i - begin;
    *whole = digits && !text[i];
    if (text[i] == '.') {
        begin = ++i;
        i = pass_digits(text, i);
        digits += i - begin;
    }
    if (digits && (text[i] == 'e' || text[i] == 'E')) {
        i += text[i + 1] == '-' || text[i + 1] == '+' ? 2 : 1;
        if (!is_digit(text[i])) return false;
        i = pass_digits(text, i);
    }
    return digits && !text[i];
}

static error *real_to_integer(double x, value *out)
{
    if (!(x > -9.2e18 && x < 9.2e18)) return user_error("int of a number that is too large");
    *out = v_integer((int64_t)x);
    return NULL;
}

/* int() of a string, or of float() of it; otherwise the default. */
static error *parse_integer(value x, value otherwise, value *out)
{
    char text[64];
    size_t n = 0;
    bool whole;
    *out = otherwise;
    TRY(strip_by(x, NULL, true, true, &x));
    for (size_t i = 0; i < x.n; i++) {
        if ((unsigned char)x.text[i] >= 0x80) /* digits of other scripts count, too */
            return user_error("int of a text beyond ASCII is not supported");
        bool joins = x.text[i] == '_' && i && i + 1 < x.n && is_digit(x.text[i - 1]) &&
                     is_digit(x.text[i + 1]);
        if (!joins && n + 1 < sizeof text) text[n++] = x.text[i];
    }
    text[n] = 0;
    if (n + 1 == sizeof text) return user_error("int of so long a text is not supported");
    if (memchr(text, 0, n) || !is_number(text, &whole)) return NULL;
    if (!whole) return real_to_integer(strtod(text, NULL), out);
    errno = 0;
    *out = v_integer(strtoll(text, NULL, 10));
    return errno ? user_error("int of a number that is too large") : NULL;
}

error *text_to_integer(pool *p, value x, const value **v, value *out)
{
    (void)p;
    *out = v[0] ? *v[0] : v_integer(0);
    switch (x.kind) {
    case V_UNDEFINED:
        return user_error("int of %s", v_kind_name(x));
    case V_STRING:
        return parse_integer(x, *out, out);
    case V_BOOL:
        *out = v_integer(x.truth);
        return NULL;
    case V_INTEGER:
        *out = x;
        return NULL;
    case V_REAL:
        return real_to_integer(x.real, out);
    default:
        return NULL;
    }
}
