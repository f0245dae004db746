/* mpi_none.c - a build without MPI; see mpi.h */
#include "ranks/mpi.h"

error *mpi_open(comm *out)
{
    (void)out;
    return user_error("mpirun started this program, which was built without MPI: install "
                      "libopenmpi-dev and run make again, or start it without mpirun");
}
