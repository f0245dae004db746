/* gate.c - gated activations: out = act(g) * u, and the gradients of g and u, where these lie.
 *
 *      x  | g g g g | u u u u |  a row        ->  out  | act(g) u |
 *
 * One pass over memory; threads share the rows.
 */
#include "cpu/cpu_internal.h"
#include "cpu/vector.h"

/* What is done with each number of a row, for one activation. */
#define FORWARD(act)                                                                               \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                            \
        store(type, out, i, act(load(type, x, i)) * load(type, x, n + i));                         \
    return
#define BACKWARD(act)                                                                              \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                            \
    {                                                                                              \
        float g = load(type, x, i), u = load(type, x, n + i), d = load(type, dout, i);             \
        store(type, x, i, d *u *act##_grad(g));                                                    \
        store(type, x, n + i, d * act(g));                                                         \
    }                                                                                              \
    return

ROW_FN void gate_row(activation act, int64_t n, const void *x, void *out, int type)
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

ROW_FN void gate_grad_row(activation act, int64_t n, void *x, const void *dout, int type)
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

void cpu_gate(device *dev, int stream, const gate_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->out), n = tensor_cols(o->out);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++)
        FOR_WORKING_TYPE(o->x.type,
                         gate_row(o->act, n, place(o->x, r, 0), place(o->out, r, 0), TYPE));
}

void cpu_gate_grad(device *dev, int stream, const gate_grad_op *o)
{
    (void)stream;
    int64_t rows = tensor_rows(o->dout), n = tensor_cols(o->dout);
#pragma omp parallel for num_threads(dev->threads)
    for (int64_t r = 0; r < rows; r++)
        FOR_WORKING_TYPE(o->x.type,
                         gate_grad_row(o->act, n, place(o->x, r, 0), place(o->dout, r, 0), TYPE));
}
