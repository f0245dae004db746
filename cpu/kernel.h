/* kernel.h - the CPU device, compiled for several processors.
 *
 *      cpu/NAME.c  --->  build/.../cpu/plain/NAME.o    any x86-64, or what ARCH says
 *                        build/.../cpu/avx2/NAME.o     x86-64-v3: AVX2, FMA (since 2013)
 *                        build/.../cpu/avx512/NAME.o   x86-64-v4: AVX-512
 *
 * Each set of objects becomes one whose only name for others is its cpu_kernel, so that nothing of
 * one can be called by another.  All give the same bits: products are chains of fused multiply-adds
 * in a fixed order (product.h), sums across a row are taken in a fixed number of parts (sums.h),
 * and everything else is IEEE arithmetic, number by number, without contraction.
 */
#ifndef REGRAD_CPU_KERNEL_H
#define REGRAD_CPU_KERNEL_H

#include "core/ops.h"

typedef struct {
    device_ops ops;
    double (*burn)(device *dev, int64_t n); /* cpu.h's cpu_burn, cpu_stream */
    void (*stream)(device *dev, float *const pgmv[4], int64_t n);
} cpu_kernel;

extern const cpu_kernel cpu_kernel_plain, cpu_kernel_avx2, cpu_kernel_avx512;

#endif
