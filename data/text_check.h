/* text_check.h - is a file that is given as text one?
 *
 * A tokenizer encodes any bytes, so a compressed file, a table or a token shard would become tokens without
 * a word.  What is known by its first bytes is refused by name; what is merely no UTF-8 can be
 * wanted, and is told.
 */
#ifndef REGRAD_TEXT_CHECK_H
#define REGRAD_TEXT_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* User error: it is of a format that is no text, named, and what to do. */
error *text_refuse_other(const char *name, const uint8_t *bytes, size_t n) NODISCARD;

/* Where the first byte is that is no part of UTF-8; n if there is none. */
size_t text_first_bad(const uint8_t *bytes, size_t n);

/* Both: refuses other formats, and warns of bytes that are no UTF-8, and of zeros. */
error *text_check(const char *name, const uint8_t *bytes, size_t n) NODISCARD;

#endif
