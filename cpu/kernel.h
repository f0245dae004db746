/* kernel.h - the CPU device, compiled for several instruction sets.
 *
 *      cpu/NAME.c  --->  build/.../cpu/plain/NAME.o    any x86-64 or aarch64, or what ARCH says
 *                        build/.../cpu/avx2/NAME.o     x86-64-v3: AVX2, FMA (since 2013)
 *                        build/.../cpu/avx512/NAME.o   x86-64-v4: AVX-512
 *                        build/.../cpu/neon/NAME.o     any aarch64, instead of these two
 *
 *      product, product_few, pack, micro --> .../cpu/pairs/NAME.o  AVX512-BF16   parts of avx512
 *      product, pack, tile, micro_amx    --> .../cpu/amx/NAME.o    AMX-BF16      (unit.h)
 *
 * Each set of objects is linked into one whose only exported symbol is its cpu_kernel, so that none
 * can call functions of another.  All give the same bits, but for pairs of bf16: products are
 * chains of fused multiply-adds in a fixed order (product.h), sums across a row have a fixed number
 * of parts (sums.h), and everything else is elementwise IEEE arithmetic without contraction.
 *
 * `--cpu-kernel auto` takes the best, but not AMX-BF16, which no processor has run yet.
 */
#ifndef REGRAD_CPU_KERNEL_H
#define REGRAD_CPU_KERNEL_H

#include "core/ops.h"

typedef struct {
    device_ops ops;
    double (*burn)(device *dev, int64_t n); /* cpu.h's cpu_burn, cpu_stream */
    void (*stream)(device *dev, float *const pgmv[4], int64_t n);
} cpu_kernel;

extern const cpu_kernel cpu_kernel_plain, cpu_kernel_avx2, cpu_kernel_avx512, cpu_kernel_neon;

#endif
