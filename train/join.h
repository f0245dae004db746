/* join.h - which other processes share this run, and whether they agree.
 *
 *     started by                                       carried by
 *     mpirun (or srun with its MPI)   on the CPU       MPI
 *                                     on GPUs          NCCL, one GPU a rank; words by MPI
 *     RANK, WORLD_SIZE, ... are set   on GPUs          NCCL; words by TCP (ranks/tcp.h)
 *     --gpus N                        on GPUs          the same
 *     anything else                                    one process
 *
 * What must be the same everywhere is compared before anything else is done: the program itself,
 * every option, the training data.  A rank whose is another is named.
 */
#ifndef REGRAD_JOIN_H
#define REGRAD_JOIN_H

#include "train/trainer.h"

/* --gpus N: starts them, and returns in each of them with *parent false; in the process that was
 * started when all have ended, with *parent true and *status theirs. */
error *ranks_start(const options *o, bool *parent, int *status) NODISCARD;

/* Joins the others, if there are any, and sets o->comm; with --plan --ranks N a plan's.  `room` must
 * outlive the run.  From here on all but the first rank's standard output is silent. */
error *ranks_open(options *o, comm *room) NODISCARD;

/* When the device is open: on a GPU, from here on through NCCL. */
error *ranks_join(comm *c, device *dev) NODISCARD;

#endif
