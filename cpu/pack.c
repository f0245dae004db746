/* pack.c - see pack.h */
#include "cpu/pack.h"

#include <stdbool.h>

enum { PART = 16 }; /* rows at a time */
_Static_assert(PART % K_STEP == 0, "a part is whole steps");

/* Of so many, negative if there are none, those in a vector. */
LANE_FN int64_t there(int64_t n)
{
    return n < 0 ? 0 : n < LANES ? n : LANES;
}

/* Writes `width` lanes; what the other lanes overwrite is written next, except at the end of a
 * strip. */
LANE_FN void put(float *to, lanes v, int64_t width, bool last)
{
    if (width == LANES || !last)
        lanes_store(to, v);
    else
        lanes_store_part(to, v, width);
}

/* n units, of one k, which are `across` the direction of k */
LANE_FN lanes load_across(operand f, int64_t i, int64_t k, int64_t n)
{
#ifdef BY_PAIRS
    const uint16_t *first = (const void *)element(f, i, k);
    return lanes_of_pairs(first, first + f.col, n);
#else
    return load_lanes(f.type, element(f, i, k), n);
#endif
}

/* At most LANES units of each k, which are contiguous; `width` of each are written. */
LANE_FN void copy_strip(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, int64_t width,
                        int64_t step, float *to)
{
    for (int64_t at = 0; at < depth; at++, to += step) {
        put(to, load_across(f, i, k + at, n), width, at + 1 == depth);
    }
}

/* The same if the numbers of each i are contiguous: squares are transposed in registers. */
LANE_FN void turn_strip(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, int64_t width,
                        int64_t step, float *to)
{
    for (int64_t at = 0; at < depth; at += LANES) {
        int64_t deep = depth - at < LANES ? depth - at : LANES;
        lanes v[LANES];
        for (int r = 0; r < LANES; r++)
            v[r] = r < n ? load_lanes(f.type, element(f, i + r, k + at), deep) : lanes_zero();
        lanes_transpose(v);
        for (int64_t d = 0; d < deep; d++)
            put(to + (at + d) * step, v[d], width, at + d + 1 == depth);
    }
}

/* Makes whole squares and widths constants. */
LANE_FN void strip_as(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, int64_t width,
                      int64_t step, float *to, int64_t full)
{
    if (f.row == 1) {
        if (n == full)
            copy_strip(f, i, full, k, depth, width, step, to);
        else
            copy_strip(f, i, n, k, depth, width, step, to);
        return;
    }
    int64_t squares = n == full ? depth / LANES * LANES : 0;
    if (squares) turn_strip(f, i, full, k, squares, width, step, to);
    if (squares < depth)
        turn_strip(f, i, n, k + squares, depth - squares, width, step, to + squares * step);
}

LANE_FN void strip(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, int64_t width,
                   int64_t step, float *to)
{
    int64_t full = width < LANES ? width : LANES;
    if (f.type == F32 && UNIT == 1) {
        f.type = F32;
        strip_as(f, i, n, k, depth, width, step, to, full);
    } else {
        f.type = BF16;
        strip_as(f, i, n, k, depth, width, step, to, full);
    }
}

/* `width` units of each k, a strip of LANES at a time. */
LANE_FN void panel_of(int64_t width, operand f, int64_t i, int64_t n, int64_t k, int64_t depth,
                      float *to)
{
    for (int64_t at = 0; at < width; at += LANES) {
        int64_t wide = width - at < LANES ? width - at : LANES, left = n - at;
        left = left < 0 ? 0 : left > wide ? wide : left;
        strip(f, i + at, left, k, depth, wide, width, to + at);
    }
}

#ifdef BY_AMX

/* LANES rows of as many units, of which n and `depth` are there. */
LANE_FN void square(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    lanes v[LANES];
    bool across = f.row == 1;
    for (int x = 0; x < LANES; x++)
        v[x] = x >= (across ? depth : n) ? lanes_zero()
               : across                  ? load_across(f, i, k + x, n)
                                         : load_lanes(BF16, element(f, i + x, k), depth);
    if (across) lanes_transpose(v);
    for (int x = 0; x < LANES; x++)
        lanes_store(to + x * K_STEP, v[x]);
}

LANE_FN void rows_panel(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    f.type = BF16;
    for (int64_t at = 0; at < depth; at += K_STEP, to += TILE_ROWS * K_STEP)
        for (int64_t r = 0; r < TILE_ROWS; r += LANES)
            for (int64_t d = 0; d < K_STEP; d += LANES) {
                int64_t rows = there(n - r), deep = there(depth - at - d);
                float *part = to + r * K_STEP + d;
                if (rows == LANES && deep == LANES)
                    square(f, i + r, LANES, k + at + d, LANES, part);
                else
                    square(f, i + r, rows, k + at + d, deep, part);
            }
}

#else

LANE_FN void rows_panel(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    panel_of(TILE_ROWS, f, i, n, k, depth, to);
}

#endif

LANE_FN void columns_panel(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    int64_t missing = whole_steps(depth) - depth;
    panel_of(TILE_COLS, f, i, n, k, depth, to);
    memset(to + depth * TILE_COLS, 0, (size_t)(missing * TILE_COLS) * sizeof *to);
}

/* Numbers [i, i + n) of the rows of [k, k + depth), stored by rows. */
static void ask_for(operand f, int64_t i, int64_t n, int64_t k, int64_t depth)
{
    int64_t bytes = n * (f.type == BF16 ? 2 : 4);
    int64_t step = f.col * (f.type == BF16 ? 2 : 4);
    const char *row = element(f, i, k);
    for (int64_t at = 0; at < depth * UNIT; at++, row += step)
        for (int64_t c = 0; c < bytes; c += 64)
            __builtin_prefetch(row + c);
}

/* Panels of `width`, one by one; if a stored row passes through all of them, some rows at a time,
 * so that each cache line is fetched once, and prefetched. */
LANE_FN void panels(void one(operand, int64_t, int64_t, int64_t, int64_t, float *), int64_t width,
                    operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    int64_t part = f.row == 1 ? PART : depth;
    if (f.row == 1) ask_for(f, i, n, k, part < depth ? part : depth);
    for (int64_t at = 0; at < depth; at += part) {
        int64_t rows = depth - at < part ? depth - at : part, left = depth - at - rows;
        if (f.row == 1) ask_for(f, i, n, k + at + rows, left < part ? left : part);
        for (int64_t p = 0; p < n; p += width)
            one(f, i + p, n - p, k + at, rows, to + p * whole_steps(depth) + at * width);
    }
}

void pack_rows(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    panels(rows_panel, TILE_ROWS, f, i, n, k, depth, to);
}

void pack_columns(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    panels(columns_panel, TILE_COLS, (operand){f.data, f.col, f.row, f.type}, i, n, k, depth, to);
}
