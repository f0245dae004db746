/* working.c - converts rows of working numbers to floats and back; see cpu_internal.h */
#include "cpu/cpu_internal.h"

#include <string.h>

void load_row(dtype type, const void *from, int64_t n, float *to)
{
    if (type == F32) {
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = load(BF16, from, i);
}

void store_row(dtype type, void *to, int64_t n, const float *from)
{
    if (type == F32) {
        memcpy(to, from, (size_t)n * sizeof *from);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(BF16, to, i, from[i]);
}

panel fetch(view v, int64_t r, int64_t rows, int64_t c, int64_t cols, float *room)
{
    const char *first = v.data + (size_t)(r * v.ld + c) * dtype_size(v.type);
    if (v.type == F32) return (panel){(const float *)(const void *)first, v.ld};
    for (int64_t i = 0; i < rows; i++)
        load_row(v.type, first + (size_t)(i * v.ld) * dtype_size(v.type), cols, room + i * cols);
    return (panel){room, cols};
}
