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

/* Bytes that it likes to be lent (op_lend), for what products are arranged in; with less than
 * 1 MiB, or nothing, they are slower. */
enum { CPU_ROOM = 8 << 20 };

/* "2 threads, OpenBLAS 0.3.21 SkylakeX"; returns buffer. */
const char *cpu_describe(const device *dev, char *buffer, size_t size);

/* n portions of nothing but fused multiply-adds, on all threads; returns how many operations that
 * is (two each).  For measuring what the processor can do at most. */
double cpu_burn(device *dev, int64_t n);

/* The library behind the device: for measuring products alone. */
const blas *cpu_blas(const device *dev);

#endif
