/* test_cudnn.c - cuDNN's graphs of attention, without a GPU.
 *
 *   accepted   the real library, on the toolkit's stub of a driver, is told what an H100, an A100 and a
 *              B200 are (their properties as JSON) and says which engines take the graphs of GPT and
 *              ViT.  What it must refuse is refused.
 *   computed   a library of our own (below) takes the same calls, notes the graph, and computes it in
 *              double, operation by operation: the results are attention and its gradient.
 *
 * What stays open is what only a GPU can say: that the engines can be made ready and are right.
 */
#include "test/small_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef WITH_CUDNN
#include "cuda/cudnn.h"
#include "test/formula.h"
#include "test/ref.h"

#include <dlfcn.h>
#include <float.h>
#include <math.h>

/* ---- accepted ---- */

/* Data-sheet properties, in the words of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. */
#define GPU(version, bytes, sms, optin, ctas, pci, sm_khz, mem_khz, l2, name)                      \
    "{\"deviceVer\": " version                                                                     \
    ", \"driverVer\": 13000, \"cudaDeviceId\": 0, \"totalGlobalMem\": " bytes                      \
    ", \"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], "          \
    "\"regsPerBlock\": 65536, \"multiProcessorCount\": " sms ", \"warpSize\": 32, "                \
    "\"maxSharedMemoryPerBlock\": 49152, \"maxSharedMemoryPerBlockOptin\": " optin ", "            \
    "\"reservedSharedMemoryPerBlock\": 1024, \"maxRegistersPerSM\": 65536, "                       \
    "\"maxCtasPerSM\": " ctas ", \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, "        \
    "\"pciDeviceId\": " pci ", \"isTccDriver\": 0, \"supportCoopLaunch\": 1, "                     \
    "\"smClockRateKHz\": " sm_khz ", \"memClockRateKHz\": " mem_khz ", \"l2CacheSize\": " l2 ", "  \
    "\"deviceName\": \"" name "\"}"

static const struct {
    const char *name, *json;
} gpus[] = {
    {"H100", GPU("900", "85029158912", "132", "232448", "32", "9008", "1980000", "2619000",
                 "52428800", "NVIDIA H100 80GB HBM3")},
    {"A100", GPU("800", "85029158912", "108", "166912", "32", "8370", "1410000", "1593000",
                 "41943040", "NVIDIA A100-SXM4-80GB")},
    {"B200", GPU("1000", "85029158912", "148", "232448", "32", "10497", "1980000", "2619000",
                 "132644864", "NVIDIA B200")},
};
enum { GPUS = sizeof gpus / sizeof *gpus };

/* Of GPT at T = 1024 and ViT-B/16 and /32 at 224 x 224; other heads; an odd length. */
static const cudnn_shape used[] = {
    {.batch = 8, .heads = 12, .length = 1024, .size = 64, .causal = true},
    {.batch = 8, .heads = 12, .length = 197, .size = 64},
    {.batch = 8, .heads = 12, .length = 50, .size = 64},
    {.batch = 4, .heads = 16, .length = 1024, .size = 64, .causal = true},
    {.batch = 2, .heads = 32, .length = 2048, .size = 128, .causal = true},
    {.batch = 2, .heads = 16, .length = 197, .size = 80},
    {.batch = 1, .heads = 3, .length = 77, .size = 64, .causal = true},
};

/* The library, on the toolkit's stub of a driver; skips the test if one of them is not here. */
static cudnn_library real_library(void)
{
    cudnn_library l;
    /* by its name it is the driver's library from here on; where there is a driver, that is as good */
    void *stub = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!stub) stub = dlopen(CUDA_LIBRARIES "stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL);
    error *e = cudnn_load(&l);
    if (stub && !e) return l;
    printf("skip cuDNN on described GPUs: %s\n", e ? error_text(e) : "the toolkit has no stub");
    error_free(e);
    skip();
    return l;
}

/* Bytes that a plan may want: of a row of T and of D numbers for each query, and a little more. */
static size_t budget_of(const cudnn_shape *s)
{
    size_t rows = (size_t)(s->batch * s->heads), t = (size_t)(s->length + 127) / 128 * 128;
    if (!s->backward) return 4096;
    return rows * t * (s->repeatable ? t * 2 : (size_t)s->size * 4) + 4096;
}

static void test_accepted(void **state)
{
    (void)state;
    cudnn_library l = real_library();
    for (int g = 0; g < GPUS; g++)
        for (size_t i = 0; i < sizeof used / sizeof *used; i++)
            for (int form = 0; form < 3; form++) {
                cudnn_shape s = used[i];
                cudnn_plan p;
                s.type = CUDNN_DATA_BFLOAT16;
                s.backward = form > 0;
                s.repeatable = form == 2;
                error *e = cudnn_plan_make(&l, gpus[g].json, &s, budget_of(&s), &p);
                if (e)
                    fail_msg("%s, B %d H %d T %d D %d, form %d: %s", gpus[g].name, (int)s.batch,
                             (int)s.heads, (int)s.length, (int)s.size, form, error_text(e));
                assert_true(p.workspace >= 0 && p.engine >= 0);
                cudnn_plan_free(&l, &p);
            }
    cudnn_unload(&l);
}

/* It can say no: to a type and to shapes that its engines do not have, to a GPU that is too old, to
 * nonsense for a description; and we do, to a workspace that was not planned. */
static void test_refused(void **state)
{
    (void)state;
    cudnn_library l = real_library();
    const cudnn_shape good = {.batch = 8,
                              .heads = 12,
                              .length = 1024,
                              .size = 64,
                              .type = CUDNN_DATA_BFLOAT16,
                              .causal = true,
                              .backward = true};
    cudnn_shape odd = good, wide = good, exact = good, cells = good;
    odd.size = 63;
    wide.size = 512;
    exact.type = CUDNN_DATA_DOUBLE;
    cells.repeatable = true;
    const struct {
        const char *what, *json;
        cudnn_shape s;
        size_t budget;
    } cases[] = {
        {"heads of 63", gpus[0].json, odd, 1u << 30},
        {"heads of 512", gpus[0].json, wide, 1u << 30},
        {"double", gpus[0].json, exact, 1u << 30},
        {"a V100",
         GPU("700", "85029158912", "80", "98304", "32", "1", "1530000", "877000", "6291456",
             "NVIDIA V100"),
         good, 1u << 30},
        {"no JSON", "a very fast GPU", good, 1u << 30},
        {"T x T in a small workspace", gpus[0].json, cells, 1u << 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cudnn_plan p;
        error *e = cudnn_plan_make(&l, cases[i].json, &cases[i].s, cases[i].budget, &p);
        if (!e) fail_msg("%s is not refused", cases[i].what);
        assert_non_null(strstr(error_text(e), "cuDNN"));
        error_free(e);
    }
    cudnn_unload(&l);
}

/* ---- computed: a library that notes what it is told and does it in double ---- */

enum { MOST_ATTRIBUTES = 12, MOST_NUMBERS = 40 };

typedef struct {
    cudnnBackendAttributeName_t name;
    int64_t n;
    union {
        int64_t whole[4];
        int word[4];
        bool flag;
        void *part[MOST_NUMBERS];
    };
} attribute;

typedef struct {
    cudnnBackendDescriptorType_t type;
    attribute has[MOST_ATTRIBUTES];
    int n;
    double *values; /* of a tensor, (B,H,rows,cols) whatever its distances */
    bool final;
} note;

static size_t size_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_INT64:
        return sizeof(int64_t);
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
        return sizeof(void *);
    default:
        return sizeof(int);
    }
}

static cudnnStatus_t our_create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out)
{
    note *x = calloc(1, sizeof *x);
    assert_non_null(x);
    x->type = type;
    *out = x;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t our_destroy(cudnnBackendDescriptor_t d)
{
    free(((note *)d)->values);
    free(d);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t our_set(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    note *x = d;
    assert_false(x->final);
    assert_true(x->n < MOST_ATTRIBUTES && n >= 0 && n <= MOST_NUMBERS);
    assert_true((size_t)n * size_of(type) <= sizeof x->has[0].part);
    attribute *a = &x->has[x->n++];
    a->name = name;
    a->n = n;
    memcpy(a->part, values, (size_t)n * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t our_finalize(cudnnBackendDescriptor_t d)
{
    ((note *)d)->final = true;
    return CUDNN_STATUS_SUCCESS;
}

/* One engine, number 7, which wants 1000 bytes. */
static cudnnStatus_t our_get(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                             cudnnBackendAttributeType_t type, int64_t most, int64_t *n, void *out)
{
    (void)d, (void)most;
    *n = 1;
    if (type == CUDNN_TYPE_INT64)
        *(int64_t *)out = name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX ? 7 : 1000;
    return CUDNN_STATUS_SUCCESS;
}

static const attribute *find(const note *x, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < x->n; i++)
        if (x->has[i].name == name) return &x->has[i];
    return NULL;
}

static note *part(const note *x, cudnnBackendAttributeName_t name)
{
    const attribute *a = find(x, name);
    return a ? a->part[0] : NULL;
}

static const int64_t *dims_of(const note *t)
{
    return find(t, CUDNN_ATTR_TENSOR_DIMENSIONS)->whole;
}

static int64_t id_of(const note *t)
{
    return find(t, CUDNN_ATTR_TENSOR_UNIQUE_ID)->whole[0];
}

/* Element (b,h,i,j), broadcast along dimensions of 1. */
static double *at(const note *t, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t *n = dims_of(t);
    if (!t->values) fail_msg("tensor %d is read before it is written", (int)id_of(t));
    b = n[0] == 1 ? 0 : b, h = n[1] == 1 ? 0 : h, i = n[2] == 1 ? 0 : i, j = n[3] == 1 ? 0 : j;
    return &t->values[((b * n[1] + h) * n[2] + i) * n[3] + j];
}

static void give_values(note *t)
{
    const int64_t *n = dims_of(t);
    assert_null(t->values); /* written once */
    t->values = calloc((size_t)(n[0] * n[1] * n[2] * n[3]), sizeof(double));
    assert_non_null(t->values);
}

#define EACH(t)                                                                                    \
    for (int64_t b = 0; b < dims_of(t)[0]; b++)                                                    \
        for (int64_t h = 0; h < dims_of(t)[1]; h++)                                                \
            for (int64_t i = 0; i < dims_of(t)[2]; i++)                                            \
                for (int64_t j = 0; j < dims_of(t)[3]; j++)

static void do_product(const note *op)
{
    const note *x = part(op, CUDNN_ATTR_OPERATION_MATMUL_ADESC),
               *y = part(op, CUDNN_ATTR_OPERATION_MATMUL_BDESC);
    note *out = part(op, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    assert_int_equal(dims_of(x)[3], dims_of(y)[2]);
    assert_int_equal(dims_of(x)[2], dims_of(out)[2]);
    assert_int_equal(dims_of(y)[3], dims_of(out)[3]);
    give_values(out);
    EACH(out)
    for (int64_t k = 0; k < dims_of(x)[3]; k++)
        *at(out, b, h, i, j) += *at(x, b, h, i, k) * *at(y, b, h, k, j);
}

static void do_pointwise(const note *op)
{
    const note *how = part(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR),
               *x = part(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
               *y = part(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
               *t = part(op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    note *out = part(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    int mode = find(how, CUDNN_ATTR_POINTWISE_MODE)->word[0];
    const attribute *axis = find(how, CUDNN_ATTR_POINTWISE_AXIS);
    give_values(out);
    EACH(out)
    {
        double u = *at(x, b, h, i, j), v = y ? *at(y, b, h, i, j) : (double)NAN, r = NAN;
        if (mode == CUDNN_POINTWISE_MUL) r = u * v;
        if (mode == CUDNN_POINTWISE_ADD) r = u + v;
        if (mode == CUDNN_POINTWISE_SUB) r = u - v;
        if (mode == CUDNN_POINTWISE_DIV) r = u / v;
        if (mode == CUDNN_POINTWISE_EXP) r = exp(u);
        if (mode == CUDNN_POINTWISE_LOG) r = log(u);
        if (mode == CUDNN_POINTWISE_IDENTITY) r = u;
        if (mode == CUDNN_POINTWISE_CMP_GE) r = u >= v;
        if (mode == CUDNN_POINTWISE_BINARY_SELECT) r = *at(t, b, h, i, j) != 0 ? u : v;
        if (mode == CUDNN_POINTWISE_GEN_INDEX) r = (double)(axis->whole[0] == 2 ? i : j);
        *at(out, b, h, i, j) = r;
    }
}

static void do_reduction(const note *op)
{
    const note *how = part(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC),
               *x = part(op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
    note *out = part(op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    bool max = find(how, CUDNN_ATTR_REDUCTION_OPERATOR)->word[0] == CUDNN_REDUCE_TENSOR_MAX;
    assert_int_equal(dims_of(out)[3], 1);
    give_values(out);
    EACH(out)
    {
        double r = max ? (double)-INFINITY : 0;
        for (int64_t k = 0; k < dims_of(x)[3]; k++)
            r = max ? fmax(r, *at(x, b, h, i, k)) : r + *at(x, b, h, i, k);
        *at(out, b, h, i, j) = r;
    }
}

/* Here always a transposition. */
static void do_reshape(const note *op)
{
    const note *x = part(op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
    note *out = part(op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    give_values(out);
    const int64_t *from = find(x, CUDNN_ATTR_TENSOR_STRIDES)->whole,
                  *to = find(out, CUDNN_ATTR_TENSOR_STRIDES)->whole;
    /* the same memory, seen by other distances */
    assert_true(from[2] == to[3] && from[3] == to[2]);
    EACH(out) * at(out, b, h, i, j) = *at(x, b, h, j, i);
}

enum {
    B = 2,
    H = 3,
    T = 5,
    D = 8,
    IN_QKV = B * T * 3 * H * D,
    IN_OUT = B * T * H * D,
    ROWS = B * H * T
};

/* Memory of the graph's named tensors, all in double. */
typedef struct {
    double qkv[IN_QKV], dqkv[IN_QKV], out[IN_OUT], dout[IN_OUT], lse[ROWS], dots[ROWS],
        sums[IN_OUT];
    double scale, lowest, one;
} memory;

static double *place_of(memory *m, int64_t id)
{
    double *const places[CUDNN_NAMED] = {
        [CUDNN_Q] = m->qkv,          [CUDNN_K] = m->qkv + H * D,   [CUDNN_V] = m->qkv + 2 * H * D,
        [CUDNN_DQ] = m->dqkv,        [CUDNN_DK] = m->dqkv + H * D, [CUDNN_DV] = m->dqkv + 2 * H * D,
        [CUDNN_OUT] = m->out,        [CUDNN_DOUT] = m->dout,       [CUDNN_LSE] = m->lse,
        [CUDNN_DOTS] = m->dots,      [CUDNN_SUMS] = m->sums,       [CUDNN_SCALE] = &m->scale,
        [CUDNN_LOWEST] = &m->lowest, [CUDNN_ONE] = &m->one};
    assert_true(id > 0 && id < CUDNN_NAMED);
    return places[id];
}

/* From memory to the tensors that no operation writes, or back from all that have memory. */
static void carry(const cudnn_plan *p, memory *m, const note *graph, bool back)
{
    for (int which = 0; which < p->n; which++) {
        note *t = p->all[which];
        if (t->type != CUDNN_BACKEND_TENSOR_DESCRIPTOR ||
            find(t, CUDNN_ATTR_TENSOR_IS_VIRTUAL)->flag)
            continue;
        bool written = false;
        const attribute *ops = find(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
        for (int64_t k = 0; k < ops->n; k++) {
            const note *op = ops->part[k];
            written = written || part(op, CUDNN_ATTR_OPERATION_MATMUL_CDESC) == t ||
                      part(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC) == t ||
                      part(op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC) == t;
        }
        if (written != back) continue;
        const int64_t *to = find(t, CUDNN_ATTR_TENSOR_STRIDES)->whole;
        double *place = place_of(m, id_of(t));
        if (!back) give_values(t);
        EACH(t)
        {
            double *there = &place[b * to[0] + h * to[1] + i * to[2] + j * to[3]];
            if (back)
                *there = *at(t, b, h, i, j);
            else
                *at(t, b, h, i, j) = *there;
        }
    }
}

static void compute(const cudnn_shape *s, memory *m)
{
    const cudnn_library ours = {.BackendCreateDescriptor = our_create,
                                .BackendDestroyDescriptor = our_destroy,
                                .BackendSetAttribute = our_set,
                                .BackendGetAttribute = our_get,
                                .BackendFinalize = our_finalize};
    cudnn_plan p;
    const note *graph = NULL;
    must(cudnn_plan_make(&ours, "", s, 1000, &p));
    assert_int_equal(p.workspace, 1000);
    assert_int_equal(p.engine, 7);
    for (int i = 0; i < p.n; i++)
        if (((note *)p.all[i])->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) graph = p.all[i];
    assert_non_null(graph);
    carry(&p, m, graph, false);
    const attribute *ops = find(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    for (int64_t k = 0; k < ops->n; k++) {
        const note *op = ops->part[k];
        if (op->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) do_product(op);
        if (op->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) do_pointwise(op);
        if (op->type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) do_reduction(op);
        if (op->type == CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR) do_reshape(op);
    }
    carry(&p, m, graph, true);
    cudnn_plan_free(&ours, &p);
}

static void near(const char *what, const double *got, const double *want, int n)
{
    for (int i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) < 1e-12 * (1 + fabs(want[i]))))
            fail_msg("%s[%d] is %.17g, not %.17g", what, i, got[i], want[i]);
}

/* Both graphs against the reference's attention, causal and not, in both forms of the gradient. */
static void test_computed(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        static memory m, want;
        cudnn_shape s = {
            .batch = B, .heads = H, .length = T, .size = D, .type = CUDNN_DATA_BFLOAT16};
        s.causal = form % 2;
        s.repeatable = form / 2;
        m = (memory){.scale = 0.35, .lowest = -FLT_MAX, .one = 1};
        for (int i = 0; i < IN_QKV; i++)
            m.qkv[i] = (double)(formula_hash(7, (uint32_t)i) % 2001) / 500 - 2;
        for (int i = 0; i < IN_OUT; i++)
            m.dout[i] = (double)(formula_hash(8, (uint32_t)i) % 2001) / 1000 - 1;
        want = m;
        device ref = ref_device();
        tensor qkv = tensor_of(want.qkv, F64, SHAPE(B, T, 3 * H * D)),
               out = tensor_of(want.out, F64, SHAPE(B, T, H * D)),
               lse = tensor_of(want.lse, F64, SHAPE(B, H, T));
        OP(attention, &ref, STREAM_COMPUTE, .out = out, .lse = lse, .qkv = qkv, .heads = H,
           .kv_heads = H, .causal = s.causal, .scale = m.scale);
        OP(attention_grad, &ref, STREAM_COMPUTE,
           .dqkv = tensor_of(want.dqkv, F64, SHAPE(B, T, 3 * H * D)),
           .dout = tensor_of(want.dout, F64, SHAPE(B, T, H * D)), .out = out, .qkv = qkv,
           .lse = lse, .scratch = tensor_of(want.dots, F64, SHAPE(B, H, T)), .heads = H,
           .kv_heads = H, .causal = s.causal, .scale = m.scale);
        must(device_status(&ref));
        compute(&s, &m);
        near("out", m.out, want.out, IN_OUT);
        near("lse", m.lse, want.lse, ROWS);
        s.backward = true;
        compute(&s, &m);
        near("dqkv", m.dqkv, want.dqkv, IN_QKV);
    }
}

#else

static void test_absent(void **state)
{
    (void)state;
    printf("skip cuDNN's graphs: built without cudnn.h, or for the emulator\n");
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef WITH_CUDNN
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_computed),
#else
        cmocka_unit_test(test_absent),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
