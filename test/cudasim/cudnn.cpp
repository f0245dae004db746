/* cudnn.cpp - cuDNN's graphs on the CPU: descriptors, engines, plans, and a plan's execution
 * (cudnn_graph.cpp).
 *
 *     set, finalize ... -> graph -> engines 0, 1, 2 -> plan -> execute: onto the handle's stream
 *
 * Of three engines the first wants more workspace than anybody has, the second cannot be made
 * ready, the third runs: whoever asks must go through them.  Stricter than the library where that
 * finds mistakes: an attribute of another type or number, set twice, or after the end; parts that
 * are destroyed before what is made of them; shapes that do not fit; a tensor that is read before
 * it is written, or written twice; ids in a call that are not those of the graph; memory or a
 * workspace that is not there or not aligned.  The workspace is overwritten.  What the real library
 * accepts beyond this, it says itself (test/test_cudnn.c).
 */
#include "test/cudasim/cudnn_parts.h"
#include "test/cudasim/queue.h"
#include "test/cudasim/runtime.h"
extern "C" {
#include "cuda/cudnn.h"
}

#include <algorithm>
#include <stdarg.h>
#include <stdio.h>

struct cudnnContext {
    cudaStream_t stream;
};

namespace cudnn_sim
{

std::set<const descriptor *> alive;

} // namespace cudnn_sim

using namespace cudnn_sim;

namespace
{

enum { ENGINES = 3, TOO_MUCH = 0, NOT_READY = 1, TILE = 128, EXTRA = 128, FORWARD = 256 };

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
