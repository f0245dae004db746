/* cpu.h - the operation table on the CPU, in float.
 *
 * Every result has the same bits from run to run, wherever its operands are, for any number of threads,
 * and by each of the kernels of cpu/kernel.h: on every processor.  (Products by OpenBLAS have bits of
 * their own.)
 */
#ifndef REGRAD_CPU_H
#define REGRAD_CPU_H

#include "core/ops.h"

extern const device_kind cpu_kind;

/* Opens the device with this many threads (0: one for each core we may run on), the best kernel that
 * the processor runs, and products of its own. */
error *cpu_device(int threads, device *out) NODISCARD;
void cpu_close(device *dev);

/* "auto", "avx512", "avx2", "plain".  User error: no such one, or not on this processor. */
error *cpu_use_kernel(device *dev, const char *name) NODISCARD;

/* "own", or "blas": f32 products by OpenBLAS, but attention's.  User error: built without. */
error *cpu_use_products(device *dev, const char *name) NODISCARD;

/* Bytes that it likes to be lent (op_lend), for what products are arranged in; with less than
 * 1 MiB, or nothing, they are slower. */
enum { CPU_ROOM = 8 << 20 };

/* "2 threads, avx512", "2 threads, avx2, products by OpenBLAS 0.3.21 Zen"; returns buffer. */
const char *cpu_describe(const device *dev, char *buffer, size_t size);

/* n portions of nothing but fused multiply-adds, on all threads; returns how many operations that
 * is (two each).  For measuring what the processor can do at most. */
double cpu_burn(device *dev, int64_t n);

/* p, m, v (n) are read and written in place, g is read: AdamW's traffic, with one addition each. */
void cpu_stream(device *dev, float *const pgmv[4], int64_t n);

#endif
