/* pack.h - a matrix into the order of the innermost loop.
 *
 *      panel of W rows of a, or columns of b         to:  k = 0:  W numbers,  k = 1:  W numbers, ...
 *
 * What is missing of the W is 0.
 */
#ifndef REGRAD_CPU_PACK_H
#define REGRAD_CPU_PACK_H

#include "cpu/product.h"

/* Rows [i, i + n) and columns [k, k + depth) of f, n <= TILE_ROWS: to (depth, TILE_ROWS). */
void pack_rows(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to);

/* Columns [i, i + n) and rows [k, k + depth) of f, n <= TILE_COLS: to (depth, TILE_COLS). */
void pack_columns(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to);

#endif
