/* cudnn.c - attention and its gradient by cuDNN; see cudnn.h and cuda_kind.c.
 *
 *     attention ---> shape ---> cached plan? --no--> cudnn_plan_make (seconds: kernels are compiled)
 *                                   |
 *                 tensors by id, workspace ---> cudnnBackendExecute on the stream
 *
 * A training step has one shape forward and one backward, whose plans are made in the first step,
 * which is not captured.  The library is loaded then, too: a run with the device's own kernels
 * never loads it. Nothing is allocated on the device but what cuDNN takes from the driver for its
 * kernels.
 */
#include "cuda/cudnn.h"
#include "cuda/cuda_internal.h"

#include <float.h>
#include <stdlib.h>

enum { CACHED = 16, FIRST_BROKEN = 91000, LAST_BROKEN = 91001 };

typedef struct {
    cudnn_shape of;
    size_t budget;
    cudnn_plan plan;
} cached_plan;

struct cudnn_state {
    cudnn_library lib;
    cudnnHandle_t handle;
    cached_plan cached[CACHED];
    int64_t made; /* ever; the oldest is replaced */
};

static bool cudnn_ok(device *dev, const cudnn_library *l, cudnnStatus_t status, const char *call,
                     int line)
{
    char why[600] = "";
    if (status == CUDNN_STATUS_SUCCESS) return true;
    l->GetLastErrorString(why, sizeof why);
    device_fail(dev, internal_error_at(__FILE__, line, "cuDNN: %s: %s: %s", call,
                                       l->GetErrorString(status), why));
    return false;
}
#define CUDNN_OK(dev, x, call) cudnn_ok(dev, &(x)->lib, (x)->lib.call, #call, __LINE__)

/* ---- the library ---- */

static error *open_library(struct cudnn_state *x)
{
    TRY(cudnn_load(&x->lib));
    size_t version = x->lib.GetVersion();
    if (version >= FIRST_BROKEN && version <= LAST_BROKEN)
        return user_error(
            "cuDNN %zu.%zu.%zu computes attention wrongly (its release notes): install "
            "another version, or use --attention flash",
            version / 10000, version / 100 % 100, version % 100);
    cudnnStatus_t status = x->lib.Create(&x->handle);
    if (status)
        return user_error("cuDNN does not start: %s; use --attention flash",
                          x->lib.GetErrorString(status));
    return NULL;
}

/* Loads it on first use; NULL after a failure. */
static struct cudnn_state *cudnn_of(device *dev)
{
    cuda_state *s = cuda_state_of(dev);
    if (s->cudnn) return s->cudnn;
    error *e = alloc_array(&s->cudnn, 1, sizeof *s->cudnn);
    if (!e) e = open_library(s->cudnn);
    if (!e) return s->cudnn;
    device_fail(dev, e);
    cuda_close_cudnn(dev);
    return NULL;
}

error *cuda_try_cudnn(device *dev)
{
    return cudnn_of(dev) ? NULL : device_status(dev);
}

void cuda_close_cudnn(device *dev)
{
    struct cudnn_state *x = cuda_state_of(dev)->cudnn;
    if (!x) return;
    for (int64_t i = 0; i < x->made && i < CACHED; i++)
        cudnn_plan_free(&x->lib, &x->cached[i].plan);
    if (x->handle) x->lib.Destroy(x->handle);
    cudnn_unload(&x->lib);
    free(x);
    cuda_state_of(dev)->cudnn = NULL;
}

/* ---- plans ---- */

static bool same_shape(const cudnn_shape *a, const cudnn_shape *b)
{
    return a->batch == b->batch && a->heads == b->heads && a->length == b->length &&
           a->size == b->size && a->type == b->type && a->causal == b->causal &&
           a->backward == b->backward && a->repeatable == b->repeatable;
}

/* The plan for a shape, made now if there is none yet; NULL after a failure. */
static const cudnn_plan *plan_for(device *dev, struct cudnn_state *x, const cudnn_shape *of,
                                  size_t budget)
{
    for (int64_t i = 0; i < x->made && i < CACHED; i++)
        if (same_shape(&x->cached[i].of, of) && x->cached[i].budget == budget)
            return &x->cached[i].plan;
    cudnn_plan plan;
    error *e = cudnn_plan_make(&x->lib, x->handle, NULL, of, budget, &plan);
    if (e) {
        device_fail(dev, user_error("%s: use --attention flash", error_text(e)));
        error_free(e);
        return NULL;
    }
    cached_plan *slot = &x->cached[x->made++ % CACHED];
    if (x->made > CACHED) cudnn_plan_free(&x->lib, &slot->plan);
    *slot = (cached_plan){.of = *of, .budget = budget, .plan = plan};
    return &slot->plan;
}

/* ---- calls ---- */

/* The tensors of a call by their ids; NULL: not of this graph. */
typedef struct {
    void *at[CUDNN_NAMED];
} operands;

static bool describe_call(device *dev, struct cudnn_state *x, cudnnBackendDescriptor_t pack,
                          const operands *o, void *workspace)
{
    int64_t ids[CUDNN_NAMED], n = 0;
    void *at[CUDNN_NAMED];
    for (int id = 1; id < CUDNN_NAMED; id++) {
        if (!o->at[id]) continue;
        ids[n] = id;
        at[n++] = o->at[id];
    }
    return CUDNN_OK(dev, x,
                    BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
                                        n, ids)) &&
           CUDNN_OK(dev, x,
                    BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                        CUDNN_TYPE_VOID_PTR, n, at)) &&
           CUDNN_OK(dev, x,
                    BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                        CUDNN_TYPE_VOID_PTR, 1, &workspace)) &&
           CUDNN_OK(dev, x, BackendFinalize(pack));
}

/* A plan for another batch may be in the cache: its shape is its whole key. */
static void execute(device *dev, int stream, const cudnn_shape *of, size_t budget,
                    const operands *o, void *workspace)
{
    struct cudnn_state *x = cudnn_of(dev);
    const cudnn_plan *plan = x ? plan_for(dev, x, of, budget) : NULL;
    cudnnBackendDescriptor_t pack = NULL;
    if (!plan || !CUDNN_OK(dev, x, SetStream(x->handle, cuda_stream(dev, stream)))) return;
    if (!CUDNN_OK(dev, x, BackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack)))
        return;
    if (describe_call(dev, x, pack, o, workspace))
        CUDNN_OK(dev, x, BackendExecute(x->handle, plan->ready, pack));
    x->lib.BackendDestroyDescriptor(pack);
}

static cudnn_shape shape_of(tensor out, int64_t heads, bool causal, int method, bool backward)
{
    return (cudnn_shape){.batch = out.dim[0],
                         .heads = heads,
                         .length = out.dim[1],
                         .size = tensor_cols(out) / heads,
                         .type = CUDNN_DATA_BFLOAT16,
                         .causal = causal,
                         .backward = backward,
                         .repeatable = backward && method == CUDA_ATTENTION_CUDNN_REPEATABLE};
}

static size_t budget_of(int method, const cudnn_shape *s)
{
    attention_sizes sizes = {
        .batch = s->batch, .heads = s->heads, .length = s->length, .head_size = s->size};
    return (size_t)cuda_engine_room(method, &sizes, s->backward);
}

/* q, k and v (or their gradients) in a tensor (B,T,3*H*D) of bf16. */
static void find_heads(const cudnn_shape *s, void *qkv, void *at[3])
{
    for (int i = 0; i < 3; i++)
        at[i] = (char *)qkv + i * s->heads * s->size * (int64_t)dtype_size(BF16);
}

static bool taken(device *dev, tensor qkv, int64_t heads, int64_t kv_heads, bool alibi,
                  tensor starts)
{
    if (qkv.type == BF16 && heads == kv_heads && !alibi && !present(starts)) return true;
    device_fail(dev,
                internal_error("cuDNN's attention is for bf16, without shared key heads, ALiBi "
                               "or documents"));
    return false;
}

void cuda_cudnn_attention(device *dev, int stream, const attention_op *o)
{
    if (!taken(dev, o->qkv, o->heads, o->kv_heads, o->alibi, o->starts)) return;
    cudnn_shape s = shape_of(o->out, o->heads, o->causal, o->method, false);
    float scale = (float)o->scale, lowest = -FLT_MAX;
    operands x = {.at = {[CUDNN_OUT] = o->out.data,
                         [CUDNN_LSE] = o->lse.data,
                         [CUDNN_SCALE] = &scale,
                         [CUDNN_LOWEST] = s.causal ? &lowest : NULL}};
    find_heads(&s, o->qkv.data, &x.at[CUDNN_Q]);
    execute(dev, stream, &s, budget_of(o->method, &s), &x, o->workspace.data);
}

void cuda_cudnn_attention_grad(device *dev, int stream, const attention_grad_op *o)
{
    if (!taken(dev, o->qkv, o->heads, o->kv_heads, o->alibi, o->starts)) return;
    cudnn_shape s = shape_of(o->out, o->heads, o->causal, o->method, true);
    size_t budget = budget_of(o->method, &s);
    float scale = (float)o->scale, lowest = -FLT_MAX, one = 1;
    operands x = {.at = {[CUDNN_OUT] = o->out.data,
                         [CUDNN_LSE] = o->lse.data,
                         [CUDNN_SCALE] = &scale,
                         [CUDNN_LOWEST] = s.causal ? &lowest : NULL,
                         [CUDNN_ONE] = &one,
                         [CUDNN_DOUT] = o->dout.data,
                         [CUDNN_DOTS] = o->scratch.data,
                         [CUDNN_SUMS] = s.repeatable ? NULL : (char *)o->workspace.data + budget}};
    find_heads(&s, o->qkv.data, &x.at[CUDNN_Q]);
    find_heads(&s, o->dqkv.data, &x.at[CUDNN_DQ]);
    execute(dev, stream, &s, budget, &x, o->workspace.data);
}
