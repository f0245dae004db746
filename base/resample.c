/* resample.c - see resample.h */
#include "base/resample.h"

#include <math.h>

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

/* Half the width of the kernel, in input samples. */
static double reach_of_filter(resample_kernel kernel, int64_t n, int64_t m)
{
    double scale = (double)n / (double)m;
    return (kernel == RESAMPLE_BICUBIC ? 2 : 1) * (scale > 1 ? scale : 1);
}

size_t resample_most(resample_kernel kernel, int64_t n, int64_t m)
{
    return (size_t)ceil(reach_of_filter(kernel, n, m)) * 2 + 1;
}

int64_t resample_weights(resample_kernel kernel, int64_t n, int64_t m, int64_t i, int64_t *from,
                         double *weight)
{
    double scale = (double)n / (double)m, shrink = 1 / (scale > 1 ? scale : 1), sum = 0,
           half = reach_of_filter(kernel, n, m), centre = ((double)i + 0.5) * scale;
    int64_t first = (int64_t)(centre - half + 0.5), end = (int64_t)(centre + half + 0.5);
    if (first < 0) first = 0;
    if (end > n) end = n;
    for (int64_t k = first; k < end; k++) {
        double at = ((double)k - centre + 0.5) * shrink;
        weight[k - first] = kernel == RESAMPLE_BICUBIC ? cubic(at) : triangle(at);
        sum += weight[k - first];
    }
    for (int64_t k = 0; k < end - first; k++)
        weight[k] /= sum;
    *from = first;
    return end - first;
}
