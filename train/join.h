/* join.h - connects the processes that share a run, and checks that they agree.
 *
 *     started by                                       transport
 *     mpirun (or srun with its MPI)   on the CPU       MPI
 *                                     on GPUs          NCCL, one GPU per rank; control messages by MPI
 *     RANK, WORLD_SIZE, ... are set   on GPUs          NCCL; control messages by TCP (ranks/tcp.h)
 *     --gpus N                        on GPUs          the same
 *     anything else                                    one process
 *
 * What must be the same everywhere is compared before anything else: the program itself, every
 * option, the training data.  A rank that differs is named.
 */
#ifndef REGRAD_JOIN_H
#define REGRAD_JOIN_H

#include "train/trainer.h"

/* --gpus N: starts them, and returns in each of them with *parent false; in the calling process
 * when all have ended, with *parent true and *status theirs. */
error *ranks_start(const options *o, bool *parent, int *status) NODISCARD;

/* Connects to the others, if there are any, and sets o->comm; with --plan --ranks N a comm for
 * plans. `room` must outlive the run.  From here on only the first rank prints to standard
 * output. */
error *ranks_open(options *o, comm *room) NODISCARD;

/* Once the device is open: on a GPU, switches to NCCL. */
error *ranks_join(comm *c, device *dev) NODISCARD;

#endif
