/* ref_image.c - the reference of the operations on images. */
#include "base/rng.h"
#include "test/ref.h"

#include <math.h>

void ref_patches(device *dev, int stream, const patches_op *o)
{
    (void)dev, (void)stream;
    const double *in = o->images.data;
    double *out = o->out.data;
    int64_t B = o->images.dim[0], Ch = o->images.dim[1], H = o->images.dim[2], W = o->images.dim[3],
            h = o->height, w = o->width;
    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < Ch; c++)
            for (int64_t i = 0; i < H; i++)
                for (int64_t j = 0; j < W; j++) {
                    int64_t patch = b * (H / h) * (W / w) + i / h * (W / w) + j / w;
                    int64_t position = (c * h + i % h) * w + j % w;
                    out[patch * Ch * h * w + position] = in[((b * Ch + c) * H + i) * W + j];
                }
}

void ref_positions(device *dev, int stream, const positions_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->out.dim[0], T = o->out.dim[1], C = o->out.dim[2], P = T - o->x.dim[1];
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t c = 0; c < C; c++) {
                double x =
                    t < P ? *ref_at(o->first, 0, t * C + c) : *ref_at(o->x, b * (T - P) + t - P, c);
                *ref_at(o->out, b * T + t, c) = x + *ref_at(o->positions, 0, t * C + c);
            }
}

void ref_positions_grad(device *dev, int stream, const positions_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->dout.dim[0], T = o->dout.dim[1], C = o->dout.dim[2], P = T - o->dx.dim[1];
    for (int64_t t = 0; t < T; t++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t b = 0; b < B; b++)
                sum += *ref_at(o->dout, b * T + t, c);
            double *first = t < P && present(o->dfirst.t) ? ref_at(o->dfirst.t, 0, t * C + c) : 0;
            double *position = present(o->dpositions.t) ? ref_at(o->dpositions.t, 0, t * C + c) : 0;
            if (first) *first = sum + (o->dfirst.accumulate ? *first : 0);
            if (position) *position = sum + (o->dpositions.accumulate ? *position : 0);
        }
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = P; t < T; t++)
            for (int64_t c = 0; c < C; c++)
                *ref_at(o->dx, b * (T - P) + t - P, c) = *ref_at(o->dout, b * T + t, c);
}

void ref_pool(device *dev, int stream, const pool_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->x.dim[0], T = o->x.dim[1], C = o->x.dim[2];
    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < C; c++) {
            double sum = 0;
            for (int64_t t = 0; t < (o->first ? 1 : T); t++)
                sum += *ref_at(o->x, b * T + t, c);
            *ref_at(o->out, b, c) = o->first ? sum : sum / (double)T;
        }
}

void ref_pool_grad(device *dev, int stream, const pool_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->dx.dim[0], T = o->dx.dim[1], C = o->dx.dim[2];
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t c = 0; c < C; c++) {
                double d = *ref_at(o->dout, b, c);
                *ref_at(o->dx, b * T + t, c) = !o->first ? d / (double)T : t == 0 ? d : 0;
            }
}

void ref_scale_samples(device *dev, int stream, const scale_samples_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->x.dim[0], T = o->x.dim[1], C = o->x.dim[2];
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = b * T * C; i < (b + 1) * T * C; i++) {
            double x = ((const double *)o->x.data)[i] * *ref_at(o->scale, 0, b);
            double residual = present(o->residual) ? ((const double *)o->residual.data)[i] : 0;
            ((double *)o->out.data)[i] = x + residual;
        }
}

void ref_dropout(device *dev, int stream, const dropout_op *o)
{
    (void)dev, (void)stream;
    int64_t n = tensor_count(o->x), C = tensor_cols(o->x);
    const uint32_t *start = o->start.data;
    uint64_t first = ((uint64_t)start[1] * 4294967296u + start[0]) * (uint64_t)C;
    for (int64_t i = 0; i < n; i++) {
        uint32_t numbers[4];
        uint64_t place = first + (uint64_t)i;
        rng_bits(o->seed, (o->site << 8) + RNG_DROPOUT, place / 4, numbers);
        double x = ((const double *)o->x.data)[i] / (1 - o->rate);
        bool kept = (double)numbers[place % 4] >= floor(o->rate * 4294967296.0);
        double residual = present(o->residual) ? ((const double *)o->residual.data)[i] : 0;
        ((double *)o->out.data)[i] = (kept ? x : 0) + residual;
    }
}

/* The first of the largest. */
static int64_t largest(const double *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

void ref_classify_soft(device *dev, int stream, const classify_soft_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->logits), V = tensor_cols(o->logits);
    for (int64_t r = 0; r < R; r++) {
        double *x = ref_at(o->logits, r, 0), *t = ref_at(o->targets, r, 0);
        double max = -INFINITY, sum = 0, mass = 0, loss = 0;
        for (int64_t v = 0; v < V; v++)
            max = fmax(max, x[v]);
        for (int64_t v = 0; v < V; v++)
            sum += exp(x[v] - max);
        double lse = max + log(sum);
        for (int64_t v = 0; v < V; v++) {
            mass += t[v];
            loss += t[v] * (lse - x[v]);
        }
        *ref_at(o->losses, 0, r) = loss;
        int64_t label = largest(t, V);
        if (present(o->hits)) *ref_at(o->hits, 0, r) = t[label] > 0 && largest(x, V) == label;
        for (int64_t v = 0; v < V && o->backward; v++)
            x[v] = (exp(x[v] - lse) * mass - t[v]) * o->scale;
    }
}

/* ---- channels last ---- */

void ref_depthwise(device *dev, int stream, const depthwise_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->x.dim[0], H = o->x.dim[1], W = o->x.dim[2], C = o->x.dim[3], K = o->side;
    for (int64_t p = 0; p < B * H * W; p++)
        for (int64_t c = 0; c < C; c++) {
            double sum = present(o->bias) ? *ref_at(o->bias, 0, c) : 0;
            for (int64_t i = 0; i < K; i++)
                for (int64_t j = 0; j < K; j++) {
                    int64_t y = p / W % H + i - K / 2, x = p % W + j - K / 2,
                            tap = o->flipped ? K * K - 1 - (i * K + j) : i * K + j;
                    if (y < 0 || y >= H || x < 0 || x >= W) continue;
                    sum += *ref_at(o->w, c, tap) * *ref_at(o->x, (p / (H * W) * H + y) * W + x, c);
                }
            *ref_at(o->out, p, c) = sum;
        }
}

static void ref_give(grad g, int64_t row, int64_t column, double sum)
{
    if (!present(g.t)) return;
    double *to = ref_at(g.t, row, column);
    *to = sum + (g.accumulate ? *to : 0);
}

void ref_depthwise_grad(device *dev, int stream, const depthwise_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->x.dim[0], H = o->x.dim[1], W = o->x.dim[2], C = o->x.dim[3], K = o->side;
    for (int64_t c = 0; c < C; c++) {
        double bias = 0;
        for (int64_t tap = 0; tap < K * K; tap++) {
            double sum = 0;
            for (int64_t p = 0; p < B * H * W; p++) {
                int64_t y = p / W % H + tap / K - K / 2, x = p % W + tap % K - K / 2;
                if (y < 0 || y >= H || x < 0 || x >= W) continue;
                sum += *ref_at(o->dout, p, c) * *ref_at(o->x, (p / (H * W) * H + y) * W + x, c);
            }
            ref_give(o->dw, c, tap, sum);
        }
        for (int64_t p = 0; p < B * H * W; p++)
            bias += *ref_at(o->dout, p, c);
        ref_give(o->db, 0, c, bias);
    }
}

void ref_merge(device *dev, int stream, const merge_op *o)
{
    (void)dev, (void)stream;
    int64_t H = o->x.dim[1], W = o->x.dim[2], C = o->x.dim[3], K = o->side, h = H / K, w = W / K;
    for (int64_t p = 0; p < o->x.dim[0] * h * w; p++)
        for (int64_t k = 0; k < C * K * K; k++) {
            int64_t y = p / w % h * K + k / K % K, x = p % w * K + k % K;
            *ref_at(o->out, p, k) = *ref_at(o->x, (p / (h * w) * H + y) * W + x, k / (K * K));
        }
}

void ref_merge_grad(device *dev, int stream, const merge_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t H = o->dx.dim[1], W = o->dx.dim[2], C = o->dx.dim[3], K = o->side, h = H / K, w = W / K;
    for (int64_t p = 0; p < o->dx.dim[0] * H * W; p++)
        for (int64_t c = 0; c < C; c++) {
            int64_t y = p / W % H, x = p % W;
            bool seen = y / K < h && x / K < w;
            *ref_at(o->dx, p, c) = seen ? *ref_at(o->dout, (p / (H * W) * h + y / K) * w + x / K,
                                                  (c * K + y % K) * K + x % K)
                                        : 0;
        }
}

void ref_scale_channels(device *dev, int stream, const scale_channels_op *o)
{
    (void)dev, (void)stream;
    for (int64_t r = 0; r < tensor_rows(o->x); r++)
        for (int64_t c = 0; c < tensor_cols(o->x); c++)
            *ref_at(o->out, r, c) = *ref_at(o->scale, 0, c) * *ref_at(o->x, r, c) +
                                    (present(o->residual) ? *ref_at(o->residual, r, c) : 0);
}

void ref_scale_channels_grad(device *dev, int stream, const scale_channels_grad_op *o)
{
    (void)dev, (void)stream;
    for (int64_t c = 0; c < tensor_cols(o->x); c++) {
        double sum = 0;
        for (int64_t r = 0; r < tensor_rows(o->x); r++)
            sum += *ref_at(o->dout, r, c) * *ref_at(o->x, r, c);
        ref_give(o->dscale, 0, c, sum);
    }
}
