/* nearest.c - see nearest.h */
#include "base/nearest.h"

#include <string.h>

enum { LONGEST = 63 };

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int distance(const char *a, const char *b)
{
    int row[LONGEST + 1], n = (int)strnlen(b, LONGEST);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1] && i <= LONGEST; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = smaller(replaced, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

const char *nearest_name(const char *wrong, const char *const *names, size_t n)
{
    const char *best = NULL;
    int least = 0;
    for (size_t i = 0; i < n && *wrong; i++)
        if (!strncmp(names[i], wrong, strlen(wrong))) return names[i];
    for (size_t i = 0; i < n; i++) {
        int d = distance(wrong, names[i]);
        if (!best || d < least) {
            best = names[i];
            least = d;
        }
    }
    return best;
}
