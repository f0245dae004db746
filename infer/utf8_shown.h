/* utf8_shown.h - finds where a text that arrives byte by byte may be printed: between
 * characters. */
#ifndef REGRAD_INFER_UTF8_SHOWN_H
#define REGRAD_INFER_UTF8_SHOWN_H

#include <stddef.h>
#include <stdint.h>

/* How many of n bytes to print: all but an incomplete character at the end (RFC 3629).  Invalid
 * bytes are printed as they are. */
static inline size_t utf8_complete(const uint8_t *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t b = text[n - back];
        if ((b & 0xC0) == 0x80) continue;
        size_t length = b < 0xC2 || b > 0xF4 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
        return length > back ? n - back : n;
    }
    return n;
}

#endif
