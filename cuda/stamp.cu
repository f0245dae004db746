/* stamp.cu - measures how long a stream waits: the GPU's clock, read before and after.
 *
 *     stream   ... | - clock | wait for another stream | + clock | ...
 *
 * The sum is the time in between.  The host sees none of this, and within a CUDA graph it could not
 * query events for it. */
#include "cuda/gpu.h"

#ifdef __CUDACC__
static __device__ uint64_t clock_ns(void)
{
    uint64_t ns;
    asm volatile("mov.u64 %0,%%globaltimer;" : "=l"(ns));
    return ns;
}
#else
#include <time.h>
static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif

__global__ void stamp_kernel(uint64_t *sum, int sign)
{
    *sum += sign < 0 ? 0 - clock_ns() : clock_ns();
}

extern "C" void cuda_stamp(device *dev, int stream, uint64_t *nanoseconds, int sign)
{
    RUN(dev, stream, stamp_kernel, 1, 1, 0, nanoseconds, sign);
}
