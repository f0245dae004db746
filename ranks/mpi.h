/* mpi.h - ranks that MPI has started: the communicator of the CPU, and of hosts beside NCCL. */
#ifndef REGRAD_DIST_MPI_H
#define REGRAD_DIST_MPI_H

#include "ranks/comm.h"

/* Bytes that the engine wants for sums. */
enum { MPI_STAGING = 1 << 20 };

/* Is this process one of several that mpirun (or srun) has started? */
bool mpi_started(void);
/* Was this program built with MPI? */
bool mpi_built_in(void);

/* Joins the others.  User error when this program was built without MPI. */
error *mpi_open(comm *out) NODISCARD;

#endif
