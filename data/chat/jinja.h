/* jinja.h - chat templates: the part of Jinja2 in which models say how their conversations are written.
 *
 *     template   {% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}
 *                      |  jinja_lex.c    pieces of text, and the words between {{ }} and {% %}
 *                      |  jinja_parse.c  a tree
 *     variables  ------+  jinja_eval.c   values (jinja_value.c), filters, tests and methods (jinja_call.c, jinja_text.c)
 *                      v
 *     text       <|user|>3 + 4
 *
 * Rendered as transformers has Jinja2 render: trim_blocks and lstrip_blocks on, loop controls, nothing escaped,
 * raise_exception() and tojson as there, {% generation %} around what a model learns.  strftime_now is not
 * defined: a template that asks for it, too, has a fixed date for that case, and the same data must give the
 * same text tomorrow.  What is not in this part is refused with its name and line, never passed over.
 *
 * A template is foreign code, so it is bounded: depth, steps and memory end in an error.
 */
#ifndef REGRAD_JINJA_H
#define REGRAD_JINJA_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "base/error.h"

enum { JINJA_MOST_TEMPLATE = 1 << 20 }; /* bytes */

typedef struct jinja jinja;

/* `name` is for messages; both texts may go away. */
error *jinja_parse(const char *name, const char *text, size_t n, jinja **out) NODISCARD;
void jinja_free(jinja *t); /* NULL is fine */

/* What {% generation %} has marked: bytes [begin, end) of the text. */
typedef struct {
    size_t begin, end;
} jinja_span;

typedef struct {
    char *text; /* (n), and a zero */
    size_t n;
    jinja_span *spans; /* (n_spans), in order */
    size_t n_spans, capacity;
} jinja_text;

/* The members of `variables` are the template's.  User errors: what the template raises, what is wrong in
 * it.  jinja_text_free in any case. */
error *jinja_render(const jinja *t, const cJSON *variables, jinja_text *out) NODISCARD;
void jinja_text_free(jinja_text *text);

#endif
