/* pack.h - copies a matrix into the order of the innermost loop.
 *
 *      panel of W rows of a, or columns of b         to:  k = 0:  W numbers,  k = 1:  W numbers, ...
 *
 * Missing rows or columns are 0, and so is what the depth lacks of whole steps.  k counts units
 * (unit.h).  For AMX rows of a are packed by rows, 16 units at a time:
 *
 *                                                   to:  units 0 to 15 of row 0, of row 1, ...
 *                                                        units 16 to 31 of row 0, ...
 */
#ifndef REGRAD_CPU_PACK_H
#define REGRAD_CPU_PACK_H

#include "cpu/unit.h"

/* Rows [i, i + n) and columns [k, k + depth) of f: to panels (depth, TILE_ROWS), one by one. */
void pack_rows(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to);

/* Columns [i, i + n) and rows [k, k + depth) of f: to panels (depth, TILE_COLS), one by one. */
void pack_columns(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to);

/* ---- for other code that reads operands by lanes ---- */

LANE_FN const char *element(operand f, int64_t i, int64_t k)
{
    return (const char *)f.data + (i * f.row + k * UNIT * f.col) * (f.type == BF16 ? 2 : 4);
}

/* n units that are contiguous, the other lanes 0 */
LANE_FN lanes load_lanes(dtype type, const char *from, int64_t n)
{
    if (type == F32 || UNIT == 2)
        return n == LANES ? lanes_load((const float *)(const void *)from)
                          : lanes_load_part((const float *)(const void *)from, n);
    if (n == LANES) return lanes_of_bf16((const uint16_t *)(const void *)from);
    uint16_t part[LANES] = {0};
    memcpy(part, from, (size_t)n * sizeof *part);
    return lanes_of_bf16(part);
}

#endif
