/* step_clock.c - see phases.h */
#include "params/step_clock.h"
#include "base/clock.h"

#include <stddef.h>

void phases_start(phase_clock *c)
{
    *c = (phase_clock){.since = clock_now(), .now = PHASE_OTHER};
}

phase phase_enter(phase_clock *c, phase next)
{
    if (!c) return PHASE_OTHER;
    phase last = c->now;
    if (next == last) return last;
    double t = clock_now();
    c->seconds[last] += t - c->since;
    c->since = t;
    c->now = next;
    return last;
}
