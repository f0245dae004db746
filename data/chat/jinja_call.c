/* jinja_call.c - filters, tests and methods: what follows |, is, and a dot with parentheses.  See
 * jinja.h.
 *
 * Each has a row with its supported parameters: an argument without one is refused, never ignored.
 */
#include "data/chat/jinja_internal.h"

#include <stdlib.h>

/* ---- arguments ---- */

static error *take_named(const callable *c, const arguments *a, int k, const value **v)
{
    int n = (int)a->name_length[k];
    for (int i = 0; i < MOST_PARAMETERS; i++) {
        if (!c->names[i] || !is_text(a->name[k], a->name_length[k], c->names[i])) continue;
        if (v[i]) return user_error("%s gets %.*s twice", c->name, n, a->name[k]);
        v[i] = &a->named[k];
        return NULL;
    }
    return user_error("%s(%.*s=) is not supported", c->name, n < 40 ? n : 40, a->name[k]);
}

error *take_arguments(const callable *c, const arguments *a, const value **v)
{
    if (a->n > c->most)
        return user_error("%s with %d positional arguments is not supported, at most %d", c->name,
                          a->n, c->most);
    for (int i = 0; i < MOST_PARAMETERS; i++)
        v[i] = i < a->n ? &a->plain[i] : NULL;
    for (int k = 0; k < a->n_named; k++)
        TRY(take_named(c, a, k, v));
    for (int i = 0; i < c->needed; i++)
        if (!v[i]) return user_error("%s gets too few arguments", c->name);
    return NULL;
}

static error *call_row(const callable *rows, size_t n, const char *kind, pool *p, value x,
                       const node *f, const arguments *a, value *out)
{
    const value *v[MOST_PARAMETERS];
    for (size_t i = 0; i < n; i++)
        if (is_text(f->text, f->n, rows[i].name)) {
            TRY(take_arguments(&rows[i], a, v));
            return rows[i].run(p, x, v, out);
        }
    return user_error("the %s %.*s is not supported", kind, (int)(f->n < 40 ? f->n : 40), f->text);
}

error *need_string(const value *v, const char *what)
{
    return v->kind == V_STRING ? NULL
                               : user_error("%s takes a string, not %s", what, v_kind_name(*v));
}

/* ---- lists ---- */

/* Items of a list, keys of a mapping, characters of a string. */
static error *as_list(pool *p, value x, const value **v, value *out)
{
    (void)v;
    if (x.kind == V_LIST || x.kind == V_VIEW) {
        *out = x;
        out->kind = V_LIST;
        return NULL;
    }
    TRY(v_new(p, V_LIST, out));
    if (x.kind == V_ITERATOR) {
        if (x.items->used)
            return user_error("a second use of an iterator is not supported: make it a list");
        *out->items = *x.items;
        x.items->used = true;
        return NULL;
    }
    if (x.kind == V_UNDEFINED) return NULL;
    if (x.kind == V_DICT) {
        for (size_t i = 0; i < x.items->n; i += 2)
            TRY(v_append(p, *out, x.items->item[i]));
        return NULL;
    }
    if (x.kind != V_STRING) return user_error("a list of %s", v_kind_name(x));
    for (value rest = x; rest.n;) {
        value c = v_slice_text(rest, 0, 1);
        TRY(v_append(p, *out, c));
        rest = v_string(rest.text + c.n, rest.n - c.n);
    }
    return NULL;
}

error *v_items(pool *p, value x, value *out)
{
    return as_list(p, x, NULL, out);
}

static error *first(pool *p, value x, const value **v, value *out)
{
    value list;
    TRY(as_list(p, x, v, &list));
    *out = list.items->n ? list.items->item[0] : v_undefined("item", 4);
    return NULL;
}

static error *last(pool *p, value x, const value **v, value *out)
{
    value list;
    if (x.kind == V_ITERATOR) return user_error("the last of %s", v_kind_name(x));
    TRY(as_list(p, x, v, &list));
    *out = list.items->n ? list.items->item[list.items->n - 1] : v_undefined("item", 4);
    return NULL;
}

static error *length(pool *p, value x, const value **v, value *out)
{
    (void)p, (void)v;
    if (x.kind != V_STRING && x.kind != V_LIST && x.kind != V_VIEW && x.kind != V_DICT &&
        x.kind != V_UNDEFINED)
        return user_error("the length of %s", v_kind_name(x));
    *out = v_integer((int64_t)v_length(x));
    return NULL;
}

static error *pairs(pool *p, value x, const value **v, value *out)
{
    (void)v;
    TRY(v_new(p, V_VIEW, out));
    if (x.kind == V_UNDEFINED) return NULL;
    if (x.kind != V_DICT) return user_error("items of %s", v_kind_name(x));
    for (size_t i = 0; i < x.items->n; i += 2) {
        value pair;
        TRY(v_new(p, V_LIST, &pair));
        TRY(v_append(p, pair, x.items->item[i]));
        TRY(v_append(p, pair, x.items->item[i + 1]));
        TRY(v_append(p, *out, pair));
    }
    return NULL;
}

static error *iterate_pairs(pool *p, value x, const value **v, value *out)
{
    TRY(pairs(p, x, v, out));
    out->kind = V_ITERATOR;
    return NULL;
}

static error *reverse(pool *p, value x, const value **v, value *out)
{
    value list;
    if (x.kind == V_STRING) return user_error("reverse of a string is not supported");
    TRY(as_list(p, x, v, &list));
    TRY(v_new(p, x.kind == V_ITERATOR ? V_LIST : V_ITERATOR, out));
    for (size_t i = list.items->n; i-- > 0;)
        TRY(v_append(p, *out, list.items->item[i]));
    return NULL;
}

/* An attribute's name; Jinja2 would treat dots and numbers in it specially. */
static error *need_attribute(const value *v, const char *what)
{
    TRY(need_string(v, what));
    bool digits = v->n > 0;
    for (size_t i = 0; i < v->n; i++) {
        if (v->text[i] == '.') return user_error("%s by a name with dots is not supported", what);
        digits = digits && v->text[i] >= '0' && v->text[i] <= '9';
    }
    return digits ? user_error("%s by a number is not supported", what) : NULL;
}

static value attribute_of(value item, const value *name)
{
    value of = v_undefined(name->text, name->n);
    if (v_is_dict(item)) v_get(item, name->text, name->n, &of);
    return of;
}

/* Items whose attribute passes a test (or is true), or the others. */
static error *select_by(pool *p, value x, const value **v, bool wanted, value *out)
{
    value list;
    arguments rest = {0};
    TRY(need_attribute(v[0], "selectattr"));
    if (v[1]) TRY(need_string(v[1], "selectattr"));
    if (v[2]) rest.plain[rest.n++] = *v[2];
    TRY(v_new(p, V_ITERATOR, out));
    if (!v_true(x)) return NULL; /* also for no items */
    TRY(as_list(p, x, v, &list));
    for (size_t i = 0; i < list.items->n; i++) {
        value item = list.items->item[i], of = attribute_of(item, v[0]);
        bool is = v_true(of);
        if (v[1]) TRY(jinja_test(p, of, v[1]->text, v[1]->n, &rest, &is));
        if (is == wanted) TRY(v_append(p, *out, item));
    }
    return NULL;
}

/* clang-format off */
static CALLABLE(select_attribute, select_by(p, x, v, true, out))
static CALLABLE(reject_attribute, select_by(p, x, v, false, out))
    /* clang-format on */

    static error *map(pool *p, value x, const value **v, value *out)
{
    value list;
    TRY(need_attribute(v[0], "map"));
    TRY(v_new(p, V_ITERATOR, out));
    if (!v_true(x)) return NULL; /* also for no items */
    TRY(as_list(p, x, v, &list));
    for (size_t i = 0; i < list.items->n; i++)
        TRY(v_append(p, *out, attribute_of(list.items->item[i], v[0])));
    return NULL;
}

/* ---- other filters ---- */

static error *otherwise(pool *p, value x, const value **v, value *out)
{
    (void)p;
    bool missing = x.kind == V_UNDEFINED || (v[1] && v_true(*v[1]) && !v_true(x));
    *out = !missing ? x : v[0] ? *v[0] : v_string("", 0);
    return NULL;
}

static error *as_json(pool *p, value x, const value **v, value *out)
{
    enum { MOST_INDENT = 16 };
    if (v[0] && v_true(*v[0])) return user_error("tojson(ensure_ascii=true) is not supported");
    if (!v[1] || v[1]->kind == V_NONE) return v_to_json(p, x, -1, out);
    if (v[1]->kind != V_INTEGER || v[1]->whole < 0 || v[1]->whole > MOST_INDENT)
        return user_error("tojson takes an indent from 0 to %d here", MOST_INDENT);
    return v_to_json(p, x, v[1]->whole, out);
}

static error *trim(pool *p, value x, const value **v, value *out)
{
    TRY(v_shown(p, x, &x));
    return strip_by(x, v[0], true, true, out);
}

/* clang-format off */
static CALLABLE(shown, v_shown(p, x, out))
    /* clang-format on */

    static error *join_list(pool *p, value x, const value **v, value *out)
{
    value list, between = v_string("", 0);
    if (v[0]) TRY(v_shown(p, *v[0], &between));
    TRY(as_list(p, x, v, &list));
    return join_items(p, list, between, true, out);
}

error *jinja_filter(pool *p, value x, const node *f, const arguments *a, value *out)
{
    static const callable rows[] = {
        {"trim", trim, {"chars"}, 0, 1},
        {"string", shown, {0}, 0, 0},
        {"upper", text_upper, {0}, 0, 0},
        {"lower", text_lower, {0}, 0, 0},
        {"capitalize", text_capitalize, {0}, 0, 0},
        {"title", text_title_words, {0}, 0, 0},
        {"replace", text_replace, {"old", "new"}, 2, 2},
        {"join", join_list, {"d"}, 0, 1},
        {"tojson", as_json, {"ensure_ascii", "indent"}, 0, 2},
        {"int", text_to_integer, {"default"}, 0, 1},
        {"length", length, {0}, 0, 0},
        {"count", length, {0}, 0, 0},
        {"first", first, {0}, 0, 0},
        {"last", last, {0}, 0, 0},
        {"list", as_list, {0}, 0, 0},
        {"items", iterate_pairs, {0}, 0, 0},
        {"reverse", reverse, {0}, 0, 0},
        {"selectattr", select_attribute, {0}, 1, 3},
        {"rejectattr", reject_attribute, {0}, 1, 3},
        {"map", map, {"attribute"}, 1, 0},
        {"default", otherwise, {"default_value", "boolean"}, 0, 2},
        {"d", otherwise, {"default_value", "boolean"}, 0, 2},
    };
    return call_row(rows, sizeof rows / sizeof *rows, "filter", p, x, f, a, out);
}

/* ---- tests ---- */

/* Tests that compare with an argument; *known: it is one of them. */
static error *comparing_test(pool *p, value x, const char *name, size_t n, const arguments *a,
                             bool *known, bool *out)
{
    const bool equal =
                   is_text(name, n, "equalto") || is_text(name, n, "eq") || is_text(name, n, "=="),
               other = is_text(name, n, "ne") || is_text(name, n, "!="),
               divides = is_text(name, n, "divisibleby");
    *known = equal || other || divides;
    if (!*known) return NULL;
    if (a->n != 1 || a->n_named)
        return user_error("the test %.*s takes one argument here", (int)n, name);
    const value by = a->plain[0];
    if (divides) {
        if (x.kind != V_INTEGER || by.kind != V_INTEGER || by.whole <= 0)
            return user_error("divisibleby takes whole numbers here");
        *out = x.whole % by.whole == 0;
        return NULL;
    }
    TRY(v_equal(p, x, by, out));
    *out = *out == equal;
    return NULL;
}

error *jinja_test(pool *p, value x, const char *name, size_t n, const arguments *a, bool *out)
{
    double number;
    const bool is_number = v_number(x, &number), whole = x.kind == V_INTEGER,
               row = x.kind == V_LIST || x.kind == V_STRING || x.kind == V_DICT ||
                     x.kind == V_UNDEFINED || (x.kind == V_VIEW && x.truth);
    const struct {
        const char *name;
        bool is;
    } tests[] = {
        {"defined", x.kind != V_UNDEFINED},
        {"undefined", x.kind == V_UNDEFINED},
        {"none", x.kind == V_NONE},
        {"string", x.kind == V_STRING},
        {"mapping", x.kind == V_DICT},
        {"sequence", row},
        {"iterable", row || x.kind == V_LOOP || x.kind == V_VIEW || x.kind == V_ITERATOR},
        {"number", is_number},
        {"integer", whole},
        {"float", x.kind == V_REAL},
        {"boolean", x.kind == V_BOOL},
        {"true", x.kind == V_BOOL && x.truth},
        {"false", x.kind == V_BOOL && !x.truth},
        {"odd", whole && x.whole % 2 != 0},
        {"even", whole && x.whole % 2 == 0},
        {"callable", x.kind == V_MACRO || x.kind == V_FUNCTION || x.kind == V_UNDEFINED},
    };
    bool known;
    TRY(comparing_test(p, x, name, n, a, &known, out));
    if (known) return NULL;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (!is_text(name, n, tests[i].name)) continue;
        if (a->n + a->n_named) return user_error("the test %s takes no argument", tests[i].name);
        if (!whole && (is_text(name, n, "odd") || is_text(name, n, "even")))
            return user_error("is %s of %s", tests[i].name, v_kind_name(x));
        *out = tests[i].is;
        return NULL;
    }
    return user_error("the test %.*s is not supported", (int)(n < 40 ? n : 40), name);
}

/* ---- methods ---- */

static error *keys(pool *p, value x, const value **v, value *out)
{
    TRY(as_list(p, x, v, out));
    out->kind = V_VIEW;
    return NULL;
}

static error *values(pool *p, value x, const value **v, value *out)
{
    (void)v;
    TRY(v_new(p, V_VIEW, out));
    for (size_t i = 1; i < x.items->n; i += 2)
        TRY(v_append(p, *out, x.items->item[i]));
    return NULL;
}

static error *get(pool *p, value x, const value **v, value *out)
{
    (void)p;
    TRY(need_string(v[0], "get"));
    if (!v_get(x, v[0]->text, v[0]->n, out)) *out = v[1] ? *v[1] : v_none();
    return NULL;
}

error *jinja_method(pool *p, value x, const node *m, const arguments *a, value *out)
{
    static const callable of_string[] = {
        {"strip", text_strip, {0}, 0, 1},        {"lstrip", text_strip_left, {0}, 0, 1},
        {"rstrip", text_strip_right, {0}, 0, 1}, {"split", text_split, {"sep", "maxsplit"}, 0, 2},
        {"replace", text_replace, {0}, 2, 2},    {"upper", text_upper, {0}, 0, 0},
        {"lower", text_lower, {0}, 0, 0},        {"capitalize", text_capitalize, {0}, 0, 0},
        {"title", text_title, {0}, 0, 0},        {"join", text_join, {0}, 1, 1},
        {"startswith", text_starts, {0}, 1, 1},  {"endswith", text_ends, {0}, 1, 1},
    };
    static const callable of_dict[] = {
        {"items", pairs, {0}, 0, 0},
        {"keys", keys, {0}, 0, 0},
        {"values", values, {0}, 0, 0},
        {"get", get, {0}, 1, 2},
    };
    if (x.kind == V_STRING)
        return call_row(of_string, sizeof of_string / sizeof *of_string, "method of a string", p, x,
                        m, a, out);
    if (x.kind == V_DICT)
        return call_row(of_dict, sizeof of_dict / sizeof *of_dict, "method of a mapping", p, x, m,
                        a, out);
    if (x.kind == V_UNDEFINED)
        return user_error("'%.*s' is not defined, and .%.*s() of it is asked for", (int)x.n, x.text,
                          (int)(m->n < 40 ? m->n : 40), m->text);
    return user_error(".%.*s() of %s is not supported", (int)(m->n < 40 ? m->n : 40), m->text,
                      v_kind_name(x));
}
