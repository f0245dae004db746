/* internal.h - what the files of the CPU device share. */
#ifndef REGRAD_CPU_INTERNAL_H
#define REGRAD_CPU_INTERNAL_H

#include "cpu/cpu.h"

#define CPU_OP(name) void cpu_##name(device *dev, int stream, const name##_op *o);
DEVICE_OPS(CPU_OP)
#undef CPU_OP

/* Row r of a matrix. */
static inline float *row(tensor t, int64_t r)
{
    return (float *)t.data + r * t.ld;
}

/* Where an operand of a product begins. */
static inline panel at(tensor t, int64_t r, int64_t c)
{
    return (panel){row(t, r) + c, t.ld};
}

static inline float *floats(tensor t)
{
    return t.data;
}

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
