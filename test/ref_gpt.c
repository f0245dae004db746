/* ref_gpt.c - the reference of what newer GPTs have: norms of heads, rotations, gates. */
#include "test/ref.h"

#include <math.h>

/* ---- norms of heads ---- */

static double head_rstd(const double *x, int64_t n, double eps)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    return 1 / sqrt(squares / (double)n + eps);
}

/* Where head h of a row begins; h may be one more than the last. */
static int64_t head_begins(int64_t first, tensor w1, tensor w2, int64_t h)
{
    int64_t D = tensor_count(w1), E = tensor_count(w2);
    return h < first ? h * D : first * D + (h - first) * E;
}

void ref_head_norm(device *dev, int stream, const head_norm_op *o)
{
    (void)dev, (void)stream;
    int64_t heads = o->first + o->second, normed = head_begins(o->first, o->w1, o->w2, heads);
    for (int64_t r = 0; r < tensor_rows(o->x); r++)
        for (int64_t h = 0; h < heads; h++) {
            tensor w = h < o->first ? o->w1 : o->w2;
            int64_t n = tensor_count(w), at = head_begins(o->first, o->w1, o->w2, h);
            double *x = ref_at(o->x, r, at), rstd = head_rstd(x, n, o->eps);
            for (int64_t i = 0; i < n; i++) {
                if (present(o->saved)) ((double *)o->saved.data)[r * normed + at + i] = x[i];
                x[i] *= rstd * (o->offset + *ref_at(w, 0, i));
            }
        }
}

static void clear(grad g)
{
    for (int64_t i = 0; present(g.t) && !g.accumulate && i < tensor_count(g.t); i++)
        *ref_at(g.t, 0, i) = 0;
}

void ref_head_norm_grad(device *dev, int stream, const head_norm_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t heads = o->first + o->second, normed = head_begins(o->first, o->w1, o->w2, heads);
    clear(o->dw1);
    clear(o->dw2);
    for (int64_t r = 0; r < tensor_rows(o->dx); r++)
        for (int64_t h = 0; h < heads; h++) {
            tensor w = h < o->first ? o->w1 : o->w2, dw = h < o->first ? o->dw1.t : o->dw2.t;
            int64_t n = tensor_count(w), at = head_begins(o->first, o->w1, o->w2, h);
            const double *x = (double *)o->saved.data + r * normed + at;
            double *dx = ref_at(o->dx, r, at), rstd = head_rstd(x, n, o->eps), avg = 0;
            for (int64_t i = 0; i < n; i++) {
                avg += dx[i] * (o->offset + *ref_at(w, 0, i)) * x[i] * rstd / (double)n;
                if (present(dw)) *ref_at(dw, 0, i) += dx[i] * x[i] * rstd;
            }
            for (int64_t i = 0; i < n; i++)
                dx[i] = rstd * (dx[i] * (o->offset + *ref_at(w, 0, i)) - x[i] * rstd * avg);
        }
}

/* ---- rotations ---- */

/* As transformers writes it: by wavelengths. */
static double ref_frequency(const rotary_op *o, double f)
{
    const rope_scaling *s = &o->scaling;
    double length = 2 * 3.14159265358979323846 / f;
    if (s->factor == 0) return f;
    if (s->high == 0 || length > s->context / s->low) return f / s->factor;
    if (length < s->context / s->high) return f;
    double smooth = (s->context / length - s->low) / (s->high - s->low);
    return (1 - smooth) * f / s->factor + smooth * f;
}

void ref_rotary(device *dev, int stream, const rotary_op *o)
{
    (void)dev, (void)stream;
    int64_t T = o->x.dim[1];
    for (int64_t r = 0; r < tensor_rows(o->x); r++)
        for (int64_t h = 0; h < o->heads; h++)
            for (int64_t i = 0; i < o->size / 2; i++) {
                double a = (double)(o->first_position + r % T) *
                           ref_frequency(o, pow(o->base, -2.0 * (double)i / (double)o->size));
                if (o->inverse) a = -a;
                double *head = ref_at(o->x, r, h * o->head);
                double *x = head + (o->interleaved ? 2 * i : i),
                       *y = head + (o->interleaved ? 2 * i + 1 : i + o->size / 2);
                double turned = *x * cos(a) - *y * sin(a);
                *y = *x * sin(a) + *y * cos(a);
                *x = turned;
            }
}

/* ---- gates ---- */

void ref_gate(device *dev, int stream, const gate_op *o)
{
    (void)dev, (void)stream;
    int64_t N = tensor_cols(o->out);
    for (int64_t r = 0; r < tensor_rows(o->out); r++)
        for (int64_t i = 0; i < N; i++)
            *ref_at(o->out, r, i) = ref_act(o->act, *ref_at(o->x, r, i)) * *ref_at(o->x, r, N + i);
}

void ref_gate_grad(device *dev, int stream, const gate_grad_op *o)
{
    (void)dev, (void)stream;
    int64_t N = tensor_cols(o->dout);
    for (int64_t r = 0; r < tensor_rows(o->dout); r++)
        for (int64_t i = 0; i < N; i++) {
            double *g = ref_at(o->x, r, i), *u = ref_at(o->x, r, N + i);
            double d = *ref_at(o->dout, r, i), act = ref_act(o->act, *g);
            *g = d * *u * ref_act_grad(o->act, *g);
            *u = d * act;
        }
}
