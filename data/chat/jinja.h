/* jinja.h - chat templates: the subset of Jinja2 in which models define the format of
 * conversations.
 *
 *     template   {% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}
 *                      |  jinja_lex.c    pieces of text, and the words between {{ }} and {% %}
 *                      |  jinja_parse.c  a tree
 *     variables  ------+  jinja_eval.c   values (jinja_value.c), filters, tests and methods (jinja_call.c, jinja_text.c)
 *                      v
 *     text       <|user|>3 + 4
 *
 * Rendered as in transformers: trim_blocks and lstrip_blocks on, loop controls, no escaping,
 * raise_exception() and tojson, {% generation %} around what a model learns.  strftime_now is not
 * defined: a template that tests for it has a fixed date as a fallback, and the same data must give
 * the same text tomorrow.  Everything outside of the subset is refused with its name and line,
 * never ignored.
 *
 * A template is untrusted code, so it is bounded: depth, steps and memory end in an error.
 */
#ifndef REGRAD_JINJA_H
#define REGRAD_JINJA_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "base/error.h"

enum { JINJA_MOST_TEMPLATE = 1 << 20 }; /* bytes */

typedef struct jinja jinja;

/* `name` is for messages; both texts may be freed afterwards. */
error *jinja_parse(const char *name, const char *text, size_t n, jinja **out) NODISCARD;
void jinja_free(jinja *t); /* NULL is ignored */

/* What {% generation %} has marked: bytes [begin, end) of the text. */
typedef struct {
    size_t begin, end;
} jinja_span;

typedef struct {
    char *text; /* (n), and a terminating NUL */
    size_t n;
    jinja_span *spans; /* (n_spans), in order */
    size_t n_spans, capacity;
} jinja_text;

/* The members of `variables` are visible in the template.  User errors: what the template raises,
 * and its faults.  Call jinja_text_free in any case. */
error *jinja_render(const jinja *t, const cJSON *variables, jinja_text *out) NODISCARD;
void jinja_text_free(jinja_text *text);

#endif
