/* error.c - see error.h */
#include "base/error.h"
#include "base/shown.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1000 };

struct error {
    error_kind kind;
    bool is_static;
    int number; /* errno, or 0 */
    char text[TEXT_MAX];
};

/* Returned when there is no memory for an error object; never written to. */
static const struct error no_memory = {
    ERR_USER, true, 0, "out of memory: close other programs or use a smaller model or batch"};

/* An error is one line, even if the text it quotes is not. */
static void to_one_line(char text[TEXT_MAX])
{
    char raw[TEXT_MAX];
    memcpy(raw, text, TEXT_MAX);
    text_shown(raw, text, TEXT_MAX);
}

static error *make(error_kind kind, const char *prefix, const char *fmt, va_list args)
{
    error *e = malloc(sizeof *e);
    if (!e) return (error *)(size_t)&no_memory;
    e->kind = kind;
    e->is_static = false;
    e->number = 0;
    int used = snprintf(e->text, TEXT_MAX, "%s", prefix);
    if (used < 0 || used >= TEXT_MAX) used = TEXT_MAX - 1;
    vsnprintf(e->text + used, (size_t)(TEXT_MAX - used), fmt, args);
    to_one_line(e->text);
    return e;
}

error *user_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error *e = make(ERR_USER, "", fmt, args);
    va_end(args);
    return e;
}

error *internal_error_at(const char *file, int line, const char *fmt, ...)
{
    char prefix[200];
    snprintf(prefix, sizeof prefix, "internal error at %s:%d: ", file, line);
    va_list args;
    va_start(args, fmt);
    error *e = make(ERR_INTERNAL, prefix, fmt, args);
    va_end(args);
    return e;
}

error *error_as(error *e, error_kind kind)
{
    if (e && !e->is_static) e->kind = kind;
    return e;
}

error *error_numbered(error *e, int number)
{
    if (e && !e->is_static) e->number = number;
    return e;
}

bool error_is_full_disk(const error *e)
{
    return e && (e->number == ENOSPC || e->number == EDQUOT);
}

error *error_context(error *e, const char *fmt, ...)
{
    if (!e || e->is_static) return e;
    char context[TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    if (n < 0 || n + 3 >= TEXT_MAX) return e;
    size_t keep = strlen(e->text), room = TEXT_MAX - 1 - (size_t)n - 2;
    if (keep > room) keep = room;
    memmove(e->text + n + 2, e->text, keep);
    e->text[(size_t)n + 2 + keep] = 0;
    memcpy(e->text, context, (size_t)n);
    memcpy(e->text + n, ": ", 2);
    to_one_line(e->text);
    return e;
}

const char *error_text(const error *e)
{
    return e->text;
}

error_kind error_kind_of(const error *e)
{
    return e->kind;
}

void error_free(error *e)
{
    if (e && !e->is_static) free(e);
}

error *error_first(error *first, error *second)
{
    if (!first) return second;
    error_free(second);
    return first;
}

int error_report(const char *program, error *e)
{
    int status = (int)e->kind;
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", program, e->text);
    error_free(e);
    return status;
}

void error_warn(error *e)
{
    fflush(stdout);
    fprintf(stderr, "warning: %s\n", e->text);
    error_free(e);
}

error *alloc_array(void *out_pointer, unsigned long count, unsigned long size)
{
    unsigned long bytes;
    void *p = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes))
        p = calloc(count ? count : 1, size ? size : 1);
    if (!p) return user_error("out of memory allocating %lu x %lu bytes", count, size);
    memcpy(out_pointer, &p, sizeof p);
    return NULL;
}
