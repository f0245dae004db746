/* tcp.h - ranks without MPI: control messages over TCP.
 *
 * Each process learns its rank from its environment, as set by torchrun and job scripts:
 *
 *     RANK (or SLURM_PROCID)         0 .. WORLD_SIZE - 1
 *     WORLD_SIZE (or SLURM_NTASKS)
 *     LOCAL_RANK (or SLURM_LOCALID)  its number within its machine
 *     MASTER_ADDR, MASTER_PORT       where rank 0 listens
 *
 * Only control messages go over TCP: NCCL's unique id at the start, agreements, progress.  Tensors
 * go over NCCL.
 */
#ifndef REGRAD_TCP_H
#define REGRAD_TCP_H

#include "ranks/comm.h"

/* Does the environment say that this process is one of several? */
bool wire_started(void);
/* WORLD_SIZE as the environment has it: a string that wire_open checks. */
const char *wire_size(void);
/* Joins the others; all must arrive within five minutes. */
error *wire_open(comm *out) NODISCARD;

/* Starts n processes on this machine, each with such an environment, and returns in each of them
 * with *parent false.  In the calling process it returns when all of them have ended, with *parent
 * true and *status theirs: 0, or that of the first that failed; an error if one was killed.  When
 * one has failed the others get ten seconds to end on their own. */
error *wire_launch(int n, bool *parent, int *status) NODISCARD;

#endif
