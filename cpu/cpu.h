/* cpu.h - the operation table on the CPU: OpenMP loops around OpenBLAS's sgemm, in float.
 *
 * Every result has the same bits from run to run and wherever its operands lie; most (all of the
 * optimizer's) also for any number of threads.
 */
#ifndef REGRAD_CPU_H
#define REGRAD_CPU_H

#include "core/ops.h"
#include "cpu/blas.h"

/* Opens the device with this many threads (0: one for each core we may run on). */
error *cpu_device(int threads, device *out) NODISCARD;
void cpu_close(device *dev);

/* "2 threads, OpenBLAS 0.3.21 SkylakeX"; returns buffer. */
const char *cpu_describe(const device *dev, char *buffer, size_t size);

/* The library behind the device: for measuring products alone. */
const blas *cpu_blas(const device *dev);

#endif
