/* json_lines.h - JSON Lines: an object in each line.
 *
 * A line that cannot be read, or that its taker refuses, does not hide the others: all are gone
 * through, and the error names the first and what is wrong with it, and the numbers of more.
 */
#ifndef REGRAD_JSON_LINES_H
#define REGRAD_JSON_LINES_H

#include <stddef.h>

#include "base/json.h"

typedef error *(*json_line_taker)(void *context, const cJSON *object);

/* Lines of a text of n bytes, empty ones passed over.  A taker's user error is about its
 * line; another ends all. */
error *json_lines(const char *name, const char *text, size_t n, json_line_taker take,
                  void *context) NODISCARD;

#endif
