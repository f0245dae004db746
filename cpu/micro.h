/* micro.h - the innermost loop of all products: an output tile in registers.
 *
 *                     b (k, TILE_COLS)
 *                   +-----------------+        tile (rows, TILE_COLS) = a b,
 *      a (rows,k)   |                 |        each element one chain of fused multiply-adds from 0,
 *      +--------+   +-----------------+        in order of k
 *      |        |   |  rows x 2       |
 *      +--------+   |  vectors        |        rows <= TILE_ROWS; a tile with fewer rows does
 *                   +-----------------+        proportionally less work
 *
 * a is packed (columns of TILE_ROWS numbers), or in place: by rows or by columns.  b's rows are
 * `ldb` apart.  With AMX both are packed, for it, and the chains are the instruction's
 * (micro_amx.c).
 */
#ifndef REGRAD_CPU_MICRO_H
#define REGRAD_CPU_MICRO_H

#include "cpu/lanes.h"

#include <stdbool.h>

typedef enum { A_PACKED, A_ROWS, A_COLUMNS } a_layout;

/* What to prefetch into the L2 cache meanwhile, and what remains of it: rows of cache lines. */
typedef struct {
    const char *at;            /* a row */
    int64_t rows, lines, step; /* that remain; in a row; from row to row in bytes */
    int64_t line;              /* the next of this row */
    int64_t tile, now;         /* lines per tile; of this one, that remain */
} ahead;

typedef struct {
    const float *a;
    int64_t lda; /* A_ROWS: from row to row; A_COLUMNS: from k to k */
    const float *b;
    int64_t ldb, k;
    float *out; /* (rows, TILE_COLS) */
    int64_t ld;
    bool add;    /* adds to out, the sum being the second term */
    ahead *next; /* ? */
} micro_product;

void micro_tile(a_layout layout, int rows, const micro_product *p);

/* A thread calls micro_tile between these; it does not wait in between. */
#ifdef BY_AMX
void micro_begin(void);
void micro_end(void);
#else
LANE_FN void micro_begin(void) {}
LANE_FN void micro_end(void) {}
#endif

/* ---- for micro_tile ---- */

enum { PREFETCH_EVERY = 4 }; /* rows of b per prefetch */

LANE_FN void prefetch_next(ahead *n)
{
    if (n->now-- <= 0) return;
    __builtin_prefetch(n->at + n->line * 64, 0, 2);
    if (++n->line < n->lines) return;
    n->line = 0;
    n->at += n->step;
    if (!--n->rows) n->tile = n->now = 0;
}

#endif
