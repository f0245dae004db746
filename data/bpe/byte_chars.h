/* byte_chars.h - GPT-2's way to spell any bytes as visible text.
 *
 * A byte that is a visible character of Latin-1 represents itself; the other 68, in order, are
 * U+0100, U+0101, ...  So a space is U+0120 and a line break U+010A.
 *
 *     0x00..0x20 -> U+0100..U+0120      0x21..0x7e -> themselves
 *     0x7f..0xa0 -> U+0121..U+0142      0xa1..0xac -> themselves
 *     0xad       -> U+0143              0xae..0xff -> themselves
 */
#ifndef REGRAD_BYTE_CHARS_H
#define REGRAD_BYTE_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

static inline uint32_t byte_to_char(uint8_t byte)
{
    if (byte <= 0x20) return 0x100u + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x121u + byte - 0x7fu;
    return byte == 0xad ? 0x143u : byte;
}

/* The byte, or -1 for a character that represents none. */
static inline int byte_of_char(uint32_t c)
{
    if (c > 0x143) return -1;
    if (c == 0x143) return 0xad;
    if (c >= 0x121) return (int)(c - 0x121 + 0x7f);
    if (c >= 0x100) return (int)(c - 0x100);
    return byte_to_char((uint8_t)c) == c ? (int)c : -1;
}

/* Converts characters for bytes to the bytes; false if one represents none.  `to` has room for as
 * many bytes as `from` has. */
static inline bool bytes_of_chars(const char *from, uint8_t *to, size_t *n)
{
    const uint8_t *p = (const uint8_t *)from;
    size_t left = strlen(from);
    for (*n = 0; left > 0; ++*n) {
        size_t length = utf8_length(p, left);
        int byte = length > 0 ? byte_of_char(utf8_decode(p, length)) : -1;
        if (byte < 0) return false;
        to[*n] = (uint8_t)byte;
        p += length;
        left -= length;
    }
    return true;
}

#endif
