/* pack.c - see pack.h */
#include "cpu/pack.h"

#include "cpu/lanes.h"

LANE_FN const char *element(operand f, int64_t i, int64_t k)
{
    return (const char *)f.data + (i * f.row + k * f.col) * (f.type == BF16 ? 2 : 4);
}

/* n numbers, the other lanes 0 */
LANE_FN lanes load_lanes(dtype type, const char *from, int64_t n)
{
    if (type == F32)
        return n == LANES ? lanes_load((const float *)(const void *)from)
                          : lanes_load_part((const float *)(const void *)from, n);
    if (n == LANES) return lanes_of_bf16((const uint16_t *)(const void *)from);
    uint16_t part[LANES] = {0};
    memcpy(part, from, (size_t)n * sizeof *part);
    return lanes_of_bf16(part);
}

/* At most LANES numbers of each k, which lie side by side; `width` of each are written. */
LANE_FN void copy_strip(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, int64_t width,
                        int64_t step, float *to)
{
    for (int64_t at = 0; at < depth; at++, to += step) {
        lanes v = load_lanes(f.type, element(f, i, k + at), n);
        if (width == LANES)
            lanes_store(to, v);
        else
            lanes_store_part(to, v, width);
    }
}

/* The same where the numbers of each i lie side by side: squares are turned in registers. */
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
            if (width == LANES)
                lanes_store(to + (at + d) * step, v[d]);
            else
                lanes_store_part(to + (at + d) * step, v[d], width);
    }
}

/* Whole squares and whole widths as constants. */
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
    if (f.type == F32) {
        f.type = F32;
        strip_as(f, i, n, k, depth, width, step, to, full);
    } else {
        f.type = BF16;
        strip_as(f, i, n, k, depth, width, step, to, full);
    }
}

void pack_rows(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    strip(f, i, n, k, depth, TILE_ROWS, TILE_ROWS, to);
}

void pack_columns(operand f, int64_t i, int64_t n, int64_t k, int64_t depth, float *to)
{
    operand t = {f.data, f.col, f.row, f.type};
    for (int v = 0; v < TILE_VECTORS; v++) {
        int64_t left = n - v * LANES;
        left = left < 0 ? 0 : left > LANES ? LANES : left;
        strip(t, i + v * LANES, left, k, depth, LANES, TILE_COLS, to + v * LANES);
    }
}
