/* text_ends.h - tests for the suffix of a string. */
#ifndef REGRAD_TEXT_ENDS_H
#define REGRAD_TEXT_ENDS_H

#include <stdbool.h>
#include <string.h>

static inline bool text_ends(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && !strcmp(text + n - m, ending);
}

#endif
