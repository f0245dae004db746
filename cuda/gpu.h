/* gpu.h - what every kernel file includes; nvcc and the emulator's build both take it.
 *
 * Kernels are launched by RUN and declare shared memory by SHARED and SHARED_DYN: the emulator
 * (test/cudasim/emu.h) has its own forms of these three.
 *
 * Memory is read and written 16 bytes at a time where rows begin on such a boundary.  A thread has
 * the same elements in any case, so that a result does not depend on where its operands lie.
 */
#ifndef REGRAD_CUDA_GPU_H
#define REGRAD_CUDA_GPU_H

#include <cuda_runtime.h>
#include <cublasLt.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include "cuda/internal.h"
}

#ifdef __CUDACC__
#define LAUNCH(kernel, grid, block, shared, stream, ...)                                           \
    kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
#define SHARED(T, name, dims) __shared__ T name dims
#define SHARED_DYN(T, name)                                                                        \
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];                         \
    T *name = (T *)dynamic_shared_memory
#endif

#define RUN(dev, stream, kernel, grid, block, shared, ...)                                         \
    do {                                                                                           \
        LAUNCH(kernel, grid, block, shared, cuda_stream(dev, stream), __VA_ARGS__);                \
        cuda_ok(dev, cudaGetLastError(), "launch of " #kernel, __FILE__, __LINE__);                \
    } while (0)

static constexpr int WARP = 32;
#define ALL_LANES 0xffffffffu

/* How many groups of `per` hold n. */
static inline unsigned groups(int64_t n, int64_t per)
{
    return (unsigned)((n + per - 1) / per);
}

/* Threads of a block in which each has `per` columns of a row: whole warps, at most `most`. */
static inline unsigned threads_for(int64_t cols, int64_t per, unsigned most)
{
    int64_t warps = ((cols + per - 1) / per + WARP - 1) / WARP;
    return warps * WARP < most ? (unsigned)(warps * WARP) : most;
}

/* ---- four floats ---- */

struct alignas(16) four {
    float x[4];
};

/* May rows of t be read 16 bytes at a time?  (What is absent may.) */
static inline bool wide(tensor t)
{
    return !present(t) || ((uintptr_t)t.data % 16 == 0 && (t.ld % 4 == 0 || tensor_rows(t) == 1));
}

/* p[0..3] of which `left` are there, 0 for the others */
static __device__ __forceinline__ four load4(const float *p, int64_t left, bool whole)
{
    if (whole && left >= 4) return *(const four *)p;
    four v;
    for (int i = 0; i < 4; i++)
        v.x[i] = i < left ? p[i] : 0.0f;
    return v;
}

static __device__ __forceinline__ void store4(float *p, int64_t left, bool whole, four v)
{
    if (whole && left >= 4) {
        *(four *)p = v;
        return;
    }
    for (int i = 0; i < 4; i++)
        if (i < left) p[i] = v.x[i];
}

/* ---- over the lanes of a warp, in a fixed order ---- */

static __device__ __forceinline__ float warp_sum(float x)
{
    for (int d = WARP / 2; d; d /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, d);
    return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
    for (int d = WARP / 2; d; d /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, d));
    return x;
}

#endif
