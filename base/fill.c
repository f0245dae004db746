/* fill.c - see fill.h */
#include "base/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the "{name}" at `at`, and the name; 0 if there is none. */
static size_t name_at(const char *at, char name[FILL_NAME])
{
    const char *end = *at == '{' ? strchr(at, '}') : NULL;
    if (!end || end - at - 1 >= FILL_NAME) return 0;
    snprintf(name, FILL_NAME, "%.*s", (int)(end - at - 1), at + 1);
    return (size_t)(end - at) + 1;
}

char *fill_text(const char *text, fill_value value, const void *context)
{
    char *out = NULL, name[FILL_NAME], with[FILL_VALUE];
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    if (!f) return NULL;
    while (*text) {
        size_t length = name_at(text, name);
        if (length && value(context, name, with, sizeof with)) {
            fputs(with, f);
            text += length;
        } else {
            fputc(*text++, f);
        }
    }
    bool bad = ferror(f);
    if (fclose(f) == 0 && !bad) return out;
    free(out);
    return NULL;
}

error *fill_error(const char *text, fill_value value, const void *context)
{
    char *filled = fill_text(text, value, context);
    error *e = user_error("%s", filled ? filled : text);
    free(filled);
    return e;
}
