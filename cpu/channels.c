/* channels.c - channels last: merging pixels for a convolution of stride K, and a factor per
 * channel. */
#include "cpu/cpu_internal.h"

#include <string.h>

/* One merged pixel, from or to the K x K pixels that it consists of. */
ROW_FN void merge_pixel(void *merged, tensor x, int64_t corner, int64_t width, int64_t side,
                        bool back, int type)
{
    int64_t channels = x.dim[3];
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++) {
            void *pixel = element_at(x, corner + i * width + j, 0);
            for (int64_t c = 0; c < channels; c++) {
                int64_t at = (c * side + i) * side + j;
                if (back)
                    store(type, pixel, c, load(type, merged, at));
                else
                    store(type, merged, at, load(type, pixel, c));
            }
        }
}

/* Both directions. */
typedef struct {
    tensor x, merged;
    int64_t side;
    bool back;
} merging;

static void merge_range(const void *context, int64_t first, int64_t end)
{
    const merging *m = context;
    tensor x = m->x;
    int64_t h = m->merged.dim[1], w = m->merged.dim[2];
    for (int64_t p = first; p < end; p++) {
        int64_t b = p / (h * w), y = p / w % h * m->side, k = p % w * m->side;
        int64_t corner = (b * x.dim[1] + y) * x.dim[2] + k;
        FOR_WORKING_TYPE(x.type, merge_pixel(element_at(m->merged, p, 0), x, corner, x.dim[2],
                                             m->side, m->back, TYPE));
    }
}

static void merge_all(device *dev, const merging *m)
{
    pool_for(cpu_threads(dev), tensor_rows(m->merged), rows_at_once(tensor_cols(m->merged)),
             merge_range, m);
}

void cpu_merge(device *dev, int stream, const merge_op *o)
{
    (void)stream;
    merge_all(dev, &(merging){o->x, o->out, o->side, false});
}

void cpu_merge_grad(device *dev, int stream, const merge_grad_op *o)
{
    (void)stream;
    if (o->dx.dim[1] % o->side || o->dx.dim[2] % o->side)
        memset(o->dx.data, 0, tensor_bytes(o->dx));
    merge_all(dev, &(merging){o->dx, o->dout, o->side, true});
}

ROW_FN void scale_channel_row(void *out, const void *x, const void *scale, const void *residual,
                              int64_t n, int type)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        store(type, out, i,
              load(type, scale, i) * load(type, x, i) + (residual ? load(type, residual, i) : 0));
}

static void scale_channels_range(const void *op, int64_t first, int64_t end)
{
    const scale_channels_op *o = op;
    for (int64_t r = first; r < end; r++) {
        const void *residual = present(o->residual) ? element_at(o->residual, r, 0) : NULL;
        FOR_WORKING_TYPE(o->x.type,
                         scale_channel_row(element_at(o->out, r, 0), element_at(o->x, r, 0),
                                           o->scale.data, residual, tensor_cols(o->x), TYPE));
    }
}

CPU_ROWS(scale_channels, x)

enum { COLUMNS = 64 };

/* Columns [c, c + n), rows in order. */
ROW_FN void scale_grad_part(const scale_channels_grad_op *o, int64_t c, int64_t n, int type)
{
    float sum[COLUMNS] = {0};
    for (int64_t r = 0; r < tensor_rows(o->x); r++) {
        const void *x = element_at(o->x, r, c), *d = element_at(o->dout, r, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += load(type, x, i) * load(type, d, i);
    }
    void *to = element_at(o->dscale.t, 0, c);
    for (int64_t i = 0; i < n; i++)
        store(type, to, i, sum[i] + (o->dscale.accumulate ? load(type, to, i) : 0));
}

static void scale_grad_range(const void *op, int64_t first, int64_t end)
{
    const scale_channels_grad_op *o = op;
    for (int64_t s = first; s < end; s++) {
        int64_t c = s * COLUMNS, n = min64(COLUMNS, tensor_cols(o->x) - c);
        FOR_WORKING_TYPE(o->x.type, scale_grad_part(o, c, n, TYPE));
    }
}

void cpu_scale_channels_grad(device *dev, int stream, const scale_channels_grad_op *o)
{
    (void)stream;
    if (!present(o->dscale.t)) return;
    pool_for(cpu_threads(dev), (tensor_cols(o->x) + COLUMNS - 1) / COLUMNS, 1, scale_grad_range, o);
}
