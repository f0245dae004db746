/* choices.c - see choices.h */
#include "infer/choices.h"
#include "base/json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"

/* ---- cleaning, as lm-evaluation-harness does for HellaSwag ---- */

static bool is_space(char c)
{
    return strchr(" \t\n\r\v\f\x1c\x1d\x1e\x1f", c) && c; /* like Python's str.strip, for ASCII */
}

static void strip(char *text)
{
    size_t n = strlen(text), first = 0;
    while (n && is_space(text[n - 1]))
        n--;
    while (first < n && is_space(text[first]))
        first++;
    memmove(text, text + first, n - first);
    text[n - first] = 0;
}

/* Replaces all `from` by `to`, which is not longer. */
static void replace(char *text, const char *from, const char *to)
{
    size_t gone = strlen(from), n = strlen(to);
    char *out = text;
    for (const char *at = text; *at;) {
        if (strncmp(at, from, gone) != 0) {
            *out++ = *at++;
            continue;
        }
        memcpy(out, to, n);
        out += n;
        at += gone;
    }
    *out = 0;
}

/* Removes text in [brackets], each within a line. */
static void drop_brackets(char *text)
{
    char *out = text;
    for (const char *at = text; *at;) {
        const char *end = *at == '[' ? strpbrk(at, "]\n") : NULL;
        if (end && *end == ']')
            at = end + 1;
        else
            *out++ = *at++;
    }
    *out = 0;
}

static void clean(char *text)
{
    strip(text);
    replace(text, " [title]", ". ");
    drop_brackets(text);
    replace(text, "  ", " ");
}

/* Capitalizes: first an upper-case letter, then lower-case ones; non-ASCII letters are
 * unchanged. */
static void capitalize(char *text)
{
    for (size_t i = 0; text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80) text[i] = (char)(i ? tolower(c) : toupper(c));
    }
}

/* ---- reading ---- */

/* The member with the first of these names that exists. */
static const cJSON *member(const cJSON *line, const char *const *names, int n, const char **name)
{
    for (int i = 0; i < n; i++) {
        const cJSON *found = json_get(line, names[i]);
        *name = names[i];
        if (found) return found;
    }
    *name = names[0];
    return NULL;
}

#define MEMBER(line, names, name)                                                                  \
    member(line, names, (int)(sizeof(names) / sizeof *(names)), &(name))

static error *take_text(const cJSON *item, const char *name, char **out)
{
    const char *text = cJSON_GetStringValue(item);
    if (!text) return user_error("%s is %s", name, item ? "no text" : "missing");
    size_t n = strlen(text);
    TRY(alloc_array(out, n + 1, 1));
    memcpy(*out, text, n);
    return NULL;
}

static error *take_gold(const cJSON *line, question *q)
{
    static const char *const names[] = {"gold", "label", "answer"};
    const char *name;
    const cJSON *item = MEMBER(line, names, name);
    const char *text = cJSON_GetStringValue(item);
    char *end = NULL;
    double x = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (text && isdigit((unsigned char)*text)) x = (double)strtol(text, &end, 10);
    if (!item) return user_error("gold is missing: which choice is right, counted from 0");
    if ((end && *end) || !(x >= 0 && x < q->n && x == floor(x)))
        return user_error("%s must be a number from 0 to %d: which choice is right", name,
                          q->n - 1);
    q->gold = (int)x;
    return NULL;
}

static error *take_choices(const cJSON *list, const char *name, question *q)
{
    if (!cJSON_IsArray(list))
        return user_error("%s is %s", name, list ? "no list of texts" : "missing");
    for (const cJSON *i = list->child; i; i = i->next) {
        char which[60];
        if (q->n == MOST_CHOICES)
            return user_error("%s has more than %d texts", name, MOST_CHOICES);
        snprintf(which, sizeof which, "%s, number %d,", name, q->n);
        TRY(take_text(i, which, &q->choice[q->n]));
        q->n++;
    }
    return q->n < 2 ? user_error("%s has %d: at least 2 can be chosen from", name, q->n) : NULL;
}

/* "LABEL: A B" from HellaSwag's parts, or ctx alone. */
static error *take_hellaswag(const cJSON *line, question *q)
{
    static const char *const names[] = {"activity_label", "ctx_a", "ctx_b"};
    char *part[3] = {0};
    error *e = NULL;
    for (int i = 0; i < 3 && !e; i++)
        e = take_text(json_get(line, names[i]), names[i], &part[i]);
    size_t n = e ? 0 : strlen(part[0]) + strlen(part[1]) + strlen(part[2]) + 4;
    if (!e) e = alloc_array(&q->query, n, 1);
    if (!e) {
        capitalize(part[2]);
        snprintf(q->query, n, "%s: %s %s", part[0], part[1], part[2]);
    }
    for (int i = 0; i < 3; i++)
        free(part[i]);
    return e;
}

error *question_read(const cJSON *line, question *out)
{
    static const char *const names[] = {"query", "context", "question"};
    const char *name;
    *out = (question){0};
    const cJSON *endings = json_get(line, "endings");
    if (!endings) {
        const cJSON *query = MEMBER(line, names, name);
        TRY(take_text(query, name, &out->query));
        TRY(take_choices(json_get(line, "choices"), "choices", out));
        return take_gold(line, out);
    }
    if (json_get(line, "ctx_a"))
        TRY(take_hellaswag(line, out));
    else
        TRY(take_text(json_get(line, "ctx"), "ctx", &out->query));
    TRY(take_choices(endings, "endings", out));
    clean(out->query);
    for (int i = 0; i < out->n; i++)
        clean(out->choice[i]);
    return take_gold(line, out);
}

void question_free(question *q)
{
    free(q->query);
    for (int i = 0; i < q->n; i++)
        free(q->choice[i]);
    *q = (question){0};
}

size_t question_length(const question *q, int choice)
{
    size_t n = 0;
    for (const char *c = q->choice[choice]; *c; c++)
        n += ((unsigned char)*c & 0xc0) != 0x80; /* bytes that begin a character */
    return n;
}

/* ---- tokens ---- */

typedef struct {
    int32_t **ids;
    size_t *n, *capacity;
} id_list;

static error *add_ids(void *to, const int32_t *ids, size_t n)
{
    id_list *l = to;
    TRY(grow_array(l->ids, l->capacity, *l->n + n, sizeof *ids));
    memcpy(*l->ids + *l->n, ids, n * sizeof *ids);
    *l->n += n;
    return NULL;
}

/* A text's tokens, after the token that begins a text if there is one. */
static error *encode_whole(const bpe *v, const char *text, size_t n, id_list to)
{
    int32_t begin = bpe_begin_of_text(v);
    if (begin >= 0) TRY(add_ids(&to, &begin, 1));
    return n ? bpe_encode_to(v, (const uint8_t *)text, n, BPE_SPECIAL_TEXT, add_ids, &to) : NULL;
}

static error *encode_choice(const bpe *v, const question *q, size_t query, int i,
                            question_tokens *t)
{
    size_t n = strlen(q->query) + strlen(q->choice[i]) + 2, whole = 0, capacity = 0;
    int32_t *ids = NULL;
    char *text;
    TRY(alloc_array(&text, n, 1));
    snprintf(text, n, "%s %s", q->query, q->choice[i]);
    const char *from =
        query ? text : text + strlen(q->query); /* an empty query has a token of its own */
    error *e = encode_whole(v, from, strlen(from), (id_list){&ids, &whole, &capacity});
    free(text);
    size_t first = query ? t->n : bpe_begin_of_text(v) >= 0;
    if (!e && whole <= first) e = user_error("choice %d has no token of its own", i);
    if (!e)
        e = add_ids(&(id_list){&t->choice[i], &t->sizes[i], &t->capacities[i]}, ids + first,
                    whole - first);
    free(ids);
    return e;
}

error *question_encode(const bpe *v, const question *q, question_tokens *out)
{
    size_t n = strlen(q->query);
    id_list to = {&out->query, &out->n, &out->capacity};
    *out = (question_tokens){0};
    while (n && is_space(q->query[n - 1]))
        n--;
    TRY(encode_whole(v, q->query, n, to));
    if (!out->n) {
        int32_t end = bpe_end_of_text(v);
        if (end < 0)
            return user_error("the query is empty, and the vocabulary has no token that a text "
                              "could begin with");
        TRY(add_ids(&to, &end, 1));
    }
    for (int i = 0; i < q->n; i++)
        TRY(encode_choice(v, q, n, i, out));
    return NULL;
}

void question_tokens_free(question_tokens *t)
{
    free(t->query);
    for (int i = 0; i < MOST_CHOICES; i++)
        free(t->choice[i]);
    *t = (question_tokens){0};
}

void question_choose(const question *q, const double *likelihood, int *plain, int *normed)
{
    *plain = *normed = 0;
    for (int i = 1; i < q->n; i++) {
        if (likelihood[i] > likelihood[*plain]) *plain = i;
        if (likelihood[i] / (double)question_length(q, i) >
            likelihood[*normed] / (double)question_length(q, *normed))
            *normed = i;
    }
}
