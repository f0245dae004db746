/* resize.c - see resize.h */
#include "data/images/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BITS = 22 };

/* The weights of `count` outputs from `first` on, `most` for each. */
typedef struct {
    int64_t count, most;
    int64_t *from, *n; /* (count) */
    int32_t *weight;   /* (count, most) */
} plan;

static void plan_free(plan *p)
{
    free(p->from);
    free(p->n);
    free(p->weight);
}

static error *plan_make(plan *p, resample_kernel kernel, int64_t length, int64_t rows,
                        int64_t first, int64_t count)
{
    double *w = NULL;
    *p = (plan){.count = count, .most = (int64_t)resample_most(kernel, length, rows)};
    error *e = alloc_array(&w, (size_t)p->most, sizeof *w);
    if (!e) e = alloc_array(&p->from, (size_t)count, sizeof *p->from);
    if (!e) e = alloc_array(&p->n, (size_t)count, sizeof *p->n);
    if (!e) e = alloc_array(&p->weight, (size_t)count, (size_t)p->most * sizeof *p->weight);
    for (int64_t i = 0; i < count && !e; i++) {
        p->n[i] = resample_weights(kernel, length, rows, first + i, &p->from[i], w);
        for (int64_t k = 0; k < p->n[i]; k++)
            p->weight[i * p->most + k] = (int32_t)(w[k] * (1 << BITS) + (w[k] < 0 ? -0.5 : 0.5));
    }
    free(w);
    if (e) plan_free(p);
    return e;
}

static inline uint8_t byte_of(int32_t sum)
{
    int32_t x = sum >> BITS;
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

static inline void row_across(const plan *p, const uint8_t *in, uint8_t *out, const int channels)
{
    for (int64_t i = 0; i < p->count; i++) {
        const int32_t *w = p->weight + i * p->most;
        const uint8_t *x = in + p->from[i] * channels;
        int32_t sum[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int64_t k = 0; k < p->n[i]; k++)
            for (int c = 0; c < channels; c++)
                sum[c] += w[k] * x[k * channels + c];
        for (int c = 0; c < channels; c++)
            *out++ = byte_of(sum[c]);
    }
}

/* in: rows of n bytes. */
static void row_down(const int32_t *w, int64_t rows, const uint8_t *in, int64_t stride, int64_t n,
                     int32_t *sum, uint8_t *out)
{
    for (int64_t j = 0; j < n; j++)
        sum[j] = 1 << (BITS - 1);
    for (int64_t k = 0; k < rows; k++)
        for (int64_t j = 0; j < n; j++)
            sum[j] += w[k] * in[k * stride + j];
    for (int64_t j = 0; j < n; j++)
        out[j] = byte_of(sum[j]);
}

/* Resamples rows of `from` horizontally, as far as the window needs them; copies them if the width
 * stays. */
static error *across(view from, const window *w, resample_kernel kernel, uint8_t *out)
{
    plan p;
    if (w->columns == from.width) {
        for (int64_t i = 0; i < from.height; i++)
            memcpy(out + i * w->width * from.channels,
                   from.pixels + i * from.stride + w->left * from.channels,
                   (size_t)(w->width * from.channels));
        return NULL;
    }
    TRY(plan_make(&p, kernel, from.width, w->columns, w->left, w->width));
    for (int64_t i = 0; i < from.height; i++) {
        const uint8_t *in = from.pixels + i * from.stride;
        if (from.channels == 3)
            row_across(&p, in, out + i * w->width * 3, 3);
        else
            row_across(&p, in, out + i * w->width, 1);
    }
    plan_free(&p);
    return NULL;
}

static error *both(view from, const window *w, resample_kernel kernel, uint8_t *out)
{
    plan p;
    int32_t *sum = NULL;
    uint8_t *rows = NULL;
    int64_t n = w->width * from.channels;
    TRY(plan_make(&p, kernel, from.height, w->rows, w->top, w->height));
    int64_t first = p.from[0], end = p.from[p.count - 1] + p.n[p.count - 1];
    error *e = alloc_array(&sum, (size_t)n, sizeof *sum);
    if (!e) e = alloc_array(&rows, (size_t)(end - first), (size_t)n);
    if (!e) e = across(view_part(from, first, 0, end - first, from.width), w, kernel, rows);
    for (int64_t i = 0; i < p.count && !e; i++)
        row_down(p.weight + i * p.most, p.n[i], rows + (p.from[i] - first) * n, n, n, sum,
                 out + i * n);
    free(rows);
    free(sum);
    plan_free(&p);
    return e;
}

view view_part(view v, int64_t top, int64_t left, int64_t height, int64_t width)
{
    v.pixels += top * v.stride + left * v.channels;
    v.height = height;
    v.width = width;
    return v;
}

error *picture_resize(view from, const window *w, resample_kernel kernel, uint8_t *out)
{
    if (w->rows != from.height) return both(from, w, kernel, out);
    return across(view_part(from, w->top, 0, w->height, from.width), w, kernel, out);
}

window window_covering(int64_t h, int64_t w, int64_t height, int64_t width, double part)
{
    int64_t rows = (int64_t)floor((double)height / part),
            columns = (int64_t)floor((double)width / part);
    if (rows * w >= columns * h)
        columns = (int64_t)((double)(rows * w) / (double)h);
    else
        rows = (int64_t)((double)(columns * h) / (double)w);
    /* halves go to the even number, as Python rounds */
    return (window){.rows = rows,
                    .columns = columns,
                    .top = lrint((double)(rows - height) / 2),
                    .left = lrint((double)(columns - width) / 2),
                    .height = height,
                    .width = width};
}
