/* tile.h - the end of a product's tile: what a layer applies to a sum before it is stored.
 *
 *      tile:  alpha a b  -->  + beta out, or + the sums so far  -->  + bias  -->  act, or times its
 *             slope  -->  + residual  -->  stored, rounded once where it is bf16
 */
#ifndef REGRAD_CPU_TILE_H
#define REGRAD_CPU_TILE_H

#include "cpu/lanes.h"
#include "cpu/product.h"

enum { TILE = TILE_ROWS * TILE_COLS };

/* A tile in the output, and whether this is the first and the last part of the depth. */
typedef struct {
    int64_t i, j, rows, cols;
    bool first, last;
    float *sums; /* where its f32 sums are, between the parts */
    int64_t ld;
} spot;

static inline bool ends_with_sum(const product *p)
{
    return p->act == ACT_NONE && !present(p->bias) && !present(p->residual) &&
           !present(p->slope_at);
}

/* Whether the sum is all that has to be stored or accumulated. */
bool tile_is_plain(const product *p, const spot *s);

/* tile (rows, TILE_COLS): the sum of this part of the depth; it is overwritten. */
void tile_finish(const product *p, const spot *s, float *tile);

#endif
