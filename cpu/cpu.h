/* cpu.h - the operation table on the CPU, in float.
 *
 * Every result has the same bits from run to run, wherever its operands are, for any number of
 * threads, and with each of the kernels of cpu/kernel.h: on every processor.  (Products by OpenBLAS
 * have bits of their own.)
 */
#ifndef REGRAD_CPU_H
#define REGRAD_CPU_H

#include "core/ops.h"

extern const device_kind cpu_kind;

/* Opens the device with this many threads (0: one per available core), the best kernel that the
 * processor supports, and our own products. */
error *cpu_device(int threads, device *out) NODISCARD;
void cpu_close(device *dev);

/* "auto", "avx512bf16", "amxbf16", "avx512", "avx2", "neon", "plain".  User error: unknown, or not
 * supported by this processor. */
error *cpu_use_kernel(device *dev, const char *name) NODISCARD;

/* "own", or "blas": f32 products by OpenBLAS, except attention's.  User error: built without. */
error *cpu_use_products(device *dev, const char *name) NODISCARD;

/* Bytes of workspace that it wants to be lent (op_lend), for packing operands; with less than 1 MiB
 * products are slower. */
enum { CPU_ROOM = 8 << 20 };

/* "2 threads, avx512", "2 threads, avx2, products by OpenBLAS 0.3.21 Zen"; returns buffer. */
const char *cpu_describe(const device *dev, char *buffer, size_t size);

/* n rounds of only fused multiply-adds, on all threads; returns the number of operations (two
 * each).  For measuring the processor's peak. */
double cpu_burn(device *dev, int64_t n);

/* Reads and writes p, m, v (n) in place and reads g: AdamW's traffic, with one addition each. */
void cpu_stream(device *dev, float *const pgmv[4], int64_t n);

#endif
