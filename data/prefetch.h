/* prefetch.h - a source that another one is read into ahead of time, by threads of its own.
 *
 *   reader               wants block n        n + 1      n + 2 ...      (in order)
 *                           |
 *   slots       [ n: ready ] [ n+1: ready ] [ n+2: worker 1 ] [ n+3: worker 0 ]
 *
 * A block is as many samples as were asked for the first time; which samples it holds depends on its
 * number alone, so the number of workers changes nothing but the time.  Reading on somewhere else
 * starts again there; a block of another size is read at once, by the reader.  There is one reader: one
 * thread at a time may read.
 */
#ifndef REGRAD_PREFETCH_H
#define REGRAD_PREFETCH_H

#include "data/source.h"

enum { PREFETCH_AHEAD = 2 };

/* Blocks that are held: one a worker, and some ahead. */
static inline size_t prefetch_blocks(int workers)
{
    return (size_t)workers + PREFETCH_AHEAD;
}

/* Takes `inner` over, also when it fails.  A block: `count` samples, inputs and targets of that many
 * bytes a sample; the next one expected begins `stride` samples further on (several ranks read in
 * turn).  `inner` must allow reading from several threads. */
error *prefetch_open(source *inner, int workers, int64_t count, int64_t stride, size_t input_bytes,
                     size_t target_bytes, source **out) NODISCARD;

#endif
