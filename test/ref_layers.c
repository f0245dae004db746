/* ref_layers.c - the reference of the layers: norm, linear with its activation, attention. */
#include "test/ref.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* ---- norm ---- */

void ref_norm(device *dev, int stream, const norm_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->x), C = tensor_cols(o->x);
    for (int64_t r = 0; r < R; r++) {
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < C; c++)
            sum += *ref_at(o->x, r, c);
        double mean = o->rms ? 0 : sum / (double)C;
        for (int64_t c = 0; c < C; c++)
            squares += pow(*ref_at(o->x, r, c) - mean, 2);
        double rstd = 1 / sqrt(squares / (double)C + o->eps);
        for (int64_t c = 0; c < C; c++) {
            double b = present(o->b) ? *ref_at(o->b, 0, c) : 0;
            double n = (*ref_at(o->x, r, c) - mean) * rstd;
            ((double *)o->out.data)[r * C + c] = n * (o->offset + *ref_at(o->w, 0, c)) + b;
        }
        if (present(o->mean)) ((double *)o->mean.data)[r] = mean;
        if (present(o->rstd)) ((double *)o->rstd.data)[r] = rstd;
    }
}

void ref_norm_grad(device *dev, int stream, const norm_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->x), C = tensor_cols(o->x);
    for (int64_t c = 0; c < C; c++) {
        if (present(o->dw.t) && !o->dw.accumulate) *ref_at(o->dw.t, 0, c) = 0;
        if (present(o->db.t) && !o->db.accumulate) *ref_at(o->db.t, 0, c) = 0;
    }
    for (int64_t r = 0; r < R; r++) {
        const double *dout = (const double *)o->dout.data + r * C;
        double *dx = (double *)o->dx.data + r * C;
        double mean = o->rms ? 0 : ((const double *)o->mean.data)[r];
        double rstd = ((const double *)o->rstd.data)[r];
        double avg_h = 0, avg_hn = 0;
        for (int64_t c = 0; c < C; c++) {
            double n = (*ref_at(o->x, r, c) - mean) * rstd,
                   h = dout[c] * (o->offset + *ref_at(o->w, 0, c));
            avg_h += o->rms ? 0 : h / (double)C;
            avg_hn += h * n / (double)C;
            if (present(o->dw.t)) *ref_at(o->dw.t, 0, c) += dout[c] * n;
            if (present(o->db.t)) *ref_at(o->db.t, 0, c) += dout[c];
        }
        for (int64_t c = 0; c < C; c++) {
            double n = (*ref_at(o->x, r, c) - mean) * rstd,
                   h = dout[c] * (o->offset + *ref_at(o->w, 0, c));
            dx[c] = rstd * (h - avg_h - n * avg_hn) + (o->accumulate ? dx[c] : 0);
        }
    }
}

/* ---- linear ---- */

double ref_act(activation act, double x)
{
    switch (act) {
    case ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case ACT_SILU:
        return x / (1 + exp(-x));
    default:
        return x;
    }
}

double ref_act_grad(activation act, double x)
{
    double u = sqrt(2 / pi) * (x + 0.044715 * x * x * x);
    double du = sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x);
    switch (act) {
    case ACT_GELU_TANH:
        return 0.5 * (1 + tanh(u)) + 0.5 * x * (1 - tanh(u) * tanh(u)) * du;
    case ACT_GELU_ERF:
        return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-0.5 * x * x) / sqrt(2 * pi);
    case ACT_SILU:
        return (1 + x / (1 + exp(x))) / (1 + exp(-x));
    default:
        return 1;
    }
}

void ref_linear(device *dev, int stream, const linear_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->out), N = tensor_rows(o->w), K = tensor_cols(o->w);
    for (int64_t r = 0; r < R; r++)
        for (int64_t n = 0; n < N; n++) {
            double sum = present(o->bias) ? *ref_at(o->bias, 0, n) : 0;
            for (int64_t k = 0; k < K; k++)
                sum += *ref_at(o->x, r, k) * *ref_at(o->w, n, k);
            if (present(o->pre)) *ref_at(o->pre, r, n) = sum;
            double residual = present(o->residual) ? *ref_at(o->residual, r, n) : 0;
            *ref_at(o->out, r, n) = ref_act(o->act, sum) + residual;
        }
}

/* The code without sign of the number nearest to size >= 0, the even one of two. */
static int nearest_code(fp8_format f, double size)
{
    int last = f == E4M3 ? 0x7e : 0x7b, best = last;
    for (int code = last; code >= 0; code--) {
        double off = fabs((double)float_of_fp8(f, (uint8_t)code) - size);
        double least = fabs((double)float_of_fp8(f, (uint8_t)best) - size);
        if (off < least || (off == least && code % 2 == 0)) best = code;
    }
    return best;
}

/* What is rounded: x, act(x) or x act'(pre), all bf16 here, too. */
static double value_to_round(const narrow_op *o, int64_t r, int64_t c)
{
    const uint16_t *x = o->x.data, *pre = o->pre.data;
    double v = (double)float_of_bf16(x[r * o->x.ld + c]);
    if (o->act == ACT_NONE) return v;
    v = pre ? v * ref_act_grad(o->act, (double)float_of_bf16(pre[r * o->pre.ld + c]))
            : ref_act(o->act, v);
    return (double)float_of_bf16(bf16_of_float((float)v));
}

static void ref_sums(const narrow_op *o)
{
    uint16_t *to = o->sums.t.data;
    for (int64_t c = 0; to && c < tensor_cols(o->x); c++) {
        double sum = o->sums.accumulate ? (double)float_of_bf16(to[c]) : 0;
        for (int64_t r = 0; r < tensor_rows(o->x); r++)
            sum += value_to_round(o, r, c);
        to[c] = bf16_of_float((float)sum);
    }
}

/* of what is finite */
void ref_narrow(device *dev, int stream, const narrow_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->x), C = tensor_cols(o->x), S = narrow_side(R);
    uint8_t *codes = o->codes.data, *turned = o->turned.data;
    double amax = 0;
    int k = 126;
    for (int64_t i = 0; i < R * C; i++)
        amax = fmax(amax, fabs(value_to_round(o, i / C, i % C)));
    while (amax > 0 && ldexp(amax, k) > (o->format == E4M3 ? 448 : 57344))
        k--;
    *(float *)o->scale.data = (float)ldexp(1, -k);
    for (int64_t r = 0; r < S; r++)
        for (int64_t c = 0; c < C; c++) {
            double v = r < R ? value_to_round(o, r, c) : 0;
            int code = nearest_code(o->format, ldexp(fabs(v), k)) | (signbit(v) ? 0x80 : 0);
            if (codes && r < R) codes[r * C + c] = (uint8_t)code;
            if (turned) turned[c * S + r] = (uint8_t)code;
        }
    ref_sums(o);
}

void ref_activate(device *dev, int stream, const activate_op *o)
{
    (void)dev, (void)stream;
    for (int64_t r = 0; r < tensor_rows(o->x); r++)
        for (int64_t i = 0; i < tensor_cols(o->x); i++)
            *ref_at(o->out, r, i) = ref_act(o->act, *ref_at(o->x, r, i));
}

void ref_linear_dx(device *dev, int stream, const linear_dx_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->dout), N = tensor_rows(o->w), K = tensor_cols(o->w);
    for (int64_t r = 0; r < R; r++)
        for (int64_t k = 0; k < K; k++) {
            double sum = o->accumulate ? *ref_at(o->dx, r, k) : 0;
            for (int64_t n = 0; n < N; n++)
                sum += *ref_at(o->dout, r, n) * *ref_at(o->w, n, k);
            if (present(o->pre)) sum *= ref_act_grad(o->act, *ref_at(o->pre, r, k));
            *ref_at(o->dx, r, k) = sum;
        }
}

void ref_linear_dw(device *dev, int stream, const linear_dw_op *o)
{
    (void)dev, (void)stream;
    int64_t R = tensor_rows(o->dout), N = tensor_cols(o->dout);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t k = 0; present(o->dw.t) && k < tensor_cols(o->dw.t); k++) {
            double sum = o->dw.accumulate ? *ref_at(o->dw.t, n, k) : 0;
            for (int64_t r = 0; r < R; r++)
                sum += *ref_at(o->dout, r, n) * *ref_at(o->x, r, k);
            *ref_at(o->dw.t, n, k) = sum;
        }
        if (!present(o->db.t)) continue;
        double sum = o->db.accumulate ? *ref_at(o->db.t, 0, n) : 0;
        for (int64_t r = 0; r < R; r++)
            sum += *ref_at(o->dout, r, n);
        *ref_at(o->db.t, 0, n) = sum;
    }
}

/* ---- attention ---- */

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* What ALiBi takes from the score of head h with the key `distance` tokens back. */
static double lean(bool alibi, int64_t heads, int64_t h, int64_t distance)
{
    return alibi ? alibi_slope(heads, h) * (double)distance : 0;
}

/* The D numbers of head `head` of the token (b,t): x is (B,T,heads*D). */
static double *head_of(tensor x, int64_t b, int64_t t, int64_t head, int64_t D)
{
    return (double *)x.data + (b * x.dim[1] + t) * x.ld + head * D;
}

static double capped(double x, double cap)
{
    return cap > 0 ? cap * tanh(x / cap) : x;
}

static double score(const attention_op *o, const double *q, int64_t b, int64_t h, int64_t i,
                    int64_t j)
{
    int64_t D = tensor_cols(o->out) / o->heads, kv = h / (o->heads / o->kv_heads);
    return capped(o->scale * dot(q, head_of(o->qkv, b, j, o->heads + kv, D), D), o->cap) -
           lean(o->alibi, o->heads, h, i - j);
}

/* The first token that token i of sequence b sees. */
static int64_t first_seen(tensor starts, int64_t window, int64_t b, int64_t i)
{
    int64_t first = window && i >= window ? i - window + 1 : 0,
            start = present(starts) ? ((const int32_t *)starts.data)[b * starts.dim[1] + i] : 0;
    return start > first ? start : first;
}

void ref_attention(device *dev, int stream, const attention_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->qkv.dim[0], T = o->qkv.dim[1], H = o->heads, KV = o->kv_heads;
    int64_t D = tensor_cols(o->out) / H;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < T; i++) {
                int64_t kv = h / (H / KV), last = o->causal ? i : T - 1;
                int64_t first = first_seen(o->starts, o->window, b, i);
                const double *q = head_of(o->qkv, b, i, h, D);
                double *out = head_of(o->out, b, i, h, D), max = -INFINITY, sum = 0;
                for (int64_t j = first; j <= last; j++)
                    max = fmax(max, score(o, q, b, h, i, j));
                for (int64_t j = first; j <= last; j++)
                    sum += exp(score(o, q, b, h, i, j) - max);
                double lse = max + log(sum);
                ((double *)o->lse.data)[(b * H + h) * T + i] = lse;
                for (int64_t d = 0; d < D; d++)
                    out[d] = 0;
                for (int64_t j = first; j <= last; j++) {
                    double p = exp(score(o, q, b, h, i, j) - lse);
                    for (int64_t d = 0; d < D; d++)
                        out[d] += p * head_of(o->qkv, b, j, H + KV + kv, D)[d];
                }
            }
}

void ref_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t B = o->qkv.dim[0], T = o->qkv.dim[1], H = o->heads, KV = o->kv_heads;
    int64_t D = tensor_cols(o->out) / H;
    for (int64_t i = 0; i < tensor_count(o->dqkv); i++)
        ((double *)o->dqkv.data)[i] = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < T; i++) {
                int64_t kv = h / (H / KV), last = o->causal ? i : T - 1;
                int64_t first = first_seen(o->starts, o->window, b, i);
                const double *q = head_of(o->qkv, b, i, h, D);
                const double *dout = head_of(o->dout, b, i, h, D);
                double lse = ((const double *)o->lse.data)[(b * H + h) * T + i];
                double r = dot(dout, head_of(o->out, b, i, h, D), D);
                for (int64_t j = first; j <= last; j++) {
                    const double *k = head_of(o->qkv, b, j, H + kv, D);
                    const double *v = head_of(o->qkv, b, j, H + KV + kv, D);
                    double s = capped(o->scale * dot(q, k, D), o->cap);
                    double p = exp(s - lean(o->alibi, H, h, i - j) - lse);
                    double ds = p * (dot(dout, v, D) - r) * o->scale;
                    if (o->cap > 0) ds *= 1 - pow(s / o->cap, 2);
                    for (int64_t d = 0; d < D; d++) {
                        head_of(o->dqkv, b, i, h, D)[d] += ds * k[d];
                        head_of(o->dqkv, b, j, H + kv, D)[d] += ds * q[d];
                        head_of(o->dqkv, b, j, H + KV + kv, D)[d] += p * dout[d];
                    }
                }
            }
}

/* Row `at` of head kv of sequence b in a cache (B,KV,P,D). */
static double *cached(tensor x, int64_t b, int64_t kv, int64_t at)
{
    return (double *)x.data + ((b * x.dim[1] + kv) * x.dim[2] + at) * x.dim[3];
}

static void store_in_cache(const attention_cached_op *o, int64_t b, int64_t i)
{
    int64_t H = o->heads, KV = o->keys.dim[1], D = o->keys.dim[3];
    for (int64_t kv = 0; kv < KV; kv++)
        for (int64_t d = 0; d < D; d++) {
            cached(o->keys, b, kv, o->position + i)[d] = head_of(o->qkv, b, i, H + kv, D)[d];
            cached(o->values, b, kv, o->position + i)[d] = head_of(o->qkv, b, i, H + KV + kv, D)[d];
        }
}

static double cached_score(const attention_cached_op *o, const double *q, int64_t b, int64_t h,
                           int64_t i, int64_t j)
{
    int64_t KV = o->keys.dim[1], D = o->keys.dim[3], kv = h / (o->heads / KV);
    return capped(o->scale * dot(q, cached(o->keys, b, kv, j), D), o->cap) -
           lean(o->alibi, o->heads, h, o->position + i - j);
}

static void attend_to_cache(const attention_cached_op *o, int64_t b, int64_t h, int64_t i)
{
    int64_t KV = o->keys.dim[1], D = o->keys.dim[3], kv = h / (o->heads / KV);
    const double *q = head_of(o->qkv, b, i, h, D);
    double *out = head_of(o->out, b, i, h, D), max = -INFINITY, sum = 0;
    int64_t first = first_seen((tensor){0}, o->window, 0, o->position + i);
    for (int64_t j = first; j <= o->position + i; j++)
        max = fmax(max, cached_score(o, q, b, h, i, j));
    for (int64_t j = first; j <= o->position + i; j++)
        sum += exp(cached_score(o, q, b, h, i, j) - max);
    for (int64_t d = 0; d < D; d++)
        out[d] = 0;
    for (int64_t j = first; j <= o->position + i; j++) {
        double p = exp(cached_score(o, q, b, h, i, j) - max) / sum;
        for (int64_t d = 0; d < D; d++)
            out[d] += p * cached(o->values, b, kv, j)[d];
    }
}

void ref_attention_cached(device *dev, int stream, const attention_cached_op *o)
{
    (void)dev, (void)stream;
    for (int64_t b = 0; b < o->qkv.dim[0]; b++)
        for (int64_t i = 0; i < o->qkv.dim[1]; i++) {
            store_in_cache(o, b, i);
            for (int64_t h = 0; h < o->heads; h++)
                attend_to_cache(o, b, h, i);
        }
}
