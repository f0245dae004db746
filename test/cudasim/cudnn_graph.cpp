/* cudnn_graph.cpp - a graph of cuDNN's, computed operation by operation in double, each tensor
 * rounded to its type; see cudnn.cpp. */
#include "test/cudasim/cudnn_parts.h"
#include "test/cudasim/runtime.h"
#include "base/bf16.h"

#include <string.h>

namespace cudnn_sim
{

/* ---- what an operation reads and writes ---- */

accesses accesses_of(const descriptor *op)
{
    static const int matmul[] = {CUDNN_ATTR_OPERATION_MATMUL_ADESC,
                                 CUDNN_ATTR_OPERATION_MATMUL_BDESC, -1,
                                 CUDNN_ATTR_OPERATION_MATMUL_CDESC},
                     pointwise[] = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                    CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                    CUDNN_ATTR_OPERATION_POINTWISE_TDESC,
                                    CUDNN_ATTR_OPERATION_POINTWISE_YDESC},
                     reduction[] = {CUDNN_ATTR_OPERATION_REDUCTION_XDESC, -1, -1,
                                    CUDNN_ATTR_OPERATION_REDUCTION_YDESC},
                     reshape[] = {CUDNN_ATTR_OPERATION_RESHAPE_XDESC, -1, -1,
                                  CUDNN_ATTR_OPERATION_RESHAPE_YDESC};
    const int *names = op->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR      ? matmul
                       : op->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR ? pointwise
                       : op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR ? reduction
                                                                                  : reshape;
    accesses a = {{}, part(op, names[3])};
    for (int i = 0; i < 3; i++)
        if (names[i] >= 0 && part(op, names[i])) a.read.push_back(part(op, names[i]));
    if (a.read.empty() || !a.written) emu_die("cuDNN: an operation lacks a tensor");
    return a;
}

std::vector<const descriptor *> operations(const descriptor *graph)
{
    const attribute &all = graph->has.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
    const descriptor *const *op = (const descriptor *const *)all.bytes.data();
    return {op, op + all.n};
}

std::map<int64_t, named> named_tensors(const descriptor *graph)
{
    std::map<int64_t, named> all;
    auto add = [&](const descriptor *t, bool written) {
        if (is_virtual(t)) return;
        named &n = all[get<int64_t>(t, CUDNN_ATTR_TENSOR_UNIQUE_ID)];
        if (n.t && n.t != t) emu_die("cuDNN: two tensors have one id");
        n = {t, n.written || written};
    };
    for (const descriptor *op : operations(graph)) {
        accesses a = accesses_of(op);
        for (const descriptor *t : a.read)
            add(t, false);
        add(a.written, true);
    }
    return all;
}

/* ---- a graph, computed ---- */

struct values {
    std::vector<double> x; /* (B,H,rows,cols), whatever the distances */
};
typedef std::map<const descriptor *, values> memory;

double rounded(double x, int type)
{
    return type == CUDNN_DATA_BFLOAT16  ? (double)float_of_bf16(bf16_of_float((float)x))
           : type == CUDNN_DATA_INT32   ? (double)(int)x
           : type == CUDNN_DATA_BOOLEAN ? (double)(x != 0)
                                        : (double)(float)x;
}

/* The elements of a matrix (b,h) of a tensor, broadcast along dimensions of 1. */
struct view {
    const double *x;
    int64_t down, right;
    view(const memory &m, const descriptor *t, int64_t b, int64_t h)
    {
        auto i = m.find(t);
        if (i == m.end()) emu_die("cuDNN: a tensor is read before it is written");
        const int64_t *n = dims(t);
        b = n[0] == 1 ? 0 : b, h = n[1] == 1 ? 0 : h;
        x = &i->second.x[(size_t)((b * n[1] + h) * n[2] * n[3])];
        down = n[2] == 1 ? 0 : n[3];
        right = n[3] == 1 ? 0 : 1;
    }
    double at(int64_t i, int64_t j) const { return x[i * down + j * right]; }
};

double apply(int mode, double x, double y, double t, int64_t index)
{
    switch (mode) {
    case CUDNN_POINTWISE_ADD:
        return x + y;
    case CUDNN_POINTWISE_MUL:
        return x * y;
    case CUDNN_POINTWISE_DIV:
        return x / y;
    case CUDNN_POINTWISE_SUB:
        return x - y;
    case CUDNN_POINTWISE_EXP:
        return exp(x);
    case CUDNN_POINTWISE_LOG:
        return log(x);
    case CUDNN_POINTWISE_IDENTITY:
        return x;
    case CUDNN_POINTWISE_CMP_GE:
        return x >= y;
    case CUDNN_POINTWISE_GEN_INDEX:
        return (double)index;
    default: /* CUDNN_POINTWISE_BINARY_SELECT */
        return t != 0 ? x : y;
    }
}

double point(const descriptor *op, const view *in, size_t n, int64_t i, int64_t j)
{
    const descriptor *how = part(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    int mode = get<int>(how, CUDNN_ATTR_POINTWISE_MODE);
    int64_t index = mode != CUDNN_POINTWISE_GEN_INDEX                   ? 0
                    : get<int64_t>(how, CUDNN_ATTR_POINTWISE_AXIS) == 2 ? i
                                                                        : j;
    return apply(mode, in[0].at(i, j), n > 1 ? in[1].at(i, j) : (double)NAN,
                 n > 2 ? in[2].at(i, j) : (double)NAN, index);
}

double product(const view *in, int64_t inner, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < inner; k++)
        sum += in[0].at(i, k) * in[1].at(k, j);
    return sum;
}

double reduced(const descriptor *op, const view *in, int64_t cols, int64_t i)
{
    bool max = get<int>(part(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC),
                        CUDNN_ATTR_REDUCTION_OPERATOR) == CUDNN_REDUCE_TENSOR_MAX;
    double r = max ? -(double)INFINITY : 0;
    for (int64_t k = 0; k < cols; k++)
        r = max ? fmax(r, in[0].at(i, k)) : r + in[0].at(i, k);
    return r;
}

/* Do the shapes fit?  A reshape is here always a transposition. */
void must_fit(const descriptor *op, const accesses &a)
{
    const int64_t *x = dims(a.read[0]), *out = dims(a.written);
    bool ok = true;
    if (op->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) {
        const int64_t *y = dims(a.read[1]);
        ok = x[3] == y[2] && x[2] == out[2] && y[3] == out[3];
    } else if (op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) {
        ok = out[3] == 1 && x[2] == out[2];
    } else if (op->type == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR) {
        const int64_t *from = strides(a.read[0]), *to = strides(a.written);
        ok = x[2] == out[3] && x[3] == out[2] && from[2] == to[3] && from[3] == to[2];
    } else {
        for (const descriptor *t : a.read)
            for (int i = 0; i < 4; i++)
                ok = ok && (dims(t)[i] == 1 || dims(t)[i] == out[i]);
    }
    if (!ok) emu_die("cuDNN: shapes of an operation do not fit");
}

void compute(const descriptor *op, memory &m)
{
    accesses a = accesses_of(op);
    must_fit(op, a);
    if (m.count(a.written)) emu_die("cuDNN: a tensor is written twice");
    const int64_t *n = dims(a.written), *first = dims(a.read[0]);
    int type = get<int>(a.written, CUDNN_ATTR_TENSOR_DATA_TYPE);
    std::vector<double> out;
    out.reserve((size_t)(n[0] * n[1] * n[2] * n[3]));
    for (int64_t b = 0; b < n[0]; b++)
        for (int64_t h = 0; h < n[1]; h++) {
            std::vector<view> in;
            for (const descriptor *t : a.read)
                in.push_back(view(m, t, b, h));
            for (int64_t i = 0; i < n[2]; i++)
                for (int64_t j = 0; j < n[3]; j++) {
                    double r = op->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR
                                   ? product(in.data(), first[3], i, j)
                               : op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR
                                   ? reduced(op, in.data(), first[3], i)
                               : op->type == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR
                                   ? in[0].at(j, i)
                                   : point(op, in.data(), in.size(), i, j);
                    out.push_back(rounded(r, type));
                }
        }
    m[a.written].x = out;
}

/* Calls each(index into values, address) for the elements of a tensor in memory. */
template <class F> void each_element(const descriptor *t, void *at, F each)
{
    const int64_t *n = dims(t), *to = strides(t);
    int type = get<int>(t, CUDNN_ATTR_TENSOR_DATA_TYPE);
    int64_t bytes = type == CUDNN_DATA_BFLOAT16 ? 2 : 4;
    int64_t last =
        (n[0] - 1) * to[0] + (n[1] - 1) * to[1] + (n[2] - 1) * to[2] + (n[3] - 1) * to[3];
    if (!emu_may_touch(at, (size_t)((last + 1) * bytes)))
        emu_die("cuDNN: tensor %d leaves its memory",
                (int)get<int64_t>(t, CUDNN_ATTR_TENSOR_UNIQUE_ID));
    size_t index = 0;
    for (int64_t b = 0; b < n[0]; b++)
        for (int64_t h = 0; h < n[1]; h++)
            for (int64_t i = 0; i < n[2]; i++)
                for (int64_t j = 0; j < n[3]; j++)
                    each(index++,
                         (char *)at + (b * to[0] + h * to[1] + i * to[2] + j * to[3]) * bytes);
}

void load(const descriptor *t, void *at, memory &m)
{
    bool narrow = get<int>(t, CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16;
    std::vector<double> &x = m[t].x;
    each_element(t, at, [&](size_t, char *p) {
        x.push_back(narrow ? (double)float_of_bf16(*(uint16_t *)p) : (double)*(float *)p);
    });
}

void store(const descriptor *t, void *at, const memory &m)
{
    bool narrow = get<int>(t, CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16;
    const std::vector<double> &x = m.at(t).x;
    each_element(t, at, [&](size_t i, char *p) {
        if (narrow)
            *(uint16_t *)p = bf16_of_float((float)x[i]);
        else
            *(float *)p = (float)x[i];
    });
}

/* ---- a call ---- */

void run(const call &c)
{
    memory m;
    if (c.bytes && (!emu_may_touch(c.workspace, c.bytes) || (uintptr_t)c.workspace % 16))
        emu_die("cuDNN: the workspace is not there, or not aligned");
    memset(c.workspace, 0xff, c.bytes);
    for (auto &i : named_tensors(c.graph)) {
        const named &n = i.second;
        if (is_number(n.t))
            m[n.t].x = {c.number.at(i.first)};
        else if (!n.written)
            load(n.t, c.at.at(i.first), m);
    }
    for (const descriptor *op : operations(c.graph))
        compute(op, m);
    for (auto &i : named_tensors(c.graph))
        if (i.second.written) store(i.second.t, c.at.at(i.first), m);
}

} // namespace cudnn_sim
