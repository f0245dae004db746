/* jinja_call.c - what stands behind | and is and a dot with parentheses.  See jinja.h. */
#include "data/chat/jinja_internal.h"

#include <stdlib.h>

/* ---- arguments ---- */

/* Argument i, or the one of that name. */
static const value *argument(const arguments *a, int i, const char *name)
{
    for (int k = 0; k < a->n_named && name; k++)
        if (is_text(a->name[k], a->name_length[k], name)) return &a->named[k];
    return i >= 0 && i < a->n ? &a->plain[i] : NULL;
}

static error *need_string(const arguments *a, int i, const char *what, value *out)
{
    const value *found = argument(a, i, NULL);
    if (!found || found->kind != V_STRING) return user_error("%s takes a string there", what);
    *out = *found;
    return NULL;
}

/* ---- text ---- */

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

/* First letters: of the text, or of all its words. */
static error *capitals(pool *p, value x, bool words_, value *out)
{
    TRY(change_case(p, x, false, out));
    char *text = (char *)(size_t)out->text; /* made just now */
    bool first = true;
    for (size_t i = 0; i < out->n; i++) {
        bool letter = text[i] >= 'a' && text[i] <= 'z';
        if (first && letter) text[i] ^= 0x20;
        first = words_ ? !letter : false;
    }
    return NULL;
}

static error *replace(pool *p, value x, const arguments *a, value *out)
{
    value from = {0}, to = {0};
    size_t found = 0, n = 0;
    char *text;
    TRY(need_string(a, 0, "replace", &from));
    TRY(need_string(a, 1, "replace", &to));
    if (x.kind != V_STRING) return user_error("replace in %s", v_kind_name(x));
    if (!from.n) return user_error("replace of an empty string is not rendered here");
    for (size_t i = 0; i + from.n <= x.n; i++)
        if (!memcmp(x.text + i, from.text, from.n)) {
            found++;
            i += from.n - 1;
        }
    TRY(pool_take(p, x.n - found * from.n + found * to.n + 1, &text));
    for (size_t i = 0; i < x.n;) {
        bool here = i + from.n <= x.n && !memcmp(x.text + i, from.text, from.n);
        if (here && to.n) memcpy(text + n, to.text, to.n);
        if (!here) text[n] = x.text[i];
        n += here ? to.n : 1;
        i += here ? from.n : 1;
    }
    *out = v_string(text, n);
    return NULL;
}

static error *join_items(pool *p, value list, value between, value *out)
{
    *out = v_string("", 0);
    if (list.kind != V_LIST) return user_error("join of %s", v_kind_name(list));
    for (size_t i = 0; i < list.items->n; i++) {
        value shown;
        TRY(v_shown(p, list.items->item[i], &shown));
        if (i && between.n) TRY(v_concat(p, *out, between, out));
        TRY(v_concat(p, *out, shown, out));
    }
    return NULL;
}

static bool is_blank_byte(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Words, between any white space. */
static error *split_words(pool *p, value x, value *out)
{
    TRY(v_new(p, V_LIST, out));
    for (size_t i = 0, end; i < x.n; i = end) {
        while (i < x.n && is_blank_byte(x.text[i]))
            i++;
        for (end = i; end < x.n && !is_blank_byte(x.text[end]);)
            end++;
        if (end > i) TRY(v_append(p, *out, v_string(x.text + i, end - i)));
    }
    return NULL;
}

static error *split(pool *p, value x, const arguments *a, value *out)
{
    value by = {0};
    int64_t most = INT64_MAX;
    size_t begin = 0;
    if (a->n == 0 && a->n_named == 0) return split_words(p, x, out);
    TRY(need_string(a, 0, "split", &by));
    if (!by.n) return user_error("split by an empty string");
    const value *limit = argument(a, 1, "maxsplit");
    if (limit && limit->kind == V_INTEGER && limit->whole >= 0) most = limit->whole;
    TRY(v_new(p, V_LIST, out));
    for (size_t i = 0; i + by.n <= x.n && most > 0;) {
        if (memcmp(x.text + i, by.text, by.n) != 0) {
            i++;
            continue;
        }
        TRY(v_append(p, *out, v_string(x.text + begin, i - begin)));
        begin = i += by.n;
        most--;
    }
    return v_append(p, *out, v_string(x.text + begin, x.n - begin));
}

/* ---- filters ---- */

/* Item i of a list, a mapping (its keys) or a text. */
static error *as_list(pool *p, value x, value *out)
{
    if (x.kind == V_LIST) {
        *out = x;
        return NULL;
    }
    TRY(v_new(p, V_LIST, out));
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

static error *end_of(pool *p, value x, bool last, value *out)
{
    value list;
    TRY(as_list(p, x, &list));
    *out = list.items->n ? list.items->item[last ? list.items->n - 1 : 0] : v_undefined("item", 4);
    return NULL;
}

static error *pairs(pool *p, value x, value *out)
{
    TRY(v_new(p, V_LIST, out));
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

static error *reverse(pool *p, value x, value *out)
{
    value list;
    TRY(as_list(p, x, &list));
    TRY(v_new(p, V_LIST, out));
    for (size_t i = list.items->n; i-- > 0;)
        TRY(v_append(p, *out, list.items->item[i]));
    return NULL;
}

/* Items whose attribute passes a test (or is true), or that do not. */
static error *select_by(pool *p, value x, const arguments *a, bool wanted, value *out)
{
    value list, name = {0}, test = {0}, of;
    arguments rest = {0};
    TRY(need_string(a, 0, "selectattr", &name));
    if (a->n > 1) TRY(need_string(a, 1, "selectattr", &test));
    if (a->n > 2) rest.plain[rest.n++] = a->plain[2];
    TRY(v_new(p, V_LIST, out));
    if (!v_true(x)) return NULL; /* of none, too */
    TRY(as_list(p, x, &list));
    for (size_t i = 0; i < list.items->n; i++) {
        value item = list.items->item[i];
        bool is;
        if (!v_is_dict(item) || !v_get(item, name.text, name.n, &of))
            of = v_undefined(name.text, name.n);
        is = v_true(of);
        if (a->n > 1) TRY(jinja_test(p, of, test.text, test.n, &rest, &is));
        if (is == wanted) TRY(v_append(p, *out, item));
    }
    return NULL;
}

static error *map(pool *p, value x, const arguments *a, value *out)
{
    value list;
    const value *name = argument(a, -1, "attribute");
    if (!name || name->kind != V_STRING || a->n)
        return user_error("map is rendered here with attribute= only");
    TRY(v_new(p, V_LIST, out));
    if (!v_true(x)) return NULL; /* of none, too */
    TRY(as_list(p, x, &list));
    for (size_t i = 0; i < list.items->n; i++) {
        value item = list.items->item[i], of;
        if (!v_is_dict(item) || !v_get(item, name->text, name->n, &of))
            of = v_undefined(name->text, name->n);
        TRY(v_append(p, *out, of));
    }
    return NULL;
}

static error *otherwise(value x, const arguments *a, value *out)
{
    const value *other = argument(a, 0, "default_value"), *also = argument(a, 1, "boolean");
    bool missing = x.kind == V_UNDEFINED || (also && v_true(*also) && !v_true(x));
    *out = !missing ? x : other ? *other : v_string("", 0);
    return NULL;
}

static error *to_integer(value x, value *out)
{
    double number;
    bool digits = x.kind == V_STRING && x.n < 18;
    *out = v_integer(0);
    for (size_t i = 0; i < x.n && digits; i++) {
        digits = x.text[i] >= '0' && x.text[i] <= '9';
        out->whole = digits ? out->whole * 10 + (x.text[i] - '0') : 0;
    }
    if (v_number(x, &number) && number > -9e15 && number < 9e15) *out = v_integer((int64_t)number);
    return NULL;
}

static error *as_json(pool *p, value x, const arguments *a, value *out)
{
    const value *indent = argument(a, 1, "indent");
    for (int i = 0; i < a->n_named; i++)
        if (!is_text(a->name[i], a->name_length[i], "indent") &&
            !(is_text(a->name[i], a->name_length[i], "ensure_ascii") && !v_true(a->named[i])))
            return user_error("tojson(%.*s=) is not rendered here", (int)a->name_length[i],
                              a->name[i]);
    return v_to_json(p, x, indent && indent->kind == V_INTEGER ? indent->whole : -1, out);
}

static error *text_filter(pool *p, value x, const node *f, const arguments *a, value *out,
                          bool *known)
{
    const value *first = argument(a, 0, NULL);
    *known = true;
    if (is_text(f->text, f->n, "trim") || is_text(f->text, f->n, "string")) {
        value shown;
        TRY(v_shown(p, x, &shown));
        *out = shown;
        if (is_text(f->text, f->n, "string")) return NULL;
        bool set = first && first->kind == V_STRING;
        return v_strip(shown, set ? first->text : NULL, set ? first->n : 0, true, true, out);
    }
    if (is_text(f->text, f->n, "upper")) return change_case(p, x, true, out);
    if (is_text(f->text, f->n, "lower")) return change_case(p, x, false, out);
    if (is_text(f->text, f->n, "capitalize")) return capitals(p, x, false, out);
    if (is_text(f->text, f->n, "title")) return capitals(p, x, true, out);
    if (is_text(f->text, f->n, "replace")) return replace(p, x, a, out);
    if (is_text(f->text, f->n, "tojson")) return as_json(p, x, a, out);
    if (is_text(f->text, f->n, "int")) return to_integer(x, out);
    *known = false;
    return NULL;
}

error *jinja_filter(pool *p, value x, const node *f, const arguments *a, value *out)
{
    const value *first = argument(a, 0, NULL);
    bool known;
    TRY(text_filter(p, x, f, a, out, &known));
    if (known) return NULL;
    if (is_text(f->text, f->n, "length") || is_text(f->text, f->n, "count")) {
        if (x.kind != V_STRING && x.kind != V_LIST && x.kind != V_DICT && x.kind != V_UNDEFINED)
            return user_error("the length of %s", v_kind_name(x));
        *out = v_integer((int64_t)v_length(x));
        return NULL;
    }
    if (is_text(f->text, f->n, "first")) return end_of(p, x, false, out);
    if (is_text(f->text, f->n, "last")) return end_of(p, x, true, out);
    if (is_text(f->text, f->n, "list")) return as_list(p, x, out);
    if (is_text(f->text, f->n, "items")) return pairs(p, x, out);
    if (is_text(f->text, f->n, "reverse") && x.kind != V_STRING) return reverse(p, x, out);
    if (is_text(f->text, f->n, "selectattr")) return select_by(p, x, a, true, out);
    if (is_text(f->text, f->n, "rejectattr")) return select_by(p, x, a, false, out);
    if (is_text(f->text, f->n, "map")) return map(p, x, a, out);
    if (is_text(f->text, f->n, "default") || is_text(f->text, f->n, "d"))
        return otherwise(x, a, out);
    if (is_text(f->text, f->n, "join")) {
        bool between = first && first->kind == V_STRING;
        TRY(as_list(p, x, &x));
        return join_items(p, x, between ? *first : v_string("", 0), out);
    }
    return user_error("the filter %.*s is not rendered here", (int)(f->n < 40 ? f->n : 40),
                      f->text);
}

/* ---- tests ---- */

error *jinja_test(pool *p, value x, const char *name, size_t n, const arguments *a, bool *out)
{
    const value *first = argument(a, 0, NULL);
    const bool equal =
                   is_text(name, n, "equalto") || is_text(name, n, "eq") || is_text(name, n, "=="),
               other = is_text(name, n, "ne") || is_text(name, n, "!=");
    double number;
    bool is_number = v_number(x, &number);
    const struct {
        const char *name;
        bool is;
    } tests[] = {
        {"defined", x.kind != V_UNDEFINED},
        {"undefined", x.kind == V_UNDEFINED},
        {"none", x.kind == V_NONE},
        {"string", x.kind == V_STRING},
        {"mapping", x.kind == V_DICT},
        {"sequence",
         x.kind == V_LIST || x.kind == V_STRING || x.kind == V_DICT || x.kind == V_UNDEFINED},
        {"iterable",
         x.kind == V_LIST || x.kind == V_STRING || x.kind == V_DICT || x.kind == V_UNDEFINED},
        {"number", is_number},
        {"integer", x.kind == V_INTEGER},
        {"float", x.kind == V_REAL},
        {"boolean", x.kind == V_BOOL},
        {"true", x.kind == V_BOOL && x.truth},
        {"false", x.kind == V_BOOL && !x.truth},
        {"odd", x.kind == V_INTEGER && x.whole % 2 != 0},
        {"even", x.kind == V_INTEGER && x.whole % 2 == 0},
        {"callable", x.kind == V_MACRO || x.kind == V_FUNCTION},
    };
    if ((equal || other) && first) {
        TRY(v_equal(p, x, *first, out));
        *out = *out == equal;
        return NULL;
    }
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (is_text(name, n, tests[i].name)) {
            *out = tests[i].is;
            return NULL;
        }
    if (is_text(name, n, "divisibleby") && x.kind == V_INTEGER && first &&
        first->kind == V_INTEGER && first->whole > 0) {
        *out = x.whole % first->whole == 0;
        return NULL;
    }
    return user_error("the test %.*s is not rendered here", (int)(n < 40 ? n : 40), name);
}

/* ---- methods ---- */

static error *string_method(pool *p, value x, const node *m, const arguments *a, value *out)
{
    const char *name = m->text;
    size_t n = m->n;
    bool left = is_text(name, n, "lstrip"), right = is_text(name, n, "rstrip");
    if (left || right || is_text(name, n, "strip")) {
        value set = {0};
        if (a->n) TRY(need_string(a, 0, "strip", &set));
        return v_strip(x, a->n ? (set.text ? set.text : "") : NULL, set.n, !right, !left, out);
    }
    if (is_text(name, n, "split")) return split(p, x, a, out);
    if (is_text(name, n, "replace")) return replace(p, x, a, out);
    if (is_text(name, n, "upper")) return change_case(p, x, true, out);
    if (is_text(name, n, "lower")) return change_case(p, x, false, out);
    if (is_text(name, n, "capitalize")) return capitals(p, x, false, out);
    if (is_text(name, n, "title")) return capitals(p, x, true, out);
    if (is_text(name, n, "join") && a->n == 1) return join_items(p, a->plain[0], x, out);
    bool starts = is_text(name, n, "startswith");
    if (starts || is_text(name, n, "endswith")) {
        value part = {0};
        TRY(need_string(a, 0, starts ? "startswith" : "endswith", &part));
        *out = v_bool(part.n <= x.n && (!part.n || !memcmp(starts ? x.text : x.text + x.n - part.n,
                                                           part.text, part.n)));
        return NULL;
    }
    return user_error(".%.*s() of a string is not rendered here", (int)(n < 40 ? n : 40), name);
}

static error *dict_method(pool *p, value x, const node *m, const arguments *a, value *out)
{
    bool keys = is_text(m->text, m->n, "keys");
    if (is_text(m->text, m->n, "items")) return pairs(p, x, out);
    if (is_text(m->text, m->n, "get")) {
        value key = {0};
        TRY(need_string(a, 0, "get", &key));
        if (!v_get(x, key.text, key.n, out)) *out = a->n > 1 ? a->plain[1] : v_none();
        return NULL;
    }
    if (!keys && !is_text(m->text, m->n, "values"))
        return user_error(".%.*s() of a mapping is not rendered here", (int)(m->n < 40 ? m->n : 40),
                          m->text);
    TRY(v_new(p, V_LIST, out));
    for (size_t i = keys ? 0 : 1; i < x.items->n; i += 2)
        TRY(v_append(p, *out, x.items->item[i]));
    return NULL;
}

error *jinja_method(pool *p, value x, const node *m, const arguments *a, value *out)
{
    if (x.kind == V_STRING) return string_method(p, x, m, a, out);
    if (x.kind == V_DICT) return dict_method(p, x, m, a, out);
    if (x.kind == V_UNDEFINED)
        return user_error("'%.*s' is not defined, and .%.*s() of it is asked for", (int)x.n, x.text,
                          (int)(m->n < 40 ? m->n : 40), m->text);
    return user_error(".%.*s() of %s is not rendered here", (int)(m->n < 40 ? m->n : 40), m->text,
                      v_kind_name(x));
}
