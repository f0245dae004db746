/* json.c - see json.h */
#include "base/json.h"
#include "base/files.h"
#include "base/text_ends.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 50 };

/* True if it nests too deeply, or contains a NUL, literal or escaped. */
static const char *unsafe(const char *text, int64_t n)
{
    int depth = 0;
    bool string = false;
    if (memchr(text, 0, (size_t)n)) return "it has bytes of zero";
    for (int64_t i = 0; i < n; i++) {
        char c = text[i];
        if (string && c == '\\') {
            if (!strncmp(text + i + 1, "u0000", 5)) return "a text in it has a character of zero";
            i++;
        } else if (c == '"') {
            string = !string;
        } else if (!string && (c == '{' || c == '[')) {
            if (++depth > MOST_DEPTH) return "it nests too deep";
        } else if (!string && (c == '}' || c == ']')) {
            depth--;
        }
    }
    return NULL;
}

/* Text of n bytes with text[n] == 0.  `path` is for messages. */
error *json_parse(const char *path, const char *text, int64_t n, cJSON **out)
{
    const char *why = unsafe(text, n);
    if (why) return user_error("%s cannot be read as JSON: %s; write or fetch it again", path, why);
    cJSON *json = cJSON_ParseWithOpts(text, NULL, true);
    if (!json)
        return user_error("%s is not whole JSON (or memory is out): write or fetch it again", path);
    if (!cJSON_IsObject(json)) {
        cJSON_Delete(json);
        return user_error("%s is JSON, but no object: give the file that belongs there", path);
    }
    *out = json;
    return NULL;
}

error *json_read(const char *path, int64_t most, cJSON **out)
{
    uint8_t *text;
    size_t n;
    TRY(file_read_all(path, most, &text, &n));
    error *e = json_parse(path, (const char *)text, (int64_t)n, out);
    free(text);
    return e;
}

/* ---- spellings of numbers ---- */

/* The next number in a text, *size bytes; NULL: there is none. */
static const char *next_number(const char *text, const char *end, size_t *size)
{
    for (bool string = false; text < end; text++) {
        if (string && *text == '\\')
            text++;
        else if (*text == '"')
            string = !string;
        else if (!string && (*text == '-' || (*text >= '0' && *text <= '9')))
            break;
    }
    if (text >= end) return NULL;
    *size = strspn(text, "+-.0123456789Ee");
    return text;
}

static error *keep_spelling(cJSON *number, const char *text, size_t n)
{
    enum { EXACT = 15 }; /* digits that every double preserves */
    if (n <= EXACT && strcspn(text, ".eE") >= n) return NULL;
    number->valuestring = cJSON_malloc(n + 1); /* freed by cJSON_Delete */
    if (!number->valuestring) return user_error("out of memory for JSON");
    memcpy(number->valuestring, text, n);
    number->valuestring[n] = 0;
    return NULL;
}

/* Numbers are visited in textual order; json_parse has already limited the nesting. */
static error *keep_spellings(cJSON *json, const char **text, const char *end)
{
    for (cJSON *i = json->child; i; i = i->next) {
        size_t n;
        TRY(keep_spellings(i, text, end));
        if (!cJSON_IsNumber(i)) continue;
        const char *found = next_number(*text, end, &n);
        if (!found) return internal_error("fewer numbers in a text of JSON than were read");
        TRY(keep_spelling(i, found, n));
        *text = found + n;
    }
    return NULL;
}

error *json_keep_spellings(cJSON *json, const char *text, int64_t n)
{
    return keep_spellings(json, &text, text + n);
}

/* ---- members ---- */

static error *check_names(const cJSON *object, char **name)
{
    size_t n = 0;
    for (const cJSON *i = object->child; i; i = i->next)
        name[n++] = i->string;
    if (n) qsort(name, n, sizeof *name, text_order);
    for (size_t k = 1; k < n; k++)
        if (!strcmp(name[k - 1], name[k]))
            return user_error("an object in it has '%.100s' twice: only one can be meant", name[k]);
    return NULL;
}

error *json_names_once(const cJSON *json)
{
    size_t n = 0;
    for (const cJSON *i = json->child; i; i = i->next, n++)
        TRY(json_names_once(i));
    if (!cJSON_IsObject(json) || n < 2) return NULL;
    char **name;
    TRY(alloc_array(&name, n, sizeof *name));
    error *e = check_names(json, name);
    free(name);
    return e;
}

/* ---- writing ---- */

error *json_text(cJSON *json, bool ok, const char *what, char **out)
{
    *out = json && ok ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    return *out ? NULL : user_error("out of memory for %s", what);
}

error *json_save(cJSON *json, bool ok, const char *what, const char *path)
{
    char *text;
    TRY(json_text(json, ok, what, &text));
    error *e = file_write_text(path, text);
    cJSON_free(text);
    return e;
}

error *json_print_line(cJSON *json, bool ok, const char *what)
{
    char *line = json && ok ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    if (!line) return user_error("out of memory for %s", what);
    puts(line);
    cJSON_free(line);
    fflush(stdout);
    return stdout_check();
}

bool json_add(cJSON *object, const char *name, cJSON *item)
{
    if (item && cJSON_AddItemToObject(object, name, item)) return true;
    cJSON_Delete(item);
    return false;
}
