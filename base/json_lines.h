/* json_lines.h - JSON Lines: one object per line.
 *
 * A line that cannot be parsed, that has two members of one name in an object, or that the callback
 * refuses, does not hide later ones: all lines are checked, and the error describes the first bad
 * line and lists the numbers of the others.
 */
#ifndef REGRAD_JSON_LINES_H
#define REGRAD_JSON_LINES_H

#include <stddef.h>

#include "base/json.h"

typedef error *(*json_line_taker)(void *context, const cJSON *object);

/* Visits the lines of a text of n bytes, skipping empty ones.  A user error from the callback is
 * attributed to its line; any other error ends the loop. */
error *json_lines(const char *name, const char *text, size_t n, json_line_taker take,
                  void *context) NODISCARD;

#endif
