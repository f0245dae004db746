/* golden.c - see golden.h: a line is cut at `#` and into words; each word is a name, a count or a
 * value, depending on what came before.
 */
#include "test/golden.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *name;
    double *values;
    int64_t n;
} entry;

struct golden {
    char *path;
    entry *entries;
    int64_t n, room;
    enum { NAME, COUNT, VALUE } next;
    int64_t have; /* values of the last entry read so far */
};

static entry *last(const golden *g)
{
    return &g->entries[g->n - 1];
}

static const entry *find(const golden *g, const char *name)
{
    for (int64_t i = 0; i < g->n; i++)
        if (!strcmp(g->entries[i].name, name)) return &g->entries[i];
    return NULL;
}

static bool is_number(const char *word, double *value)
{
    char *end;
    *value = strtod(word, &end);
    return end != word && !*end;
}

static error *take_name(golden *g, const char *word)
{
    double value;
    if (is_number(word, &value))
        return user_error("'%s' where a name should be: there are more values than the count said",
                          word);
    if (find(g, word)) return user_error("'%s' for the second time: give each name once", word);
    if (g->n == g->room) {
        int64_t room = g->room ? 2 * g->room : 16;
        entry *more = realloc(g->entries, (size_t)room * sizeof *more);
        if (!more) return user_error("out of memory");
        g->entries = more;
        g->room = room;
    }
    char *name = strdup(word);
    if (!name) return user_error("out of memory");
    g->entries[g->n++] = (entry){.name = name};
    g->next = COUNT;
    return NULL;
}

static error *take_count(golden *g, const char *word)
{
    char *end;
    errno = 0;
    long long n = strtoll(word, &end, 10);
    if (end == word || *end || errno || n < 0)
        return user_error("'%s' where the count of '%s' should be: give a number from 0 on", word,
                          last(g)->name);
    TRY(alloc_array(&last(g)->values, (unsigned long)n, sizeof(double)));
    last(g)->n = n;
    g->have = 0;
    g->next = n ? VALUE : NAME;
    return NULL;
}

static error *take_value(golden *g, const char *word)
{
    if (!is_number(word, &last(g)->values[g->have]))
        return user_error("'%s' where value %lld of %lld of '%s' should be: give a number", word,
                          (long long)g->have + 1, (long long)last(g)->n, last(g)->name);
    if (++g->have == last(g)->n) g->next = NAME;
    return NULL;
}

static error *take_line(golden *g, char *line)
{
    char *rest = NULL;
    line[strcspn(line, "#")] = 0;
    for (char *word = strtok_r(line, " \t\r\n", &rest); word;
         word = strtok_r(NULL, " \t\r\n", &rest))
        TRY(g->next == NAME    ? take_name(g, word)
            : g->next == COUNT ? take_count(g, word)
                               : take_value(g, word));
    return NULL;
}

static error *read_all(golden *g, FILE *file)
{
    char *line = NULL;
    size_t size = 0;
    long number = 0;
    error *e = NULL;
    while (!e && getline(&line, &size, file) >= 0) {
        number++;
        e = error_context(take_line(g, line), "%s:%ld", g->path, number);
    }
    free(line);
    if (!e && ferror(file))
        e = user_error("%s: cannot be read to its end: %s", g->path, strerror(errno));
    if (!e && g->next != NAME)
        e = user_error("%s: ends before the values of '%s' do: make the file again", g->path,
                       last(g)->name);
    return e;
}

error *golden_open(const char *path, golden **out)
{
    golden *g;
    TRY(alloc_array(&g, 1, sizeof *g));
    g->path = strdup(path);
    FILE *file = g->path ? fopen(path, "r") : NULL;
    error *e =
        !g->path ? user_error("out of memory")
        : !file  ? user_error("%s: cannot be opened: %s: run tests from the root of the repository",
                              path, strerror(errno))
                 : read_all(g, file);
    if (file) fclose(file);
    if (e)
        golden_free(g);
    else
        *out = g;
    return e;
}

error *golden_get(const golden *g, const char *name, const double **values, int64_t *n)
{
    const entry *found = find(g, name);
    if (!found)
        return user_error(
            "%s: has no values named '%s': make the file again, or ask for a name that is in it",
            g->path, name);
    *values = found->values;
    *n = found->n;
    return NULL;
}

void golden_free(golden *g)
{
    if (!g) return;
    for (int64_t i = 0; i < g->n; i++) {
        free(g->entries[i].name);
        free(g->entries[i].values);
    }
    free(g->entries);
    free(g->path);
    free(g);
}
