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

void ref_channel_stats(device *dev, int stream, const channel_stats_op *o)
{
    (void)dev, (void)stream;
    double *mean = o->mean.data, *rstd = o->rstd.data, *run_mean = o->running_mean.data,
           *run_var = o->running_var.data;
    int64_t B = o->x.dim[0], P = o->x.dim[1], C = o->x.dim[2];
    for (int64_t k = 0; k < tensor_count(o->mean); k++) {
        double sum = 0, squares = 0, n = 0;
        for (int64_t i = 0; present(o->x) && i < B * P * C; i++)
            if (mean_of(o->groups, C, i / (P * C), i % C) == k)
                sum += ((const double *)o->x.data)[i], n++;
        for (int64_t i = 0; present(o->x) && i < B * P * C; i++)
            if (mean_of(o->groups, C, i / (P * C), i % C) == k)
                squares += pow(((const double *)o->x.data)[i] - sum / n, 2);
        mean[k] = present(o->x) ? sum / n : run_mean[k];
        rstd[k] = 1 / sqrt((present(o->x) ? squares / n : run_var[k]) + o->eps);
        if (!present(o->x) || !run_mean) continue;
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

/* d and n of the formula, of element i. */
static double passed(const channel_norm_grad_op *o, int64_t i, double *n)
{
    int64_t P = o->x.dim[1], C = o->x.dim[2], c = i % C, k = mean_of(o->groups, C, i / (P * C), c);
    *n = (((const double *)o->x.data)[i] - *ref_at(o->mean, 0, k)) * *ref_at(o->rstd, 0, k);
    bool shut = o->relu && *n * *ref_at(o->w, 0, c) + *ref_at(o->b, 0, c) < 0;
    return shut ? 0 : ((const double *)o->dout.data)[i];
}

void ref_channel_norm_grad(device *dev, int stream, const channel_norm_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->x.dim[0], P = o->x.dim[1], C = o->x.dim[2], means = tensor_count(o->mean);
    double *h = o->scratch.data, *hn = h + means, n, each = (double)(B * P * C / means);
    for (int64_t c = 0; c < C; c++) {
        double dw = 0, db = 0;
        for (int64_t i = c; i < B * P * C; i += C) {
            double d = passed(o, i, &n);
            dw += d * n;
            db += d;
        }
        double *to[] = {present(o->dw.t) ? ref_at(o->dw.t, 0, c) : &n,
                        present(o->db.t) ? ref_at(o->db.t, 0, c) : &n};
        *to[0] = dw + (o->dw.accumulate ? *to[0] : 0);
        *to[1] = db + (o->db.accumulate ? *to[1] : 0);
    }
    for (int64_t k = 0; k < means; k++)
        h[k] = hn[k] = 0;
    for (int64_t i = 0; i < B * P * C; i++) {
        int64_t k = mean_of(o->groups, C, i / (P * C), i % C);
        double d = passed(o, i, &n) * *ref_at(o->w, 0, i % C);
        h[k] += d / each;
        hn[k] += d * n / each;
    }
    for (int64_t i = 0; i < B * P * C && present(o->dx); i++) {
        int64_t k = mean_of(o->groups, C, i / (P * C), i % C);
        double d = passed(o, i, &n);
        ((double *)o->dx.data)[i] =
            *ref_at(o->rstd, 0, k) * (d * *ref_at(o->w, 0, i % C) - h[k] - n * hn[k]);
    }
}
