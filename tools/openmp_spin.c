/* openmp_spin.c - how long threads of OpenMP spin before they sleep, where the user did not say.
 *
 * libgomp's default is some milliseconds, which nobody notices on an idle machine.  On a busy one
 * the thread that is waited for may be without a core, and spinning keeps it from one: steps took
 * twice as long, and without cpu/pool.c's own bound ten times.  GOMP_SPINCOUNT is read before
 * main, by libgomp's constructor; so programs are linked with libgomp.a, whose constructor runs
 * after this one.  The library libregrad does not decide that for the programs that it is in.
 */
#include <stdlib.h>

enum { BEFORE_ALL = 101 }; /* the first priority that is not the compiler's */

__attribute__((constructor(BEFORE_ALL))) static void spin_briefly(void)
{
    if (!getenv("OMP_WAIT_POLICY")) setenv("GOMP_SPINCOUNT", "1000", 0);
}
