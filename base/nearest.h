/* nearest.h - "did you mean ...": the closest of a list of names. */
#ifndef REGRAD_NEAREST_H
#define REGRAD_NEAREST_H

#include <stddef.h>

/* The first name that begins with `wrong`; else the one with the smallest edit distance
 * (Levenshtein) to it; NULL for an empty list. */
const char *nearest_name(const char *wrong, const char *const *names, size_t n);

#endif
