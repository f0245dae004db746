/* pool.h - the threads of the CPU device.
 *
 * They are created once.  A thread that waits, for work or for others, spins for some microseconds,
 * which is the usual wait in a step, and then sleeps: it takes no core from another program, nor
 * from the very thread that it waits for.  Where spinning does not pay, on a busy machine, it is
 * cut down to a microsecond (cpu/pool.c).
 *
 *     pool_run:   caller ----f(0)----+         all threads call f; the caller is one of them
 *                 thread ----f(1)----+-->
 */
#ifndef REGRAD_CPU_POOL_H
#define REGRAD_CPU_POOL_H

#include "base/error.h"

#include <stdint.h>

typedef struct pool pool;

/* A thread's number in the team that runs a function. */
typedef struct {
    pool *pool;
    int index, threads;
} member;

/* `threads` includes the caller; `cores`: how many may run at a time (with fewer nobody spins). */
error *pool_open(int threads, int cores, pool **out) NODISCARD;
void pool_close(pool *p); /* NULL is ignored */

typedef void team_fn(void *context, member me);

/* Runs f on the caller and on threads - 1 others; returns when all are done. */
void pool_run(pool *p, int threads, team_fn *f, void *context);

/* Inside f: a barrier. */
void pool_barrier(member me);

/* A loop for busy machines, where a thread may come late: the loop does not wait for it, the others
 * take its parts.
 *
 * f(context, first, end) over parts of [0, n), each of at least `grain`, in any order and on any
 * thread: f must give the same bits however [0, n) is divided. */
typedef void range_fn(const void *context, int64_t first, int64_t end);
void pool_for(pool *p, int64_t n, int64_t grain, range_fn *f, const void *context);

#endif
