/* cpu_device.c - see cpu.h: opening, and choosing one of the kernels of kernel.h. */
#include "cpu/cpu_internal.h"
#include "cpu/kernel.h"
#include "cpu/product.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
/* A build with sanitizers has it only for a processor that runs it. */
extern const cpu_kernel cpu_kernel_avx512 __attribute__((weak));
#endif

/* The kernels, best first, and whether this processor supports what each was compiled for.  What
 * supports amxbf16 supports avx512bf16 as well: auto, which takes the first, never takes the one
 * that no processor has run yet (micro_amx.c). */
static const struct {
    const char *name;
    const cpu_kernel *kernel;
    bf16_pairs pairs;
} kernels[] = {
#ifdef __x86_64__
    {"avx512bf16", &cpu_kernel_avx512, PAIRS_BY_LANES},
    {"amxbf16", &cpu_kernel_avx512, PAIRS_BY_AMX},
    {"avx512", &cpu_kernel_avx512, NO_PAIRS},
    {"avx2", &cpu_kernel_avx2, NO_PAIRS},
#elif defined __aarch64__
    {"neon", &cpu_kernel_neon, NO_PAIRS},
#endif
    {"plain", &cpu_kernel_plain, NO_PAIRS},
};

enum { KERNELS = sizeof kernels / sizeof *kernels };

#ifdef __x86_64__
/* CPUID's leaf 7 has AMX-BF16 and AMX-TILE, and XCR0 both parts of their state: the system keeps it
 * (Intel SDM, volume 1, "Programming with Intel AMX"). */
static bool has_amx(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, XCR0_TILES = 3 << 17 };
    unsigned a, b, c, d, low, high, both = AMX_BF16 | AMX_TILE;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & both) != both) return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & XCR0_TILES) == XCR0_TILES;
}
#endif

static bool runs_here(int kernel)
{
#ifdef __x86_64__
    const cpu_kernel *code = kernels[kernel].kernel;
    bf16_pairs pairs = kernels[kernel].pairs;
    __builtin_cpu_init();
    if (!code) return false;
    if (code == &cpu_kernel_avx2) return __builtin_cpu_supports("x86-64-v3");
    if (code == &cpu_kernel_avx512 && !__builtin_cpu_supports("x86-64-v4")) return false;
    if (pairs != NO_PAIRS && !__builtin_cpu_supports("avx512bf16")) return false;
    if (pairs == PAIRS_BY_AMX) return has_amx();
#else
    (void)kernel;
#endif
    return true;
}

/* Linux saves AMX's registers only for a process that has asked, for all of its threads
 * (Documentation/arch/x86/xstate.rst). */
static error *ask_for_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
#ifdef SYS_arch_prctl
    if (!syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA)) return NULL;
#endif
    return user_error("--cpu-kernel amxbf16: Linux refuses AMX's registers (%s): update it to 5.16 "
                      "or newer, or give avx512bf16",
                      strerror(errno));
}

/* Into text: "avx512, avx2 or plain", those that run here. */
static const char *names_here(char *text, size_t size)
{
    text[0] = 0;
    for (int i = 0; i < KERNELS; i++)
        if (runs_here(i))
            snprintf(text + strlen(text), size - strlen(text), "%s%s",
                     !text[0]           ? ""
                     : i == KERNELS - 1 ? " or "
                                        : ", ",
                     kernels[i].name);
    return text;
}

error *cpu_use_kernel(device *dev, const char *name)
{
    cpu_state *state = dev->state;
    char here[100];
    for (int i = 0; i < KERNELS; i++) {
        if (!runs_here(i) || (strcmp(name, "auto") && strcmp(name, kernels[i].name))) continue;
        if (kernels[i].pairs == PAIRS_BY_AMX) TRY(ask_for_tiles());
        dev->ops = &kernels[i].kernel->ops;
        state->kernel = kernels[i].name;
        state->code = kernels[i].kernel;
        state->pairs = kernels[i].pairs;
        return NULL;
    }
    return user_error("--cpu-kernel %s: this processor runs auto, %s", name,
                      names_here(here, sizeof here));
}

error *cpu_use_products(device *dev, const char *name)
{
    cpu_state *state = dev->state;
    bool by_blas = !strcmp(name, "blas"), in_f32 = !strcmp(name, "f32");
    if (!by_blas && !in_f32 && strcmp(name, "own") && !products_narrow(name))
        return user_error("--products %s: must be own, f32, fp8 or blas (OpenBLAS)", name);
    if (by_blas) TRY(blas_open(dev->threads, &state->blas));
    state->by_blas = by_blas;
    state->in_f32 = in_f32;
    return NULL;
}

/* Cores available to this process. */
static int cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* Grows the caller's stack now to the most that operations need, instead of in a step. */
static __attribute__((noinline)) void grow_stack(void)
{
    char far[3 << 19];
    far[0] = 0;
    __asm__ volatile("" ::"r"(far) : "memory");
}

error *cpu_device(int threads, device *out)
{
    enum { MOST = 1024 };
    if (threads < 0 || threads > MOST)
        return user_error("%d threads: give a number from 1 to %d, or 0 for one per core", threads,
                          MOST);
    if (!threads) threads = cores();
    cpu_state *state;
    TRY(alloc_array(&state, 1, sizeof *state));
    error *e = pool_open(threads, cores(), &state->pool);
    *out = (device){.kind = &cpu_kind, .state = state, .threads = threads};
    if (!e) e = cpu_use_kernel(out, "auto");
    grow_stack();
    if (e) cpu_close(out);
    return e;
}

void cpu_close(device *dev)
{
    cpu_state *state = dev->state;
    if (state) pool_close(state->pool);
    free(state);
    *dev = (device){0};
}

double cpu_burn(device *dev, int64_t n)
{
    return ((const cpu_state *)dev->state)->code->burn(dev, n);
}

void cpu_stream(device *dev, float *const pgmv[4], int64_t n)
{
    ((const cpu_state *)dev->state)->code->stream(dev, pgmv, n);
}

const char *cpu_describe(const device *dev, char *buffer, size_t size)
{
    const cpu_state *s = dev->state;
    snprintf(buffer, size, "%d thread%s, %s%s%s", dev->threads, dev->threads > 1 ? "s" : "",
             s->kernel, s->by_blas ? ", products by " : "", s->by_blas ? s->blas.about : "");
    return buffer;
}

/* A core is always there. */
static bool cpu_likely(void)
{
    return true;
}

static error *cpu_use(device *dev, const char *kernel, const char *products)
{
    TRY(cpu_use_kernel(dev, kernel));
    return cpu_use_products(dev, products);
}

static const char *const methods[] = {"flash"};

/* Workspace for the smaller operand, packed in pieces of limited depth, and a third of that for
 * sums; none if about that much fits on the stack. */
static size_t cpu_room_for(int64_t m, int64_t n, int64_t k)
{
    int64_t free = m < n ? m : n, deep = (k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH * PRODUCT_DEPTH;
    if (deep > PRODUCT_CHUNK) deep = PRODUCT_CHUNK;
    if (free > CPU_ROOM / deep) free = CPU_ROOM / deep;
    int64_t floats = free * deep, bytes = floats * (int64_t)sizeof(float) / 3 * 4;
    if (floats <= 2 * PRODUCT_STACK) return 0;
    return (size_t)(bytes < PRODUCT_ROOM_LEAST ? PRODUCT_ROOM_LEAST
                    : bytes > CPU_ROOM         ? CPU_ROOM
                                               : bytes);
}

const device_kind cpu_kind = {.name = "cpu",
                              .room = CPU_ROOM,
                              .room_for = cpu_room_for,
                              .narrow_size = sizeof(uint16_t),
                              .attention = methods,
                              .n_attention = 1,
                              .likely = cpu_likely,
                              .open = cpu_device,
                              .close = cpu_close,
                              .describe = cpu_describe,
                              .use = cpu_use};
