/* fill.h - texts with names in braces, filled in: "--zero {zero} with --optim {optim}: ...".
 *
 * So a table can hold messages and help whole, and say of which values they tell.
 */
#ifndef REGRAD_FILL_H
#define REGRAD_FILL_H

#include <stdbool.h>
#include <stddef.h>

/* What stands for a name; false: it is no such name, and stays as it is, braces and all. */
typedef bool (*fill_value)(const void *context, const char *name, char *out, size_t room);

enum { FILL_NAME = 64, FILL_VALUE = 4096 }; /* longest name and value, with the zero at the end */

/* The text, filled in; free it.  NULL: out of memory. */
char *fill_text(const char *text, fill_value value, const void *context);

#endif
