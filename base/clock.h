/* clock.h - monotonic time: setting the system's clock does not change it. */
#ifndef REGRAD_CLOCK_H
#define REGRAD_CLOCK_H

#include <time.h>

/* Seconds since an arbitrary moment that is fixed for the process. */
static inline double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
