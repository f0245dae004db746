/* started.h - how to tell that mpirun has started this process: its words in the environment. */
#ifndef REGRAD_DIST_STARTED_H
#define REGRAD_DIST_STARTED_H

#include <stdbool.h>
#include <stdlib.h>

/* More than one process: Open MPI's, MPICH's and Slurm's (with --mpi) variables. */
static inline bool started_by_mpirun(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (int i = 0; i < 3; i++) {
        const char *n = getenv(names[i]);
        if (n && atoi(n) > 1) return true;
    }
    const char *slurm = getenv("SLURM_MPI_TYPE"), *tasks = getenv("SLURM_NTASKS");
    return slurm && getenv("PMIX_RANK") && tasks && atoi(tasks) > 1;
}

#endif
