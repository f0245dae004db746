/* tcp.h - ranks without MPI: control messages over TCP.
 *
 * Each process learns who it is from its environment, as torchrun and job scripts do:
 *
 *     RANK (or SLURM_PROCID)         0 .. WORLD_SIZE - 1
 *     WORLD_SIZE (or SLURM_NTASKS)
 *     LOCAL_RANK (or SLURM_LOCALID)  among those of its machine
 *     MASTER_ADDR, MASTER_PORT       where rank 0 listens
 *
 * This carries control messages only: NCCL's unique id at the start, agreements, who is where.  Tensors are NCCL's.
 */
#ifndef REGRAD_TCP_H
#define REGRAD_TCP_H

#include "ranks/comm.h"

/* Does the environment say that this process is one of several? */
bool wire_started(void);
/* What it says of their number: a word that wire_open checks. */
const char *wire_size(void);
/* Joins the others; all must come within five minutes. */
error *wire_open(comm *out) NODISCARD;

/* Starts n processes on this machine, each with such an environment, and returns in each of them with
 * *parent false.  In the process that called it returns when all of them have ended, with *parent true
 * and *status theirs: 0, or the first one's that failed; an error names one that was killed.  When one
 * has failed the others get ten seconds to end by themselves. */
error *wire_launch(int n, bool *parent, int *status) NODISCARD;

#endif
