/* cudnn_graph.c - attention as cuDNN graphs; see cudnn.h.
 *
 * Forward, (B,H,T,.); tensors that have no name in cudnn.h are virtual, never in memory:
 *
 *     q, k^T -> product -> * scale -> [row >= column ? it : lowest] -> s
 *     s -> max over columns -> s - max -> exp -> e;  e -> sum over columns -> log, + max -> lse
 *     e / sum -> p (16 bits);  p, v -> product -> out
 *
 * Backward:
 *
 *     dout * out -> sum over columns -> * one -> dots
 *     s as above, - lse -> exp -> p;  p^T, dout -> product -> dv
 *     dout, v^T -> product -> - dots -> * p -> * scale -> ds (16 bits)
 *     ds^T, q -> product -> dk;  ds, k -> product -> dq
 *
 * dq's last product is accumulated in float by atomic additions, in `sums`, and then rounded; or,
 * to be repeatable, goes to dq directly, for which the engine keeps all of ds in its workspace.
 * Transposed matrices are the same memory with strides exchanged; q, k and v are parts of one
 * tensor.  The engines recognize these graphs by their form (that of NVIDIA's cudnn-frontend).
 */
#include "cuda/cudnn.h"

#include <stdio.h>
#include <string.h>

typedef cudnnBackendDescriptor_t descriptor;

typedef struct {
    const cudnn_library *l;
    cudnnHandle_t handle;  /* or */
    const char *described; /* a GPU */
    const cudnn_shape *s;
    cudnn_plan *p;
    error *failure;
    descriptor ops[32];
    int n_ops;
    int64_t next_id;
    int64_t inner[4], wide[4], row[4], one[4];                            /* dims */
    int64_t in_qkv[4], in_out[4], across[4], down[4], by_row[4], flat[4]; /* distances */
} builder;

/* ---- calls, of which the first that fails is kept ---- */

static error *refusal(const builder *b, cudnnStatus_t status, const char *what)
{
    char why[600] = "";
    b->l->GetLastErrorString(why, sizeof why);
    why[strcspn(why, "\n")] = 0;
    return user_error("cuDNN does not take %s: %s (%s)", what, b->l->GetErrorString(status), why);
}

static void check_status(builder *b, cudnnStatus_t status, const char *what)
{
    if (status != CUDNN_STATUS_SUCCESS && !b->failure) b->failure = refusal(b, status, what);
}

static descriptor make(builder *b, cudnnBackendDescriptorType_t type)
{
    descriptor d = NULL;
    if (b->p->n == CUDNN_DESCRIPTORS && !b->failure)
        b->failure = internal_error("a graph of more than %d parts", CUDNN_DESCRIPTORS);
    if (b->failure) return NULL;
    check_status(b, b->l->BackendCreateDescriptor(type, &d), "a descriptor");
    if (d) b->p->all[b->p->n++] = d;
    return d;
}

static void set(builder *b, descriptor d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    if (b->failure) return;
    char what[40];
    snprintf(what, sizeof what, "attribute %d", (int)name);
    check_status(b, b->l->BackendSetAttribute(d, name, type, n, values), what);
}

static void set_part(builder *b, descriptor d, cudnnBackendAttributeName_t name, descriptor part)
{
    set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part);
}

static void finalize(builder *b, descriptor d, const char *what)
{
    if (!b->failure) check_status(b, b->l->BackendFinalize(d), what);
}

/* ---- tensors ---- */

static descriptor any_tensor(builder *b, int64_t id, cudnnDataType_t type, const int64_t dims[4],
                             const int64_t distances[4], bool is_virtual, bool is_number)
{
    descriptor d = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    int64_t alignment = 16;
    set(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(b, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, distances);
    set(b, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    if (is_number) set(b, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &is_number);
    finalize(b, d, "a tensor of this shape");
    return d;
}

static descriptor named(builder *b, int id, cudnnDataType_t type, const int64_t dims[4],
                        const int64_t distances[4])
{
    return any_tensor(b, id, type, dims, distances, false, false);
}

static descriptor scalar(builder *b, int id)
{
    return any_tensor(b, id, CUDNN_DATA_FLOAT, b->one, b->one, false, true);
}

/* (B,H,T,T), and (B,H,T,1) */
static descriptor scores(builder *b, cudnnDataType_t type)
{
    return any_tensor(b, b->next_id++, type, b->wide, b->across, true, false);
}
static descriptor column(builder *b)
{
    return any_tensor(b, b->next_id++, CUDNN_DATA_FLOAT, b->row, b->by_row, true, false);
}

/* ---- operations ---- */

static void append_operation(builder *b, descriptor op, const char *what)
{
    finalize(b, op, what);
    if (!b->failure) b->ops[b->n_ops++] = op;
}

static descriptor product(builder *b, descriptor x, descriptor y, descriptor out)
{
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    descriptor how = make(b, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(b, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finalize(b, how, "a product");
    descriptor op = make(b, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_part(b, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, x);
    set_part(b, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, y);
    set_part(b, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, out);
    set_part(b, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    append_operation(b, op, "a product of these tensors");
    return out;
}

/* axis: of GEN_INDEX, else -1; y, t: ? */
static descriptor pointwise(builder *b, cudnnPointwiseMode_t mode, int64_t axis, descriptor x,
                            descriptor y, descriptor t, descriptor out)
{
    cudnnDataType_t type = mode == CUDNN_POINTWISE_CMP_GE ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
    descriptor how = make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(b, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(b, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    if (axis >= 0) set(b, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
    finalize(b, how, "a pointwise operation");
    descriptor op = make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_part(b, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_part(b, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (y) set_part(b, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, y);
    if (t) set_part(b, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    set_part(b, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
    append_operation(b, op, "a pointwise operation on these tensors");
    return out;
}

static descriptor apply(builder *b, cudnnPointwiseMode_t mode, descriptor x, descriptor y,
                        descriptor out)
{
    return pointwise(b, mode, -1, x, y, NULL, out);
}

static descriptor reduce(builder *b, cudnnReduceTensorOp_t what, descriptor x, descriptor out)
{
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    descriptor how = make(b, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(b, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &what);
    set(b, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    finalize(b, how, "a reduction");
    descriptor op = make(b, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_part(b, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    set_part(b, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_part(b, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, out);
    append_operation(b, op, "a reduction of these tensors");
    return out;
}

static descriptor transposed(builder *b, descriptor x, descriptor out)
{
    descriptor op = make(b, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_part(b, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_part(b, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, out);
    append_operation(b, op, "a transposed tensor");
    return out;
}

/* x where a row sees a column, else the lowest float; x itself if it sees all. */
static descriptor hide(builder *b, descriptor x)
{
    if (!b->s->causal) return x;
    descriptor lowest = scalar(b, CUDNN_LOWEST), row = scores(b, CUDNN_DATA_INT32),
               col = scores(b, CUDNN_DATA_INT32), seen = scores(b, CUDNN_DATA_BOOLEAN);
    pointwise(b, CUDNN_POINTWISE_GEN_INDEX, 2, x, NULL, NULL, row);
    pointwise(b, CUDNN_POINTWISE_GEN_INDEX, 3, x, NULL, NULL, col);
    apply(b, CUDNN_POINTWISE_CMP_GE, row, col, seen);
    return pointwise(b, CUDNN_POINTWISE_BINARY_SELECT, -1, x, lowest, seen,
                     scores(b, CUDNN_DATA_FLOAT));
}

/* ---- the graphs ---- */

static void build_forward(builder *b)
{
    const int64_t turned[4] = {b->inner[0], b->inner[1], b->inner[3], b->inner[2]};
    const int64_t turned_in_qkv[4] = {b->in_qkv[0], b->in_qkv[1], b->in_qkv[3], b->in_qkv[2]};
    cudnnDataType_t type = b->s->type, f = CUDNN_DATA_FLOAT;
    descriptor q = named(b, CUDNN_Q, type, b->inner, b->in_qkv),
               k = named(b, CUDNN_K, type, turned, turned_in_qkv),
               v = named(b, CUDNN_V, type, b->inner, b->in_qkv),
               out = named(b, CUDNN_OUT, type, b->inner, b->in_out),
               lse = named(b, CUDNN_LSE, f, b->row, b->by_row);
    descriptor s = product(b, q, k, scores(b, f));
    s = apply(b, CUDNN_POINTWISE_MUL, s, scalar(b, CUDNN_SCALE), scores(b, f));
    s = hide(b, s);
    descriptor max = reduce(b, CUDNN_REDUCE_TENSOR_MAX, s, column(b));
    descriptor e = apply(b, CUDNN_POINTWISE_SUB, s, max, scores(b, f));
    e = apply(b, CUDNN_POINTWISE_EXP, e, NULL, scores(b, f));
    descriptor sum = reduce(b, CUDNN_REDUCE_TENSOR_ADD, e, column(b));
    descriptor log = apply(b, CUDNN_POINTWISE_LOG, sum, NULL, column(b));
    apply(b, CUDNN_POINTWISE_ADD, max, log, lse);
    product(b, apply(b, CUDNN_POINTWISE_DIV, e, sum, scores(b, type)), v, out);
}

static void build_backward(builder *b)
{
    const int64_t turned[4] = {b->inner[0], b->inner[1], b->inner[3], b->inner[2]};
    const int64_t turned_in_qkv[4] = {b->in_qkv[0], b->in_qkv[1], b->in_qkv[3], b->in_qkv[2]};
    cudnnDataType_t type = b->s->type, f = CUDNN_DATA_FLOAT;
    descriptor q = named(b, CUDNN_Q, type, b->inner, b->in_qkv),
               k = named(b, CUDNN_K, type, turned, turned_in_qkv),
               v = named(b, CUDNN_V, type, turned, turned_in_qkv),
               out = named(b, CUDNN_OUT, type, b->inner, b->in_out),
               dout = named(b, CUDNN_DOUT, type, b->inner, b->in_out),
               lse = named(b, CUDNN_LSE, f, b->row, b->by_row),
               dots = named(b, CUDNN_DOTS, f, b->row, b->by_row),
               dq = named(b, CUDNN_DQ, type, b->inner, b->in_qkv),
               dk = named(b, CUDNN_DK, type, b->inner, b->in_qkv),
               dv = named(b, CUDNN_DV, type, b->inner, b->in_qkv);
    descriptor scale = scalar(b, CUDNN_SCALE);
    descriptor d = apply(b, CUDNN_POINTWISE_MUL, dout, out,
                         any_tensor(b, b->next_id++, f, b->inner, b->in_out, true, false));
    d = reduce(b, CUDNN_REDUCE_TENSOR_ADD, d, column(b));
    apply(b, CUDNN_POINTWISE_MUL, d, scalar(b, CUDNN_ONE), dots);

    descriptor s = product(b, q, k, scores(b, f));
    s = apply(b, CUDNN_POINTWISE_MUL, s, scale, scores(b, f));
    s = hide(b, apply(b, CUDNN_POINTWISE_SUB, s, lse, scores(b, f)));
    descriptor p = apply(b, CUDNN_POINTWISE_EXP, s, NULL, scores(b, f));
    descriptor turned_p = any_tensor(b, b->next_id++, type, b->wide, b->down, true, false);
    product(b, transposed(b, p, turned_p), dout, dv);

    descriptor ds = product(b, dout, v, scores(b, f));
    ds = apply(b, CUDNN_POINTWISE_SUB, ds, dots, scores(b, f));
    ds = apply(b, CUDNN_POINTWISE_MUL, ds, p, scores(b, f));
    ds = apply(b, CUDNN_POINTWISE_MUL, ds, scale, scores(b, type));
    descriptor turned_ds = any_tensor(b, b->next_id++, type, b->wide, b->down, true, false);
    product(b, transposed(b, ds, turned_ds), q, dk);

    descriptor k_again = any_tensor(b, b->next_id++, type, b->inner, b->in_qkv, true, false);
    transposed(b, k, k_again);
    if (b->s->repeatable) {
        product(b, ds, k_again, dq);
        return;
    }
    descriptor sums = named(b, CUDNN_SUMS, f, b->inner, b->flat);
    apply(b, CUDNN_POINTWISE_IDENTITY, product(b, ds, k_again, sums), NULL, dq);
}

static builder builder_begin(const cudnn_library *l, cudnnHandle_t handle, const char *described,
                             const cudnn_shape *s, cudnn_plan *p)
{
    int64_t h = s->heads, t = s->length, d = s->size;
    return (builder){.l = l,
                     .handle = handle,
                     .described = described,
                     .s = s,
                     .p = p,
                     .next_id = 100,
                     .inner = {s->batch, h, t, d},
                     .wide = {s->batch, h, t, t},
                     .row = {s->batch, h, t, 1},
                     .one = {1, 1, 1, 1},
                     .in_qkv = {3 * t * h * d, d, 3 * h * d, 1},
                     .in_out = {t * h * d, d, h * d, 1},
                     .flat = {t * h * d, t * d, d, 1},
                     .across = {h * t * t, t * t, t, 1},
                     .down = {h * t * t, t * t, 1, t},
                     .by_row = {h * t, t, 1, 1}};
}

/* ---- engines ---- */

static void set_handle(builder *b, descriptor d, cudnnBackendAttributeName_t name)
{
    if (b->handle) set(b, d, name, CUDNN_TYPE_HANDLE, 1, &b->handle);
}

static descriptor described_device(builder *b)
{
    descriptor d = make(b, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        (int64_t)strlen(b->described), b->described);
    finalize(b, d, "this description of a device");
    return d;
}

static int64_t get_number(builder *b, descriptor d, cudnnBackendAttributeName_t name)
{
    int64_t n = 0, value = -1;
    if (!b->failure)
        check_status(b, b->l->BackendGetAttribute(d, name, CUDNN_TYPE_INT64, 1, &n, &value),
                     "a question for a number");
    return value;
}

static int engine_of(builder *b, descriptor config)
{
    int64_t n = 0;
    descriptor engine = make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (!b->failure)
        check_status(b,
                     b->l->BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine),
                     "a question for the engine");
    return (int)get_number(b, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
}

/* Engines that accept the graph, best first; returns how many. */
enum { MOST_ENGINES = 16 };
static int64_t list_engines(builder *b, descriptor config[MOST_ENGINES])
{
    cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    int64_t n = 0;
    descriptor graph = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, b->n_ops, b->ops);
    set_handle(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
    finalize(b, graph, "this attention");
    descriptor heuristic = make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_part(b, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(b, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!b->handle) set_part(b, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, described_device(b));
    finalize(b, heuristic, "this attention on this GPU");
    for (int i = 0; i < MOST_ENGINES; i++)
        config[i] = make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!b->failure)
        check_status(b,
                     b->l->BackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_ENGINES, &n,
                                               config),
                     "a question for engines");
    return b->failure ? 0 : n < MOST_ENGINES ? n : MOST_ENGINES;
}

/* Builds an engine for the handle's GPU.  *why: the library's reason if it fails. */
static void make_ready(builder *b, descriptor config, size_t budget, error **why)
{
    descriptor plan = make(b, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_handle(b, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
    set_part(b, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (b->failure) return;
    cudnnStatus_t status = b->l->BackendFinalize(plan);
    if (status == CUDNN_STATUS_SUCCESS) {
        int64_t bytes = get_number(b, plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
        if (!b->failure && bytes >= 0 && (size_t)bytes <= budget) b->p->ready = plan;
        return;
    }
    error_free(*why);
    *why = refusal(b, status, "this attention on this GPU");
}

static error *no_engine(const builder *b, int64_t least, size_t budget)
{
    const cudnn_shape *s = b->s;
    if (least > (int64_t)budget)
        return user_error("cuDNN's attention wants %lld bytes of workspace, planned are %zu",
                          (long long)least, budget);
    return user_error("cuDNN has no engine for attention of %lld heads of %lld, length %lld, on "
                      "this GPU",
                      (long long)s->heads, (long long)s->size, (long long)s->length);
}

static void choose(builder *b, size_t budget)
{
    descriptor config[MOST_ENGINES];
    int64_t n = list_engines(b, config), least = -1;
    error *why = NULL;
    for (int64_t i = 0; i < n && !b->failure; i++) {
        int64_t bytes = get_number(b, config[i], CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE);
        if (b->failure || bytes < 0) continue;
        if (least < 0 || bytes < least) least = bytes;
        if ((size_t)bytes > budget) continue;
        if (b->handle) make_ready(b, config[i], budget, &why);
        if (b->handle && !b->p->ready) continue;
        b->p->workspace = bytes;
        b->p->engine = engine_of(b, config[i]);
        break;
    }
    if (b->p->engine < 0 && !b->failure) {
        b->failure = why ? why : no_engine(b, least, budget);
        why = NULL;
    }
    error_free(why);
}

error *cudnn_plan_make(const cudnn_library *l, cudnnHandle_t handle, const char *described,
                       const cudnn_shape *of, size_t budget, cudnn_plan *out)
{
    *out = (cudnn_plan){.engine = -1};
    builder b = builder_begin(l, handle, described, of, out);
    if (of->backward)
        build_backward(&b);
    else
        build_forward(&b);
    choose(&b, budget);
    if (b.failure) cudnn_plan_free(l, out);
    return b.failure;
}

void cudnn_plan_free(const cudnn_library *l, cudnn_plan *p)
{
    while (p->n > 0)
        l->BackendDestroyDescriptor(p->all[--p->n]);
    *p = (cudnn_plan){.engine = -1};
}
