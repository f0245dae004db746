/* jinja_eval.c - evaluates a template's tree with a conversation's values.  See jinja.h.
 *
 * Names are looked up in scopes: that of the template, one for each iteration of a loop, for the
 * body of {% set %} or {% generation %}, and for each call of a macro (which sees where it was
 * defined, not its caller's).  What is set in a scope ends with it; what must last is an attribute
 * of a namespace.
 */
#include "data/chat/jinja_internal.h"

#include <stdlib.h>

#include "base/grow.h"

typedef struct {
    const char *name; /* (n) */
    size_t n;
    value value;
} binding;

typedef struct scope scope;
struct scope {
    scope *up;
    binding *bound; /* (n) */
    size_t n, capacity;
};

typedef enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;

typedef struct {
    pool *pool;
    scope *scope;
    buffer *out,
        *whole; /* where output goes (of a macro, of a {% set %} block); that of the template */
    jinja_text *result;
    int nesting;
    flow flow;
    bool placed; /* the error already has its line */
} evaluation;

static error *eval(evaluation *e, const node *n, value *out);
static error *run_body(evaluation *e, const node *body);

/* Adds the line of the innermost statement to the error. */
static error *placed(evaluation *e, const node *n, error *failed)
{
    if (!failed || e->placed) return failed;
    e->placed = true;
    return error_context(failed, "line %d", n->line);
}

/* ---- names ---- */

static error *bind(evaluation *e, scope *s, const char *name, size_t n, value v)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->bound[i].n == n && !memcmp(s->bound[i].name, name, n)) {
            s->bound[i].value = v;
            return NULL;
        }
    if (s->n == s->capacity) {
        size_t wanted = s->capacity ? 2 * s->capacity : 8;
        binding *grown;
        TRY(pool_take(e->pool, wanted * sizeof *grown, &grown));
        if (s->n) memcpy(grown, s->bound, s->n * sizeof *grown);
        s->bound = grown;
        s->capacity = wanted;
    }
    s->bound[s->n++] = (binding){name, n, v};
    return NULL;
}

static value name_value(const evaluation *e, const char *name, size_t n)
{
    static const char *const functions[] = {"raise_exception", "namespace", "range"};
    for (const scope *s = e->scope; s; s = s->up)
        for (size_t i = 0; i < s->n; i++)
            if (s->bound[i].n == n && !memcmp(s->bound[i].name, name, n)) return s->bound[i].value;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (is_text(name, n, functions[i]))
            return (value){.kind = V_FUNCTION, .text = functions[i], .n = n};
    return v_undefined(name, n);
}

static error *not_defined(value v)
{
    return user_error("'%.*s' is not defined", (int)(v.n < 60 ? v.n : 60), v.text);
}

static error *new_scope(evaluation *e, scope *up)
{
    TRY(pool_take(e->pool, sizeof *e->scope, &e->scope));
    e->scope->up = up;
    return NULL;
}

/* ---- text ---- */

static error *emit(evaluation *e, const char *text, size_t n)
{
    return buffer_add(e->pool, e->out, text, n);
}

/* The output of a body as a value. */
static error *capture(evaluation *e, const node *body, value *out)
{
    buffer mine = {0}, *before = e->out;
    e->out = &mine;
    error *failed = run_body(e, body);
    e->out = before;
    *out = v_string(mine.text ? mine.text : "", mine.n);
    return failed;
}

/* ---- operators ---- */

static error *wrong_operands(const node *n, value a, value b)
{
    if (a.kind == V_UNDEFINED) return not_defined(a);
    if (b.kind == V_UNDEFINED) return not_defined(b);
    return user_error("%s %.*s %s", v_kind_name(a), (int)n->n, n->text, v_kind_name(b));
}

static error *add_values(evaluation *e, const node *n, value a, value b, value *out)
{
    if (a.kind == V_STRING && b.kind == V_STRING) return v_concat(e->pool, a, b, out);
    if (a.kind != V_LIST || b.kind != V_LIST) return wrong_operands(n, a, b);
    TRY(v_new(e->pool, V_LIST, out));
    for (size_t i = 0; i < a.items->n; i++)
        TRY(v_append(e->pool, *out, a.items->item[i]));
    for (size_t i = 0; i < b.items->n; i++)
        TRY(v_append(e->pool, *out, b.items->item[i]));
    return NULL;
}

static error *whole_arithmetic(const node *n, int64_t a, int64_t b, value *out)
{
    char op = n->text[0];
    int64_t r = 0;
    bool over = op == '+'   ? __builtin_add_overflow(a, b, &r)
                : op == '-' ? __builtin_sub_overflow(a, b, &r)
                : op == '*' ? __builtin_mul_overflow(a, b, &r)
                            : false;
    if (op == '/' || op == '%') {
        if (b == 0 || (a == INT64_MIN && b == -1)) return user_error("a division by zero");
        int64_t rest = a % b, lower = rest != 0 && (rest < 0) != (b < 0);
        r = op == '%' ? rest + lower * b : a / b - lower;
    }
    if (over) return user_error("a number is too large");
    *out = v_integer(r);
    return NULL;
}

static error *arithmetic(evaluation *e, const node *n, value a, value b, value *out)
{
    double x, y;
    char op = n->text[0];
    if (!v_number(a, &x) || !v_number(b, &y))
        return op == '+' ? add_values(e, n, a, b, out) : wrong_operands(n, a, b);
    bool real = a.kind == V_REAL || b.kind == V_REAL || (op == '/' && n->n == 1);
    if (!real)
        return whole_arithmetic(n, a.kind == V_BOOL ? a.truth : a.whole,
                                b.kind == V_BOOL ? b.truth : b.whole, out);
    if ((op == '/' || op == '%') && y == 0) return user_error("a division by zero");
    if (op == '%' || n->n == 2)
        return user_error("%.*s of fractions is not supported", (int)n->n, n->text);
    *out = v_real(op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : x / y);
    return NULL;
}

static error *order(const node *n, value a, value b, value *out)
{
    double x, y;
    int sign;
    if (a.kind == V_INTEGER && b.kind == V_INTEGER) {
        sign = (a.whole > b.whole) - (a.whole < b.whole);
    } else if (v_number(a, &x) && v_number(b, &y)) {
        sign = (x > y) - (x < y);
    } else if (a.kind == V_STRING && b.kind == V_STRING) {
        size_t least = a.n < b.n ? a.n : b.n;
        sign = least ? memcmp(a.text, b.text, least) : 0;
        if (!sign) sign = (a.n > b.n) - (a.n < b.n);
    } else {
        return wrong_operands(n, a, b);
    }
    bool equal = n->n == 2 && sign == 0;
    *out = v_bool(equal || (n->text[0] == '<' ? sign < 0 : sign > 0));
    return NULL;
}

/* `list in mapping` raises in Python, which tries to hash the list; also for keys(), but not for
 * items(). */
static bool is_hashed(value part)
{
    return part.kind != V_LIST && part.kind != V_DICT;
}

static error *contains(evaluation *e, const node *n, value part, value of, value *out)
{
    bool found = false;
    *out = v_bool(false);
    if (of.kind == V_STRING && part.kind == V_STRING) {
        found = !part.n || (of.n && memmem(of.text, of.n, part.text, part.n));
    } else if (of.kind == V_LIST || (of.kind == V_VIEW && (of.truth || is_hashed(part)))) {
        for (size_t i = 0; i < of.items->n && !found; i++)
            TRY(v_equal(e->pool, of.items->item[i], part, &found));
    } else if (of.kind == V_DICT && is_hashed(part)) {
        value ignored;
        found = part.kind == V_STRING && v_get(of, part.text, part.n, &ignored);
    } else if (of.kind != V_UNDEFINED) {
        return wrong_operands(n, part, of);
    }
    *out = v_bool(found);
    return NULL;
}

static error *eval_binary(evaluation *e, const node *n, value *out)
{
    value a, b;
    TRY(eval(e, n->a, &a));
    TRY(eval(e, n->b, &b));
    if (is_text(n->text, n->n, "==") || is_text(n->text, n->n, "!=")) {
        bool equal;
        TRY(v_equal(e->pool, a, b, &equal));
        *out = v_bool(equal == (n->text[0] == '='));
        return NULL;
    }
    if (is_text(n->text, n->n, "in")) return contains(e, n, a, b, out);
    if (n->text[0] == '<' || n->text[0] == '>') return order(n, a, b, out);
    if (n->text[0] != '~') return arithmetic(e, n, a, b, out);
    TRY(v_shown(e->pool, a, &a));
    TRY(v_shown(e->pool, b, &b));
    return v_concat(e->pool, a, b, out);
}

/* ---- parts of values ---- */

/* Does Python have a method with that name for such a value? */
static bool is_method(value of, const char *name, size_t n)
{
    static const char *const
        dict = " clear copy fromkeys get items keys pop popitem setdefault update values ",
        *const list = " append clear copy count extend index insert pop remove reverse sort ",
        *const text =
            " capitalize casefold center count encode endswith expandtabs find format format_map "
            "index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric "
            "isprintable isspace istitle isupper join ljust lower lstrip maketrans partition "
            "removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split "
            "splitlines startswith strip swapcase title translate upper zfill ";
    const char *all = of.kind == V_DICT     ? dict
                      : of.kind == V_LIST   ? list
                      : of.kind == V_STRING ? text
                                            : "";
    for (const char *at = all; (at = memmem(at, strlen(at), name, n)) != NULL; at++)
        if (at[-1] == ' ' && at[n] == ' ') return true;
    return false;
}

static error *eval_attribute(evaluation *e, const node *n, value *out)
{
    value of;
    TRY(eval(e, n->a, &of));
    if (of.kind == V_UNDEFINED) return not_defined(of);
    if (of.kind == V_VIEW || of.kind == V_ITERATOR || of.kind == V_MACRO || of.kind == V_FUNCTION)
        return user_error("an attribute of %s is not supported", v_kind_name(of));
    if (is_method(of, n->text, n->n))
        return user_error(".%.*s of %s is a method to Jinja2: write ['%.*s'] for an item",
                          (int)n->n, n->text, v_kind_name(of), (int)n->n, n->text);
    if (!v_is_dict(of) || !v_get(of, n->text, n->n, out)) *out = v_undefined(n->text, n->n);
    return NULL;
}

static error *eval_index(evaluation *e, const node *n, value *out)
{
    value of, at;
    TRY(eval(e, n->a, &of));
    TRY(eval(e, n->b, &at));
    if (of.kind == V_UNDEFINED) return not_defined(of);
    *out = v_undefined("item", 4);
    if (at.kind == V_BOOL) at = v_integer(at.truth);
    if (v_is_dict(of) && at.kind == V_STRING) {
        if (!v_get(of, at.text, at.n, out)) *out = v_undefined(at.text, at.n);
        return NULL;
    }
    bool is_list = of.kind == V_LIST || (of.kind == V_VIEW && of.truth);
    if (at.kind != V_INTEGER || (!is_list && of.kind != V_STRING)) return NULL;
    int64_t length = (int64_t)v_length(of), i = at.whole < 0 ? at.whole + length : at.whole;
    if (i < 0 || i >= length) return NULL;
    *out = is_list ? of.items->item[i] : v_slice_text(of, (size_t)i, (size_t)i + 1);
    return NULL;
}

/* One bound of a slice: as in Python, negative ones count from the end. */
static error *eval_bound(evaluation *e, const node *n, int64_t missing, int64_t length, bool down,
                         int64_t *out)
{
    value v;
    *out = missing;
    if (!n) return NULL;
    TRY(eval(e, n, &v));
    if (v.kind == V_NONE) return NULL;
    if (v.kind != V_INTEGER) return user_error("a slice by %s", v_kind_name(v));
    int64_t i = v.whole < 0 ? v.whole + length : v.whole;
    *out = i < 0 ? (down ? -1 : 0) : i >= length ? (down ? length - 1 : length) : i;
    return NULL;
}

static error *eval_slice(evaluation *e, const node *n, value *out)
{
    value of, by = v_integer(1);
    int64_t from, to;
    TRY(eval(e, n->a, &of));
    if (of.kind == V_UNDEFINED) return not_defined(of);
    if (of.kind != V_LIST && of.kind != V_STRING)
        return user_error("a slice of %s", v_kind_name(of));
    if (n->d) TRY(eval(e, n->d, &by));
    if (by.kind != V_INTEGER || by.whole == 0 || by.whole > INT32_MAX || by.whole < -INT32_MAX)
        return user_error("the step of a slice must be a nonzero integer");
    int64_t length = (int64_t)v_length(of);
    bool down = by.whole < 0;
    TRY(eval_bound(e, n->b, down ? length - 1 : 0, length, down, &from));
    TRY(eval_bound(e, n->c, down ? -1 : length, length, down, &to));
    if (of.kind == V_STRING) {
        if (by.whole != 1) return user_error("a slice of a string by steps is not supported");
        *out = v_slice_text(of, (size_t)from, (size_t)to);
        return NULL;
    }
    TRY(v_new(e->pool, V_LIST, out));
    for (int64_t i = from; down ? i > to : i < to; i += by.whole)
        TRY(v_append(e->pool, *out, of.items->item[i]));
    return NULL;
}

static error *eval_list(evaluation *e, const node *n, value *out)
{
    bool dict = n->kind == N_DICT;
    TRY(v_new(e->pool, dict ? V_DICT : V_LIST, out));
    for (const node *i = n->list; i; i = i->next) {
        value key, item;
        TRY(eval(e, i, dict ? &key : &item));
        if (!dict) {
            TRY(v_append(e->pool, *out, item));
            continue;
        }
        if (key.kind != V_STRING) return user_error("a key that is %s", v_kind_name(key));
        i = i->next;
        TRY(eval(e, i, &item));
        TRY(v_put(e->pool, *out, key, item));
    }
    return NULL;
}

/* ---- calls ---- */

static error *eval_arguments(evaluation *e, const node *list, arguments *a)
{
    a->n = a->n_named = 0;
    for (const node *i = list; i; i = i->next) {
        bool named = i->kind == N_KEYWORD;
        if (a->n + a->n_named == MOST_ARGUMENTS)
            return user_error("more than %d arguments", MOST_ARGUMENTS);
        TRY(eval(e, named ? i->a : i, named ? &a->named[a->n_named] : &a->plain[a->n]));
        if (named) {
            a->name[a->n_named] = i->text;
            a->name_length[a->n_named++] = i->n;
        } else {
            a->n++;
        }
    }
    return NULL;
}

static error *range(pool *p, value x, const value **v, value *out)
{
    enum { MOST = 100000 };
    int64_t bound[3] = {0, 0, 1};
    (void)x;
    for (int i = 0; i < 3 && v[i]; i++) {
        if (v[i]->kind != V_INTEGER) return user_error("range takes whole numbers");
        bound[v[1] ? i : 1] = v[i]->whole;
    }
    int64_t by = bound[2];
    if (by == 0) return user_error("range by steps of 0");
    TRY(v_new(p, V_VIEW, out));
    out->truth = true;
    for (int64_t i = bound[0]; by > 0 ? i < bound[1] : i > bound[1]; i += by) {
        if (out->items->n == MOST) return user_error("a range of more than %d", MOST);
        TRY(v_append(p, *out, v_integer(i)));
        if (by > 0 ? i > INT64_MAX - by : i < INT64_MIN - by) break;
    }
    return NULL;
}

static error *raise_exception(pool *p, value x, const value **v, value *out)
{
    (void)p, (void)x, (void)out;
    TRY(need_string(v[0], "raise_exception"));
    return user_error("the template refuses: %.*s", (int)v[0]->n, v[0]->text);
}

static error *call_function(evaluation *e, value f, const arguments *a, value *out)
{
    static const callable rows[] = {{"range", range, {0}, 1, 3},
                                    {"raise_exception", raise_exception, {"message"}, 1, 1}};
    const value *v[MOST_PARAMETERS];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (is_text(f.text, f.n, rows[i].name)) {
            TRY(take_arguments(&rows[i], a, v));
            return rows[i].run(e->pool, f, v, out);
        }
    TRY(v_new(e->pool, V_SPACE, out));
    if (a->n) return user_error("namespace takes NAME=VALUE");
    for (int i = 0; i < a->n_named; i++)
        TRY(v_put(e->pool, *out, v_string(a->name[i], a->name_length[i]), a->named[i]));
    return NULL;
}

/* Binds arguments to parameters, by position, then by name, or their defaults. */
static error *bind_parameters(evaluation *e, const node *macro, const arguments *a, scope *s)
{
    int i = 0, taken = 0;
    for (const node *p = macro->list; p; p = p->next, i++) {
        value v = i < a->n ? a->plain[i] : v_undefined(p->text, p->n);
        int given = i < a->n;
        for (int k = 0; k < a->n_named; k++) {
            if (a->name_length[k] != p->n || memcmp(a->name[k], p->text, p->n) != 0) continue;
            if (given++)
                return user_error("the macro %.*s gets %.*s twice", (int)macro->n, macro->text,
                                  (int)p->n, p->text);
            v = a->named[k];
            taken++;
        }
        if (!given && p->kind == N_KEYWORD) TRY(eval(e, p->a, &v));
        TRY(bind(e, s, p->text, p->n, v));
    }
    if (a->n > i) return user_error("a macro with %d parameters gets %d", i, a->n);
    return taken < a->n_named
               ? user_error("the macro %.*s gets an argument with a name that it does not have",
                            (int)macro->n, macro->text)
               : NULL;
}

static error *call_macro(evaluation *e, value called, const arguments *a, value *out)
{
    const node *macro = called.macro;
    scope *before = e->scope, *mine;
    TRY(pool_take(e->pool, sizeof *mine, &mine));
    mine->up = called.scope;
    e->scope = mine;
    error *failed = bind_parameters(e, macro, a, mine);
    if (!failed) failed = capture(e, macro->body, out);
    e->scope = before;
    e->flow = FLOW_ON;
    return failed;
}

static error *eval_call(evaluation *e, const node *n, value *out)
{
    arguments a;
    value f;
    if (n->a->kind == N_ATTRIBUTE) {
        value of;
        TRY(eval(e, n->a->a, &of));
        TRY(eval_arguments(e, n->list, &a));
        return jinja_method(e->pool, of, n->a, &a, out);
    }
    TRY(eval(e, n->a, &f));
    TRY(eval_arguments(e, n->list, &a));
    if (f.kind == V_MACRO) return call_macro(e, f, &a, out);
    if (f.kind == V_FUNCTION) return call_function(e, f, &a, out);
    if (f.kind != V_UNDEFINED) return user_error("%s is called", v_kind_name(f));
    if (is_text(f.text, f.n, "strftime_now"))
        return user_error(
            "strftime_now() is not supported: tomorrow the same data would be another");
    return user_error("the function %.*s() is not supported", (int)(f.n < 60 ? f.n : 60), f.text);
}

static error *eval_filter(evaluation *e, const node *n, value *out)
{
    arguments a;
    value of;
    bool is;
    TRY(eval(e, n->a, &of));
    TRY(eval_arguments(e, n->list, &a));
    if (n->kind == N_FILTER) return jinja_filter(e->pool, of, n, &a, out);
    TRY(jinja_test(e->pool, of, n->text, n->n, &a, &is));
    *out = v_bool(is);
    return NULL;
}

/* ---- expressions ---- */

static error *eval_logic(evaluation *e, const node *n, value *out)
{
    TRY(eval(e, n->a, out));
    switch (n->kind) {
    case N_NOT:
        *out = v_bool(!v_true(*out));
        return NULL;
    case N_AND:
        return v_true(*out) ? eval(e, n->b, out) : NULL;
    case N_OR:
        return v_true(*out) ? NULL : eval(e, n->b, out);
    case N_CHOICE:
        if (v_true(*out)) return eval(e, n->b, out);
        *out = v_undefined("else", 4);
        return n->c ? eval(e, n->c, out) : NULL;
    default: /* N_MINUS */
        if (out->kind == V_REAL)
            out->real = -out->real;
        else if (out->kind == V_INTEGER && out->whole != INT64_MIN)
            out->whole = -out->whole;
        else
            return user_error("minus %s", v_kind_name(*out));
        return NULL;
    }
}

static error *eval_kind(evaluation *e, const node *n, value *out)
{
    switch (n->kind) {
    case N_STRING:
        *out = v_string(n->text, n->n);
        return NULL;
    case N_INTEGER:
        *out = v_integer(n->whole);
        return NULL;
    case N_REAL:
        *out = v_real(n->real);
        return NULL;
    case N_TRUE:
    case N_FALSE:
        *out = v_bool(n->kind == N_TRUE);
        return NULL;
    case N_NONE:
        *out = v_none();
        return NULL;
    case N_NAME:
        *out = name_value(e, n->text, n->n);
        return NULL;
    case N_LIST:
    case N_DICT:
        return eval_list(e, n, out);
    case N_ATTRIBUTE:
        return eval_attribute(e, n, out);
    case N_INDEX:
        return eval_index(e, n, out);
    case N_SLICE:
        return eval_slice(e, n, out);
    case N_CALL:
        return eval_call(e, n, out);
    case N_FILTER:
    case N_TEST:
        return eval_filter(e, n, out);
    case N_BINARY:
        return eval_binary(e, n, out);
    default:
        return eval_logic(e, n, out);
    }
}

/* Counts steps and limits nesting: a long row in the source may be a deep tree. */
static error *count_step(evaluation *e, const node *n)
{
    TRY(placed(e, n, pool_step(e->pool)));
    if (e->nesting < JINJA_MOST_NESTING) return NULL;
    return placed(e, n, user_error("it nests deeper than %d", JINJA_MOST_NESTING));
}

static error *eval(evaluation *e, const node *n, value *out)
{
    TRY(count_step(e, n));
    e->nesting++;
    error *failed = eval_kind(e, n, out);
    e->nesting--;
    return failed;
}

/* ---- statements ---- */

/* The output of a block that is set; names set inside of it end with it. */
static error *capture_inside(evaluation *e, const node *body, value *out)
{
    scope *before = e->scope;
    TRY(new_scope(e, before));
    TRY(capture(e, body, out));
    e->scope = before;
    return NULL;
}

static error *run_set(evaluation *e, const node *n)
{
    const node *to = n->list;
    value v, space;
    if (n->a)
        TRY(eval(e, n->a, &v));
    else
        TRY(capture_inside(e, n->body, &v));
    if (to->kind == N_NAME) return bind(e, e->scope, to->text, to->n, v);
    TRY(eval(e, to->a, &space));
    if (space.kind != V_SPACE)
        return user_error("{%% set %.*s.%.*s %%} where %.*s is not a namespace", (int)to->a->n,
                          to->a->text, (int)to->n, to->text, (int)to->a->n, to->a->text);
    return v_put(e->pool, space, v_string(to->text, to->n), v);
}

static error *run_if(evaluation *e, const node *n)
{
    value v;
    TRY(placed(e, n, eval(e, n->a, &v)));
    return run_body(e, v_true(v) ? n->body : n->orelse);
}

/* Binds the variables of one iteration; an item may be unpacked into several. */
static error *bind_targets(evaluation *e, const node *n, value item)
{
    const node *name = n->list;
    size_t names = 0;
    if (!name->next) return bind(e, e->scope, name->text, name->n, item);
    for (const node *i = name; i; i = i->next)
        names++;
    if (item.kind != V_LIST || item.items->n != names)
        return placed(
            e, n, user_error("an item of the loop does not have as many parts as there are names"));
    for (size_t i = 0; name; name = name->next, i++)
        TRY(bind(e, e->scope, name->text, name->n, item.items->item[i]));
    return NULL;
}

static error *bind_loop(evaluation *e, value loop, value list, int64_t i)
{
    int64_t n = (int64_t)list.items->n;
    const struct {
        const char *name;
        value value;
    } row[] = {
        {"index", v_integer(i + 1)},
        {"index0", v_integer(i)},
        {"revindex", v_integer(n - i)},
        {"revindex0", v_integer(n - i - 1)},
        {"first", v_bool(i == 0)},
        {"last", v_bool(i == n - 1)},
        {"length", v_integer(n)},
        {"depth", v_integer(1)},
        {"previtem", i ? list.items->item[i - 1] : v_undefined("previtem", 8)},
        {"nextitem", i < n - 1 ? list.items->item[i + 1] : v_undefined("nextitem", 8)},
    };
    for (size_t k = 0; k < sizeof row / sizeof *row; k++)
        TRY(v_put(e->pool, loop, v_string(row[k].name, strlen(row[k].name)), row[k].value));
    return bind(e, e->scope, "loop", 4, loop);
}

/* The items that satisfy the loop's own condition. */
static error *loop_items(evaluation *e, const node *n, value *out)
{
    scope *before = e->scope;
    value all, taken;
    TRY(eval(e, n->a, &all));
    TRY(v_items(e->pool, all, &all));
    *out = all;
    if (!n->b) return NULL;
    TRY(v_new(e->pool, V_LIST, out));
    for (size_t i = 0; i < all.items->n; i++) {
        TRY(new_scope(e, before));
        TRY(bind_targets(e, n, all.items->item[i]));
        TRY(eval(e, n->b, &taken));
        if (v_true(taken)) TRY(v_append(e->pool, *out, all.items->item[i]));
    }
    e->scope = before;
    return NULL;
}

static error *run_for(evaluation *e, const node *n)
{
    scope *before = e->scope;
    value list, loop;
    TRY(placed(e, n, loop_items(e, n, &list)));
    if (!list.items->n) return run_body(e, n->orelse);
    TRY(v_new(e->pool, V_LOOP, &loop));
    for (size_t i = 0; i < list.items->n; i++) {
        TRY(new_scope(e, before));
        TRY(bind_targets(e, n, list.items->item[i]));
        TRY(bind_loop(e, loop, list, (int64_t)i));
        TRY(run_body(e, n->body));
        bool ends = e->flow == FLOW_BREAK;
        e->flow = FLOW_ON;
        if (ends) break;
    }
    e->scope = before;
    return NULL;
}

/* Marks its output, if that goes directly into the template's text. */
static error *run_generation(evaluation *e, const node *n)
{
    jinja_text *to = e->result;
    size_t begin = e->whole->n, before = to->n_spans;
    scope *outside = e->scope;
    TRY(new_scope(e, outside));
    TRY(run_body(e, n->body));
    e->scope = outside;
    if (to->n_spans != before) return placed(e, n, user_error("{%% generation %%} inside another"));
    if (e->out != e->whole)
        return placed(e, n, user_error("{%% generation %%} inside of a macro or a set"));
    TRY(grow_array(&to->spans, &to->capacity, to->n_spans + 1, sizeof *to->spans));
    to->spans[to->n_spans++] = (jinja_span){begin, e->whole->n};
    return NULL;
}

static error *run_print(evaluation *e, const node *n)
{
    value v;
    TRY(eval(e, n->a, &v));
    TRY(v_shown(e->pool, v, &v));
    return emit(e, v.text, v.n);
}

static error *run_statement(evaluation *e, const node *n)
{
    switch (n->kind) {
    case N_DATA:
        return emit(e, n->text, n->n);
    case N_PRINT:
        return placed(e, n, run_print(e, n));
    case N_SET:
        return placed(e, n, run_set(e, n));
    case N_IF:
        return run_if(e, n);
    case N_FOR:
        return run_for(e, n);
    case N_GENERATION:
        return run_generation(e, n);
    case N_MACRO:
        return bind(
            e, e->scope, n->text, n->n,
            (value){.kind = V_MACRO, .macro = n, .scope = e->scope, .text = n->text, .n = n->n});
    default:
        e->flow = n->kind == N_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
        return NULL;
    }
}

static error *run_body(evaluation *e, const node *body)
{
    for (const node *n = body; n && e->flow == FLOW_ON; n = n->next) {
        TRY(count_step(e, n));
        e->nesting++;
        TRY(run_statement(e, n));
        e->nesting--;
    }
    return NULL;
}

/* ---- from outside ---- */

error *jinja_parse(const char *name, const char *text, size_t n, jinja **out)
{
    jinja *t;
    words w = {0};
    char *copy;
    size_t used = 0;
    if (n > JINJA_MOST_TEMPLATE)
        return user_error("the chat template %s has %zu bytes, more than %d", name, n,
                          JINJA_MOST_TEMPLATE);
    TRY(alloc_array(&t, 1, sizeof *t));
    t->name = strdup(name);
    error *e = t->name ? pool_take(&t->pool, n + 1, &copy) : user_error("out of memory");
    if (!e) {
        for (size_t i = 0; i < n; i++) /* line breaks are \n, and the last one is removed */
            if (text[i] != '\r' || i + 1 == n || text[i + 1] != '\n')
                copy[used++] = text[i] == '\r' ? '\n' : text[i];
        if (used && copy[used - 1] == '\n') used--;
        e = jinja_words(&t->pool, copy, used, &w);
    }
    if (!e) e = jinja_tree(&t->pool, &w, &t->body);
    free(w.word);
    if (e) {
        jinja_free(t);
        return error_context(e, "the chat template %s", name);
    }
    *out = t;
    return NULL;
}

void jinja_free(jinja *t)
{
    if (!t) return;
    pool_free(&t->pool);
    free(t->name);
    free(t);
}

static error *run_template(evaluation *e, const jinja *t, const cJSON *variables)
{
    value v;
    TRY(new_scope(e, NULL));
    for (const cJSON *i = variables->child; i; i = i->next) {
        TRY(v_from_json(e->pool, i, 0, &v));
        TRY(bind(e, e->scope, i->string, strlen(i->string), v));
    }
    return run_body(e, t->body);
}

error *jinja_render(const jinja *t, const cJSON *variables, jinja_text *out)
{
    pool memory = {.most = JINJA_MOST_MEMORY};
    buffer text = {0};
    evaluation e = {.pool = &memory, .out = &text, .whole = &text, .result = out};
    *out = (jinja_text){0};
    error *failed = run_template(&e, t, variables);
    if (!failed) failed = alloc_array(&out->text, text.n + 1, 1);
    if (!failed) {
        if (text.n) memcpy(out->text, text.text, text.n);
        out->n = text.n;
    }
    pool_free(&memory);
    return error_context(failed, "the chat template %s", t->name);
}

void jinja_text_free(jinja_text *text)
{
    free(text->text);
    free(text->spans);
    *text = (jinja_text){0};
}
