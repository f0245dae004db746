/* channel_norm.c - BatchNorm and GroupNorm, channels last, and their gradients.
 *
 * Work is cut into images and COLUMNS channels of them.  Each part sums its own, over pixels in
 * order; then the parts of a mean are joined in order.  So all threads have work whatever the norm,
 * and the sums are the same for any number of them.
 *
 *     images x columns:  sums of a part  ->  joined  ->  images x columns:  each pixel
 *
 * The sums are operations of their own, so that several ranks can put theirs together in between.
 */
#include "cpu/cpu_internal.h"

#include <math.h>

enum { COLUMNS = 64 };

/* A norm's numbers of some channels of an image. */
typedef struct {
    float mean[COLUMNS], rstd[COLUMNS], w[COLUMNS], b[COLUMNS];
} numbers;

static int64_t parts_of(tensor x)
{
    return x.dim[0] * ((x.dim[2] + COLUMNS - 1) / COLUMNS);
}

/* Part k: columns [*c, *c + n) of image *b; n. */
static int64_t part_at(tensor x, int64_t k, int64_t *b, int64_t *c)
{
    int64_t strips = (x.dim[2] + COLUMNS - 1) / COLUMNS;
    *b = k / strips;
    *c = k % strips * COLUMNS;
    return min64(COLUMNS, x.dim[2] - *c);
}

/* Where the mean of an image's channel is among all. */
static int64_t place_of(int64_t groups, int64_t channels, int64_t b, int64_t c)
{
    return groups ? b * groups + c / (channels / groups) : c;
}

/* ---- mean and deviation ---- */

/* Means and sums of squares about them, of each channel of an image. */
ROW_FN void sum_part(const channel_sums_op *o, int64_t b, int64_t c, int64_t n, int type)
{
    float mean[COLUMNS] = {0}, squares[COLUMNS] = {0}, *to = row(o->sums, b);
    int64_t pixels = o->x.dim[1], channels = o->x.dim[2];
    for (int64_t p = 0; p < pixels; p++) {
        const void *x = element_at(o->x, b * pixels + p, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            mean[i] += load(type, x, i);
    }
    for (int64_t i = 0; i < n; i++)
        mean[i] /= (float)pixels;
    for (int64_t p = 0; p < pixels; p++) {
        const void *x = element_at(o->x, b * pixels + p, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float d = load(type, x, i) - mean[i];
            squares[i] += d * d;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        to[c + i] = mean[i];
        to[channels + c + i] = squares[i];
    }
}

static void channel_sums_range(const void *op, int64_t first, int64_t end)
{
    const channel_sums_op *o = op;
    for (int64_t k = first; k < end; k++) {
        int64_t b, c, n = part_at(o->x, k, &b, &c);
        FOR_WORKING_TYPE(o->x.type, sum_part(o, b, c, n, TYPE));
    }
}

CPU_ENTRY(channel_sums, parts_of(o->x), 1)

/* The mean and variance of images [b, b_end), channels [c, c_end), from those of each. */
static void join_means(const channel_stats_op *o, int64_t b, int64_t b_end, int64_t c,
                       int64_t c_end, double *mean, double *var)
{
    double pixels = (double)o->pixels, n = (double)((b_end - b) * (c_end - c)), sum = 0,
           squares = 0;
    int64_t channels = tensor_cols(o->sums) / 2;
    for (int64_t i = b; i < b_end; i++)
        for (int64_t k = c; k < c_end; k++)
            sum += (double)row(o->sums, i)[k];
    *mean = sum / n;
    for (int64_t i = b; i < b_end; i++)
        for (int64_t k = c; k < c_end; k++) {
            double d = (double)row(o->sums, i)[k] - *mean;
            squares += (double)row(o->sums, i)[channels + k] + pixels * d * d;
        }
    *var = squares / (n * pixels);
}

static void go_with(const channel_stats_op *o, int64_t c, double mean, double var)
{
    double n = (double)(tensor_rows(o->sums) * o->pixels), m = o->momentum;
    float *old_mean = floats(o->running_mean) + c, *old_var = floats(o->running_var) + c;
    float new_mean = (float)((1 - m) * (double)*old_mean + m * mean),
          new_var = (float)((1 - m) * (double)*old_var + m * var * (n > 1 ? n / (n - 1) : 1));
    if (!isfinite(new_mean) || !isfinite(new_var)) return;
    *old_mean = new_mean;
    *old_var = new_var;
}

/* Means k of all. */
static void join_range(const void *op, int64_t first, int64_t end)
{
    const channel_stats_op *o = op;
    int64_t images = tensor_rows(o->sums), groups = o->groups,
            width = groups ? tensor_cols(o->sums) / 2 / groups : 1;
    for (int64_t k = first; k < end; k++) {
        int64_t b = groups ? k / groups : 0, c = groups ? k % groups * width : k;
        double mean, var;
        join_means(o, b, groups ? b + 1 : images, c, c + width, &mean, &var);
        floats(o->mean)[k] = (float)mean;
        floats(o->rstd)[k] = (float)(1 / sqrt(var + o->eps));
        if (present(o->running_mean)) go_with(o, c, mean, var);
    }
}

static void from_running(const channel_stats_op *o)
{
    for (int64_t c = 0; c < tensor_count(o->mean); c++) {
        floats(o->mean)[c] = floats(o->running_mean)[c];
        floats(o->rstd)[c] = (float)(1 / sqrt((double)floats(o->running_var)[c] + o->eps));
    }
}

void cpu_channel_stats(device *dev, int stream, const channel_stats_op *o)
{
    (void)stream;
    if (present(o->sums))
        pool_for(cpu_threads(dev), tensor_count(o->mean), COLUMNS, join_range, o);
    else
        from_running(o);
}

/* ---- forward ---- */

ROW_FN void take_numbers(numbers *to, tensor mean, tensor rstd, tensor w, tensor bias,
                         int64_t groups, int64_t b, int64_t c, int64_t n, int type)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = place_of(groups, tensor_count(w), b, c + i);
        to->mean[i] = floats(mean)[at];
        to->rstd[i] = floats(rstd)[at];
        to->w[i] = load(type, w.data, c + i);
        to->b[i] = load(type, bias.data, c + i);
    }
}

/* relu is a constant where this is inlined; NaN stays NaN. */
ROW_FN void norm_part(const channel_norm_op *o, int64_t b, int64_t c, int64_t n, bool relu,
                      int type)
{
    numbers m;
    int64_t pixels = o->x.dim[1];
    take_numbers(&m, o->mean, o->rstd, o->w, o->b, o->groups, b, c, n, type);
    for (int64_t p = b * pixels; p < (b + 1) * pixels; p++) {
        const void *x = element_at(o->x, p, c);
        void *out = element_at(o->out, p, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float y = (load(type, x, i) - m.mean[i]) * m.rstd[i] * m.w[i] + m.b[i];
            store(type, out, i, relu && y < 0 ? 0 : y);
        }
    }
}

static void channel_norm_range(const void *op, int64_t first, int64_t end)
{
    const channel_norm_op *o = op;
    for (int64_t k = first; k < end; k++) {
        int64_t b, c, n = part_at(o->x, k, &b, &c);
        if (o->relu)
            FOR_WORKING_TYPE(o->x.type, norm_part(o, b, c, n, true, TYPE));
        else
            FOR_WORKING_TYPE(o->x.type, norm_part(o, b, c, n, false, TYPE));
    }
}

CPU_ENTRY(channel_norm, parts_of(o->x), 1)

/* ---- gradients ---- */

/* What of dout went through; *norm: n of the formula. */
ROW_FN float through(const numbers *m, int64_t i, float x, float dout, bool relu, float *norm)
{
    *norm = (x - m->mean[i]) * m->rstd[i];
    return relu && *norm * m->w[i] + m->b[i] < 0 ? 0 : dout;
}

/* Sums of d and of d n, of each channel of an image. */
ROW_FN void grad_sums(const channel_grad_sums_op *o, int64_t b, int64_t c, int64_t n, int type)
{
    numbers m;
    float d_sum[COLUMNS] = {0}, dn_sum[COLUMNS] = {0}, *to = row(o->sums, b);
    int64_t pixels = o->x.dim[1];
    bool relu = o->relu;
    take_numbers(&m, o->mean, o->rstd, o->w, o->b, o->groups, b, c, n, type);
    for (int64_t p = b * pixels; p < (b + 1) * pixels; p++) {
        const void *x = element_at(o->x, p, c), *dout = element_at(o->dout, p, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float norm, d = through(&m, i, load(type, x, i), load(type, dout, i), relu, &norm);
            d_sum[i] += d;
            dn_sum[i] += d * norm;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        to[c + i] = d_sum[i];
        to[o->x.dim[2] + c + i] = dn_sum[i];
    }
}

static void channel_grad_sums_range(const void *op, int64_t first, int64_t end)
{
    const channel_grad_sums_op *o = op;
    for (int64_t k = first; k < end; k++) {
        int64_t b, c, n = part_at(o->x, k, &b, &c);
        FOR_WORKING_TYPE(o->x.type, grad_sums(o, b, c, n, TYPE));
    }
}

CPU_ENTRY(channel_grad_sums, parts_of(o->x), 1)

static void give_sum(grad g, int64_t c, double sum)
{
    if (!present(g.t)) return;
    int type = g.t.type;
    store(type, g.t.data, c, (float)sum + (g.accumulate ? load(type, g.t.data, c) : 0));
}

/* Column c of the sums of images [b, end). */
static double sum_of_images(tensor sums, int64_t b, int64_t end, int64_t c)
{
    double sum = 0;
    for (; b < end; b++)
        sum += (double)row(sums, b)[c];
    return sum;
}

static void weights_range(const void *op, int64_t first, int64_t end)
{
    const channel_norm_grad_op *o = op;
    int64_t channels = o->x.dim[2], images = tensor_rows(o->sums), from = o->first,
            to = from + o->x.dim[0];
    for (int64_t c = first; c < end; c++) {
        give_sum(o->db, c, sum_of_images(o->sums, from, to, c));
        give_sum(o->dw, c, sum_of_images(o->sums, from, to, channels + c));
        if (o->groups) continue;
        for (int64_t k = c; k < 2 * channels; k += channels) /* of all images, for averages */
            row(o->sums, 0)[k] = (float)sum_of_images(o->sums, 0, images, k);
    }
}

/* avg(h) and avg(h n) over what the mean of channel c of image b is of. */
ROW_FN void averages(const channel_norm_grad_op *o, int64_t b, int64_t c, float *h, float *hn,
                     int type)
{
    int64_t images = tensor_rows(o->sums), channels = o->x.dim[2], groups = o->groups,
            width = groups ? channels / groups : 1, from = c / width * width;
    double n = (double)(o->x.dim[1] * width * (groups ? 1 : images)), sum = 0, sum_n = 0;
    const float *sums = row(o->sums, groups ? b : 0);
    for (int64_t k = from; k < from + width; k++) {
        double w = (double)load(type, o->w.data, k);
        sum += w * (double)sums[k];
        sum_n += w * (double)sums[channels + k];
    }
    *h = (float)(sum / n);
    *hn = (float)(sum_n / n);
}

ROW_FN void grad_part(const channel_norm_grad_op *o, int64_t b, int64_t c, int64_t n, int type)
{
    numbers m;
    float h[COLUMNS], hn[COLUMNS];
    int64_t pixels = o->x.dim[1];
    bool relu = o->relu;
    take_numbers(&m, o->mean, o->rstd, o->w, o->b, o->groups, b, c, n, type);
    for (int64_t i = 0; i < n; i++)
        averages(o, b, c + i, &h[i], &hn[i], type);
    for (int64_t p = b * pixels; p < (b + 1) * pixels; p++) {
        const void *x = element_at(o->x, p, c), *dout = element_at(o->dout, p, c);
        void *dx = element_at(o->dx, p, c);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float norm, d = through(&m, i, load(type, x, i), load(type, dout, i), relu, &norm);
            store(type, dx, i, m.rstd[i] * (d * m.w[i] - h[i] - norm * hn[i]));
        }
    }
}

static void grad_range(const void *op, int64_t first, int64_t end)
{
    const channel_norm_grad_op *o = op;
    for (int64_t k = first; k < end; k++) {
        int64_t b, c, n = part_at(o->x, k, &b, &c);
        FOR_WORKING_TYPE(o->x.type, grad_part(o, b, c, n, TYPE));
    }
}

void cpu_channel_norm_grad(device *dev, int stream, const channel_norm_grad_op *o)
{
    (void)stream;
    pool_for(cpu_threads(dev), o->x.dim[2], COLUMNS, weights_range, o);
    if (present(o->dx)) pool_for(cpu_threads(dev), parts_of(o->x), 1, grad_range, o);
}
