/* arena.h - one block of memory whose size is known to the byte before the first step.
 *
 * The code that trains is the code that plans.  It runs twice: first over the null device, which
 * computes nothing, while the arena records what is taken and dropped; then for real, once every
 * block has its place:
 *
 *   record   take "h0.qkv" 2.3 MB ... drop "h0.qkv" ...      a list of events per program
 *   plan     blocks whose lifetimes overlap get disjoint places; others may share one
 *   commit   one allocation from the device
 *   replay   the n-th take returns the n-th planned address, after checking that the
 *            block has the recorded name and size
 *
 *   address
 *     ^  [canary]
 *     |  [ program region: the largest of train / eval / sample ]
 *     |  |   qkv   |  fch      |      | dfch  |                      offset over time:
 *     |  | att |  ln2 |   ...  wte.grad ............|                dead blocks make room
 *     |  [ persistent: parameters, states, batch, hyper, own gradients ]
 *     +------------------------------------------------> time
 *
 * Persistent blocks (arena_keep) are taken outside of programs, in the same order in both runs. A
 * program is what happens between arena_begin and arena_end: a training step, an evaluation,
 * sampling.  Programs share one region.  Of a loop over micro-batches the first and the second
 * iteration are recorded; later ones replay the second (arena_iteration).
 *
 * Blocks are aligned to 256 bytes.  Under AddressSanitizer each block is followed by a red zone and
 * is poisoned while it is not alive.  With fill_fresh (debug) a fresh block is filled with 0xFF
 * bytes, which are NaNs.  The first failure is kept in the device, like those of operations.
 */
#ifndef REGRAD_ARENA_H
#define REGRAD_ARENA_H

#include "core/ops.h"
#include <stdio.h>

typedef struct arena arena;

/* What blocks are for.  The arena counts bytes by kind and knows kinds only by number; their names
 * come from the caller, for reports.  Blocks of several kinds may share a name: `prefix`
 * distinguishes them in messages ("gradient of wte.weight"). */
enum { ARENA_KINDS = 16 };
typedef struct {
    int n; /* <= ARENA_KINDS */
    struct {
        const char *name, *prefix;
    } kind[ARENA_KINDS];
} arena_kinds;

/* A block's name: a format with at most one %d, and its number.  Replay compares both. */
typedef struct {
    const char *format;
    int number;
} block_name;

#define NAME(format_, number_) ((block_name){format_, number_})

/* The kinds must outlive the arena. */
error *arena_create(const arena_kinds *kinds, arena **out) NODISCARD;
void arena_destroy(arena *a); /* returns the memory to the device */

/* The device that keeps failures and, after commit, owns the memory. */
void arena_attach(arena *a, device *dev);

/* A block that lives for the whole run; contents undefined at first. */
tensor arena_keep(arena *a, int kind, dtype type, shape s, block_name name);

/* Programs are distinguished by name (a string constant). */
void arena_begin(arena *a, const char *program);
void arena_end(arena *a); /* every block of the program must have been dropped */

tensor arena_take(arena *a, int kind, dtype type, shape s, block_name name);
void arena_drop(arena *a, tensor *t); /* t becomes absent; an absent t is ignored */

/* At the head of iteration k = 0, 1, ... of the micro-batch loop. */
void arena_iteration(arena *a, int k);

/* Ends recording: finds places.  Errors: internal ones of the recording. */
error *arena_plan(arena *a) NODISCARD;
/* One allocation on dev; from here on the arena replays.  User error if there is not enough memory,
 * with the size. */
error *arena_commit(arena *a, device *dev, bool fill_fresh) NODISCARD;

/* Marks the beginning of a phase ("forward" ...), for pictures.  Only the first mark of each name
 * counts, and only while recording. */
enum { ARENA_MARKS = 6 };
void arena_mark(arena *a, const char *what);

bool arena_recording(const arena *a);
size_t arena_peak(const arena *a);       /* bytes of the plan: persistent + largest program */
size_t arena_load(const arena *a);       /* lower bound for any placement of the same blocks */
size_t arena_high_water(const arena *a); /* highest byte in use so far */
bool arena_canary_intact(arena *a);

/* The name of the block that contains this address, into buffer; false if there is none. */
bool arena_find(const arena *a, const void *address, char *buffer, size_t size);

/* ---- the plan, for reports ---- */

typedef struct {
    char name[64];
    int kind;
    bool persistent;
    size_t bytes, offset; /* from the beginning of the arena */
    int64_t start, end;   /* times of take and drop; the whole program for persistent blocks */
} block_info;

typedef struct {
    const char *program;         /* the program with the peak */
    size_t peak, load;           /* bytes, persistent included */
    size_t persistent;           /* bytes */
    size_t by_kind[ARENA_KINDS]; /* live bytes at the peak */
    size_t most[ARENA_KINDS];    /* largest number of live bytes of a kind at any time */
    size_t gaps;                 /* peak - sum of by_kind: lost to fragmentation */
    int64_t peak_clock, clocks;  /* event of the peak, number of events */
    char peak_name[64];          /* the block whose allocation makes the peak */
} arena_summary;

arena_summary arena_summarize(const arena *a);

typedef struct {
    const char *what;
    int64_t clock;
} arena_mark_info;

/* The marks of the program with the peak, in order; how many there are. */
int arena_marks(const arena *a, arena_mark_info out[ARENA_MARKS]);

/* Calls visit for every block of the program with the peak and every persistent one. */
void arena_visit(const arena *a, void (*visit)(void *context, const block_info *), void *context);

#endif
