/* gate.c - gated activations: out = act(g) * u, and the gradients of g and u, where these lie.
 *
 *      x  | g g g g | u u u u |  a row        ->  out  | act(g) u |
 *
 * One pass over memory; threads share the rows.
 */
#include "cpu/internal.h"
#include "cpu/vector.h"

#define FORWARD(act)                                                                               \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) out[i] = act(g[i]) * u[i];                 \
    return

static void gate_row(activation act, int64_t n, const float *g, const float *u, float *out)
{
    switch (act) {
    case ACT_NONE:
        return;
    case ACT_GELU_TANH:
        FORWARD(gelu_tanh);
    case ACT_GELU_ERF:
        FORWARD(gelu_erf);
    case ACT_SILU:
        FORWARD(silu);
    }
}

void cpu_gate(device *dev, int stream, const gate_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->out), n = tensor_cols(o->out);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++)
        gate_row(o->act, n, row(o->x, r), row(o->x, r) + n, row(o->out, r));
}

#define BACKWARD(act)                                                                              \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                            \
    {                                                                                              \
        float x = g[i];                                                                            \
        g[i] = d[i] * u[i] * act##_grad(x);                                                        \
        u[i] = d[i] * act(x);                                                                      \
    }                                                                                              \
    return

static void gate_grad_row(activation act, int64_t n, float *g, float *u, const float *d)
{
    switch (act) {
    case ACT_NONE:
        return;
    case ACT_GELU_TANH:
        BACKWARD(gelu_tanh);
    case ACT_GELU_ERF:
        BACKWARD(gelu_erf);
    case ACT_SILU:
        BACKWARD(silu);
    }
}

void cpu_gate_grad(device *dev, int stream, const gate_grad_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->dout), n = tensor_cols(o->dout);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++)
        gate_grad_row(o->act, n, row(o->x, r), row(o->x, r) + n, row(o->dout, r));
}
