/* arena.h - one block of memory, known to the byte before the first step.
 *
 * The code that trains is the code that plans.  It runs twice: once over the null device, which
 * computes nothing, while the arena only writes down what is taken and dropped; then, with places
 * found for all of it, for real:
 *
 *   record   take "h0.qkv" 2.3 MB ... drop "h0.qkv" ...      a list of events per program
 *   plan     two blocks alive at the same time may not overlap; blocks that never meet may
 *   commit   one allocation from the device
 *   replay   the n-th take returns the n-th planned address, after checking that it is
 *            the same block (name, size) as recorded
 *
 *   address
 *     ^  [canary]
 *     |  [ program region: the largest of train / eval / sample ]
 *     |  |   qkv   |  fch      |      | dfch  |                      offset over time:
 *     |  | att |  ln2 |   ...  wte.grad ............|                what is dead makes room
 *     |  [ persistent: parameters, states, batch, hyper, own gradients ]
 *     +------------------------------------------------> time
 *
 * Persistent blocks (arena_keep) are asked for outside of programs, in the same order in both runs.
 * A program is what happens between arena_begin and arena_end: the training step, evaluation,
 * sampling.  Programs share one region.  Within a program, a loop over micro-batches is recorded as
 * its first and its second iteration; later ones replay the second (arena_iteration).
 *
 * Blocks are 256-byte aligned.  Under AddressSanitizer each block is followed by a red zone and is
 * poisoned while it is not alive.  With fill_fresh (debug) a taken block is filled with 0xFF bytes,
 * which are NaNs.  Failures are kept in the device, like those of operations.
 */
#ifndef REGRAD_ARENA_H
#define REGRAD_ARENA_H

#include "core/ops.h"
#include <stdio.h>

typedef struct arena arena;

/* What blocks are for.  The arena counts the bytes of each kind and knows them by number alone;
 * names are its user's, for reports.  Blocks of several kinds may share a name: `prefix` tells them
 * apart where a block is named in a message ("gradient of wte.weight"). */
enum { ARENA_KINDS = 16 };
typedef struct {
    int n; /* <= ARENA_KINDS */
    struct {
        const char *name, *prefix;
    } kind[ARENA_KINDS];
} arena_kinds;

/* A block's name: a format with at most one %d, and its number.  Compared by both in replay. */
typedef struct {
    const char *format;
    int number;
} block_name;

#define NAME(format_, number_) ((block_name){format_, number_})

/* The kinds must outlive it. */
error *arena_create(const arena_kinds *kinds, arena **out) NODISCARD;
void arena_destroy(arena *a); /* gives the memory back to the device it came from */

/* The device whose failure slot is used and, after commit, that owns the memory. */
void arena_attach(arena *a, device *dev);

/* A block for the whole run.  dtype and shape as given; contents undefined at first. */
tensor arena_keep(arena *a, int kind, dtype type, shape s, block_name name);

/* Programs are distinguished by name (a string constant). */
void arena_begin(arena *a, const char *program);
void arena_end(arena *a); /* every block of the program must have been dropped */

tensor arena_take(arena *a, int kind, dtype type, shape s, block_name name);
void arena_drop(arena *a, tensor *t); /* t becomes absent; an absent t is ignored */

/* At the head of iteration k = 0, 1, ... of the micro-batch loop. */
void arena_iteration(arena *a, int k);

/* Record is over: find places.  Errors: internal ones of the recording. */
error *arena_plan(arena *a) NODISCARD;
/* One allocation on dev; from here on the arena replays.  Error: not enough
 * memory, with the size. */
error *arena_commit(arena *a, device *dev, bool fill_fresh) NODISCARD;

/* The part of a program that begins here: "forward" ...; of each word the first place counts, and
 * only while recording.  For pictures. */
enum { ARENA_MARKS = 6 };
void arena_mark(arena *a, const char *what);

bool arena_recording(const arena *a);
size_t arena_peak(const arena *a);       /* bytes of the plan: persistent + largest program */
size_t arena_load(const arena *a);       /* lower bound for any placement of the same blocks */
size_t arena_high_water(const arena *a); /* one past the highest byte allocated so far */
bool arena_canary_intact(arena *a);

/* The name of the block that holds this address, into buffer; false if none does. */
bool arena_find(const arena *a, const void *address, char *buffer, size_t size);

/* ---- the plan, for reports ---- */

typedef struct {
    char name[64];
    int kind;
    bool persistent;
    size_t bytes, offset; /* offset from the beginning of the arena */
    int64_t start, end;   /* clock of take and drop; whole program for persistent ones */
} block_info;

typedef struct {
    const char *program;         /* the one with the peak */
    size_t peak, load;           /* bytes, persistent included */
    size_t persistent;           /* bytes */
    size_t by_kind[ARENA_KINDS]; /* bytes alive at the peak moment */
    size_t most[ARENA_KINDS];    /* most bytes of a kind alive at any one time */
    size_t gaps;                 /* peak - sum of by_kind: what placement loses */
    int64_t peak_clock, clocks;  /* when, of how many events */
    char peak_name[64];          /* the block whose taking makes the peak */
} arena_summary;

arena_summary arena_summarize(const arena *a);

typedef struct {
    const char *what;
    int64_t clock;
} arena_mark_info;

/* The marks of the program with the peak, in order; how many there are. */
int arena_marks(const arena *a, arena_mark_info out[ARENA_MARKS]);

/* Calls visit for every block: those of the program of the peak, and the persistent ones. */
void arena_visit(const arena *a, void (*visit)(void *context, const block_info *), void *context);

#endif
