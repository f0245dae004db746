/* channels.c - channels last: pixels side by side for a convolution of stride K, and a factor for each
 * channel. */
#include "cpu/cpu_internal.h"

#include <string.h>

/* One merged pixel, from or to the K x K pixels that it is made of. */
ROW_FN void merge_pixel(void *merged, tensor x, int64_t corner, int64_t width, int64_t side,
                        bool back, int type)
{
    int64_t channels = x.dim[3];
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++) {
            void *pixel = place(x, corner + i * width + j, 0);
            for (int64_t c = 0; c < channels; c++) {
                int64_t at = (c * side + i) * side + j;
                if (back)
                    store(type, pixel, c, load(type, merged, at));
                else
                    store(type, merged, at, load(type, pixel, c));
            }
        }
}

static void merge_all(device *dev, tensor x, tensor merged, int64_t side, bool back)
{
    int64_t h = merged.dim[1], w = merged.dim[2], pixels = merged.dim[0] * h * w;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t p = 0; p < pixels; p++) {
        int64_t b = p / (h * w), y = p / w % h * side, k = p % w * side;
        int64_t corner = (b * x.dim[1] + y) * x.dim[2] + k;
        FOR_WORKING_TYPE(x.type,
                         merge_pixel(place(merged, p, 0), x, corner, x.dim[2], side, back, TYPE));
    }
}

void cpu_merge(device *dev, int stream, const merge_op *o)
{
    (void)stream;
    merge_all(dev, o->x, o->out, o->side, false);
}

void cpu_merge_grad(device *dev, int stream, const merge_grad_op *o)
{
    (void)stream;
    if (o->dx.dim[1] % o->side || o->dx.dim[2] % o->side)
        memset(o->dx.data, 0, tensor_bytes(o->dx));
    merge_all(dev, o->dx, o->dout, o->side, true);
}

ROW_FN void scale_row(void *out, const void *x, const void *scale, const void *residual, int64_t n,
                      int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, out, i,
              load(type, scale, i) * load(type, x, i) + (residual ? load(type, residual, i) : 0));
}

void cpu_scale_channels(device *dev, int stream, const scale_channels_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->x), n = tensor_cols(o->x);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++) {
        const void *residual = present(o->residual) ? place(o->residual, r, 0) : NULL;
        FOR_WORKING_TYPE(o->x.type, scale_row(place(o->out, r, 0), place(o->x, r, 0), o->scale.data,
                                              residual, n, TYPE));
    }
}

enum { COLUMNS = 64 };

/* Columns [c, c + n), rows in order. */
ROW_FN void scale_grad_part(const scale_channels_grad_op *o, int64_t c, int64_t n, int type)
{
    float sum[COLUMNS] = {0};
    for (int64_t r = 0; r < tensor_rows(o->x); r++) {
        const void *x = place(o->x, r, c), *d = place(o->dout, r, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += load(type, x, i) * load(type, d, i);
    }
    void *to = place(o->dscale.t, 0, c);
    for (int64_t i = 0; i < n; i++)
        store(type, to, i, sum[i] + (o->dscale.accumulate ? load(type, to, i) : 0));
}

void cpu_scale_channels_grad(device *dev, int stream, const scale_channels_grad_op *o)
{
    (void)stream;
    int64_t n = tensor_cols(o->x), strips = (n + COLUMNS - 1) / COLUMNS;
    if (!present(o->dscale.t)) return;
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t s = 0; s < strips; s++) {
        int64_t c = s * COLUMNS;
        FOR_WORKING_TYPE(o->x.type, scale_grad_part(o, c, min64(COLUMNS, n - c), TYPE));
    }
}
