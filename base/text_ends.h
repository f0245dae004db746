/* text_ends.h - strings: the test for a suffix, and the order of qsort. */
#ifndef REGRAD_TEXT_ENDS_H
#define REGRAD_TEXT_ENDS_H

#include <stdbool.h>
#include <string.h>

static inline bool text_ends(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && !strcmp(text + n - m, ending);
}

/* Of two elements of an array of strings. */
static inline int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

#endif
