/* text_check.h - is a file that is given as text one?
 *
 * A tokenizer encodes any bytes, so a compressed file, a table or a token shard would become tokens without
 * a word.  What is known by its first bytes is refused, with a message that names it; what is merely not UTF-8 can be
 * wanted, with a warning.
 */
#ifndef REGRAD_TEXT_CHECK_H
#define REGRAD_TEXT_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* User error: its format, if it is not text, and what to do. */
error *text_refuse_other(const char *name, const uint8_t *bytes, size_t n) NODISCARD;

/* Where the first byte is that is not part of UTF-8; n if there is none. */
size_t text_first_bad(const uint8_t *bytes, size_t n);

/* Both: refuses other formats, and warns of bytes that are not UTF-8, and of zeros. */
error *text_check(const char *name, const uint8_t *bytes, size_t n) NODISCARD;

#endif
