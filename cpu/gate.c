/* gate.c - gated activations: out = act(g) * u, and the gradients of g and u, in place.
 *
 *      x  | g g g g | u u u u |  a row        ->  out  | act(g) u |
 *
 * One pass over memory; threads share the rows.
 */
#include "cpu/cpu_internal.h"
#include "cpu/vector.h"

/* The computation on each number of a row, for one activation. */
#define FORWARD(f)                                                                                 \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                            \
        store(type, out, i, f(load(type, x, i)) * load(type, x, n + i))
#define BACKWARD(f)                                                                                \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                            \
    {                                                                                              \
        float g = load(type, x, i), u = load(type, x, n + i), d = load(type, dout, i);             \
        store(type, x, i, d *u *f##_grad(g));                                                      \
        store(type, x, n + i, d * f(g));                                                           \
    }

ROW_FN void gate_row(activation act, int64_t n, const void *x, void *out, int type)
{
    FOR_ACTIVATION(act, FORWARD);
}

ROW_FN void gate_grad_row(activation act, int64_t n, void *x, const void *dout, int type)
{
    FOR_ACTIVATION(act, BACKWARD);
}

CPU_EACH_ROW(gate, x,
             gate_row(o->act, tensor_cols(o->out), element_at(o->x, r, 0), element_at(o->out, r, 0),
                      TYPE))

CPU_EACH_ROW(gate_grad, x,
             gate_grad_row(o->act, tensor_cols(o->dout), element_at(o->x, r, 0),
                           element_at(o->dout, r, 0), TYPE))
