/* recompute.h - activation checkpointing: which activations backward recomputes.
 *
 *   level       not kept of a block                        recomputed by
 *   none        nothing
 *   norms       outputs of the norms                       the norms
 *   gelu        ... and of the activation                  + the activation
 *   attention   ... and qkv and the attention              + one product, attention
 *   block       everything but the block's input           + three products: all but the last one
 *   sqrt        ... and all inputs in a range of n blocks  + a second forward of the block, from
 *               but every ceil(sqrt(n))-th                   the nearest input that was kept
 *
 * A level is given for all layers or for ranges of them.  Recomputing runs the same operations on
 * the same values, so all levels give the same bits.
 */
#ifndef REGRAD_MODEL_RECOMPUTE_H
#define REGRAD_MODEL_RECOMPUTE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    RECOMPUTE_NONE,
    RECOMPUTE_NORMS,
    RECOMPUTE_GELU,
    RECOMPUTE_ATTENTION,
    RECOMPUTE_BLOCK,
    RECOMPUTE_SQRT,
    RECOMPUTE_LEVELS
} recompute_level;

enum { RECOMPUTE_RANGES = 8 };

typedef struct {
    recompute_level level;
    int64_t first, last; /* layers */
} recompute_range;

/* Layers outside of all ranges: none. */
typedef struct {
    recompute_range range[RECOMPUTE_RANGES];
    int n;
} recompute_plan;

const char *recompute_name(recompute_level level);

/* "block", or "block:0-5,norms:6-11"; a single layer is "block:3".  User error: an unknown level, a
 * layer that the model does not have, or one given twice. */
error *recompute_parse(const char *text, int64_t layers, recompute_plan *out) NODISCARD;

/* The same level for all layers. */
recompute_plan recompute_all(recompute_level level, int64_t layers);

recompute_level recompute_of(const recompute_plan *p, int64_t layer);
/* Whether a layer's input is recomputed from that of an earlier layer. */
bool recompute_input(const recompute_plan *p, int64_t layer);

#endif
