/* gpu.h - included by every kernel file; compiled by nvcc and for the emulator.
 *
 * Kernels are launched by RUN and declare shared memory by SHARED and SHARED_DYN: the emulator
 * (test/cudasim/emu.h) has its own versions of these three.
 *
 * Memory is accessed 16 bytes at a time where rows are aligned to that.  A thread handles the same
 * elements in either case, so that results do not depend on the operands' addresses.
 */
#ifndef REGRAD_CUDA_GPU_H
#define REGRAD_CUDA_GPU_H

#include <cuda_runtime.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include "base/bf16.h"
#include "cuda/cuda_internal.h"
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

/* Number of groups of `per` that hold n. */
static inline unsigned groups(int64_t n, int64_t per)
{
    return (unsigned)((n + per - 1) / per);
}

/* Threads of a block in which each handles `per` columns of a row: whole warps, at most `most`. */
static inline unsigned threads_for(int64_t cols, int64_t per, unsigned most)
{
    int64_t warps = ((cols + per - 1) / per + WARP - 1) / WARP;
    return warps * WARP < most ? (unsigned)(warps * WARP) : most;
}

/* ---- 16 bytes of a row ---- */

/* Elements in 16 bytes.  They are float once loaded, whatever they are in memory. */
template <class T> static constexpr int WIDTH = 16 / (int)sizeof(T);
template <class T> struct alignas(16) packed {
    T x[WIDTH<T>];
};
template <class T> struct unpacked {
    float x[WIDTH<T>];
};

/* See base/bf16.h. */
struct bf16 {
    uint16_t bits;
};

static __device__ __forceinline__ float widened(float x)
{
    return x;
}
static __device__ __forceinline__ float widened(bf16 x)
{
    return float_of_bf16(x.bits);
}

/* *to = x, rounded to nearest even */
static __device__ __forceinline__ void narrowed(float *to, float x)
{
    *to = x;
}
static __device__ __forceinline__ void narrowed(bf16 *to, float x)
{
#ifdef __CUDACC__
    asm("cvt.rn.bf16.f32 %0,%1;" : "=h"(to->bits) : "f"(x));
#else
    to->bits = bf16_of_float(x);
#endif
}

/* May rows of t be accessed 16 bytes at a time?  (True if absent.) */
static inline bool wide(tensor t)
{
    int64_t width = present(t) ? 16 / (int64_t)dtype_size(t.type) : 1;
    return (uintptr_t)(present(t) ? t.data : NULL) % 16 == 0 &&
           (t.ld % width == 0 || tensor_rows(t) == 1);
}

/* p[0 .. WIDTH-1], of which `left` exist; 0 for the others */
template <class T>
static __device__ __forceinline__ unpacked<T> load(const T *p, int64_t left, bool aligned)
{
    unpacked<T> v;
    if (aligned && left >= WIDTH<T>) {
        packed<T> raw = *(const packed<T> *)p;
#pragma unroll
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] = widened(raw.x[i]);
    } else {
#pragma unroll
        for (int i = 0; i < WIDTH<T>; i++)
            v.x[i] = i < left ? widened(p[i]) : 0.0f;
    }
    return v;
}

template <class T>
static __device__ __forceinline__ void store(T *p, int64_t left, bool aligned, const unpacked<T> &v)
{
    packed<T> raw;
#pragma unroll
    for (int i = 0; i < WIDTH<T>; i++)
        narrowed(&raw.x[i], v.x[i]);
    if (aligned && left >= WIDTH<T>) {
        *(packed<T> *)p = raw;
        return;
    }
#pragma unroll
    for (int i = 0; i < WIDTH<T>; i++)
        if (i < left) p[i] = raw.x[i];
}

/* As many floats as there are T in 16 bytes. */
template <class T>
static __device__ __forceinline__ unpacked<T> load_as(const float *p, int64_t left, bool aligned)
{
    unpacked<T> v;
#pragma unroll
    for (int k = 0; k < WIDTH<T>; k += WIDTH<float>) {
        unpacked<float> part = load(p + k, left - k, aligned);
#pragma unroll
        for (int i = 0; i < WIDTH<float>; i++)
            v.x[k + i] = part.x[i];
    }
    return v;
}

/* Runs what follows with `element` as the tensor's element type. */
#define BY_TYPE(type, ...)                                                                         \
    do {                                                                                           \
        if ((type) == BF16) {                                                                      \
            typedef bf16 element;                                                                  \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef float element;                                                                 \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

/* The entry of an operation that is launched by its operand's type. */
#define CUDA_ENTRY(name, operand, launch)                                                          \
    extern "C" void cuda_##name(device *dev, int stream, const name##_op *o)                       \
    {                                                                                              \
        BY_TYPE(o->operand.type, launch<element>(dev, stream, o));                                 \
    }

/* ---- reductions over a warp, in a fixed order ---- */

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
