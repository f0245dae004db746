/* who.h - a run says who is in it, and where:
 *
 *     ranks: 2 by MPI, --zero 2: gradients and states are sharded
 *       rank 0 on alpha: cpu, 1 thread, avx512; updates 6912 of 13800 parameters
 *       rank 1 on beta: cpu, 1 thread, avx512; updates 6888 of 13800 parameters
 *
 * Of many ranks, those of a machine that are alike share a line.
 */
#ifndef REGRAD_WHO_H
#define REGRAD_WHO_H

#include "train/trainer.h"

/* All ranks come here; the first one's standard output has it.  One process
 * says nothing. */
error *ranks_tell(const trainer *t, const device *dev) NODISCARD;

#endif
