/* mpi_env.h - how to tell that mpirun has started this process: its words in the environment. */
#ifndef REGRAD_DIST_STARTED_H
#define REGRAD_DIST_STARTED_H

#include <stdbool.h>
#include <stdlib.h>

/* More than one process: the variables of Open MPI, of MPICH, and of Slurm's srun --mpi=pmix. */
static inline bool started_by_mpirun(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (int i = 0; i < 2; i++) {
        const char *n = getenv(names[i]);
        if (n && atoi(n) > 1) return true;
    }
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    return getenv("PMIX_RANK") && tasks && atoi(tasks) > 1;
}

#endif
