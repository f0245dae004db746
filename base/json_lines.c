/* json_lines.c - see json_lines.h */
#include "base/json_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 8 };

typedef struct {
    error *first;
    long long line[SHOWN]; /* of the later ones */
    long long more;
} failures;

static error *one_line(const char *text, size_t n, json_line_taker take, void *context)
{
    char *copy;
    cJSON *object;
    TRY(alloc_array(&copy, n + 1, 1));
    memcpy(copy, text, n);
    error *e = json_parse("it", copy, (int64_t)n, &object);
    if (!e) {
        e = json_names_once(object);
        if (!e) e = json_keep_spellings(object, copy, (int64_t)n);
        if (!e) e = take(context, object);
        cJSON_Delete(object);
    }
    free(copy);
    return e;
}

static void note_line(failures *f, error *e, const char *name, long long line)
{
    if (!f->first) {
        f->first = error_context(e, "%s, line %lld", name, line);
        return;
    }
    error_free(e);
    if (f->more < SHOWN) f->line[f->more] = line;
    f->more++;
}

static error *summary(failures *f)
{
    char others[SHOWN * 24] = "";
    int used = 0;
    if (!f->more) return f->first;
    for (int i = 0; i < SHOWN && i < f->more; i++)
        used += snprintf(others + used, sizeof others - (size_t)used, "%s%lld", i ? ", " : "",
                         f->line[i]);
    error *e = user_error("%s (and %lld more: %s %s%s)", error_text(f->first), f->more,
                          f->more > 1 ? "lines" : "line", others, f->more > SHOWN ? ", ..." : "");
    error_free(f->first);
    return e;
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", text[i]) || !text[i]) return false;
    return true;
}

error *json_lines(const char *name, const char *text, size_t n, json_line_taker take, void *context)
{
    failures f = {0};
    long long line = 1;
    for (size_t at = 0, end; at < n; at = end + 1, line++) {
        const char *found = memchr(text + at, '\n', n - at);
        end = found ? (size_t)(found - text) : n;
        if (is_blank(text + at, end - at)) continue;
        error *e = one_line(text + at, end - at, take, context);
        if (e && error_kind_of(e) != ERR_USER) {
            error_free(f.first);
            return e;
        }
        if (e) note_line(&f, e, name, line);
    }
    return summary(&f);
}
