/* json.h - small JSON files written by others: configurations, indices.
 *
 * cJSON parses; this file guards it against input that would hurt: oversized files, nesting that
 * exhausts the stack, NUL bytes that truncate strings.
 */
#ifndef REGRAD_JSON_H
#define REGRAD_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The object in a file of at most `most` bytes; free it with cJSON_Delete.  User errors name the
 * path. */
error *json_read(const char *path, int64_t most, cJSON **out) NODISCARD;

/* The same from memory: n bytes with text[n] == 0.  `path` is for messages. */
error *json_parse(const char *path, const char *text, int64_t n, cJSON **out) NODISCARD;

/* Stores the spelling of numbers in valuestring where valuedouble loses it: 1.0, 1e3,
 * 12345678901234567.  `tree` must have been parsed from this text of n bytes. */
error *json_keep_spellings(cJSON *json, const char *text, int64_t n) NODISCARD;

/* User error: an object in it has two members of one name.  cJSON finds the first of them, others
 * the last. */
error *json_names_once(const cJSON *json) NODISCARD;

/* Writing: `ok` says that the object is complete, and that memory sufficed for it; it is deleted in
 * any case.  `what` is for the message that memory did not. */
error *json_text(cJSON *json, bool ok, const char *what,
                 char **out) NODISCARD; /* cJSON_free(*out) */
error *json_save(cJSON *json, bool ok, const char *what, const char *path) NODISCARD;
/* As a line on standard output, at once. */
error *json_print_line(cJSON *json, bool ok, const char *what) NODISCARD;

/* A member of that name, in its spelling, and its text; NULL: there is none. */
static inline cJSON *json_get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}
static inline const char *json_string(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(json_get(object, name));
}

/* Adds `item` to the object, or frees it; false: out of memory (`item` may be NULL then). */
bool json_add(cJSON *object, const char *name, cJSON *item);

#endif
