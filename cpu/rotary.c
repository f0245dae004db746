/* rotary.c - RoPE: rotates pairs of numbers by angles that grow with the position, in place.
 *
 * Angles depend only on position and pair: a thread computes the sines and cosines of some pairs of
 * a position once, in double, and rotates these pairs in all heads of all sequences.
 */
#include "cpu/cpu_internal.h"

#include <math.h>

enum { PAIRS = 64 };

/* n pairs: numbers x + i * stride and y + i * stride of a head */
ROW_FN void turn(void *head, int64_t x, int64_t y, int64_t stride, int64_t n, const float *c,
                 const float *s, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float a = load(type, head, x + i * stride), b = load(type, head, y + i * stride);
        store(type, head, x + i * stride, a * c[i] - b * s[i]);
        store(type, head, y + i * stride, a * s[i] + b * c[i]);
    }
}

/* Pairs [pair, pair + n) of the tokens at position t of all sequences. */
static void turn_all(const rotary_op *o, int64_t t, int64_t pair, int64_t n)
{
    float c[PAIRS], s[PAIRS];
    double position = (double)(o->first_position + t);
    for (int64_t i = 0; i < n; i++) {
        double f = pow(o->base, -2.0 * (double)(pair + i) / (double)o->size);
        double a = position * rope_scaled(f, o->scaling);
        c[i] = (float)cos(a);
        s[i] = (float)(o->inverse ? -sin(a) : sin(a));
    }
    for (int64_t b = 0; b < o->x.dim[0]; b++) {
        int64_t r = b * o->x.dim[1] + t;
        for (int64_t h = 0; h < o->heads; h++) {
            void *head = element_at(o->x, r, h * o->head);
            if (o->interleaved)
                FOR_WORKING_TYPE(o->x.type, turn(head, 2 * pair, 2 * pair + 1, 2, n, c, s, TYPE));
            else
                FOR_WORKING_TYPE(o->x.type, turn(head, pair, pair + o->size / 2, 1, n, c, s, TYPE));
        }
    }
}

static void rotary_range(const void *op, int64_t first, int64_t end)
{
    const rotary_op *o = op;
    int64_t pairs = o->size / 2, parts = (pairs + PAIRS - 1) / PAIRS;
    for (int64_t i = first; i < end; i++) {
        int64_t pair = i % parts * PAIRS;
        turn_all(o, i / parts, pair, min64(PAIRS, pairs - pair));
    }
}

CPU_ENTRY(rotary, o->x.dim[1] * ((o->size / 2 + PAIRS - 1) / PAIRS),
          rows_at_once(o->x.dim[0] * o->heads * o->size))
