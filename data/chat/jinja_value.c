/* jinja_value.c - the values of a template: Python's, as far as templates use them.  See
 * jinja.h. */
#include "data/chat/jinja_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

const char *v_kind_name(value v)
{
    static const char *const names[] = {[V_UNDEFINED] = "an undefined value",
                                        [V_NONE] = "none",
                                        [V_BOOL] = "a truth value",
                                        [V_INTEGER] = "a number",
                                        [V_REAL] = "a number",
                                        [V_STRING] = "a string",
                                        [V_LIST] = "a list",
                                        [V_VIEW] = "a range or a mapping's keys, values or items",
                                        [V_ITERATOR] = "an iterator",
                                        [V_DICT] = "a mapping",
                                        [V_SPACE] = "a namespace",
                                        [V_LOOP] = "a loop",
                                        [V_MACRO] = "a macro",
                                        [V_FUNCTION] = "a function"};
    return names[v.kind];
}

bool v_is_dict(value v)
{
    return v.kind == V_DICT || v.kind == V_SPACE || v.kind == V_LOOP;
}

bool v_true(value v)
{
    switch (v.kind) {
    case V_UNDEFINED:
    case V_NONE:
        return false;
    case V_BOOL:
        return v.truth;
    case V_INTEGER:
        return v.whole != 0;
    case V_REAL:
        return v.real != 0;
    case V_STRING:
        return v.n > 0;
    case V_LIST:
    case V_VIEW:
    case V_DICT:
        return v.items->n > 0;
    default:
        return true;
    }
}

bool v_number(value v, double *out)
{
    *out = v.kind == V_REAL ? v.real : v.kind == V_BOOL ? v.truth : (double)v.whole;
    return v.kind == V_REAL || v.kind == V_INTEGER || v.kind == V_BOOL;
}

/* Compares lists, or mappings, of equal length. */
static error *equal_items(pool *p, value a, value b, bool *out)
{
    size_t step = a.kind == V_DICT ? 2 : 1;
    for (size_t i = 0; i < a.items->n && *out; i += step) {
        value of = a.items->item[i], other = b.items->item[i];
        if (step == 2) *out = v_get(b, of.text, of.n, &other);
        if (*out) TRY(v_equal(p, a.items->item[i + step - 1], other, out));
    }
    return NULL;
}

/* Values are created before their containers, so none contains itself; namespaces and loops, which
 * are mutable, equal only themselves.  Depth is limited (see hold()), but a list may contain
 * another twice: steps are counted. */
error *v_equal(pool *p, value a, value b, bool *out)
{
    double x, y;
    TRY(pool_step(p));
    *out = a.kind == b.kind;
    if (a.kind == V_INTEGER && *out) {
        *out = a.whole == b.whole; /* which a double may not distinguish */
    } else if (v_number(a, &x) && v_number(b, &y)) {
        *out = x == y;
    } else if (!*out) {
        return NULL;
    } else if (a.kind == V_STRING) {
        *out = a.n == b.n && (!a.n || !memcmp(a.text, b.text, a.n));
    } else if (a.kind == V_MACRO) {
        *out = a.macro == b.macro;
    } else if (a.kind == V_FUNCTION) {
        *out = a.text == b.text;
    } else if (a.items != b.items && a.kind == V_VIEW) {
        return user_error("a comparison of two ranges, keys, values or items is not supported");
    } else if (a.items != b.items) {
        *out = (a.kind == V_LIST || a.kind == V_DICT) && a.items->n == b.items->n;
        return equal_items(p, a, b, out);
    }
    return NULL;
}

error *v_new(pool *p, value_kind kind, value *out)
{
    *out = (value){.kind = kind};
    return pool_take(p, sizeof *out->items, &out->items);
}

/* Recurses as deep as values are nested. */
static error *hold(value holder, value item)
{
    bool deep = item.kind == V_LIST || item.kind == V_VIEW || item.kind == V_DICT;
    int depth = deep ? item.items->depth + 1 : 1;
    if (depth > JINJA_MOST_VALUE)
        return user_error("lists or mappings are nested deeper than %d", JINJA_MOST_VALUE);
    if (depth > holder.items->depth) holder.items->depth = depth;
    return NULL;
}

error *v_append(pool *p, value list, value item)
{
    items *l = list.items;
    TRY(hold(list, item));
    if (l->n == l->capacity) {
        size_t wanted = l->capacity ? 2 * l->capacity : 4;
        value *grown;
        TRY(pool_take(p, wanted * sizeof *grown, &grown));
        if (l->n) memcpy(grown, l->item, l->n * sizeof *grown);
        l->item = grown;
        l->capacity = wanted;
    }
    l->item[l->n++] = item;
    return NULL;
}

static value *find_key(value dict, const char *key, size_t n)
{
    for (size_t i = 0; i < dict.items->n; i += 2) {
        value k = dict.items->item[i];
        if (k.n == n && (!n || !memcmp(k.text, key, n))) return &dict.items->item[i + 1];
    }
    return NULL;
}

bool v_get(value dict, const char *key, size_t n, value *out)
{
    value *found = find_key(dict, key, n);
    if (found) *out = *found;
    return found != NULL;
}

error *v_put(pool *p, value dict, value key, value item)
{
    value *found = find_key(dict, key.text, key.n);
    if (found) {
        TRY(hold(dict, item));
        *found = item;
        return NULL;
    }
    TRY(v_append(p, dict, key));
    return v_append(p, dict, item);
}

error *v_concat(pool *p, value a, value b, value *out)
{
    char *text;
    TRY(pool_take(p, a.n + b.n + 1, &text));
    if (a.n) memcpy(text, a.text, a.n);
    if (b.n) memcpy(text + a.n, b.text, b.n);
    *out = v_string(text, a.n + b.n);
    return NULL;
}

/* The shortest digits that give the same number, as Python prints them: with an exponent below 1e-4
 * and from 1e16 on. */
static int print_real(double x, char *out, size_t room)
{
    int digits = 0;
    if (!isfinite(x)) return snprintf(out, room, "%s", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
    do
        snprintf(out, room, "%.*e", digits, x); /* with digits + 1 of them */
    while (strtod(out, NULL) != x && ++digits < 17);
    int exponent = atoi(strchr(out, 'e') + 1);
    if (exponent < -4 || exponent >= 16) return (int)strlen(out);
    return snprintf(out, room, "%.*f", digits - exponent > 1 ? digits - exponent : 1, x);
}

error *v_shown(pool *p, value v, value *out)
{
    char text[40], *kept;
    int n;
    switch (v.kind) {
    case V_STRING:
        *out = v;
        return NULL;
    case V_UNDEFINED:
        *out = v_string("", 0);
        return NULL;
    case V_NONE:
        *out = v_string("None", 4);
        return NULL;
    case V_BOOL:
        *out = v.truth ? v_string("True", 4) : v_string("False", 5);
        return NULL;
    case V_INTEGER:
        n = snprintf(text, sizeof text, "%lld", (long long)v.whole);
        break;
    case V_REAL:
        n = print_real(v.real, text, sizeof text);
        break;
    default:
        return user_error("%s cannot be printed: use %stojson", v_kind_name(v),
                          v.kind == V_VIEW || v.kind == V_ITERATOR ? "list | " : "");
    }
    TRY(pool_take(p, (size_t)n + 1, &kept));
    memcpy(kept, text, (size_t)n);
    *out = v_string(kept, (size_t)n);
    return NULL;
}

/* ---- JSON ---- */

static error *from_string(pool *p, const char *text, value *out)
{
    size_t n = strlen(text);
    char *kept;
    TRY(pool_take(p, n + 1, &kept));
    memcpy(kept, text, n);
    *out = v_string(kept, n);
    return NULL;
}

/* By its spelling, if json_keep_spellings() has kept it: 1.0 is not an integer, and integers may be
 * large. */
static error *from_number(const cJSON *json, value *out)
{
    const char *spelled = json->valuestring;
    double x = json->valuedouble;
    *out = v_real(x);
    if (spelled ? strpbrk(spelled, ".eE") != NULL : x != floor(x)) return NULL;
    errno = 0;
    *out = v_integer(spelled ? strtoll(spelled, NULL, 10) : fabs(x) < 9e15 ? (int64_t)x : 0);
    if (errno || (!spelled && fabs(x) >= 9e15))
        return user_error("the number %.40s is too large", spelled ? spelled : "in its variables");
    return NULL;
}

error *v_from_json(pool *p, const cJSON *json, int depth, value *out)
{
    enum { MOST_DEPTH = 64 };
    if (depth > MOST_DEPTH) return user_error("the conversation nests deeper than %d", MOST_DEPTH);
    if (cJSON_IsString(json)) return from_string(p, json->valuestring, out);
    if (cJSON_IsNumber(json)) return from_number(json, out);
    *out = cJSON_IsBool(json) ? v_bool(cJSON_IsTrue(json)) : v_none();
    if (!cJSON_IsArray(json) && !cJSON_IsObject(json)) return NULL;
    bool dict = cJSON_IsObject(json);
    TRY(v_new(p, dict ? V_DICT : V_LIST, out));
    for (const cJSON *i = json->child; i; i = i->next) {
        value key, item;
        TRY(v_from_json(p, i, depth + 1, &item));
        if (dict) {
            TRY(from_string(p, i->string, &key));
            TRY(v_put(p, *out, key, item));
        } else {
            TRY(v_append(p, *out, item));
        }
    }
    return NULL;
}

error *buffer_add(pool *p, buffer *b, const char *text, size_t n)
{
    if (n > b->room - b->n) {
        size_t room = 2 * (b->room + n);
        char *grown;
        TRY(pool_take(p, room, &grown));
        if (b->n) memcpy(grown, b->text, b->n);
        b->text = grown;
        b->room = room;
    }
    if (n) memcpy(b->text + b->n, text, n);
    b->n += n;
    return NULL;
}

typedef struct {
    pool *pool;
    buffer text;
    int64_t indent;
} writer;

static error *write_text(writer *w, const char *text, size_t n)
{
    return buffer_add(w->pool, &w->text, text, n);
}

static error *put_string(writer *w, value v)
{
    static const char plain[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    TRY(write_text(w, "\"", 1));
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.text[i];
        char code[8] = {(char)c};
        size_t n = 1;
        for (size_t k = 0; k + 1 < sizeof plain; k += 2)
            if (v.text[i] == plain[k])
                n = (size_t)snprintf(code, sizeof code, "\\%c", plain[k + 1]);
        if (n == 1 && c < 0x20) n = (size_t)snprintf(code, sizeof code, "\\u%04x", c);
        TRY(write_text(w, code, n));
    }
    return write_text(w, "\"", 1);
}

static error *new_line(writer *w, int depth)
{
    if (w->indent < 0) return NULL;
    TRY(write_text(w, "\n", 1));
    for (int64_t i = 0; i < depth * w->indent; i++)
        TRY(write_text(w, " ", 1));
    return NULL;
}

static error *put_json(writer *w, value v, int depth)
{
    value shown;
    if (v.kind == V_STRING) return put_string(w, v);
    if (v.kind == V_NONE) return write_text(w, "null", 4);
    if (v.kind == V_BOOL) return v.truth ? write_text(w, "true", 4) : write_text(w, "false", 5);
    if (v.kind == V_REAL && !isfinite(v.real))
        return user_error("tojson of a number that is not finite");
    if (v.kind == V_INTEGER || v.kind == V_REAL) {
        TRY(v_shown(w->pool, v, &shown));
        return write_text(w, shown.text, shown.n);
    }
    if (v.kind != V_LIST && v.kind != V_DICT) return user_error("tojson of %s", v_kind_name(v));
    bool dict = v.kind == V_DICT;
    size_t step = dict ? 2 : 1;
    TRY(write_text(w, dict ? "{" : "[", 1));
    for (size_t i = 0; i < v.items->n; i += step) {
        if (i) TRY(write_text(w, w->indent < 0 ? ", " : ",", w->indent < 0 ? 2 : 1));
        TRY(new_line(w, depth + 1));
        if (dict) {
            TRY(put_string(w, v.items->item[i]));
            TRY(write_text(w, ": ", 2));
        }
        TRY(put_json(w, v.items->item[i + step - 1], depth + 1));
    }
    if (v.items->n) TRY(new_line(w, depth));
    return write_text(w, dict ? "}" : "]", 1);
}

error *v_to_json(pool *p, value v, int64_t indent, value *out)
{
    writer w = {.pool = p, .indent = indent};
    TRY(put_json(&w, v, 0));
    *out = v_string(w.text.text, w.text.n);
    return NULL;
}

/* ---- text ---- */

size_t character_size(const char *text, size_t n)
{
    size_t length = utf8_length((const uint8_t *)text, n);
    return length ? length : 1;
}

size_t v_length(value v)
{
    size_t n = 0;
    if (v.kind == V_LIST || v.kind == V_VIEW) return v.items->n;
    if (v_is_dict(v)) return v.items->n / 2;
    for (size_t i = 0; v.kind == V_STRING && i < v.n; i += character_size(v.text + i, v.n - i))
        n++;
    return n;
}

value v_slice_text(value v, size_t from, size_t to)
{
    size_t begin = v.n, at = 0, n = 0;
    for (; at < v.n && n < to; n++) {
        if (n == from) begin = at;
        at += character_size(v.text + at, v.n - at);
    }
    return begin < at ? v_string(v.text + begin, at - begin) : v_string("", 0);
}
