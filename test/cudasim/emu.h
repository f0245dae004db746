/* emu.h - CUDA on the CPU: the same kernel files, compiled as C++ and run thread by thread.
 *
 *      thread 0   thread 1  ...  thread n-1        one block at a time; a thread is a fiber, made
 *         |          |              |              when it first must wait for others
 *      __shfl_xor_sync (mask, site) ----- the last lane to arrive does the work of the warp
 *         |          |              |
 *      __syncthreads (site) ------------- the last thread to arrive frees the rest
 *
 * It is made to find mistakes, not to be fast:
 *
 *   beyond an array (global, shared, a thread's own)    AddressSanitizer: each is a heap block of
 *                                                       its exact size
 *   a misaligned vector access                          UBSan
 *   a missing barrier, shared memory never written      shared memory begins as NaN, threads run in
 *                                                       several orders (emu_order)
 *   a barrier that not all reach, or not the same one   the scheduler knows where each thread waits
 *   a warp operation with a wrong mask                  likewise
 *   a launch beyond the limits of sm_80 ... sm_120      emu_check
 *   device memory touched by the host                   its pages are closed while the host runs
 *   a missing event or wait, a buffer used too early    streams run as late as they may
 *   a missing __syncthreads or __syncwarp, a race       the race detector (race.cpp), in the build
 *   between blocks                                      that has it
 *
 * What a kernel file must accept: LAUNCH, SHARED and SHARED_DYN; inline PTX only in small named
 * functions with a twin in C++, which tells emu_touch what memory it reads and writes if it leaves
 * that to another thread or to later; no grid-wide waiting, for blocks run one after another.  A
 * shuffle orders memory here, on a GPU it does not: a missing __syncwarp is not found by values,
 * but by the race detector.
 *
 * emu_off switches checks off, so that tests can show that it is the check that finds the mistake.
 */
#ifndef CUDASIM_EMU_H
#define CUDASIM_EMU_H

#include <cuda_runtime_api.h>
#include "test/cudasim/runtime.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <tuple>

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/* What the running thread sees. */
struct emu_view {
    uint3 thread, block, block_dim, grid_dim;
    int index; /* of the thread in its block */
    char *dynamic_shared;
    bool in_kernel;
};
extern emu_view emu;

enum { EMU_UPWARDS, EMU_DOWNWARDS, EMU_RANDOM }; /* from EMU_RANDOM on: the seed of an order */
extern int emu_order;                            /* of threads, and of blocks */

extern unsigned emu_off; /* checks that are switched off: emu_check of runtime.h */

[[noreturn]] void emu_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Waits for the block; returns how many threads gave a value that is not 0. */
int emu_sync_block(const char *site, int value);
/* Waits for the lanes of mask; the last one runs op over all their arguments. */
typedef void emu_warp_op(void **lane_argument, unsigned mask);
void emu_warp(unsigned mask, const char *site, emu_warp_op *op, void *argument);

struct emu_shared_array {
    void *memory;
};
void *emu_shared(emu_shared_array *, size_t bytes);
void emu_grid(dim3 grid, dim3 block, size_t shared, void (*body)(void *), void *argument);
void *emu_memory(size_t bytes); /* aligned as cudaMalloc does, all bits set */

void emu_copies_end(void); /* in copies.cpp: the running thread ends */

/* In race.cpp: what the race detector must know.  A kernel's accesses come from its compiler; those
 * of twins of PTX and of atomics from here.  The others tell what happens in a launch. */
void emu_touch(const void *memory, size_t bytes, bool write);
void emu_touch_atomic(const void *memory, size_t bytes);
void emu_fence(void);
void emu_race_launch(void);
void emu_race_block(void);
void emu_race_end_block(void);
void emu_race_barrier(void);
void emu_race_warp_barrier(int warp);
void emu_race_shared_memory(void *, size_t bytes); /* of the running block */
void emu_race_device_memory(void *, size_t bytes);
void emu_race_forget(void *device_memory);

/* In runtime.cpp. */
bool emu_recorded(const char *what); /* is nothing to be run, only noted? */
bool emu_launch_allowed(const void *kernel, dim3 grid, dim3 block, size_t shared);
/* A kernel on a stream: body(call) by each thread; drop(call) when it will not run any more.
 * (Kernel files do without <functional>: with math.h it took half of the compiler's time.) */
struct emu_kernel {
    dim3 grid, block;
    size_t shared;
    void (*body)(void *call), (*drop)(void *call);
    void *call;
};
void emu_enqueue_kernel(cudaStream_t, const emu_kernel &);

#define threadIdx (emu.thread)
#define blockIdx  (emu.block)
#define blockDim  (emu.block_dim)
#define gridDim   (emu.grid_dim)
#define __global__
#define __device__
#define __host__
#define __constant__
#define __restrict__ __restrict
#define __forceinline__ inline /* inlined or not: here it is the compiler that takes the time */
#define __launch_bounds__(...)

/* The counter tells two barriers on one line apart. */
#define EMU_TEXT2(x) #x
#define EMU_TEXT(x)  EMU_TEXT2(x)
#define EMU_SITE     __FILE__ ":" EMU_TEXT(__LINE__) "#" EMU_TEXT(__COUNTER__)

/* ---- launches and shared memory ---- */

template <class... P, class... A>
void emu_launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                A... a)
{
    if (!emu_launch_allowed((const void *)kernel, grid, block, shared)) return;
    struct call {
        void (*kernel)(P...);
        std::tuple<P...> arguments; /* copied at the launch, as on a GPU */
    };
    emu_kernel k = {grid, block, shared, NULL, NULL, new call{kernel, {(P)a...}}};
    k.body = [](void *p) { std::apply(((call *)p)->kernel, ((call *)p)->arguments); };
    k.drop = [](void *p) { delete (call *)p; };
    emu_enqueue_kernel(stream, k);
}

#define LAUNCH(kernel, grid, block, shared, stream, ...)                                           \
    (emu_recorded(#kernel) ? (void)0 : emu_launch(kernel, grid, block, shared, stream, __VA_ARGS__))
#define SHARED(T, name, dims)                                                                      \
    static emu_shared_array name##_array;                                                          \
    T(&name) dims = *(T(*) dims)emu_shared(&name##_array, sizeof(T dims))
#define SHARED_DYN(T, name) T *name = (T *)emu.dynamic_shared

/* ---- barriers and warp operations ---- */

#define __syncthreads()        ((void)emu_sync_block(EMU_SITE, 0))
#define __syncthreads_or(x)    (emu_sync_block(EMU_SITE, (x) != 0) != 0)
#define __syncthreads_count(x) emu_sync_block(EMU_SITE, (x) != 0)
#define __syncwarp(...)        emu_warp(emu_mask(__VA_ARGS__), EMU_SITE, NULL, NULL)
#define EMU_LANES(lane, mask)                                                                      \
    for (int lane = 0; lane < 32; lane++)                                                          \
        if ((mask) >> lane & 1)

static inline unsigned emu_mask(unsigned mask = ~0u)
{
    return mask;
}

template <class T> struct emu_shuffle_lane {
    T in, out;
    int from;
};

template <class T> void emu_shuffle_warp(void **lane, unsigned mask)
{
    EMU_LANES(l, mask)
    {
        emu_shuffle_lane<T> *x = (emu_shuffle_lane<T> *)lane[l];
        if (mask >> x->from & 1)
            x->out = ((emu_shuffle_lane<T> *)lane[x->from])->in;
        else if (!(emu_off & EMU_MASKS))
            emu_die("shuffle: lane %d reads lane %d, which is not in mask %08x", l, x->from, mask);
    }
}

template <class T>
T emu_shuffle(char kind, const char *site, unsigned mask, T value, int d, int width = 32)
{
    int lane = emu.index & 31, base = lane & ~(width - 1), from = lane;
    if (kind == 'x') from = lane ^ d;
    if (kind == 'd') from = lane + d;
    if (kind == 'u') from = lane - d;
    if (kind == 'i') from = base + (d & (width - 1));
    if (from >= base + width || (kind == 'u' && from < base)) from = lane;
    emu_shuffle_lane<T> x = {value, value, from};
    emu_warp(mask, site, emu_shuffle_warp<T>, &x);
    return x.out;
}

#define __shfl_xor_sync(mask, x, ...)  emu_shuffle('x', EMU_SITE, mask, x, __VA_ARGS__)
#define __shfl_down_sync(mask, x, ...) emu_shuffle('d', EMU_SITE, mask, x, __VA_ARGS__)
#define __shfl_up_sync(mask, x, ...)   emu_shuffle('u', EMU_SITE, mask, x, __VA_ARGS__)
#define __shfl_sync(mask, x, ...)      emu_shuffle('i', EMU_SITE, mask, x, __VA_ARGS__)

static inline unsigned emu_ballot(unsigned mask, int predicate, const char *site)
{
    unsigned x = predicate != 0;
    emu_warp(
        mask, site,
        [](void **lane, unsigned m) {
            unsigned all = 0;
            EMU_LANES(l, m) all |= *(unsigned *)lane[l] << l;
            EMU_LANES(l, m) * (unsigned *)lane[l] = all;
        },
        &x);
    return x;
}
#define __ballot_sync(mask, x) emu_ballot(mask, x, EMU_SITE)

/* ---- atomics: plain, for one thread runs at a time ---- */

#define __threadfence() emu_fence()

#ifdef __clang__
#define EMU_UNWATCHED __attribute__((noinline, no_sanitize("thread")))
#else
#define EMU_UNWATCHED
#endif

template <class T> EMU_UNWATCHED T atomicAdd(T *p, T value)
{
    emu_touch_atomic(p, sizeof *p);
    T old = *p;
    *p = old + value;
    return old;
}

/* ---- what nvcc knows besides ---- */

static inline int __ffs(unsigned x)
{
    return __builtin_ffs((int)x);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
struct alignas(16) float4 {
    float x, y, z, w;
};

#endif
