/* newton_schulz.c - see newton_schulz.h */
#include "optim/newton_schulz.h"

#include <math.h>

enum { LEAST_PANEL = 64, PANELS = 4, ROUND = 16 };

static const double A = 3.4445, B = -4.7750, C = 2.0315;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How many of x's columns (or rows, if there are more of these) are replaced at a time. */
static int64_t panel_width(int64_t small, int64_t large)
{
    int64_t quarter = (small / PANELS + ROUND - 1) / ROUND * ROUND;
    return least(large, quarter > LEAST_PANEL ? quarter : LEAST_PANEL);
}

/* Columns (or rows) [first, first + n) of x. */
static tensor strip_of(tensor x, bool tall, int64_t first, int64_t n)
{
    if (tall) return tensor_slice(x, first, n);
    x.data = (char *)x.data + (size_t)first * dtype_size(x.type);
    x.dim[1] = n;
    return x;
}

/* x <- scale (a x + f x), f (k,k) on the side where it fits */
static void replace(runtime *r, tensor x, bool tall, tensor f, tensor room, int64_t width,
                    double scale)
{
    int64_t large = x.dim[!tall];
    for (int64_t first = 0, times; first < large && !r->dev->failure; first += times * width) {
        int64_t n = least(width, large - first), small = x.dim[tall];
        times = op_alike(r->dev, n == width ? (large - first) / width : 1);
        tensor now = strip_of(x, tall, first, n);
        tensor old = tensor_of(room.data, x.type, tall ? SHAPE(n, small) : SHAPE(small, n));
        OP(copy, r->dev, r->stream, .dst = old, .src = now);
        OP(matmul, r->dev, r->stream, .out = now, .x = tall ? old : f, .y = tall ? f : old,
           .alpha = scale, .beta = scale * A);
    }
    op_alike(r->dev, 1);
}

void newton_schulz(runtime *r, tensor x, tensor squares, double eps, int64_t steps, block_name name)
{
    bool tall = x.dim[0] > x.dim[1];
    int64_t small = x.dim[tall], width = panel_width(small, x.dim[!tall]);
    double last = sqrt(fmax(1, (double)x.dim[0] / (double)x.dim[1]));
    arena *a = r->arena;
    if (!steps) return;
    tensor gram = arena_take(a, KIND_INTERMEDIATE, x.type, SHAPE(small, small), name),
           f = arena_take(a, KIND_INTERMEDIATE, x.type, SHAPE(small, small), name),
           panel = arena_take(a, KIND_INTERMEDIATE, x.type, SHAPE(small, width), name);
    OP(sumsq, r->dev, r->stream, .items = &(sumsq_item){squares, x}, .n = 1);
    OP(normalize, r->dev, r->stream, .x = x, .squares = squares, .eps = eps);
    for (int64_t i = 0; i < steps && !r->dev->failure; i++) {
        OP(matmul, r->dev, r->stream, .out = gram, .x = x, .y = x, .x_transposed = tall,
           .y_transposed = !tall, .alpha = 1);
        OP(copy, r->dev, r->stream, .dst = f, .src = gram);
        OP(matmul, r->dev, r->stream, .out = f, .x = gram, .y = gram, .alpha = C, .beta = B);
        replace(r, x, tall, f, panel, width, i == steps - 1 ? last : 1);
    }
    arena_drop(a, &panel);
    arena_drop(a, &f);
    arena_drop(a, &gram);
}
