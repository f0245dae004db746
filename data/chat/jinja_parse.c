/* jinja_parse.c - parses a template's tokens to a tree.  See jinja.h.
 *
 * Expressions, from the lowest precedence: b if a else c | or | and | not | == in ... | + - | ~ | *
 * / // % | - | postfix: .name [index] (arguments) | filter is test.
 */
#include "data/chat/jinja_internal.h"

#include <stdlib.h>

typedef struct {
    pool *pool;
    const word *at;
    int depth;
    const node *macro; /* ? the macro whose body is being parsed */
} parser;

static error *parse_expression(parser *p, node **out);
static error *parse_or(parser *p, node **out);
static error *parse_unary(parser *p, bool filters, node **out);
static error *parse_body(parser *p, const char *const *ends, node **out);

/* ---- words ---- */

static bool is_name(const parser *p, const char *name)
{
    return p->at->kind == W_NAME && is_text(p->at->text, p->at->n, name);
}

static bool is_operator(const parser *p, const char *name)
{
    return p->at->kind == W_OPERATOR && is_text(p->at->text, p->at->n, name);
}

static bool take_name(parser *p, const char *name)
{
    bool is = is_name(p, name);
    p->at += is;
    return is;
}

static bool take_operator(parser *p, const char *name)
{
    bool is = is_operator(p, name);
    p->at += is;
    return is;
}

static error *unexpected(const parser *p, const char *wanted)
{
    static const char *const shown[] = {
        [W_DATA] = "text",        [W_PRINT] = "{{",      [W_PRINT_END] = "}}",
        [W_BLOCK] = "{%",         [W_BLOCK_END] = "%}",  [W_STRING] = "a string",
        [W_INTEGER] = "a number", [W_REAL] = "a number", [W_END] = "the end of the template"};
    const word *w = p->at;
    if (w->kind == W_NAME || w->kind == W_OPERATOR)
        return user_error("line %d: '%.*s' where %s should be", w->line,
                          (int)(w->n < 40 ? w->n : 40), w->text, wanted);
    return user_error("line %d: %s where %s should be", w->line, shown[w->kind], wanted);
}

static error *expect_operator(parser *p, const char *name)
{
    return take_operator(p, name) ? NULL : unexpected(p, name);
}

static error *make_node(parser *p, node_kind kind, node **out)
{
    TRY(pool_take(p->pool, sizeof **out, out));
    (*out)->kind = kind;
    (*out)->line = p->at->line;
    return NULL;
}

/* The token becomes the node's text. */
static error *make_named(parser *p, node_kind kind, node **out)
{
    TRY(make_node(p, kind, out));
    if (p->at->kind != W_NAME) return unexpected(p, "a name");
    (*out)->text = p->at->text;
    (*out)->n = p->at->n;
    p->at++;
    return NULL;
}

static error *deeper(parser *p)
{
    if (p->depth < JINJA_MOST_DEPTH) return NULL;
    return user_error("line %d: it nests deeper than %d", p->at->line, JINJA_MOST_DEPTH);
}

/* ---- values ---- */

/* What is between two commas, one node or several; *last then points after them. */
typedef error *parse_item(parser *p, node ***last);

/* Items up to `end`, separated by commas; *several: there is a comma (?). */
static error *parse_items(parser *p, const char *end, parse_item *item, bool *several, node **out)
{
    node **last = out;
    *out = NULL;
    while (!take_operator(p, end)) {
        TRY(item(p, &last));
        if (take_operator(p, end)) break;
        TRY(expect_operator(p, ","));
        if (several) *several = true;
    }
    return NULL;
}

static error *parse_one(parser *p, node ***last)
{
    TRY(parse_expression(p, *last));
    *last = &(**last)->next;
    return NULL;
}

/* key: value */
static error *parse_pair(parser *p, node ***last)
{
    TRY(parse_one(p, last));
    TRY(expect_operator(p, ":"));
    return parse_one(p, last);
}

/* value, or name=value */
static error *parse_argument(parser *p, node ***last)
{
    bool named = p->at->kind == W_NAME && p->at[1].kind == W_OPERATOR &&
                 is_text(p->at[1].text, p->at[1].n, "=");
    if (!named) return parse_one(p, last);
    TRY(make_named(p, N_KEYWORD, *last));
    p->at++;
    TRY(parse_expression(p, &(**last)->a));
    *last = &(**last)->next;
    return NULL;
}

static error *parse_arguments(parser *p, node **out)
{
    return parse_items(p, ")", parse_argument, NULL, out);
}

/* (a) is a; (a, b) is a list. */
static error *parse_parentheses(parser *p, node **out)
{
    node *list;
    bool several = false;
    TRY(make_node(p, N_LIST, &list));
    TRY(parse_items(p, ")", parse_one, &several, &list->list));
    *out = list->list && !several ? list->list : list;
    return NULL;
}

static error *parse_string(parser *p, node **out)
{
    size_t n = 0;
    char *text;
    TRY(make_node(p, N_STRING, out));
    for (const word *w = p->at; w->kind == W_STRING; w++)
        n += w->n;
    TRY(pool_take(p->pool, n + 1, &text));
    (*out)->text = text;
    (*out)->n = n;
    for (; p->at->kind == W_STRING; p->at++) { /* "a" "b" is "ab" */
        memcpy(text, p->at->text, p->at->n);
        text += p->at->n;
    }
    return NULL;
}

/* What Jinja2 passes to a macro whose body uses it, unless it is a parameter. */
static error *refuse_given(const parser *p)
{
    static const char *const given[] = {"varargs", "kwargs", "caller"};
    for (size_t i = 0; p->macro && i < sizeof given / sizeof *given; i++) {
        bool parameter = false;
        for (const node *a = p->macro->list; a; a = a->next)
            parameter = parameter || is_text(a->text, a->n, given[i]);
        if (is_name(p, given[i]) && !parameter)
            return user_error("line %d: %s of a macro is not supported", p->at->line, given[i]);
    }
    return NULL;
}

static error *parse_name(parser *p, node **out)
{
    static const struct {
        const char *name;
        node_kind kind;
    } constants[] = {{"true", N_TRUE},   {"True", N_TRUE}, {"false", N_FALSE},
                     {"False", N_FALSE}, {"none", N_NONE}, {"None", N_NONE}};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (is_name(p, constants[i].name)) {
            TRY(make_node(p, constants[i].kind, out));
            p->at++;
            return NULL;
        }
    TRY(refuse_given(p));
    return make_named(p, N_NAME, out);
}

static error *parse_primary(parser *p, node **out)
{
    switch (p->at->kind) {
    case W_NAME:
        return parse_name(p, out);
    case W_STRING:
        return parse_string(p, out);
    case W_INTEGER:
    case W_REAL:
        TRY(make_node(p, p->at->kind == W_REAL ? N_REAL : N_INTEGER, out));
        (*out)->whole = p->at->whole;
        (*out)->real = p->at->real;
        p->at++;
        return NULL;
    default:
        break;
    }
    if (take_operator(p, "(")) return parse_parentheses(p, out);
    bool dict = is_operator(p, "{");
    if (!dict && !is_operator(p, "[")) return unexpected(p, "a value");
    TRY(make_node(p, dict ? N_DICT : N_LIST, out));
    p->at++;
    return parse_items(p, dict ? "}" : "]", dict ? parse_pair : parse_one, NULL, &(*out)->list);
}

/* The contents of brackets: an index, or a slice with optional parts. */
static error *parse_index(parser *p, node *of, node **out)
{
    node *part[3] = {0};
    int n = 0;
    TRY(make_node(p, N_INDEX, out));
    (*out)->a = of;
    while (!is_operator(p, "]")) {
        if (take_operator(p, ":")) {
            if (++n > 2) return unexpected(p, "]");
            continue;
        }
        if (part[n]) return unexpected(p, "]");
        TRY(parse_expression(p, &part[n]));
    }
    if (!n && !part[0]) return unexpected(p, "an index");
    p->at++;
    (*out)->kind = n ? N_SLICE : N_INDEX;
    (*out)->b = part[0];
    (*out)->c = part[1];
    (*out)->d = part[2];
    return NULL;
}

static error *parse_postfix(parser *p, node **out)
{
    for (;;) {
        node *of = *out;
        if (take_operator(p, ".")) {
            TRY(make_named(p, N_ATTRIBUTE, out));
            (*out)->a = of;
        } else if (take_operator(p, "[")) {
            TRY(parse_index(p, of, out));
        } else if (is_operator(p, "(")) {
            TRY(make_node(p, N_CALL, out));
            p->at++;
            (*out)->a = of;
            TRY(parse_arguments(p, &(*out)->list));
        } else {
            return NULL;
        }
    }
}

/* A test may have one argument without parentheses: x is divisibleby 3 */
static bool has_argument(const parser *p)
{
    static const char *const others[] = {"else", "or", "and", "if", "is", "in", "not"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (is_name(p, others[i])) return false;
    return p->at->kind == W_NAME || p->at->kind == W_STRING || p->at->kind == W_INTEGER ||
           p->at->kind == W_REAL || is_operator(p, "[") || is_operator(p, "{");
}

static error *parse_test(parser *p, node **out)
{
    node *of = *out;
    bool not = take_name(p, "not");
    TRY(make_named(p, N_TEST, out));
    node *test = *out;
    test->a = of;
    if (take_operator(p, "(")) {
        TRY(parse_arguments(p, &test->list));
    } else if (has_argument(p)) {
        TRY(parse_primary(p, &test->list));
        TRY(parse_postfix(p, &test->list));
    }
    if (!not ) return NULL;
    TRY(make_node(p, N_NOT, out));
    (*out)->a = test;
    return NULL;
}

static error *parse_filters(parser *p, node **out)
{
    for (;;) {
        node *of = *out;
        if (take_operator(p, "|")) {
            TRY(make_named(p, N_FILTER, out));
            (*out)->a = of;
            if (take_operator(p, "(")) TRY(parse_arguments(p, &(*out)->list));
        } else if (take_name(p, "is")) {
            TRY(parse_test(p, out));
        } else {
            return NULL;
        }
    }
}

static error *parse_unary(parser *p, bool filters, node **out)
{
    if (is_operator(p, "-")) {
        TRY(make_node(p, N_MINUS, out));
        node *minus = *out;
        p->at++;
        TRY(deeper(p));
        p->depth++;
        TRY(parse_unary(p, false, &minus->a));
        p->depth--;
    } else {
        TRY(parse_primary(p, out));
    }
    TRY(parse_postfix(p, out));
    return filters ? parse_filters(p, out) : NULL;
}

/* Left-associative operators of one level. */
typedef struct {
    const char *names[6];
} level;

static const level levels[] = {{{"+", "-"}}, {{"~"}}, {{"*", "/", "//", "%"}}};
enum { LEVELS = sizeof levels / sizeof *levels };

static error *parse_level(parser *p, size_t l, node **out)
{
    if (l == LEVELS) return parse_unary(p, true, out);
    TRY(parse_level(p, l + 1, out));
    for (size_t i = 0; levels[l].names[i]; i++) {
        if (!is_operator(p, levels[l].names[i])) continue;
        node *left = *out;
        TRY(make_node(p, N_BINARY, out));
        (*out)->a = left;
        (*out)->text = p->at->text;
        (*out)->n = p->at->n;
        p->at++;
        TRY(parse_level(p, l + 1, &(*out)->b));
        i = SIZE_MAX; /* and starts with the first again */
    }
    return NULL;
}

/* a < b < c is (a < b) and (b < c) in Python; unusual in templates, and refused. */
static error *parse_compare(parser *p, node **out)
{
    static const char *const names[] = {"==", "!=", "<=", ">=", "<", ">"};
    TRY(parse_level(p, 0, out));
    node *left = *out;
    const word *begun = p->at;
    bool not =
        is_name(p, "not") && p->at[1].kind == W_NAME && is_text(p->at[1].text, p->at[1].n, "in");
    const char *found = not || is_name(p, "in") ? "in" : NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        if (is_operator(p, names[i])) found = names[i];
    if (!found) return NULL;
    TRY(make_node(p, N_BINARY, out));
    node *compare = *out;
    p->at += not ? 2 : 1;
    compare->text = found;
    compare->n = strlen(found);
    compare->a = left;
    TRY(parse_level(p, 0, &compare->b));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_operator(p, names[i]))
            return user_error("line %d: a chain of comparisons is not supported", begun->line);
    if (!not ) return NULL;
    TRY(make_node(p, N_NOT, out));
    (*out)->a = compare;
    return NULL;
}

static error *parse_not(parser *p, node **out)
{
    if (!is_name(p, "not")) return parse_compare(p, out);
    TRY(make_node(p, N_NOT, out));
    p->at++;
    TRY(deeper(p));
    p->depth++;
    TRY(parse_not(p, &(*out)->a));
    p->depth--;
    return NULL;
}

typedef error *parse_function(parser *p, node **out);

/* operands, of `next`, between which the name stands */
static error *parse_chain(parser *p, const char *name, node_kind kind, parse_function *next,
                          node **out)
{
    TRY(next(p, out));
    while (is_name(p, name)) {
        node *left = *out;
        TRY(make_node(p, kind, out));
        p->at++;
        (*out)->a = left;
        TRY(next(p, &(*out)->b));
    }
    return NULL;
}

static error *parse_and(parser *p, node **out)
{
    return parse_chain(p, "and", N_AND, parse_not, out);
}

static error *parse_or(parser *p, node **out)
{
    return parse_chain(p, "or", N_OR, parse_and, out);
}

static error *parse_expression(parser *p, node **out)
{
    TRY(deeper(p));
    p->depth++;
    TRY(parse_or(p, out));
    if (is_name(p, "if")) {
        node *value_ = *out;
        TRY(make_node(p, N_CHOICE, out));
        node *choice = *out;
        p->at++;
        choice->b = value_;
        TRY(parse_or(p, &choice->a));
        if (take_name(p, "else")) TRY(parse_expression(p, &choice->c));
    }
    p->depth--;
    return NULL;
}

/* ---- statements ---- */

static error *end_of_tag(parser *p)
{
    if (p->at->kind != W_BLOCK_END) return unexpected(p, "%}");
    p->at++;
    return NULL;
}

/* {% NAME %} whose {% has been consumed. */
static error *expect_tag(parser *p, const char *name)
{
    if (!take_name(p, name)) return unexpected(p, name);
    return end_of_tag(p);
}

static error *parse_if(parser *p, node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    TRY(make_node(p, N_IF, out));
    TRY(deeper(p));
    p->depth++;
    TRY(parse_expression(p, &(*out)->a));
    TRY(end_of_tag(p));
    TRY(parse_body(p, ends, &(*out)->body));
    if (take_name(p, "elif")) {
        TRY(parse_if(p, &(*out)->orelse));
    } else {
        if (take_name(p, "else")) {
            TRY(end_of_tag(p));
            TRY(parse_body(p, ends + 2, &(*out)->orelse));
        }
        TRY(expect_tag(p, "endif"));
    }
    p->depth--;
    return NULL;
}

static error *parse_for(parser *p, node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    TRY(make_node(p, N_FOR, out));
    node *loop = *out, **last = &loop->list;
    do {
        TRY(make_named(p, N_NAME, last));
        last = &(*last)->next;
    } while (take_operator(p, ","));
    if (!take_name(p, "in")) return unexpected(p, "in");
    TRY(parse_or(p, &loop->a));
    if (take_name(p, "if")) TRY(parse_or(p, &loop->b));
    if (is_name(p, "recursive"))
        return user_error("line %d: {%% for %% recursive %%} is not supported", p->at->line);
    TRY(end_of_tag(p));
    TRY(parse_body(p, ends, &loop->body));
    if (take_name(p, "else")) {
        TRY(end_of_tag(p));
        TRY(parse_body(p, ends + 1, &loop->orelse));
    }
    return expect_tag(p, "endfor");
}

static error *parse_set(parser *p, node **out)
{
    static const char *const ends[] = {"endset", NULL};
    TRY(make_node(p, N_SET, out));
    node *set = *out;
    TRY(make_named(p, N_NAME, &set->list));
    if (take_operator(p, ".")) {
        node *space = set->list;
        TRY(make_named(p, N_ATTRIBUTE, &set->list));
        set->list->a = space;
    }
    if (take_operator(p, "=")) {
        TRY(parse_expression(p, &set->a));
        return end_of_tag(p);
    }
    TRY(end_of_tag(p));
    TRY(parse_body(p, ends, &set->body));
    return expect_tag(p, "endset");
}

static error *parse_macro(parser *p, node **out)
{
    static const char *const ends[] = {"endmacro", NULL};
    TRY(make_named(p, N_MACRO, out));
    node *macro = *out;
    TRY(expect_operator(p, "("));
    TRY(parse_arguments(p, &macro->list));
    for (const node *a = macro->list; a; a = a->next)
        if (a->kind != N_NAME && a->kind != N_KEYWORD)
            return user_error("line %d: a parameter of a macro must be a name", a->line);
    TRY(end_of_tag(p));
    const node *around = p->macro;
    p->macro = macro;
    TRY(parse_body(p, ends, &macro->body));
    p->macro = around;
    return expect_tag(p, "endmacro");
}

static error *parse_generation(parser *p, node **out)
{
    static const char *const ends[] = {"endgeneration", NULL};
    TRY(make_node(p, N_GENERATION, out));
    TRY(end_of_tag(p));
    TRY(parse_body(p, ends, &(*out)->body));
    return expect_tag(p, "endgeneration");
}

static error *parse_statement(parser *p, node **out)
{
    if (take_name(p, "if")) return parse_if(p, out);
    if (take_name(p, "for")) return parse_for(p, out);
    if (take_name(p, "set")) return parse_set(p, out);
    if (take_name(p, "macro")) return parse_macro(p, out);
    if (take_name(p, "generation")) return parse_generation(p, out);
    if (is_name(p, "break") || is_name(p, "continue")) {
        TRY(make_node(p, is_name(p, "break") ? N_BREAK : N_CONTINUE, out));
        p->at++;
        return end_of_tag(p);
    }
    if (p->at->kind != W_NAME) return unexpected(p, "a statement");
    if ((p->at->n > 3 && !memcmp(p->at->text, "end", 3)) || is_name(p, "else") ||
        is_name(p, "elif"))
        return user_error("line %d: {%% %.*s %%} has nothing to end", p->at->line,
                          (int)(p->at->n < 40 ? p->at->n : 40), p->at->text);
    return user_error(
        "line %d: {%% %.*s %%} is not supported (if, for, set, macro, break, continue "
        "and generation are)",
        p->at->line, (int)(p->at->n < 40 ? p->at->n : 40), p->at->text);
}

static bool ends_here(const parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (is_name(p, *ends)) return true;
    return false;
}

/* Up to a tag with one of these names, whose {% is consumed; without names, to the end. */
static error *parse_body(parser *p, const char *const *ends, node **out)
{
    TRY(deeper(p));
    p->depth++;
    node **last = out;
    *out = NULL;
    for (;; last = &(*last)->next) {
        word_kind kind = p->at->kind;
        if (kind == W_END && !ends) break;
        if (kind == W_DATA) {
            TRY(make_node(p, N_DATA, last));
            (*last)->text = p->at->text;
            (*last)->n = p->at->n;
            p->at++;
        } else if (kind == W_PRINT) {
            p->at++;
            TRY(make_node(p, N_PRINT, last));
            TRY(parse_expression(p, &(*last)->a));
            if (p->at->kind != W_PRINT_END) return unexpected(p, "}}");
            p->at++;
        } else if (kind == W_BLOCK) {
            p->at++;
            if (ends_here(p, ends)) break;
            TRY(parse_statement(p, last));
        } else {
            return unexpected(p, ends ? *ends : "a tag");
        }
    }
    p->depth--;
    return NULL;
}

error *jinja_tree(pool *p, const words *w, node **out)
{
    parser at = {.pool = p, .at = w->word};
    return parse_body(&at, NULL, out);
}
