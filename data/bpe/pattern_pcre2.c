/* pattern_pcre2.c - pattern.h with PCRE2 */
#include "data/bpe/pattern.h"
#include "base/files.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { EXPRESSION_MAX = 1 << 14 };

/* Unicode's White_Space, as the members of a class. */
#define WHITE                                                                                      \
    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"       \
    "\\x{3000}"

struct pattern {
    pcre2_code *code;
    char *expression;
};

struct pattern_match {
    pcre2_match_data *data;
};

bool pattern_available(void)
{
    return true;
}

/* Expands \s, and \S outside of classes. */
static error *spell_white_space(const char *from, char **out)
{
    memory_stream m;
    TRY(memory_stream_open(&m, "a regular expression"));
    FILE *to = m.to;
    fputs("(*LF)(*BSR_UNICODE)", to); /* whatever the library's default is */
    bool in_class = false;
    for (const char *p = from; *p; p++) {
        if (*p == '\\' && p[1] == 's')
            fputs(in_class ? WHITE : "[" WHITE "]", to);
        else if (*p == '\\' && p[1] == 'S' && !in_class)
            fputs("[^" WHITE "]", to);
        else if (*p == '\\' && p[1])
            fprintf(to, "%c%c", *p, p[1]);
        else
            fputc(*p, to);
        if (*p == '\\' && p[1]) {
            p++;
        } else if (in_class) {
            in_class = *p != ']';
        } else if (*p == '[') { /* a ] in first place is a member */
            in_class = true;
            if (p[1] == '^') fputc(*++p, to);
            if (p[1] == ']') fputc(*++p, to);
        }
    }
    TRY(memory_stream_close(&m));
    *out = m.text;
    return NULL;
}

static error *compile(pattern *p, const char *expression)
{
    char *spelled = NULL;
    int number;
    size_t at;
    p->expression = strdup(expression);
    if (!p->expression) return user_error("out of memory for a regular expression");
    error *e = spell_white_space(expression, &spelled);
    if (!e)
        p->code =
            pcre2_compile((PCRE2_SPTR)spelled, PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &at, NULL);
    free(spelled);
    if (e || p->code) {
        /* where the machine does not permit generated code, matching is slower but the same */
        if (!e) (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
        return e;
    }
    char reason[200];
    pcre2_get_error_message(number, (PCRE2_UCHAR *)reason, sizeof reason);
    return user_error("its regular expression '%.200s' is not understood: %s: check the file",
                      expression, reason);
}

error *pattern_compile(const char *expression, pattern **out)
{
    size_t length = strlen(expression);
    if (length > EXPRESSION_MAX)
        return user_error("its regular expression has %zu bytes, more than %d: check the file",
                          length, EXPRESSION_MAX);
    pattern *p;
    TRY(alloc_array(&p, 1, sizeof *p));
    error *e = compile(p, expression);
    if (e) {
        pattern_free(p);
        return e;
    }
    *out = p;
    return NULL;
}

void pattern_free(pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    free(p->expression);
    free(p);
}

const char *pattern_expression(const pattern *p)
{
    return p->expression;
}

bool pattern_can_be_empty(const pattern *p)
{
    uint32_t empty = 0;
    return pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty) != 0 || empty;
}

error *pattern_match_create(const pattern *p, pattern_match **out)
{
    pattern_match *m;
    TRY(alloc_array(&m, 1, sizeof *m));
    m->data = pcre2_match_data_create_from_pattern(p->code, NULL);
    if (!m->data) {
        free(m);
        return user_error("out of memory for matching a regular expression");
    }
    *out = m;
    return NULL;
}

void pattern_match_free(pattern_match *m)
{
    if (!m) return;
    pcre2_match_data_free(m->data);
    free(m);
}

error *pattern_next(const pattern *p, pattern_match *m, const uint8_t *text, size_t n, size_t at,
                    size_t *begin, size_t *end)
{
    int found =
        pcre2_match(p->code, text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, m->data, NULL);
    if (found == PCRE2_ERROR_NOMATCH) {
        *begin = *end = n;
        return NULL;
    }
    if (found < 0) {
        char reason[200];
        pcre2_get_error_message(found, (PCRE2_UCHAR *)reason, sizeof reason);
        return user_error("the regular expression fails at byte %zu of %zu: %s: break the text up",
                          at, n, reason);
    }
    const size_t *where = pcre2_get_ovector_pointer(m->data);
    if (where[0] < at || where[1] <= where[0]) /* \K inside an assertion can cause that */
        return user_error("the regular expression '%.200s' matches backwards: it cannot cut text",
                          p->expression);
    *begin = where[0];
    *end = where[1];
    return NULL;
}
