/* kernels.h - the CPU's kernels by name, and which of them this processor runs. */
#ifndef REGRAD_TEST_KERNELS_H
#define REGRAD_TEST_KERNELS_H

#include "cpu/cpu.h"

/* plain first: it runs everywhere, and the others are compared with it */
static const char *const kernels[] = {"plain", "avx2", "avx512", "avx512bf16", "amxbf16", "neon"};

enum { KERNELS = sizeof kernels / sizeof *kernels };

static inline bool kernel_runs(const char *kernel)
{
    device dev;
    error *e = cpu_device(1, &dev);
    if (e) fail_msg("%s", error_text(e));
    e = cpu_use_kernel(&dev, kernel);
    cpu_close(&dev);
    bool runs = !e;
    error_free(e);
    return runs;
}

#endif
