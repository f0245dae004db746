/* mpi_none.c - a build without MPI; see mpi.h */
#include "ranks/mpi.h"
#include "ranks/mpi_env.h"

bool mpi_started(void)
{
    return started_by_mpirun();
}

bool mpi_built_in(void)
{
    return false;
}

error *mpi_open(comm *out)
{
    (void)out;
    return user_error("mpirun started this program, which was built without MPI: install "
                      "libopenmpi-dev and run make again, or start it without mpirun");
}
