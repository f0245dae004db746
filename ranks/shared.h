/* shared.h - tensors between the ranks of one machine, through memory that all of them have mapped.
 *
 * Each rank has a segment: two counters and two halves of a buffer.  An exchange is numbered; in
 * exchange t each rank
 *
 *     waits until all have taken t - 2      the half that it is about to fill is free
 *     fills its half t % 2                  a slab for each of the others (scatter), or one for all (gather, sum)
 *     posted = t
 *     waits until the others have posted t, and reads from their halves
 *     taken = t
 *
 *              segment of rank 0            segment of rank 1
 *     half 0   | for 1 | for 2 | for 3 |    | for 0 | for 2 | for 3 |
 *     half 1   | for 1 | for 2 | for 3 |    | for 0 | for 2 | for 3 |
 *
 * In groups (ranks/comm.h) a slab is for all ranks that own that range, one in each group, and a
 * rank gathers from its own group alone.
 *
 * A large sum is a scatter and a gather of one slab after the other, so that what was added up is
 * still in a cache when it is sent.
 *
 * A segment fits into the processor's caches, so that a number of another rank's costs a copy there
 * and not, as between programs that send, two through main memory.  Sums are ranks/add_up.h's: the
 * same bits as by any other way.
 *
 * Beside its count a rank posts what it exchanges.  Ranks that mean different things never
 * continue: they wait for each other until the time is up, as they would if they sent.
 *
 * How memory comes to be shared, and how long is waited, is the caller's (ranks/mpi.c).  Who waits
 * for long sleeps on the counter's bell (a futex), and whoever counts on rings it if anybody
 * sleeps: so waiting takes no time from what computes on the same core, and ends at once.
 */
#ifndef REGRAD_SHARED_H
#define REGRAD_SHARED_H

#include "ranks/comm.h"

#include <stdatomic.h>

enum {
    SHARED_BYTES = 1 << 20, /* of a segment */
    SHARED_LINE = 64,       /* it begins at a multiple of this */
    SHARED_RANKS = 1024     /* at most */
};

typedef struct shared shared;

/* In shared memory: a number that one rank raises and all others wait for. */
typedef struct {
    _Atomic int64_t n;
    _Atomic uint32_t bell, sleepers; /* bell: the low half of n, as a futex wants it */
} shared_counter;

static inline int64_t shared_count(const shared_counter *c)
{
    return atomic_load_explicit(&c->n, memory_order_acquire);
}
/* Sleeps until the counter is no longer `seen`, or for a millisecond. */
void shared_doze(shared_counter *c, int64_t seen);

/* Returns when the counter has reached `least`, or with an error. */
typedef error *shared_wait(void *context, shared_counter *counter, int64_t least);

/* segment[r], of SHARED_BYTES and at any multiple of SHARED_LINE in this process, is rank r's; all
 * are zero. */
error *shared_open(int rank, int size, char *const *segment, shared_wait *wait, void *context,
                   shared **out) NODISCARD;
void shared_close(shared *s); /* NULL is ignored */

/* The calls of ranks/comm.h, on contiguous tensors. */
error *shared_scatter(shared *s, int threads, tensor x, const share *to) NODISCARD;
error *shared_gather(shared *s, tensor x, const share *from) NODISCARD;
error *shared_sum(shared *s, int threads, tensor x) NODISCARD;

#endif
