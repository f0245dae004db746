/* limit.c - the machine's limits: fused multiply-adds in registers and nothing else; the memory
 * traffic of an optimizer step without its arithmetic. */
#include "cpu/cpu_internal.h"
#include "cpu/lanes.h"

enum { CHAINS = 12, ROUNDS = 4000 };

static void burn(const void *context, int64_t first, int64_t end)
{
    lanes sum[CHAINS], x = lanes_all(0.999f), y = lanes_all(1e-3f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = lanes_all((float)i);
    for (int64_t r = first * ROUNDS; r < end * ROUNDS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sum[i] = lanes_fma(sum[i], x, y);
    float out[LANES] = {0};
    for (int i = 1; i < CHAINS; i++)
        sum[0] = lanes_fma(sum[i], x, sum[0]);
    lanes_store(out, sum[0]);
    if (out[0] == 1.5f) *(volatile float *)(size_t)context = out[0]; /* so that it is not optimized
                                                                      * away */
}

typedef struct {
    float *const *of;
} streams;

static void stream(const void *context, int64_t first, int64_t end)
{
    float *const *x = ((const streams *)context)->of, *p = x[0], *g = x[1], *m = x[2], *v = x[3];
#pragma omp simd
    for (int64_t i = first; i < end; i++) {
        float d = g[i];
        m[i] = m[i] + d;
        v[i] = v[i] + d;
        p[i] = p[i] + d;
    }
}

void stream_lanes(device *dev, float *const pgmv[4], int64_t n)
{
    pool_for(cpu_threads(dev), n, 1 << 14, stream, &(streams){pgmv});
}

double burn_lanes(device *dev, int64_t n)
{
    float unused = 0;
    pool_for(cpu_threads(dev), n, 1, burn, &unused);
    return 2.0 * (double)n * ROUNDS * CHAINS * LANES;
}
