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
 * A segment fits into the processor's caches, so that a number of another rank's costs a copy there
 * and not, as between programs that send, two through main memory.  Sums are ranks/add_up.h's: the
 * same bits as by any other way.
 *
 * Beside its count a rank posts what it exchanges.  Ranks that mean different things never
 * continue: they wait for each other until the time is up, as they would if they sent.
 *
 * How memory comes to be shared, and how long is waited, is the caller's (ranks/mpi.c).
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

/* Returns when the counter has reached `least`, or with an error. */
typedef error *shared_wait(void *context, const _Atomic int64_t *counter, int64_t least);

/* segment[r], of SHARED_BYTES and at any multiple of SHARED_LINE in this process, is rank r's; all
 * are zero. */
error *shared_open(int rank, int size, char *const *segment, shared_wait *wait, void *context,
                   shared **out) NODISCARD;
void shared_close(shared *s); /* NULL is ignored */

/* The calls of ranks/comm.h, on contiguous tensors.  A sum in one exchange: of at most SHARED_SUM
 * bytes. */
enum { SHARED_SUM = 1 << 16 };
error *shared_scatter(shared *s, int threads, tensor x, const share *to) NODISCARD;
error *shared_gather(shared *s, tensor x, const share *from) NODISCARD;
error *shared_sum(shared *s, int threads, tensor x) NODISCARD;

#endif
