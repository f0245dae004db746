/* text_check.h - checks that a file given as text is text.
 *
 * A tokenizer encodes any bytes, so a compressed file, a table or a token shard would silently
 * become tokens. Formats recognized by their first bytes are refused, with their names; bytes that
 * are merely not UTF-8 may be intended, and give a warning.
 */
#ifndef REGRAD_TEXT_CHECK_H
#define REGRAD_TEXT_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* User error if it is not text: its format, and what to do. */
error *text_refuse_other(const char *name, const uint8_t *bytes, size_t n) NODISCARD;

/* The position of the first byte that is not part of UTF-8; n if there is none. */
size_t text_first_bad(const uint8_t *bytes, size_t n);

/* Both: refuses other formats, and warns about invalid UTF-8 and NUL bytes. */
error *text_check(const char *name, const uint8_t *bytes, size_t n) NODISCARD;

#endif
