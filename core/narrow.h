/* narrow.h - products whose operands are rounded to 8 bits: --products fp8.
 *
 *      x (bf16) --amax--> s = 2^k, the largest with s amax <= the format's largest number
 *         |               |
 *         +---- round(s x) in 8 bits --> product, in float --> times 1/(s_x s_w) --> bias, ...
 *
 * Weights and activations are rounded to E4M3, gradients, which spread wider, to E5M2
 * (Micikevicius et al. 2022, "FP8 Formats for Deep Learning", section 3.1).  Each operand has one
 * scale, made of its own largest magnitude when it is rounded ("current scaling": Transformer
 * Engine's recipe Float8CurrentScaling, scale = largest / amax, here with its option of powers of
 * 2, so that scaling itself rounds nothing).  The other usual way takes the scale from the amax of
 * earlier steps ("delayed scaling").  It saves a read of the operand, but is state: it would be
 * part of every checkpoint, could saturate whenever a gradient grows, and would give a step other
 * bits with each way to cut it into micro-batches.
 *
 * An activation and a gradient take part in two products each, and are rounded once (operation
 * `narrow`): as they lie for one of them, and transposed for the other, in which rows are summed
 * over.
 *
 *      forward    x ----> codes (R,K) ------> out = x w^T
 *                   +---> turned (K,R) --+                  kept in place of x, where nothing
 *                                        |                  else reads that
 *      backward   dout -> turned (N,R) --+--> dw = dout^T x
 *                   +---> codes (R,N) ------> dx = dout w
 *
 * What rounds reads its operand twice, for the amax and then to round; so it does on the way what
 * would be passes of their own: the activation function that makes x, that function's slope in
 * dout, and the bias's gradient, the column sums of dout.
 *
 * Weights are rounded by the product that reads them.
 *
 * An operand with an infinity or a NaN makes all of the product NaN: no scale would be right, and
 * saturation must not hide that a run has failed.
 *
 * Only what is marked `narrow` in a call (core/ops.def) is computed so: the matrices between
 * hidden layers, not the classifier, embeddings or adapters.  A device does it once it has been
 * lent the memory for the rounded operands (op_lend_narrow), which a plan places where --products
 * fp8 is given.  It has room for both operands of a product, since there are calls whose operands
 * are not in codes yet: recomputation, adapters, generating.
 */
#ifndef REGRAD_NARROW_H
#define REGRAD_NARROW_H

#include "base/fp8.h"
#include "core/tensor.h"

/* Does --products ask for them? */
static inline bool products_narrow(const char *products)
{
    return !strcmp(products, "fp8");
}

/* Both sides of the matrix must be multiples of this: cublasLt wants rows of 8-bit matrices to
 * begin on 16 bytes. The third side, the tokens, may have any length. */
enum { NARROW_UNIT = 16, NARROW_HEAD = 8192 };

/* What operation `narrow` has beside the codes. */
enum {
    NARROW_SCALE = 4,    /* floats of a scale: the codes' factor, then padding to 16 bytes */
    NARROW_GROUPS = 512, /* largest magnitudes that are found at a time, in its scratch */
    NARROW_TILE = 64     /* rows whose column sums are taken together */
};

/* The side that is summed over, with the padding of a transposed operand. */
static inline int64_t narrow_side(int64_t rows)
{
    return (rows + NARROW_UNIT - 1) / NARROW_UNIT * NARROW_UNIT;
}

static inline bool narrow_fits(int64_t out, int64_t in)
{
    return out % NARROW_UNIT == 0 && in % NARROW_UNIT == 0;
}

/* Bytes for the operands of a layer's three products, of which two are there at a time, with
 * `size` bytes a number:
 *
 *     | scales: NARROW_HEAD | one operand | the other |
 *
 * of (rows,in), (out,in) and (rows,out); rows are padded where they are summed over. */
static inline size_t narrow_room(int size, int64_t rows, int64_t out, int64_t in)
{
    int64_t r = narrow_side(rows);
    int64_t x = r * in, w = out * in, y = r * out, least = x < w ? (x < y ? x : y) : w < y ? w : y;
    return NARROW_HEAD + (size_t)size * (size_t)(x + w + y - least);
}

/* Tiles of rows, each with column sums of its own. */
static inline int64_t narrow_tiles(int64_t rows)
{
    return (rows + NARROW_TILE - 1) / NARROW_TILE;
}

/* One side of a product in 8 bits, for devices.  In codes, the numbers that are summed over lie
 * side by side; without codes the device rounds. */
typedef struct {
    fp8_format format;
    tensor codes, scale; /* ? */
} narrow_form;

/* k of the scale 2^k for an operand whose largest magnitude has these bits (of a bf16, without
 * sign): finite. */
HOST_DEVICE int narrow_exponent(fp8_format f, uint32_t amax)
{
    int exponent = (int)(amax >> 7) - 127, most = f == E4M3 ? 8 : 15; /* largest = 1.75 * 2^most */
    int k = most - exponent - ((amax & 0x7f) > 0x60);
    return amax < 0x80 ? 126
           : k > 126   ? 126
                       : k; /* 0 and subnormals; those of 2^-126 and less stay small */
}

#endif
