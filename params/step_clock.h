/* step_clock.h - where a training step's time goes: forward, backward, optimizer.
 *
 *   feed | forward .......... | backward ............................ | optimizer | fetch
 *                                  | optimizer |      | optimizer |
 *                                  release: updates inside of the backward pass
 *
 * A phase lasts from phase_enter to the next one; outside of phases it is PHASE_OTHER (data,
 * waiting for results).  Code that computes does not know of it: the trainer enters the forward
 * pass and the optimizer's part at the end, and the hooks of params/params.c the rest.  The
 * backward pass begins with the first gradient of a micro-batch, which is the classifier's: it
 * computes loss and gradient together, so all of it counts as backward.
 *
 * Operations on the CPU have finished when they return, so wall-clock time is the time of a phase.
 * For an asynchronous device the trainer reports NAN, which the log writes as null: it would have
 * to record an event at each phase_enter and add up the differences at the end of the step.
 */
#ifndef REGRAD_STEP_CLOCK_H
#define REGRAD_STEP_CLOCK_H

typedef enum { PHASE_OTHER, PHASE_FORWARD, PHASE_BACKWARD, PHASE_OPTIMIZER, PHASE_COUNT } phase;

typedef struct {
    double seconds[PHASE_COUNT]; /* since phases_start */
    double since;                /* when the current phase began */
    phase now;
} phase_clock;

/* Sets everything to zero and begins PHASE_OTHER. */
void phases_start(phase_clock *c);

/* Ends the current phase and begins `next`; returns the one that ended.  c may be NULL. */
phase phase_enter(phase_clock *c, phase next);

#endif
