/* clock.h - time that passes, whatever is done to the clock on the wall. */
#ifndef REGRAD_CLOCK_H
#define REGRAD_CLOCK_H

#include <time.h>

/* Seconds since some moment, the same for all of a process. */
static inline double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
