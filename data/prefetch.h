/* prefetch.h - a source that reads another one ahead of time, in threads of its own.
 *
 *   reader               wants block n        n + 1      n + 2 ...      (in order)
 *                           |
 *   slots       [ n: ready ] [ n+1: ready ] [ n+2: worker 1 ] [ n+3: worker 0 ]
 *
 * A block has as many samples as the first request; which samples it holds depends only on its
 * number, so the number of workers affects nothing but time.  A request for another position
 * restarts there; a block of another size is read at once, by the reader.  There is one reader:
 * only one thread at a time may read.
 */
#ifndef REGRAD_PREFETCH_H
#define REGRAD_PREFETCH_H

#include "data/source.h"

enum { PREFETCH_AHEAD = 2 };

/* Number of blocks held: one per worker, and some ahead. */
static inline size_t prefetch_blocks(int workers)
{
    return (size_t)workers + PREFETCH_AHEAD;
}

/* Takes ownership of `inner`, even on failure.  A block: `count` samples, with that many bytes of
 * inputs and targets each; the next one expected begins `stride` samples later (several ranks take
 * turns).  `inner` must allow reading from several threads. */
error *prefetch_open(source *inner, int workers, int64_t count, int64_t stride, size_t input_bytes,
                     size_t target_bytes, source **out) NODISCARD;

#endif
