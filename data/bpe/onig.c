/* onig.c - see onig.h
 *
 * One pass from left to right.  A quantifier follows what it repeats, so the position in the output
 * where the last atom began is remembered, one for each open group:
 *
 *     in    ( ? : a b { 1 , 2 } +
 *     out   ( ? : a ( ? : b { 1 , 2 } ) +        "(?:" is inserted where b began
 */
#include "data/bpe/onig.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"

enum { MOST_DEPTH = 100, MOST_CLASS_DEPTH = 20 };

/* Outside of classes Oniguruma counts the superscript digits and fractions of Latin-1, too; inside
 * it does not. */
#define WORD_IN_CLASS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD          WORD_IN_CLASS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define HEX           "0-9A-Fa-f"

typedef struct {
    const char *from, *at; /* the whole expression, and the rest */
    char *out;
    size_t n, capacity;
    size_t atom[MOST_DEPTH]; /* where the last atom of each open group begins */
    int depth;
    bool repeated; /* the last atom has its repetition */
} translator;

static error *put_pattern(translator *t, const char *text, size_t n)
{
    TRY(grow_array(&t->out, &t->capacity, t->n + n + 1, 1));
    memcpy(t->out + t->n, text, n);
    t->n += n;
    t->out[t->n] = 0;
    return NULL;
}

static error *put_text(translator *t, const char *text)
{
    return put_pattern(t, text, strlen(text));
}

static error *insert(translator *t, size_t offset, const char *text)
{
    size_t n = strlen(text), behind = t->n - offset;
    TRY(put_pattern(t, text, n));
    memmove(t->out + offset + n, t->out + offset, behind);
    memcpy(t->out + offset, text, n);
    return NULL;
}

/* The n bytes at t->at are unsupported. */
static error *refuse(const translator *t, size_t n)
{
    return user_error("the regular expression '%.100s' has '%.*s', which its library takes and is "
                      "not supported: use another tokenizer, or give ids (generate --prompt-ids)",
                      t->from, (int)n, t->at);
}

static void begin_atom(translator *t)
{
    t->atom[t->depth] = t->n;
    t->repeated = false;
}

/* ---- escapes ---- */

static size_t hex_digits(const char *p, size_t most)
{
    size_t n = strspn(p, "0123456789abcdefABCDEF");
    return n < most ? n : most;
}

/* \p{...} or \P{...}: general categories, and scripts. */
static error *property(translator *t)
{
    static const char *const general[] = {
        "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",
        "Mc", "Me", "Mn", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi",
        "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs", "Any"};
    static const char *const scripts[] = {
        "Arabic",    "Armenian", "Bengali",  "Bopomofo", "Cyrillic", "Devanagari", "Ethiopic",
        "Georgian",  "Greek",    "Gujarati", "Gurmukhi", "Han",      "Hangul",     "Hebrew",
        "Hiragana",  "Kannada",  "Katakana", "Khmer",    "Lao",      "Latin",      "Malayalam",
        "Mongolian", "Myanmar",  "Sinhala",  "Tamil",    "Telugu",   "Thai",       "Tibetan"};
    const char *name = t->at + 3, *end = t->at[2] == '{' ? strchr(name, '}') : NULL;
    char sign = t->at[1];
    if (!end) return refuse(t, 3);
    if (*name == '^') {
        sign = sign == 'p' ? 'P' : 'p';
        name++;
    }
    size_t n = (size_t)(end - name), length = (size_t)(end + 1 - t->at);
    char known[40] = "";
    for (size_t i = 0; i < sizeof general / sizeof *general; i++)
        if (strlen(general[i]) == n && !strncmp(general[i], name, n))
            snprintf(known, sizeof known, "\\%c{%s}", sign, general[i]);
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        if (strlen(scripts[i]) == n && !strncmp(scripts[i], name, n))
            snprintf(known, sizeof known, "\\%c{sc:%s}", sign, scripts[i]);
    if (!*known) return refuse(t, length);
    t->at += length;
    return put_text(t, known);
}

/* A character by its number: \x41, \x{1F600}, \u3000. */
static error *repeat_number(translator *t)
{
    char text[20];
    bool braces = t->at[1] == 'x' && t->at[2] == '{';
    const char *digits = t->at + 2 + braces;
    size_t n = hex_digits(digits, braces ? 6 : t->at[1] == 'u' ? 4 : 2);
    if (n < (braces ? 1u : t->at[1] == 'u' ? 4u : 2u) || (braces && digits[n] != '}'))
        return refuse(t, 2);
    snprintf(text, sizeof text, "\\x{%.*s}", (int)n, digits);
    t->at = digits + n + braces;
    return put_text(t, text);
}

static error *escape(translator *t, bool in_class)
{
    static const struct {
        char letter;
        const char *alone, *in_class; /* NULL: cannot be expressed there */
    } letters[] = {
        {'w', "[" WORD "]", WORD_IN_CLASS},
        {'W', "[^" WORD "]", NULL},
        {'h', "[" HEX "]", HEX},
        {'H', "[^" HEX "]", NULL},
        {'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))", "\\x{8}"},
        {'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))", NULL},
        {'d', "\\p{Nd}", "\\p{Nd}"},
        {'D', "\\P{Nd}", "\\P{Nd}"},
        {'s', "\\s", "\\s"}, /* pattern_pcre2.c expands White_Space */
        {'S', "\\S", NULL},
        {'A', "\\A", NULL},
        {'z', "\\z", NULL},
        {'Z', "\\Z", NULL},
        {'t', "\\t", "\\t"},
        {'n', "\\n", "\\n"},
        {'r', "\\r", "\\r"},
        {'f', "\\f", "\\f"},
        {'v', "\\x{B}", "\\x{B}"},
        {'a', "\\a", "\\a"},
        {'e', "\\e", "\\e"},
    };
    char c = t->at[1];
    if (c == 'p' || c == 'P') return property(t);
    if (c == 'x' || c == 'u') return repeat_number(t);
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        const char *said = in_class ? letters[i].in_class : letters[i].alone;
        if (c != letters[i].letter) continue;
        if (!said) return refuse(t, 2);
        t->at += 2;
        return put_text(t, said);
    }
    bool plain = c && !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'));
    if (!plain || (c & 0x80)) return refuse(t, c ? 2 : 1);
    t->at += 2;
    return put_pattern(t, t->at - 2, 2);
}

/* ---- classes ---- */

/* The members up to the closing bracket, including those of inner classes. */
static error *members(translator *t, int depth)
{
    if (depth > MOST_CLASS_DEPTH) return refuse(t, 1);
    for (bool first = true; *t->at; first = false) {
        if (t->at[0] == ']' && !first) return NULL;
        if (t->at[0] == '&' && t->at[1] == '&') return depth ? refuse(t, 2) : NULL;
        if (t->at[0] == '[') {
            if (t->at[1] == ':' || t->at[1] == '^') return refuse(t, 2);
            t->at++;
            TRY(members(t, depth + 1));
            if (*t->at != ']') break;
            t->at++;
        } else if (t->at[0] == '\\') {
            TRY(escape(t, true));
        } else {
            if (*t->at == ']') TRY(put_text(t, "\\"));
            TRY(put_pattern(t, t->at++, 1));
        }
    }
    return user_error("the regular expression '%.100s' has a class without an end", t->from);
}

/* [A&&[B]] as (?:(?=[B])[A]): only one class in brackets may follow &&. */
static error *intersection(translator *t, size_t begin)
{
    bool negated = t->out[begin + 1] == '^';
    if (negated || t->at[2] != '[') return refuse(t, 2);
    t->at += 3;
    size_t offset = t->n;
    TRY(put_text(t, "](?:(?=["));
    size_t other = t->n;
    if (*t->at == '^') TRY(put_pattern(t, t->at++, 1));
    TRY(members(t, 1));
    if (t->at[0] != ']' || t->at[1] != ']') return refuse(t, 1);
    t->at += 2;
    /* out: [A](?:(?=[B   ->   (?:(?=[B])[A]) */
    char *second = strdup(t->out + other), *first = strdup(t->out + begin);
    if (!second || !first) {
        free(second);
        free(first);
        return user_error("out of memory for a regular expression");
    }
    size_t n_first = offset - begin;
    t->n = begin;
    error *e = put_text(t, "(?:(?=[");
    if (!e) e = put_text(t, second);
    if (!e) e = put_text(t, "])");
    if (!e) e = put_pattern(t, first, n_first);
    if (!e) e = put_text(t, "])");
    free(second);
    free(first);
    return e;
}

static error *class(translator *t)
{
    size_t begin = t->n;
    TRY(put_pattern(t, t->at++, 1));
    if (*t->at == '^') TRY(put_pattern(t, t->at++, 1));
    TRY(members(t, 0));
    if (*t->at == '&') return intersection(t, begin);
    t->at++;
    return put_text(t, "]");
}

/* ---- groups ---- */

/* (?imx-imx: or (?imx-imx), where m is PCRE2's s. */
static error *options(translator *t)
{
    const char *p = t->at + 2;
    size_t n = strspn(p, "imx-");
    if (!n || (p[n] != ':' && p[n] != ')')) return refuse(t, 3);
    bool open = p[n] == ':';
    if (!open) return refuse(t, n + 3); /* in Ruby it also applies to the following alternatives */
    TRY(put_text(t, "(?"));
    for (size_t i = 0; i < n; i++)
        TRY(put_pattern(t, p[i] == 'm' ? "s" : p + i, 1));
    if (memchr(p, 'x', n)) return refuse(t, n + 3); /* blanks would be ignored */
    t->at = p + n + 1;
    return put_text(t, ":");
}

static error *open_group(translator *t)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    if (t->depth + 1 == MOST_DEPTH) return refuse(t, 1);
    begin_atom(t);
    if (t->at[1] != '?') {
        if (t->at[1] == '*') return refuse(t, 2);
        t->at++;
        TRY(put_text(t, "(?:")); /* nothing refers to it */
    } else {
        size_t n = 0;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!strncmp(t->at, known[i], strlen(known[i]))) n = strlen(known[i]);
        if (n) {
            t->at += n;
            TRY(put_pattern(t, t->at - n, n));
        } else {
            TRY(options(t));
        }
    }
    t->atom[++t->depth] = t->n;
    t->repeated = true; /* nothing to repeat yet */
    return NULL;
}

/* ---- repetitions ---- */

/* {n}, {n,}, {n,m}, {,m}: its length, or 0 if the brace is a literal. */
static size_t interval(const char *p, char out[40], bool *exact)
{
    size_t low = strspn(p + 1, "0123456789"), comma = p[1 + low] == ',';
    size_t high = comma ? strspn(p + 2 + low, "0123456789") : 0;
    if (p[1 + low + comma + high] != '}' || low + high == 0 || low > 5 || high > 5) return 0;
    *exact = !comma;
    snprintf(out, 40, "{%s%.*s}", low ? "" : "0", (int)(low + comma + high), p + 1);
    return 2 + low + comma + high;
}

static error *repeat(translator *t)
{
    size_t atom = t->atom[t->depth];
    char text[40];
    bool exact = false;
    if (t->repeated) return refuse(t, 1);
    t->repeated = true;
    if (*t->at != '{') {
        TRY(put_pattern(t, t->at++, 1));
        if (*t->at == '+' || *t->at == '?') TRY(put_pattern(t, t->at++, 1));
        return NULL;
    }
    t->at += interval(t->at, text, &exact);
    bool again = *t->at == '+' || (*t->at == '?' && exact);
    if (again) TRY(insert(t, atom, "(?:"));
    TRY(put_text(t, text));
    if (again) TRY(put_text(t, ")"));
    if (*t->at == '+' || *t->at == '?') TRY(put_pattern(t, t->at++, 1));
    return NULL;
}

static error *one(translator *t)
{
    char text[40];
    bool exact;
    switch (*t->at) {
    case '*':
    case '+':
    case '?':
        return repeat(t);
    case '{':
        if (interval(t->at, text, &exact)) return repeat(t);
        begin_atom(t);
        t->at++;
        return put_text(t, "\\{");
    case '(':
        return open_group(t);
    case ')':
        if (!t->depth) return refuse(t, 1);
        t->depth--;
        t->repeated = false;
        return put_pattern(t, t->at++, 1);
    case '|':
        t->repeated = true;
        return put_pattern(t, t->at++, 1);
    case '^':
    case '$':
        begin_atom(t);
        return put_text(t, *t->at++ == '^' ? "(?m:^)" : "(?m:$)");
    case '[':
        begin_atom(t);
        return class(t);
    case '\\':
        begin_atom(t);
        return escape(t, false);
    default:
        break;
    }
    begin_atom(t); /* a literal character, all of its bytes */
    do
        TRY(put_pattern(t, t->at++, 1));
    while ((*t->at & 0xC0) == 0x80);
    return NULL;
}

error *onig_translate(const char *expression, char **out)
{
    translator t = {.from = expression, .at = expression, .repeated = true};
    error *e = put_pattern(&t, "", 0);
    while (!e && *t.at)
        e = one(&t);
    if (!e && t.depth)
        e = user_error("the regular expression '%.100s' has a group without an end", expression);
    if (e) {
        free(t.out);
        return e;
    }
    *out = t.out;
    return NULL;
}

error *onig_literal(const char *text, char **out)
{
    translator t = {.from = text, .at = text};
    error *e = put_pattern(&t, "", 0);
    for (; !e && *t.at; t.at++) {
        if (strchr("\\^$.|?*+()[]{}#-", *t.at)) e = put_pattern(&t, "\\", 1);
        if (!e) e = put_pattern(&t, t.at, 1);
    }
    if (e) {
        free(t.out);
        return e;
    }
    *out = t.out;
    return NULL;
}
