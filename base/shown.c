/* shown.c - see shown.h */
#include "base/shown.h"

#include <stdio.h>

/* Bytes of the control character at the beginning of a text; 0: there is none. */
static int control(const unsigned char *p)
{
    if (*p < ' ' || *p == 0x7F) return 1;
    return p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0 ? 2 : 0;
}

const char *text_shown(const char *text, char *to, size_t room)
{
    size_t used = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        int n = control(p);
        if (used + (n ? 4 * (size_t)n : 1) >= room) break;
        if (n == 0) to[used++] = (char)*p;
        for (int i = 0; i < n; i++, used += 4)
            snprintf(to + used, 5, "\\x%02x", p[i]);
        if (n == 2) p++;
    }
    to[used] = 0;
    return to;
}
