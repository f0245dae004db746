/* race.cpp - finds missing barriers and races between blocks; see emu.h.
 *
 * Kernel files are compiled with -fsanitize=thread, but linked without that sanitizer: the compiler
 * then calls __tsan_read4(p), __tsan_write4(p) ... at every access that another thread might see,
 * and these functions are here.  So nothing in a kernel changes, however it reaches its memory.
 *
 * Each byte of device and shared memory has a cell with its last write and its last reads.  What all
 * bytes of a word of four have in common is one cell until something reaches a part of it: then the
 * word has two, of half a word each, or four.  A stamp says who did it and when:
 *
 *     | block 27 | barriers 12 | warp barriers 12 | thread 10 | atomic 1 | readers 2 |
 *
 * The block's number counts through all launches; barriers are the __syncthreads behind it, warp
 * barriers the __syncwarp of its warp.  A shuffle orders no memory.  Two accesses to a byte, one of
 * them a write, race
 *
 *     in one block     if no barrier lies between them, and they are of different warps, or of
 *                      different threads of a warp and no warp barrier lies between them
 *     in two blocks    of one launch, always
 *
 * unless both are atomic, or the first block made a fence and then an atomic access, and the second
 * an atomic access and then a fence ("the last block adds up").  In which order the emulator ran
 * them does not matter: so one run finds what on a GPU is a matter of luck.
 *
 * Not seen: races between kernels of two streams (those show as wrong values, runtime.cpp); a warp
 * barrier of half a warp counts for all of it.
 */
#include "test/cudasim/emu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace
{

typedef uint64_t stamp;

struct cell {
    stamp write, read;
    uint32_t write_from, read_from; /* offsets in the program */
};

struct range { /* memory that is watched */
    char *begin, *end;
    cell *cells;          /* of all first bytes of words, then of all second bytes ... */
    unsigned char *split; /* a word's state: one cell, two (its bytes 0 and 2), four */
    size_t words;
    bool shared;
};

enum { ONE, LANES, WARPS, BLOCKS }; /* whom the stamp of a read stands for */
enum { WORD = 4, SHARED_CELLS = 1 << 20, MOST_BARRIERS = 1 << 12 };
const stamp READERS = 3, ATOMIC = 4;
const uint64_t MOST_BLOCKS = 1ul << 27;

std::vector<range> ranges; /* device memory, then the running block's shared memory */
size_t shared_ranges, last_hit;
cell *shared_cells;
unsigned char *shared_split;
size_t shared_used;

bool watching; /* this program has kernels that tell what they touch */
uint64_t block, launch_first;
unsigned barriers, warp_barriers[32];
/* of the launch, by block: a fence was made; an atomic access after it */
std::vector<char> fenced, released;
bool atomic_seen, acquired; /* of the running block */

} // namespace

/* ---- stamps ---- */

static unsigned readers_of(stamp s)
{
    return (unsigned)(s & READERS);
}
static unsigned thread_of(stamp s)
{
    return (unsigned)(s >> 3 & 1023);
}
static unsigned warp_barriers_of(stamp s)
{
    return (unsigned)(s >> 13 & (MOST_BARRIERS - 1));
}
static unsigned barriers_of(stamp s)
{
    return (unsigned)(s >> 25 & (MOST_BARRIERS - 1));
}
static uint64_t block_of(stamp s)
{
    return s >> 37;
}

static stamp stamp_now(void)
{
    return block << 37 | (uint64_t)barriers << 25 | (uint64_t)warp_barriers[emu.index / 32] << 13 |
           (uint64_t)emu.index << 3;
}

/* May they have happened at the same time? */
static bool parallel(stamp old, stamp now, bool shared)
{
    if (!old || block_of(old) < launch_first) return false;
    unsigned many = readers_of(old);
    if (block_of(old) != block_of(now) || many == BLOCKS) {
        bool ordered = many != BLOCKS && acquired && released[block_of(old) - launch_first];
        return !shared && !ordered;
    }
    if (barriers_of(old) != barriers_of(now)) return false;
    if (many == WARPS || thread_of(old) / 32 != thread_of(now) / 32) return true;
    return warp_barriers_of(old) == warp_barriers_of(now) &&
           (many == LANES || thread_of(old) != thread_of(now));
}

/* Whom the stamp of this read stands for, now that it takes the place of an earlier one. */
static unsigned readers_with(stamp old, stamp now, bool shared)
{
    if (!parallel(old, now, shared)) return ONE;
    if (block_of(old) != block_of(now) || readers_of(old) == BLOCKS) return BLOCKS;
    return readers_of(old) == WARPS || thread_of(old) / 32 != thread_of(now) / 32 ? WARPS : LANES;
}

/* ---- reports ---- */

/* The program or shared library that the emulator is in, and the kernels with it. */
static const Dl_info *module(void)
{
    static Dl_info about;
    if (!about.dli_fbase) dladdr((void *)emu_touch, &about);
    return &about;
}

/* Function, file and line of a place in it, to stderr. */
static void print_position(uint32_t offset)
{
    char command[600];
    fflush(stderr);
    snprintf(command, sizeof command, "addr2line -Cfsipe '%s' 0x%x | head -n 2 >&2",
             module()->dli_fname, offset - 1);
    if (system(command)) fprintf(stderr, "offset 0x%x\n", offset);
}

static void print_access(const char *when, stamp s, uint32_t from)
{
    fprintf(stderr, "    %s block %llu, thread %u, after %u barriers and %u of its warp: ", when,
            (unsigned long long)(block_of(s) - launch_first), thread_of(s), barriers_of(s),
            warp_barriers_of(s));
    print_position(from);
}

[[noreturn]] static void report(const char *what, const range *r, const void *p, stamp old,
                                uint32_t old_from, stamp now, uint32_t from)
{
    fprintf(stderr, "emulator: race at %s memory + %zu\n", r->shared ? "shared" : "device",
            (size_t)((const char *)p - r->begin));
    if (old) print_access("first ", old, old_from);
    print_access(old ? "second" : "here  ", now, from);
    emu_die("%s", what);
}

/* ---- accesses ---- */

static const range *range_of(const char *p)
{
    if (last_hit < ranges.size() && p >= ranges[last_hit].begin && p < ranges[last_hit].end)
        return &ranges[last_hit];
    for (size_t i = ranges.size(); i-- > 0;)
        if (p >= ranges[i].begin && p < ranges[i].end) return &ranges[last_hit = i];
    return NULL; /* stacks, constants, memory of the host */
}

static void touch_cell(const range *r, size_t at, bool write, bool atomic, stamp now, uint32_t from)
{
    const char *p = r->begin + at;
    cell *c = &r->cells[at % WORD * r->words + at / WORD];
    if (r->shared && !write && block_of(c->write) != block)
        report("read of shared memory that nobody wrote", r, p, 0, 0, now, from);
    if (!(atomic && c->write & ATOMIC) && parallel(c->write, now, r->shared))
        report(write ? "write after a write without a barrier"
                     : "read after a write without a barrier",
               r, p, c->write, c->write_from, now, from);
    if (!write) {
        c->read = now | readers_with(c->read, now, r->shared);
        c->read_from = from;
        return;
    }
    if (parallel(c->read, now, r->shared))
        report("write after a read without a barrier", r, p, c->read, c->read_from, now, from);
    c->write = now | (atomic ? ATOMIC : 0);
    c->write_from = from;
}

static void split(const range *r, size_t word)
{
    cell *c = &r->cells[word];
    size_t n = r->words;
    if (!r->split[word]++)
        c[2 * n] = c[0];
    else
        c[n] = c[0], c[3 * n] = c[2 * n];
}

static uint32_t offset_of(void *code)
{
    return (uint32_t)((uintptr_t)code - (uintptr_t)module()->dli_fbase);
}

static inline __attribute__((always_inline)) void touch(const void *memory, size_t bytes,
                                                        bool write, bool atomic, void *code)
{
    if (!watching || !emu.in_kernel || emu_off & EMU_RACES) return;
    const char *p = (const char *)memory;
    const range *r = range_of(p);
    if (!r) return;
    stamp now = stamp_now();
    uint32_t from = offset_of(code);
    size_t at = (size_t)(p - r->begin), left = (size_t)(r->end - p);
    for (size_t end = at + (bytes < left ? bytes : left), step; at < end;) {
        step = WORD >> r->split[at / WORD];
        if (at % step || end - at < step) {
            split(r, at / WORD);
            continue;
        }
        touch_cell(r, at, write, atomic, now, from);
        at += step;
    }
}

#define CALLER __builtin_return_address(0)

void emu_touch(const void *p, size_t bytes, bool write)
{
    touch(p, bytes, write, false, CALLER);
}

void emu_touch_atomic(const void *p, size_t bytes)
{
    touch(p, bytes, true, true, CALLER);
    atomic_seen = true;
    if (!fenced.empty() && fenced.back()) released.back() = 1;
}

bool emu_watches_races(void)
{
    return watching;
}

/* ---- what happens in a launch ---- */

void emu_race_launch(void)
{
    launch_first = block + 1;
    fenced.clear();
    released.clear();
}

void emu_race_block(void)
{
    if (++block >= MOST_BLOCKS) emu_die("race detector: too many blocks for one program");
    barriers = 0;
    memset(warp_barriers, 0, sizeof warp_barriers);
    fenced.push_back(0);
    released.push_back(0);
    acquired = atomic_seen = false;
}

void emu_race_barrier(void)
{
    if (++barriers >= MOST_BARRIERS) emu_die("race detector: too many barriers in one block");
}

void emu_race_warp_barrier(int warp)
{
    if (++warp_barriers[warp] >= MOST_BARRIERS)
        emu_die("race detector: too many barriers in one warp");
}

void emu_fence(void)
{
    if (!fenced.empty()) fenced.back() = 1;
    if (atomic_seen) acquired = true;
}

/* ---- memory ---- */

static void *take_zeros(size_t bytes)
{
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (m == MAP_FAILED) emu_die("race detector: no memory");
    return m;
}

/* Cells, and then the words' states, in one. */
static size_t zeros_of(size_t words)
{
    return words * (WORD * sizeof(cell) + 1);
}

void emu_race_device_memory(void *p, size_t bytes)
{
    size_t words = (bytes + WORD - 1) / WORD;
    cell *cells = (cell *)take_zeros(zeros_of(words));
    ranges.push_back({(char *)p, (char *)p + bytes, cells, (unsigned char *)(cells + WORD * words),
                      words, false});
}

void emu_race_forget(void *p)
{
    for (size_t i = 0; i < ranges.size(); i++)
        if (ranges[i].begin == p) {
            munmap(ranges[i].cells, zeros_of(ranges[i].words));
            ranges.erase(ranges.begin() + (ptrdiff_t)i);
            return;
        }
}

/* Cells are used again by later blocks: what an earlier block left in them
 * is known by its number. */
void emu_race_shared_memory(void *p, size_t bytes)
{
    size_t words = (bytes + WORD - 1) / WORD;
    if (!shared_cells) {
        shared_cells = (cell *)take_zeros(zeros_of(SHARED_CELLS / WORD));
        shared_split = (unsigned char *)(shared_cells + SHARED_CELLS);
    }
    if (shared_used + WORD * words > SHARED_CELLS) emu_die("race detector: too much shared memory");
    unsigned char *split = shared_split + shared_used / WORD;
    memset(split, 0, words);
    ranges.push_back(
        {(char *)p, (char *)p + bytes, shared_cells + shared_used, split, words, true});
    shared_used += WORD * words;
    shared_ranges++;
}

void emu_race_end_block(void)
{
    ranges.resize(ranges.size() - shared_ranges);
    shared_ranges = shared_used = 0;
}

/* ---- what the compiler calls ---- */

#define HOOKS(n)                                                                                   \
    void __tsan_read##n(void *p)                                                                   \
    {                                                                                              \
        touch(p, n, false, false, CALLER);                                                         \
    }                                                                                              \
    void __tsan_write##n(void *p)                                                                  \
    {                                                                                              \
        touch(p, n, true, false, CALLER);                                                          \
    }                                                                                              \
    void __tsan_unaligned_read##n(void *p)                                                         \
    {                                                                                              \
        touch(p, n, false, false, CALLER);                                                         \
    }                                                                                              \
    void __tsan_unaligned_write##n(void *p)                                                        \
    {                                                                                              \
        touch(p, n, true, false, CALLER);                                                          \
    }

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_init(void)
{
    watching = true;
}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}

/* clang calls these for copies of whole structures; older ones call memcpy, whose name is then
 * changed in the object (cuda/build.mk). */
void *__tsan_memcpy(void *to, const void *from, size_t n)
{
    touch(from, n, false, false, CALLER);
    touch(to, n, true, false, CALLER);
    return memcpy(to, from, n);
}
void *__tsan_memmove(void *to, const void *from, size_t n)
{
    touch(from, n, false, false, CALLER);
    touch(to, n, true, false, CALLER);
    return memmove(to, from, n);
}
void *__tsan_memset(void *to, int byte, size_t n)
{
    touch(to, n, true, false, CALLER);
    return memset(to, byte, n);
}
}
