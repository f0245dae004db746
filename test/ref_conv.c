/* ref_conv.c - the reference of convolutions as products, and of the norms of channels. */
#include "test/ref.h"

#include <math.h>

/* Where element (l, x, k) of the windows lies in x as (pixel, channel); pixel -1: outside. */
static int64_t window_pixel(tensor x, int64_t side, int64_t stride, int64_t l, int64_t column,
                            int64_t k)
{
    int64_t H = x.dim[1], W = x.dim[2], h = (H - 1) / stride + 1, tap = k % (side * side);
    int64_t i = l % h * stride + tap / side - side / 2, j = column * stride + tap % side - side / 2;
    return i < 0 || i >= H || j < 0 || j >= W ? -1 : (l / h * H + i) * W + j;
}

void ref_windows(device *dev, int stream, const windows_op *o)
{
    (void)dev, (void)stream;
    int64_t across = o->out.dim[1];
    for (int64_t r = 0; r < tensor_rows(o->out); r++)
        for (int64_t k = 0; k < tensor_cols(o->out); k++) {
            int64_t p =
                window_pixel(o->x, o->side, o->stride, o->first + r / across, r % across, k);
            *ref_at(o->out, r, k) = p < 0 ? 0 : *ref_at(o->x, p, k / (o->side * o->side));
        }
}

void ref_windows_grad(device *dev, int stream, const windows_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t across = o->dout.dim[1];
    for (int64_t r = 0; r < tensor_rows(o->dout); r++)
        for (int64_t k = 0; k < tensor_cols(o->dout); k++) {
            int64_t p =
                window_pixel(o->dx, o->side, o->stride, o->first + r / across, r % across, k);
            if (p >= 0) *ref_at(o->dx, p, k / (o->side * o->side)) += *ref_at(o->dout, r, k);
        }
}

/* Which mean is that of channel c of image b. */
static int64_t mean_of(int64_t groups, int64_t channels, int64_t b, int64_t c)
{
    return groups ? b * groups + c / (channels / groups) : c;
}

void ref_channel_sums(device *dev, int stream, const channel_sums_op *o)
{
    (void)dev, (void)stream;
    int64_t P = o->x.dim[1], C = o->x.dim[2];
    for (int64_t b = 0; b < o->x.dim[0]; b++)
        for (int64_t c = 0; c < C; c++) {
            double *mean = ref_at(o->sums, b, c), *squares = ref_at(o->sums, b, C + c);
            *mean = *squares = 0;
            for (int64_t p = b * P; p < (b + 1) * P; p++)
                *mean += *ref_at(o->x, p, c) / (double)P;
            for (int64_t p = b * P; p < (b + 1) * P; p++)
                *squares += pow(*ref_at(o->x, p, c) - *mean, 2);
        }
}

/* avg(x) and the sum of (x - avg(x))^2 of the k-th mean, n: of how many. */
static double stats_of(const channel_stats_op *o, int64_t k, double *squares, double *n)
{
    int64_t C = tensor_cols(o->sums) / 2;
    double P = (double)o->pixels, mean = 0;
    *squares = *n = 0;
    for (int64_t i = 0; i < tensor_rows(o->sums) * C; i++)
        if (mean_of(o->groups, C, i / C, i % C) == k) {
            mean += P * *ref_at(o->sums, i / C, i % C);
            *n += P;
        }
    mean /= *n;
    for (int64_t i = 0; i < tensor_rows(o->sums) * C; i++)
        if (mean_of(o->groups, C, i / C, i % C) == k)
            *squares += *ref_at(o->sums, i / C, C + i % C) +
                        P * pow(*ref_at(o->sums, i / C, i % C) - mean, 2);
    return mean;
}

void ref_channel_stats(device *dev, int stream, const channel_stats_op *o)
{
    (void)dev, (void)stream;
    double *mean = o->mean.data, *rstd = o->rstd.data, *run_mean = o->running_mean.data,
           *run_var = o->running_var.data;
    bool there = present(o->sums);
    for (int64_t k = 0; k < tensor_count(o->mean); k++) {
        double squares = 0, n = 1;
        mean[k] = there ? stats_of(o, k, &squares, &n) : run_mean[k];
        rstd[k] = 1 / sqrt((there ? squares / n : run_var[k]) + o->eps);
        if (!there || !run_mean) continue;
        double new_mean = (1 - o->momentum) * run_mean[k] + o->momentum * mean[k],
               new_var =
                   (1 - o->momentum) * run_var[k] + o->momentum * squares / (n > 1 ? n - 1 : 1);
        if (!isfinite(new_mean) || !isfinite(new_var)) continue;
        run_mean[k] = new_mean;
        run_var[k] = new_var;
    }
}

void ref_channel_norm(device *dev, int stream, const channel_norm_op *o)
{
    (void)dev, (void)stream;
    int64_t P = o->x.dim[1], C = o->x.dim[2];
    for (int64_t i = 0; i < tensor_count(o->x); i++) {
        int64_t c = i % C, k = mean_of(o->groups, C, i / (P * C), c);
        double n =
            (((const double *)o->x.data)[i] - *ref_at(o->mean, 0, k)) * *ref_at(o->rstd, 0, k);
        double y = n * *ref_at(o->w, 0, c) + *ref_at(o->b, 0, c);
        ((double *)o->out.data)[i] = o->relu && y < 0 ? 0 : y;
    }
}

/* d of the formula, of element i; *n: n of it. */
static double passed(const channel_norm_grad_op *o, int64_t i, double *n)
{
    int64_t P = o->x.dim[1], C = o->x.dim[2], c = i % C, k = mean_of(o->groups, C, i / (P * C), c);
    *n = (((const double *)o->x.data)[i] - *ref_at(o->mean, 0, k)) * *ref_at(o->rstd, 0, k);
    bool shut = o->relu && *n * *ref_at(o->w, 0, c) + *ref_at(o->b, 0, c) < 0;
    return shut ? 0 : ((const double *)o->dout.data)[i];
}

void ref_channel_grad_sums(device *dev, int stream, const channel_grad_sums_op *o)
{
    (void)dev, (void)stream;
    channel_norm_grad_op same = {.dout = o->dout, .x = o->x, .mean = o->mean, .rstd = o->rstd};
    int64_t P = o->x.dim[1], C = o->x.dim[2];
    same.w = o->w, same.b = o->b, same.groups = o->groups, same.relu = o->relu;
    for (int64_t i = 0; i < tensor_count(o->sums); i++)
        ((double *)o->sums.data)[i] = 0;
    for (int64_t i = 0; i < tensor_count(o->x); i++) {
        double n, d = passed(&same, i, &n);
        *ref_at(o->sums, i / (P * C), i % C) += d;
        *ref_at(o->sums, i / (P * C), C + i % C) += d * n;
    }
}

/* Of the k-th mean: avg(h), and with n avg(h n), over all images that there are sums of. */
static double average(const channel_norm_grad_op *o, int64_t k, bool with_n)
{
    int64_t C = o->x.dim[2];
    double sum = 0, n = 0;
    for (int64_t i = 0; i < tensor_rows(o->sums) * C; i++)
        if (mean_of(o->groups, C, i / C, i % C) == k) {
            sum += *ref_at(o->w, 0, i % C) * *ref_at(o->sums, i / C, i % C + (with_n ? C : 0));
            n += (double)o->x.dim[1];
        }
    return sum / n;
}

static void add_column(grad g, const channel_norm_grad_op *o, int64_t c, int64_t column)
{
    if (!present(g.t)) return;
    double sum = g.accumulate ? *ref_at(g.t, 0, c) : 0;
    for (int64_t b = o->first; b < o->first + o->x.dim[0]; b++)
        sum += *ref_at(o->sums, b, column);
    *ref_at(g.t, 0, c) = sum;
}

void ref_channel_norm_grad(device *dev, int stream, const channel_norm_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t P = o->x.dim[1], C = o->x.dim[2];
    for (int64_t c = 0; c < C; c++) {
        add_column(o->db, o, c, c);
        add_column(o->dw, o, c, C + c);
    }
    for (int64_t i = 0; i < tensor_count(o->x) && present(o->dx); i++) {
        int64_t k = mean_of(o->groups, C, i / (P * C), i % C);
        double n, d = passed(o, i, &n);
        ((double *)o->dx.data)[i] =
            *ref_at(o->rstd, 0, k) *
            (d * *ref_at(o->w, 0, i % C) - average(o, k, false) - n * average(o, k, true));
    }
    for (int64_t b = 1; b < tensor_rows(o->sums) && !o->groups; b++)
        for (int64_t c = 0; c < 2 * C; c++)
            *ref_at(o->sums, 0, c) += *ref_at(o->sums, b, c);
}
