/* phases.c - see phases.h */
#include "core/phases.h"

#include <stddef.h>
#include <time.h>

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void phases_start(phase_clock *c)
{
    *c = (phase_clock){.since = wall(), .now = PHASE_OTHER};
}

phase phase_enter(phase_clock *c, phase next)
{
    if (!c) return PHASE_OTHER;
    phase last = c->now;
    if (next == last) return last;
    double t = wall();
    c->seconds[last] += t - c->since;
    c->since = t;
    c->now = next;
    return last;
}
