/* jinja_internal.h - shared by the parts of jinja.h: a memory pool, tokens, the tree, values. */
#ifndef REGRAD_JINJA_INTERNAL_H
#define REGRAD_JINJA_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "data/chat/jinja.h"

enum {
    JINJA_MOST_DEPTH = 200,       /* of the tree while parsing */
    JINJA_MOST_NESTING = 600,     /* of evaluation */
    JINJA_MOST_VALUE = 200,       /* nested lists and mappings */
    JINJA_MOST_STEPS = 4 << 20,   /* nodes evaluated, and values compared, per rendering */
    JINJA_MOST_MEMORY = 96 << 20, /* bytes of values per rendering */
};

/* ---- a memory pool, freed all at once, with a limit on steps ---- */

typedef struct pool_block pool_block;
typedef struct {
    pool_block *last;
    size_t used, room; /* of the last block */
    size_t bytes, most;
    int64_t steps;
} pool;

error *pool_take(pool *p, size_t bytes, void *out_pointer) NODISCARD; /* zeroed, for any type */
error *pool_step(pool *p) NODISCARD; /* one more of JINJA_MOST_STEPS */
void pool_free(pool *p);

/* ---- tokens ---- */

typedef enum {
    W_DATA,  /* text between the tags */
    W_PRINT, /* {{ */
    W_PRINT_END,
    W_BLOCK, /* {% */
    W_BLOCK_END,
    W_NAME,
    W_STRING, /* escapes are already replaced */
    W_INTEGER,
    W_REAL,
    W_OPERATOR,
    W_END
} word_kind;

typedef struct {
    word_kind kind;
    int line;
    const char *text; /* (n) */
    size_t n;
    int64_t whole;
    double real;
} word;

typedef struct {
    word *word; /* (n), the last one W_END */
    size_t n, capacity;
} words;

/* text (n) must outlive them. */
error *jinja_words(pool *p, const char *text, size_t n, words *out) NODISCARD;

/* ---- the tree ---- */

typedef enum {
    /* expressions */
    N_STRING,
    N_INTEGER,
    N_REAL,
    N_TRUE,
    N_FALSE,
    N_NONE,
    N_NAME,
    N_LIST,      /* list: items */
    N_DICT,      /* list: key, value, key, value */
    N_ATTRIBUTE, /* a.text */
    N_INDEX,     /* a[b] */
    N_SLICE,     /* a[b:c:d] */
    N_CALL,      /* a(list) */
    N_KEYWORD,   /* text=a, in the list of a call */
    N_FILTER,    /* a | text(list) */
    N_TEST,      /* a is text(list) */
    N_NOT,
    N_MINUS,
    N_AND,
    N_OR,
    N_BINARY, /* a text b */
    N_CHOICE, /* b if a else c */
    /* statements */
    N_DATA,  /* text */
    N_PRINT, /* a */
    N_SET,   /* list = a: names, or one attribute of a namespace; with body: text=rendered body */
    N_IF,    /* a, body, orelse */
    N_FOR,   /* list: targets, a: over what, b: ? condition, body, orelse */
    N_MACRO, /* text, list: parameters (N_KEYWORD if with a default), body */
    N_GENERATION,
    N_BREAK,
    N_CONTINUE
} node_kind;

typedef struct node node;
struct node {
    node_kind kind;
    int line;
    const char *text; /* (n) */
    size_t n;
    int64_t whole;
    double real;
    node *a, *b, *c, *d;
    node *list, *body, *orelse;
    node *next; /* in a list or a body */
};

struct jinja {
    char *name;
    pool pool;
    node *body;
};

error *jinja_tree(pool *p, const words *w, node **out) NODISCARD;

/* ---- values ---- */

typedef enum {
    V_UNDEFINED, /* text: its name */
    V_NONE,
    V_BOOL,
    V_INTEGER,
    V_REAL,
    V_STRING,
    V_LIST,
    V_VIEW,     /* truth: a range; else keys(), values(), items(): for loops and lists, refused
                 * by tojson and + */
    V_ITERATOR, /* result of some filters: true even if empty, no length or index, can be used
                 * once */
    V_DICT,
    V_SPACE,
    V_LOOP, /* the loop variable */
    V_MACRO,
    V_FUNCTION
} value_kind;

typedef struct value value;
typedef struct {
    value *item; /* (n); of a dict: key, value, key, value */
    size_t n, capacity;
    int depth; /* of lists and mappings, this one included */
    bool used; /* of an iterator */
} items;

struct value {
    value_kind kind;
    bool truth;
    int64_t whole;
    double real;
    const char *text; /* (n) */
    size_t n;
    items *items;
    const node *macro;
    struct scope *scope; /* of a macro: the scope it was defined in */
};

/* Arguments of a call, as written. */
enum { MOST_ARGUMENTS = 16 };
typedef struct {
    value plain[MOST_ARGUMENTS], named[MOST_ARGUMENTS];
    const char *name[MOST_ARGUMENTS]; /* of the named ones */
    size_t name_length[MOST_ARGUMENTS];
    int n, n_named;
} arguments;

/* Something callable: its parameters v[MOST_PARAMETERS] are NULL if not given. */
enum { MOST_PARAMETERS = 3 };
typedef struct {
    const char *name;
    error *(*run)(pool *p, value x, const value **v, value *out);
    const char *names[MOST_PARAMETERS]; /* NULL: positional only */
    int needed, most;                   /* required; at most that many positional */
} callable;

/* One that is a call with other arguments. */
#define CALLABLE(name, call)                                                                       \
    error *name(pool *p, value x, const value **v, value *out)                                     \
    {                                                                                              \
        (void)p, (void)v;                                                                          \
        return call;                                                                               \
    }

/* User error: an argument that is superfluous, missing, given twice, or unknown. */
error *take_arguments(const callable *c, const arguments *a, const value **v) NODISCARD;
error *need_string(const value *v, const char *what) NODISCARD;

/* Text that grows in a pool. */
typedef struct {
    char *text; /* ? (n) */
    size_t n, room;
} buffer;

error *buffer_add(pool *p, buffer *b, const char *text, size_t n) NODISCARD;

static inline bool is_text(const char *text, size_t n, const char *word_)
{
    return strlen(word_) == n && !memcmp(text, word_, n);
}

static inline value v_none(void)
{
    return (value){.kind = V_NONE};
}
static inline value v_bool(bool b)
{
    return (value){.kind = V_BOOL, .truth = b};
}
static inline value v_integer(int64_t i)
{
    return (value){.kind = V_INTEGER, .whole = i};
}
static inline value v_real(double r)
{
    return (value){.kind = V_REAL, .real = r};
}
static inline value v_string(const char *s, size_t n)
{
    return (value){.kind = V_STRING, .text = s, .n = n};
}
static inline value v_undefined(const char *s, size_t n)
{
    return (value){.kind = V_UNDEFINED, .text = s, .n = n};
}

const char *v_kind_name(value v); /* "a list" */
bool v_true(value v);
error *v_equal(pool *p, value a, value b, bool *out) NODISCARD;
bool v_number(value v, double *out);
bool v_is_dict(value v);
error *v_new(pool *p, value_kind kind, value *out) NODISCARD; /* an empty one that has items */
error *v_append(pool *p, value list, value item) NODISCARD;
error *v_put(pool *p, value dict, value key, value item) NODISCARD;
bool v_get(value dict, const char *key, size_t n, value *out);
error *v_concat(pool *p, value a, value b, value *out) NODISCARD; /* of two strings */
error *v_shown(pool *p, value v, value *out) NODISCARD;           /* as {{ }} prints it */
error *v_from_json(pool *p, const cJSON *json, int depth, value *out) NODISCARD;
error *v_to_json(pool *p, value v, int64_t indent, value *out) NODISCARD; /* indent < 0: one line */
error *v_items(pool *p, value x, value *out) NODISCARD; /* of a list, a mapping (keys), a text */
size_t v_length(value v);                               /* characters, items, pairs */
value v_slice_text(value v, size_t from, size_t to);    /* characters */

/* ---- texts ---- */

/* Bytes of the first character; invalid UTF-8 counts byte by byte. */
size_t character_size(const char *text, size_t n);

/* Bytes of the first or last character if it is white space in Python; else 0. */
size_t blank_first(const char *text, size_t n);
size_t blank_last(const char *text, size_t n);

/* ? set: the characters to strip, default white space */
error *strip_by(value x, const value *set, bool left, bool right, value *out) NODISCARD;
/* shows: other values are printed; otherwise they are refused */
error *join_items(pool *p, value list, value between, bool shows, value *out) NODISCARD;

/* Filters and methods: see callable. */
error *text_strip(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_strip_left(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_strip_right(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_upper(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_lower(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_capitalize(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_title(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_title_words(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_replace(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_join(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_split(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_starts(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_ends(pool *p, value x, const value **v, value *out) NODISCARD;
error *text_to_integer(pool *p, value x, const value **v, value *out) NODISCARD;

/* ---- calls ---- */

error *jinja_filter(pool *p, value x, const node *f, const arguments *a, value *out) NODISCARD;
error *jinja_test(pool *p, value x, const char *name, size_t n, const arguments *a,
                  bool *out) NODISCARD;
error *jinja_method(pool *p, value x, const node *call, const arguments *a, value *out) NODISCARD;

#endif
