/* utf8_shown.h - where a text that grows byte by byte may be shown: between characters. */
#ifndef REGRAD_INFER_UTF8_SHOWN_H
#define REGRAD_INFER_UTF8_SHOWN_H

#include <stddef.h>
#include <stdint.h>

/* How many of n bytes to show: all but a character at the end that has begun and lacks bytes (RFC
 * 3629).  What can be no character is shown as it is. */
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
