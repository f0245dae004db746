/* sums.h - sums over a row with the same bits for any vector width.
 *
 *      lane k of SUM_LANES:   x[k] + x[k + SUM_LANES] + ...     in this order
 *      the lanes:             folded in halves: k and k + 8, then k and k + 4, ...
 */
#ifndef REGRAD_CPU_SUMS_H
#define REGRAD_CPU_SUMS_H

#include <stdint.h>

enum { SUM_LANES = 16 };

/* Executes statements for i = 0 .. n - 1, with k = i % SUM_LANES: SUM_LANES at a time. */
#define FOR_LANES(n, i, k, ...)                                                                    \
    do {                                                                                           \
        int64_t done_ = 0;                                                                         \
        for (; done_ + SUM_LANES <= (n); done_ += SUM_LANES)                                       \
            _Pragma("omp simd") for (int k = 0; k < SUM_LANES; k++)                                \
            {                                                                                      \
                int64_t i = done_ + k;                                                             \
                __VA_ARGS__;                                                                       \
            }                                                                                      \
        for (int k = 0; done_ + k < (n); k++) {                                                    \
            int64_t i = done_ + k;                                                                 \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

static inline float fold_lanes(const float *x)
{
    float sum[SUM_LANES];
    for (int k = 0; k < SUM_LANES; k++)
        sum[k] = x[k];
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int k = 0; k < half; k++)
            sum[k] += sum[k + half];
    return sum[0];
}

#endif
