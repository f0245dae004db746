/* alibi.c - the slopes of ALiBi; see core/ops.def. */
#include "core/ops.h"

#include <math.h>

double alibi_slope(int64_t heads, int64_t h)
{
    int64_t n = 1;
    while (2 * n <= heads)
        n *= 2;
    return h < n ? exp2(-8.0 * (double)(h + 1) / (double)n)
                 : exp2(-4.0 * (double)(2 * (h - n) + 1) / (double)n);
}
