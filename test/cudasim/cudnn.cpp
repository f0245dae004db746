/* cudnn.cpp - cuDNN's graphs on the CPU: descriptors, engines, plans, and a plan's execution,
 * operation by operation in double, each tensor rounded to its type.
 *
 *     set, finalize ... -> graph -> engines 0, 1, 2 -> plan -> execute: onto the handle's stream
 *
 * Of three engines the first wants more workspace than anybody has, the second cannot be made ready,
 * the third runs: whoever asks must go through them.  Stricter than the library where that finds
 * mistakes: an attribute of another type or number, set twice, or after the end; parts that are
 * destroyed before what is made of them; shapes that do not fit; a tensor that is read before it is
 * written, or written twice; ids in a call that are not those of the graph; memory or a workspace
 * that is not there or not aligned.  The workspace is overwritten.
 * What the real library accepts beyond this, it says itself (test/test_cudnn.c).
 */
#include "test/cudasim/emu.h"
#include "test/cudasim/runtime.h"
#include "core/bf16.h"
extern "C" {
#include "cuda/cudnn.h"
}

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vector>

struct cudnnContext {
    cudaStream_t stream;
};

namespace
{

enum { ENGINES = 3, TOO_MUCH = 0, NOT_READY = 1, TILE = 128, EXTRA = 128, FORWARD = 256 };

struct attribute {
    int type;
    int64_t n;
    std::vector<char> bytes;
};

struct descriptor {
    cudnnBackendDescriptorType_t type;
    std::map<int, attribute> has;
    bool final;
    int engine;             /* of an engine or its configuration */
    const descriptor *heur; /* of a configuration: what it came from */
};

std::set<const descriptor *> alive;
char last_error[200];
int calls;

cudnnStatus_t wrong(cudnnStatus_t status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(last_error, sizeof last_error, format, list);
    va_end(list);
    return status;
}

/* ---- attributes ---- */

size_t size_of(int type)
{
    switch (type) {
    case CUDNN_TYPE_CHAR:
        return 1;
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
        return sizeof(int64_t);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return sizeof(void *);
    default:
        return sizeof(int);
    }
}

/* The type that an attribute has, and how many of it (0: any number). */
struct form {
    int type;
    int64_t n;
};
form form_of(int name)
{
    switch (name) {
    case CUDNN_ATTR_TENSOR_DATA_TYPE:
    case CUDNN_ATTR_MATMUL_COMP_TYPE:
    case CUDNN_ATTR_POINTWISE_MATH_PREC:
    case CUDNN_ATTR_REDUCTION_COMP_TYPE:
        return {CUDNN_TYPE_DATA_TYPE, 1};
    case CUDNN_ATTR_TENSOR_DIMENSIONS:
    case CUDNN_ATTR_TENSOR_STRIDES:
        return {CUDNN_TYPE_INT64, 4};
    case CUDNN_ATTR_TENSOR_UNIQUE_ID:
    case CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT:
    case CUDNN_ATTR_POINTWISE_AXIS:
        return {CUDNN_TYPE_INT64, 1};
    case CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS:
        return {CUDNN_TYPE_INT64, 0};
    case CUDNN_ATTR_TENSOR_IS_VIRTUAL:
    case CUDNN_ATTR_TENSOR_IS_BY_VALUE:
        return {CUDNN_TYPE_BOOLEAN, 1};
    case CUDNN_ATTR_POINTWISE_MODE:
        return {CUDNN_TYPE_POINTWISE_MODE, 1};
    case CUDNN_ATTR_REDUCTION_OPERATOR:
        return {CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1};
    case CUDNN_ATTR_ENGINEHEUR_MODE:
        return {CUDNN_TYPE_HEUR_MODE, 1};
    case CUDNN_ATTR_OPERATIONGRAPH_HANDLE:
    case CUDNN_ATTR_EXECUTION_PLAN_HANDLE:
        return {CUDNN_TYPE_HANDLE, 1};
    case CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS:
        return {CUDNN_TYPE_VOID_PTR, 0};
    case CUDNN_ATTR_VARIANT_PACK_WORKSPACE:
        return {CUDNN_TYPE_VOID_PTR, 1};
    case CUDNN_ATTR_OPERATIONGRAPH_OPS:
        return {CUDNN_TYPE_BACKEND_DESCRIPTOR, 0};
    default:
        return {CUDNN_TYPE_BACKEND_DESCRIPTOR, 1};
    }
}

template <class T> const T *find(const descriptor *d, int name)
{
    if (!alive.count(d)) emu_die("cuDNN: a descriptor is used that was destroyed");
    auto i = d->has.find(name);
    return i == d->has.end() ? nullptr : (const T *)i->second.bytes.data();
}

template <class T> T get(const descriptor *d, int name)
{
    const T *x = find<T>(d, name);
    if (!x) emu_die("cuDNN: a descriptor of type %d has no attribute %d", d->type, name);
    return *x;
}

const descriptor *part(const descriptor *d, int name)
{
    const descriptor *const *x = find<const descriptor *>(d, name);
    return x ? *x : nullptr;
}

const int64_t *dims(const descriptor *t)
{
    return find<int64_t>(t, CUDNN_ATTR_TENSOR_DIMENSIONS);
}

const int64_t *strides(const descriptor *t)
{
    return find<int64_t>(t, CUDNN_ATTR_TENSOR_STRIDES);
}

bool flag(const descriptor *t, int name)
{
    const bool *x = find<bool>(t, name);
    return x && *x;
}

bool is_virtual(const descriptor *t)
{
    return flag(t, CUDNN_ATTR_TENSOR_IS_VIRTUAL);
}

bool is_number(const descriptor *t)
{
    return flag(t, CUDNN_ATTR_TENSOR_IS_BY_VALUE);
}

/* ---- what an operation reads and writes ---- */

struct accesses {
    std::vector<const descriptor *> read;
    const descriptor *written;
};

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

/* Tensors with memory, or numbers, by their ids; and whether they are written. */
struct named {
    const descriptor *t;
    bool written;
};
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

/* ---- engines ---- */

const descriptor *graph_of(const descriptor *config)
{
    return part(config->heur, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
}

/* The first operand of the graph's first product or sum: (B,H,T,D) */
const int64_t *sizes_of(const descriptor *graph)
{
    return dims(accesses_of(operations(graph)[0]).read[0]);
}

bool supported(const descriptor *graph)
{
    const int64_t *n = sizes_of(graph);
    for (auto &i : named_tensors(graph)) {
        int type = get<int>(i.second.t, CUDNN_ATTR_TENSOR_DATA_TYPE);
        if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_BFLOAT16) return false;
    }
    return n[3] % 8 == 0 && n[3] <= 128;
}

/* As the real engines have it: forward a little; backward a sum of dq, or all of ds. */
int64_t workspace_of(const descriptor *config)
{
    const descriptor *graph = graph_of(config);
    const int64_t *n = sizes_of(graph);
    int64_t t = (n[2] + TILE - 1) / TILE * TILE;
    bool backward = operations(graph)[0]->type != CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR;
    bool sums = false;
    for (auto &i : named_tensors(graph))
        sums = sums || (i.second.written && dims(i.second.t)[3] > 1 &&
                        get<int>(i.second.t, CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_FLOAT);
    if (config->engine == TOO_MUCH) return (int64_t)1 << 50;
    if (!backward) return FORWARD;
    return n[0] * n[1] * t * (sums ? 4 * n[3] : 2 * t) + EXTRA;
}

cudnnStatus_t list_engines(const descriptor *heur, int64_t most, int64_t *n, void *out)
{
    *n = 0;
    if (!supported(part(heur, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH))) return CUDNN_STATUS_SUCCESS;
    for (; *n < std::min(most, (int64_t)ENGINES); ++*n) {
        descriptor *config = ((descriptor **)out)[*n];
        config->engine = (int)*n;
        config->heur = heur;
        config->final = true;
    }
    return CUDNN_STATUS_SUCCESS;
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

struct call {
    const descriptor *graph;
    std::map<int64_t, void *> at;
    std::map<int64_t, float> number; /* taken when the call is made */
    void *workspace;
    size_t bytes;
};

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

} // namespace

/* ---- the library ---- */

const char *cudnnGetErrorString(cudnnStatus_t s)
{
    static const char *const names[] = {"CUDNN_STATUS_SUCCESS", "CUDNN_STATUS_BAD_PARAM",
                                        "CUDNN_STATUS_NOT_SUPPORTED"};
    return names[s];
}

void cudnnGetLastErrorString(char *message, size_t size)
{
    snprintf(message, size, "%s", last_error);
}

size_t cudnnGetVersion(void)
{
    return 91900;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *h)
{
    *h = new cudnnContext();
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t h)
{
    delete h;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s)
{
    h->stream = s;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *out)
{
    descriptor *d = new descriptor{type, {}, false, -1, nullptr};
    alive.insert(d);
    *out = d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    if (!alive.erase((descriptor *)d)) emu_die("cuDNN: a descriptor is destroyed twice");
    delete (descriptor *)d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t x, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n,
                                       const void *values)
{
    descriptor *d = (descriptor *)x;
    form f = form_of(name);
    if (d->final || d->has.count(name))
        return wrong(CUDNN_STATUS_BAD_PARAM, "attribute %d is set too late or twice", name);
    if (type != f.type || n < 1 || (f.n && n != f.n))
        return wrong(CUDNN_STATUS_BAD_PARAM, "attribute %d has another type or number", name);
    const descriptor *const *parts = (const descriptor *const *)values;
    for (int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < n; i++)
        if (!alive.count(parts[i]) || !parts[i]->final)
            return wrong(CUDNN_STATUS_BAD_PARAM, "attribute %d is not finalized", name);
    const char *bytes = (const char *)values;
    d->has[name] = {type, n, {bytes, bytes + (size_t)n * size_of(type)}};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t x,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t most, int64_t *n,
                                       void *out)
{
    const descriptor *d = (const descriptor *)x;
    if (!d->final) return wrong(CUDNN_STATUS_BAD_PARAM, "a question before finalizing");
    *n = 1;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        return list_engines(d, most, n, out);
    case CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE:
        *(int64_t *)out = workspace_of(d);
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)out = workspace_of(part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        (*(descriptor **)out)->engine = d->engine;
        (*(descriptor **)out)->final = true;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *(int64_t *)out = d->engine;
        return CUDNN_STATUS_SUCCESS;
    default:
        return wrong(CUDNN_STATUS_NOT_SUPPORTED, "attribute %d cannot be asked for", name);
    }
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t x)
{
    descriptor *d = (descriptor *)x;
    if (d->final) return wrong(CUDNN_STATUS_BAD_PARAM, "finalized twice");
    if (d->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR &&
        !find<cudnnHandle_t>(d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE))
        return wrong(CUDNN_STATUS_BAD_PARAM, "a graph without a handle");
    if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        if (!find<cudnnHandle_t>(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE))
            return wrong(CUDNN_STATUS_BAD_PARAM, "a plan without a handle");
        if (part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->engine <= NOT_READY)
            return wrong(CUDNN_STATUS_NOT_SUPPORTED, "this engine cannot be made ready");
    }
    d->final = true;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t x)
{
    const descriptor *config = part((descriptor *)plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG),
                     *pack = (descriptor *)x;
    const attribute &ids = pack->has.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS),
                    &places = pack->has.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    if (!pack->final || ids.n != places.n)
        return wrong(CUDNN_STATUS_BAD_PARAM, "as many ids as pointers");
    call c = {graph_of(config),
              {},
              {},
              get<void *>(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE),
              (size_t)workspace_of(config)};
    for (int64_t i = 0; i < ids.n; i++)
        c.at[((const int64_t *)ids.bytes.data())[i]] = ((void *const *)places.bytes.data())[i];
    auto wanted = named_tensors(c.graph);
    if (c.at.size() != wanted.size() || (int64_t)c.at.size() != ids.n)
        return wrong(CUDNN_STATUS_BAD_PARAM, "%zu ids, of %zu", c.at.size(), wanted.size());
    for (auto &i : wanted) {
        if (!c.at.count(i.first))
            return wrong(CUDNN_STATUS_BAD_PARAM, "no pointer for id %d", (int)i.first);
        void *p = c.at[i.first];
        int64_t align = get<int64_t>(i.second.t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
        if (is_number(i.second.t))
            c.number[i.first] = *(float *)p;
        else if ((uintptr_t)p % (uintptr_t)align)
            return wrong(CUDNN_STATUS_BAD_PARAM, "id %d is not aligned", (int)i.first);
    }
    calls++;
    emu_enqueue(h->stream, [=] { run(c); });
    return CUDNN_STATUS_SUCCESS;
}

int emu_cudnn_calls(void)
{
    return calls;
}

/* In place of cuda/cudnn_load.c. */
error *cudnn_load(cudnn_library *out)
{
#define CUDNN_TAKE(name) out->name = cudnn##name;
    CUDNN_FUNCTIONS(CUDNN_TAKE)
#undef CUDNN_TAKE
    return NULL;
}

void cudnn_unload(cudnn_library *l)
{
    *l = (cudnn_library){};
}
