/* utf8.h - one UTF-8 character, checked strictly (The Unicode Standard, table 3-7): no overlong
 * forms, no surrogates, nothing above U+10FFFF. */
#ifndef REGRAD_UTF8_H
#define REGRAD_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length in bytes of the character at p, 1 to 4; 0 if it is invalid.  n > 0 bytes are readable. */
static inline size_t utf8_length(const uint8_t *p, size_t n)
{
    uint8_t c = p[0], low = 0x80, high = 0xBF; /* range of the second byte */
    if (c < 0x80) return 1;
    size_t length = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : 4;
    if (c < 0xC2 || c > 0xF4 || n < length) return 0;
    if (c == 0xE0) low = 0xA0;  /* overlong */
    if (c == 0xED) high = 0x9F; /* surrogates */
    if (c == 0xF0) low = 0x90;  /* overlong */
    if (c == 0xF4) high = 0x8F; /* above U+10FFFF */
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return length;
}

/* The code point of `length` = utf8_length(p) > 0 bytes. */
static inline uint32_t utf8_decode(const uint8_t *p, size_t length)
{
    uint32_t c = length == 1 ? p[0] : p[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    return c;
}

#endif
