/* who.h - prints which ranks take part in a run, and where:
 *
 *     ranks: 2 by MPI, --zero 2: gradients and states are sharded
 *       rank 0 on alpha: cpu, 1 thread, avx512; updates 6912 of 13800 parameters
 *       rank 1 on beta: cpu, 1 thread, avx512; updates 6888 of 13800 parameters
 *
 * Identical ranks of a machine share a line.
 */
#ifndef REGRAD_WHO_H
#define REGRAD_WHO_H

#include "train/trainer.h"

/* Called by all ranks; printed by the first.  A single process prints nothing. */
error *ranks_tell(const trainer *t, const device *dev) NODISCARD;

/* ", in groups of 8 ranks"; empty where all are one group. */
const char *ranks_groups(const comm *c, char *buffer, size_t size);

#endif
