/* fill.h - fills in templates: "--zero {zero} with --optim {optim}: ...".
 *
 * So tables can hold whole messages and help texts, with places for the values they mention.
 */
#ifndef REGRAD_FILL_H
#define REGRAD_FILL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The value of a name; false: there is no such name, and "{name}" is copied unchanged. */
typedef bool (*fill_value)(const void *context, const char *name, char *out, size_t room);

enum { FILL_NAME = 64, FILL_VALUE = 4096 }; /* longest name and value, with the terminating zero */

/* The filled-in text; free it.  NULL: out of memory. */
char *fill_text(const char *text, fill_value value, const void *context);

/* A user error with that text. */
error *fill_error(const char *text, fill_value value, const void *context) NODISCARD;

#endif
