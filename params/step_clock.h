/* step_clock.h - where a training step's time goes: forward, backward, optimizer.
 *
 *   feed | forward .......... | backward ............................ | optimizer | fetch
 *                                  | optimizer |      | optimizer |
 *                                  release: an update inside of the backward pass
 *
 * A phase lasts from phase_enter until the next one; none is PHASE_OTHER (data, waiting for
 * results).  Nobody who computes knows of it: the trainer enters the forward pass and the
 * optimizer's part at the end, and the hooks of params/params.c the rest.  The backward pass begins
 * with the first gradient of a micro-batch, which is the classifier's: it does loss and gradient at
 * once, and so the whole of it counts as backward.
 *
 * Operations on the CPU are over when they return, so the clock on the wall is the time of a phase.
 * A device that runs asynchronously (async) is to record an event at each phase_enter
 * instead, and to add the differences when the step is over; nothing else has to change.  Until
 * then the trainer says NAN of its phases, which the log writes as null.
 */
#ifndef REGRAD_STEP_CLOCK_H
#define REGRAD_STEP_CLOCK_H

typedef enum { PHASE_OTHER, PHASE_FORWARD, PHASE_BACKWARD, PHASE_OPTIMIZER, PHASE_COUNT } phase;

typedef struct {
    double seconds[PHASE_COUNT]; /* since phases_start */
    double since;                /* when the phase under way began */
    phase now;
} phase_clock;

/* All to zero, and PHASE_OTHER begins. */
void phases_start(phase_clock *c);

/* Ends the phase under way and begins `next`; returns the one that ended.  c may be NULL. */
phase phase_enter(phase_clock *c, phase next);

#endif
