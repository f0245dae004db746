/* mpi.h - ranks started by MPI: the communicator of CPUs, and of hosts beside NCCL. */
#ifndef REGRAD_MPI_H
#define REGRAD_MPI_H

#include "ranks/comm.h"

#include <stdlib.h>

/* Bytes of workspace for sums. */
enum { MPI_STAGING = 1 << 20 };

/* Is this process one of several that mpirun (or srun) has started?  Reads the environment
 * variables of Open MPI, of MPICH, and of Slurm's srun --mpi=pmix. */
static inline bool mpi_started(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (int i = 0; i < 2; i++) {
        const char *n = getenv(names[i]);
        if (n && atoi(n) > 1) return true;
    }
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    return getenv("PMIX_RANK") && tasks && atoi(tasks) > 1;
}

/* Joins the others.  User error if this program was built without MPI. */
error *mpi_open(comm *out) NODISCARD;

#endif
