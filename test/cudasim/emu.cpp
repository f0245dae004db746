/* emu.cpp - fibers and the scheduler of a block; see emu.h.
 *
 * Threads wait at barriers and warp operations; whoever must wait goes straight over to the next
 * thread that may run.  A thread that never waits needs no fiber of its own: the fiber of one that
 * has ended runs the next one that has not begun.
 *
 *     not begun --> ready --> waits for its warp  --> ready ... --> ended
 *                         --> waits for its block --> ready
 *
 * This file is compiled without sanitizers (they would follow it from stack to stack) and tells
 * AddressSanitizer of each change of stack itself.  The function at the bottom of a stack never
 * returns.
 */
#include "test/cudasim/emu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#ifdef EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#define LEAVING(keep, stack, size)  __sanitizer_start_switch_fiber(keep, stack, size)
#define ARRIVED(saved, stack, size) __sanitizer_finish_switch_fiber(saved, stack, size)
#else
#define LEAVING(keep, stack, size)  ((void)(keep), (void)(stack), (void)(size))
#define ARRIVED(saved, stack, size) ((void)(saved), (void)(stack), (void)(size))
#endif

namespace
{

enum { MOST_THREADS = 1024, STACK = 64 * 1024, PAGE = 4096 };
enum state { READY, AT_WARP, AT_BLOCK, ENDED };

struct thread {
    state st;
    char *stack;      /* NULL: not begun */
    void *sp, *fake;  /* where it waits; AddressSanitizer's handle of its stack */
    const char *site; /* of the barrier where it waits */
    unsigned mask;
    void *argument;
    int value;
};

struct block {
    thread t[MOST_THREADS];
    unsigned ready[MOST_THREADS / 32], live[MOST_THREADS / 32]; /* a bit for each lane */
    int n, warps, ended, at_barrier, votes;
    void (*body)(void *);
    void *argument;
    void *main_sp, *main_fake;
    const void *main_stack;
    size_t main_size;
    uint32_t random;
    uint3 place[MOST_THREADS]; /* of each thread in the block: divisions, made once a launch */
} b;

std::vector<char *> stacks; /* not in use */
std::vector<emu_shared_array *> used_shared;

} // namespace

emu_view emu;
int emu_order = EMU_UPWARDS;
unsigned emu_off = 0;

void emu_die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    fprintf(stderr, "emulator: block (%u,%u,%u) thread (%u,%u,%u): ", emu.block.x, emu.block.y,
            emu.block.z, emu.thread.x, emu.thread.y, emu.thread.z);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    _Exit(3);
}

/* ---- stacks ---- */

#ifndef __x86_64__
#error "emu_swap is written for x86-64: save the callee's registers, exchange the stack pointers"
#endif
extern "C" void emu_swap(void **save_sp, void *load_sp);
__asm__(".text\n.globl emu_swap\n.type emu_swap,@function\nemu_swap:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size emu_swap,.-emu_swap\n");

/* A stack with a page below it that must not be touched. */
static char *take_stack(void)
{
    if (!stacks.empty()) {
        char *s = stacks.back();
        stacks.pop_back();
        return s;
    }
    void *m = mmap(NULL, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || mprotect(m, PAGE, PROT_NONE)) emu_die("no memory for a stack");
    return (char *)m + PAGE;
}

static void set_current(int i)
{
    emu.index = i;
    emu.thread = b.place[i];
}

static void bottom(void);

/* Gives a thread that has not begun a stack; its first return goes to bottom(). */
static void begin(thread *t)
{
    t->stack = take_stack();
    void **sp = (void **)(t->stack + STACK);
    *--sp = NULL; /* also aligns the stack as a call would */
    *--sp = (void *)bottom;
    for (int i = 0; i < 6; i++)
        *--sp = NULL;
    t->sp = sp;
}

/* From the running thread, which waits, to another. */
static void switch_to(int to)
{
    thread *from = &b.t[emu.index];
    if (!b.t[to].stack) begin(&b.t[to]);
    set_current(to);
    LEAVING(&from->fake, b.t[to].stack, STACK);
    emu_swap(&from->sp, b.t[to].sp);
    ARRIVED(from->fake, NULL, NULL);
}

/* From the running thread, which has ended: to another that has begun, or to the host. */
static void leave_for(int to)
{
    void *nowhere;
    stacks.push_back(b.t[emu.index].stack);
    if (to >= 0) {
        set_current(to);
        LEAVING(NULL, b.t[to].stack, STACK);
        emu_swap(&nowhere, b.t[to].sp);
    } else {
        LEAVING(NULL, b.main_stack, b.main_size);
        emu_swap(&nowhere, b.main_sp);
    }
}

/* ---- the scheduler ---- */

static unsigned draw(unsigned n)
{
    b.random = b.random * 1664525u + 1013904223u;
    return (b.random >> 8) % n;
}

static int choose_lane(unsigned ready)
{
    if (emu_order == EMU_UPWARDS) return __builtin_ctz(ready);
    if (emu_order == EMU_DOWNWARDS) return 31 - __builtin_clz(ready);
    unsigned turn = draw(32), turned = turn ? ready >> turn | ready << (32 - turn) : ready;
    return (int)(((unsigned)__builtin_ctz(turned) + turn) & 31);
}

/* A warp runs ahead as far as it can; -1 if nobody may run. */
static int next_ready(void)
{
    int w = emu.index / 32, first = emu_order < EMU_RANDOM ? 0 : (int)draw((unsigned)b.warps);
    if (b.ready[w]) return w * 32 + choose_lane(b.ready[w]);
    for (int k = 0; k < b.warps; k++) {
        int v = emu_order == EMU_DOWNWARDS ? b.warps - 1 - k : (first + k) % b.warps;
        if (b.ready[v]) return v * 32 + choose_lane(b.ready[v]);
    }
    return -1;
}

[[noreturn]] static void stuck(const char *what)
{
    const char *seen = "";
    fprintf(stderr, "emulator: %d of %d threads have ended\n", b.ended, b.n);
    for (int i = 0, lines = 0; i < b.n && lines < 12; i++) {
        const thread *t = &b.t[i];
        const char *where = t->st == ENDED ? "ended" : t->site;
        if (!strcmp(where, seen)) continue;
        fprintf(stderr, "    from thread %d: %s%s\n", i, where,
                t->st == AT_WARP    ? " (its warp)"
                : t->st == AT_BLOCK ? " (its block)"
                                    : "");
        seen = where;
        lines++;
    }
    emu_die("%s", what);
}

static void wait_for_others(void)
{
    int to = next_ready();
    if (to == emu.index) return;
    if (to < 0) stuck("a barrier that not all threads reach, or a deadlock");
    switch_to(to);
}

static unsigned bit_of(int i)
{
    return 1u << (i & 31);
}

static bool barrier_complete(void)
{
    return b.at_barrier && b.at_barrier + b.ended == b.n;
}

static void release_barrier(void)
{
    emu_race_barrier();
    if (b.ended && !(emu_off & EMU_BARRIERS))
        stuck("a barrier that part of the block never reaches: the others have ended");
    b.votes = b.at_barrier = 0;
    const char *site = NULL;
    for (int i = 0; i < b.n; i++) {
        thread *t = &b.t[i];
        if (t->st == ENDED) continue;
        if (site && strcmp(site, t->site) && !(emu_off & EMU_BARRIERS))
            stuck("threads wait at different barriers");
        site = t->site;
        b.votes += t->value;
    }
    for (int i = 0; i < b.n; i++)
        if (b.t[i].st != ENDED) b.t[i].st = READY;
    for (int w = 0; w < b.warps; w++)
        b.ready[w] = b.live[w];
}

/* The running thread has ended; who runs next, -1 if all have. */
static int end_thread(void)
{
    int i = emu.index;
    emu_copies_end();
    b.t[i].st = ENDED;
    b.ended++;
    b.ready[i / 32] &= ~bit_of(i);
    b.live[i / 32] &= ~bit_of(i);
    if (barrier_complete()) release_barrier();
    int to = next_ready();
    if (to < 0 && b.ended < b.n) stuck("a barrier that not all threads reach, or a deadlock");
    return to;
}

static void bottom(void)
{
    if (b.main_stack)
        ARRIVED(NULL, NULL, NULL);
    else
        ARRIVED(NULL, &b.main_stack, &b.main_size);
    for (;;) {
        b.body(b.argument);
        int from = emu.index, to = end_thread();
        if (to < 0 || b.t[to].stack) leave_for(to);
        b.t[to].stack = b.t[from].stack;
        set_current(to);
    }
}

static void in_kernel(const char *site)
{
    if (!emu.in_kernel) emu_die("%s: device code called by the host", site);
}

int emu_sync_block(const char *site, int value)
{
    in_kernel(site);
    int i = emu.index;
    thread *t = &b.t[i];
    t->st = AT_BLOCK;
    t->site = site;
    t->value = value;
    b.ready[i / 32] &= ~bit_of(i);
    b.at_barrier++;
    if (barrier_complete()) release_barrier();
    wait_for_others();
    return b.votes; /* nobody can vote again before all have read this */
}

/* Have all lanes of the mask come to this place with this mask?  Mostly one of them still runs. */
static bool warp_complete(const thread *lane, unsigned ready, unsigned mask, const char *site)
{
    if (ready & mask) return false;
    EMU_LANES(l, mask)
    {
        if (lane[l].st != AT_WARP || lane[l].mask != mask) return false;
        if (lane[l].site != site && strcmp(lane[l].site, site) && !(emu_off & EMU_MASKS))
            return false;
    }
    return true;
}

void emu_warp(unsigned mask, const char *site, emu_warp_op *op, void *argument)
{
    in_kernel(site);
    int i = emu.index, w = i / 32, lanes = b.n - w * 32;
    thread *t = &b.t[i], *lane = &b.t[w * 32];
    if (lanes < 32) mask &= (1u << lanes) - 1;
    if (!(mask & bit_of(i))) emu_die("%s: lane %d is not in its own mask %08x", site, i & 31, mask);
    if (mask & ~b.live[w]) {
        if (!(emu_off & EMU_MASKS)) emu_die("%s: mask %08x has a lane that ended", site, mask);
        mask &= b.live[w];
    }
    t->st = AT_WARP;
    t->site = site;
    t->mask = mask;
    t->argument = argument;
    b.ready[w] &= ~bit_of(i);
    if (warp_complete(lane, b.ready[w], mask, site)) {
        void *all[32];
        EMU_LANES(l, mask) all[l] = lane[l].argument;
        if (op)
            op(all, mask);
        else
            emu_race_warp_barrier(w);
        EMU_LANES(l, mask) lane[l].st = READY;
        b.ready[w] |= mask;
    }
    wait_for_others();
}

/* ---- the memory of a block, and the grid ---- */

void *emu_memory(size_t bytes)
{
    void *p;
    if (posix_memalign(&p, 256, bytes ? bytes : 1)) emu_die("no memory");
    memset(p, 0xff, bytes); /* NaN, or -1 */
    return p;
}

static void *shared_memory(size_t bytes)
{
    void *p = emu_memory(bytes);
    if (emu_off & EMU_NAN) memset(p, 0, bytes);
    emu_race_shared_memory(p, bytes);
    return p;
}

void *emu_shared(emu_shared_array *s, size_t bytes)
{
    if (!s->memory) {
        s->memory = shared_memory(bytes);
        used_shared.push_back(s);
    }
    return s->memory;
}

static void run_block(size_t shared)
{
    emu_race_block();
    emu.dynamic_shared = shared ? (char *)shared_memory(shared) : NULL;
    b.ended = b.at_barrier = 0;
    for (int i = 0; i < b.n; i++)
        b.t[i] = {};
    for (int w = 0; w < b.warps; w++) {
        int lanes = b.n - w * 32;
        b.ready[w] = b.live[w] = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    }
    emu.index = 0;
    int first = next_ready();
    begin(&b.t[first]);
    set_current(first);
    LEAVING(&b.main_fake, b.t[first].stack, STACK);
    emu_swap(&b.main_sp, b.t[first].sp);
    ARRIVED(b.main_fake, NULL, NULL);
    free(emu.dynamic_shared);
    for (emu_shared_array *s : used_shared) {
        free(s->memory);
        s->memory = NULL;
    }
    used_shared.clear();
    emu_race_end_block();
}

static void set_places(dim3 block)
{
    int i = 0;
    for (unsigned z = 0; z < block.z; z++)
        for (unsigned y = 0; y < block.y; y++)
            for (unsigned x = 0; x < block.x; x++)
                b.place[i++] = {x, y, z};
}

void emu_grid(dim3 grid, dim3 block, size_t shared, void (*body)(void *), void *argument)
{
    b.n = (int)(block.x * block.y * block.z);
    b.warps = (b.n + 31) / 32;
    b.body = body;
    b.argument = argument;
    b.random = (uint32_t)emu_order * 2654435761u + 1;
    emu.grid_dim = {grid.x, grid.y, grid.z};
    emu.block_dim = {block.x, block.y, block.z};
    set_places(block);
    emu.in_kernel = true;
    emu_race_launch();
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t k = 0; k < blocks; k++) {
        uint64_t q = emu_order & 1 ? blocks - 1 - k : k;
        emu.block = {(unsigned)(q % grid.x), (unsigned)(q / grid.x % grid.y),
                     (unsigned)(q / grid.x / grid.y)};
        run_block(shared);
    }
    emu.in_kernel = false;
}
