/* json.h - small JSON files of others: configurations, indices.
 *
 * cJSON does the reading; this keeps it away from what would hurt: files too large for what they
 * say to be, nesting that eats the stack, bytes of zero that cut strings short.
 */
#ifndef REGRAD_JSON_H
#define REGRAD_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The object in a file of at most `most` bytes; cJSON_Delete it.  User errors name the path. */
error *json_read(const char *path, int64_t most, cJSON **out) NODISCARD;

/* The same from memory: text of n bytes with text[n] == 0.  `path` is for messages. */
error *json_parse(const char *path, const char *text, int64_t n, cJSON **out) NODISCARD;

/* Of numbers, the spelling becomes valuestring where valuedouble does not tell all: 1.0, 1e3,
 * 12345678901234567.  For a tree that has been read of this text, n bytes. */
error *json_keep_spellings(cJSON *json, const char *text, int64_t n) NODISCARD;

/* Hands `item` to the object, or frees it; false: out of memory, for which a NULL stands, too. */
bool json_add(cJSON *object, const char *name, cJSON *item);

#endif
