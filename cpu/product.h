/* product.h - matrix products, fused with everything that a layer does to the result.
 *
 *                     b (k,n)
 *                   +--------+--------+      Each element of the output is computed in one way, whatever
 *                   | DEPTH  |        |      the processor, the number of threads and the tiles:
 *      a (m,k)      +--------+--------+
 *      +-----+-----+ +-------+               (0 + a0 b0 + a1 b1 ...)  DEPTH fused multiply-adds in
 *      |DEPTH|     | | out   |                                        order of k, rounded once each
 *      +-----+-----+ +-------+               + (the next DEPTH of them from 0)
 *                                            + ...
 *
 * so that a run has the same bits on every processor.  And a row of the output does not depend on
 * the number of rows: a token alone gets the same result as in a batch.
 *
 * The exception: where the processor has instructions for it, a product of two bf16 matrices with
 * an even depth is computed in pairs (unit.h), unless `--products f32` is given: a0 b0 + a1 b1 at a
 * time, or with AMX, 16 such pairs (micro_amx.c).
 *
 * Operands are copied ("packed") first, into the order of the innermost loop (micro.h).  The
 * smaller matrix is packed once, shared by all threads; the larger one is streamed in panels, each
 * packed by the thread that needs it, in its own cache:
 *
 *      shared  a a a a      thread 0: pack a panel of b, times all of a; the next free panel; ...
 *                           thread 1: the same
 *
 * What follows the sum (bias, activation, residual, the activation's gradient, rounding to bf16) is
 * applied to each tile while it is in the L1 cache.
 */
#ifndef REGRAD_CPU_PRODUCT_H
#define REGRAD_CPU_PRODUCT_H

#include "core/ops.h"

enum { PRODUCT_DEPTH = 256 };
/* Minimum depth of the parts in which the shared operand is packed, if it is divided. */
enum { PRODUCT_CHUNK = 4 * PRODUCT_DEPTH };

/* A stored matrix: the distance from row to row, and from column to column, in elements; one of
 * them is 1. */
typedef struct {
    const void *data;
    int64_t row, col;
    dtype type; /* F32 or BF16 */
} operand;

static inline operand operand_of(tensor t)
{
    return (operand){t.data, t.ld, 1, t.type};
}

static inline operand transposed(tensor t)
{
    return (operand){t.data, 1, t.ld, t.type};
}

/* out = act(alpha a b + beta out + bias) + residual, or (alpha a b + beta out) act'(slope_at).  All
 * of one type, computed in f32; in bf16 the argument of act is rounded. */
typedef struct {
    int64_t m, n, k;
    operand a, b;
    tensor out; /* (m,n) */
    float alpha, beta;
    tensor bias, residual, pre; /* ? (n), (m,n), (m,n): pre gets the argument of act */
    tensor slope_at;            /* ? (m,n) */
    activation act;
} product;

/* By whatever the device uses: the code of product.c, or OpenBLAS. */
void product_run(device *dev, const product *p);

/* By the code of product.c; in pairs, by lanes or by AMX: a and b are bf16, with an even k. */
void product_own(device *dev, const product *p);
void product_own_pairs(device *dev, const product *p);
void product_own_amx(device *dev, const product *p);

/* Computes it, without packing b, if a has few rows, b is stored transposed and out is overwritten:
 * generating tokens (product_few.c). */
bool product_few(device *dev, const product *p);

/* ---- products of operands that are in a cache, on the calling thread only ---- */

/* A row-major matrix of f32 inside a larger one. */
typedef struct {
    const float *data;
    int64_t ld;
} panel;

/* c (m,n) = x y + beta c with x (m,k), y (k,n); a t after a letter: that operand is stored
 * transposed. beta is 0 or 1. */
void small_xy(int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c, int64_t ldc);
void small_xyt(int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c,
               int64_t ldc);
void small_xty(int64_t m, int64_t n, int64_t k, panel x, panel y, float beta, float *c,
               int64_t ldc);

/* The smallest useful workspace in bytes; without one, products work on the stack, in smaller
 * pieces. */
enum { PRODUCT_ROOM_LEAST = 1 << 20 };

/* In that case, floats packed at a time on the stack. */
enum { PRODUCT_STACK = 1 << 16 };

#endif
