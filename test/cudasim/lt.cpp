/* lt.cpp - cublasLt on the CPU: descriptors, the heuristic, the product with its epilogue.
 *
 * Stricter than the library where that finds mistakes: an attribute of the wrong size, a leading
 * dimension that is too small, an algorithm that was found for another problem, an operand that
 * leaves its block of memory, alignment below what was promised; the workspace is overwritten.
 * Matrices are in column order, as the library's default has it.  What the real library accepts
 * beyond this was not tried here.
 *
 * And as unfaithful as the library is known to be:
 *   - of operands that do not begin on 16 bytes another algorithm makes the product: other bits;
 *   - of bf16 whose sides are odd there is no algorithm with a bias, or none at all; of other sizes
 *     that are no multiple of 8 the first algorithm is refused when it is to run (PyTorch's pull
 *     requests 91436 and 92201);
 *   - an epilogue reads its bias 16 bytes at a time, wherever it begins (194497): a fault;
 *   - unless it is forbidden, parts of a long sum are added in the output's type.
 */
#include "test/cudasim/emu.h"
#include "test/cudasim/queue.h"
#include "test/cudasim/runtime.h"
#include "base/fp8.h"
#include <cublasLt.h>
extern "C" {
#include "cuda/lt.h"
}

#include <stdlib.h>
#include <vector>

struct cudasim_desc {
    int transa, transb, epilogue;
    const void *bias, *aux;
    int64_t aux_ld;
    const float *scale_a, *scale_b; /* of operands in 8 bits */
};

/* Bits of an epilogue. */
enum { ADDS_BIAS = 4, DGELU = 64, HAS_AUX = 128, SUMS_B = 512, GELU_ROWS = 16 };
struct cudasim_layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};
struct cudasim_preference {
    size_t workspace;
    uint32_t align[4]; /* of A, B, C, D */
    uint32_t schemes;
};
struct cublasLtContext {
    int unused;
};

enum { WORKSPACE = 4096, ALIGN_DEFAULT = 256, ALGORITHMS = 2, LONG_SUM = 64 };

/* What there is in cublasLtMatmulAlgo_t. */
enum { ALGO_KEY, ALGO_WORKSPACE, ALGO_ALIGN, ALGO_NUMBER = ALGO_ALIGN + 4, ALGO_ROUNDS };

/* ---- descriptors ---- */

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = new cublasLtContext();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusName(cublasStatus_t s)
{
    static const char *const names[] = {"CUBLAS_STATUS_SUCCESS", "CUBLAS_STATUS_NOT_INITIALIZED",
                                        "CUBLAS_STATUS_INVALID_VALUE",
                                        "CUBLAS_STATUS_NOT_SUPPORTED"};
    return names[s];
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    *d = new cudasim_desc{CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL, NULL, 0,
                          NULL,        NULL};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> static cublasStatus_t take(T *field, const void *value, size_t bytes)
{
    if (bytes != sizeof *field) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a, const void *value,
                                              size_t bytes)
{
    switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return take(&d->transa, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return take(&d->transb, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return take(&d->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return take(&d->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
        return take(&d->aux, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
        return take(&d->aux_ld, value, bytes);
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
        return take(&d->scale_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
        return take(&d->scale_b, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

static bool in_8_bits(cudaDataType type)
{
    return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    if (type != CUDA_R_32F && type != CUDA_R_16BF && !in_8_bits(type))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *l = new cudasim_layout{type, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new cudasim_preference{0,
                                {ALIGN_DEFAULT, ALIGN_DEFAULT, ALIGN_DEFAULT, ALIGN_DEFAULT},
                                CUBLASLT_REDUCTION_SCHEME_MASK};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t a,
                                                    const void *value, size_t bytes)
{
    if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return take(&p->workspace, value, bytes);
    if (a == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) return take(&p->schemes, value, bytes);
    return take(&p->align[a - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
}

static emu_products ever;

emu_products emu_products_ever(void)
{
    return ever;
}

/* ---- what is refused ---- */

/* op(A) (m,k) times op(B) (k,n) */
struct problem {
    uint64_t m, n, k;
};

static bool tall_enough(const cudasim_layout *l)
{
    return l->rows && l->cols && l->ld >= (int64_t)l->rows;
}

/* What the manual wants of 8-bit products ("cublasLtMatmul()", FP8 kernels, compute capability 8.9 and 9.0): A
 * transposed, B not; not both in E5M2; all rows on 16 bytes; a result in bf16 with C of its type.  Which epilogues there
 * are besides a bias is not said for every type: none here. */
static bool fits_8_bits(const cudasim_desc *d, const cudasim_layout *a, const cudasim_layout *b,
                        const cudasim_layout *c, const cudasim_layout *out)
{
    bool epilogue = d->epilogue == CUBLASLT_EPILOGUE_DEFAULT || d->epilogue == ADDS_BIAS;
    return in_8_bits(b->type) && (a->type != CUDA_R_8F_E5M2 || b->type != CUDA_R_8F_E5M2) &&
           d->transa == CUBLAS_OP_T && d->transb == CUBLAS_OP_N && out->type == CUDA_R_16BF &&
           c->type == out->type && a->ld % 16 == 0 && b->ld % 16 == 0 && c->ld % 8 == 0 &&
           out->ld % 8 == 0 && a->rows % 16 == 0 && out->rows % 16 == 0 && epilogue;
}

static cublasStatus_t examine(const cudasim_desc *d, const cudasim_layout *a,
                              const cudasim_layout *b, const cudasim_layout *c,
                              const cudasim_layout *out, problem *p)
{
    *p = {d->transa ? a->cols : a->rows, d->transb ? b->rows : b->cols,
          d->transa ? a->rows : a->cols};
    uint64_t k = d->transb ? b->cols : b->rows;
    bool fit =
        k == p->k && out->rows == p->m && out->cols == p->n && c->rows == p->m && c->cols == p->n;
    if (!fit || !tall_enough(a) || !tall_enough(b) || !tall_enough(c) || !tall_enough(out))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (in_8_bits(a->type)) {
        if (!fits_8_bits(d, a, b, c, out)) return CUBLAS_STATUS_NOT_SUPPORTED;
    } else if (a->type != b->type || a->type != c->type || a->type != out->type)
        return CUBLAS_STATUS_NOT_SUPPORTED; /* the library has some of them; we ask for none */
    if (d->epilogue & HAS_AUX &&
        (!d->aux || (uintptr_t)d->aux % 16 || d->aux_ld % 8 || d->aux_ld < (int64_t)out->rows))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (d->epilogue & DGELU && (out->type != CUDA_R_16BF || out->rows < GELU_ROWS))
        return CUBLAS_STATUS_NOT_SUPPORTED; /* as the library may for any problem */
    return d->epilogue & (ADDS_BIAS | SUMS_B) && !d->bias ? CUBLAS_STATUS_INVALID_VALUE
                                                          : CUBLAS_STATUS_SUCCESS;
}

/* How many algorithms the heuristic knows. */
static int algorithms_for(const cudasim_desc *d, const cudasim_layout *a, const cudasim_layout *b,
                          const cudasim_layout *out)
{
    bool odd = a->type == CUDA_R_16BF && a->ld % 2 && b->ld % 2;
    if (odd && (d->epilogue != CUBLASLT_EPILOGUE_DEFAULT || out->ld % 2)) return 0;
    return ALGORITHMS;
}

/* One that the heuristic names, and that does not run. */
static bool refused_late(const cudasim_layout *out, int number)
{
    return out->type == CUDA_R_16BF && out->rows % 8 && number == 0;
}

/* What an algorithm was found for. */
static uint64_t key_of(const cudasim_desc *d, const cudasim_layout *a, const cudasim_layout *b,
                       const cudasim_layout *c, const cudasim_layout *out)
{
    uint64_t key = 14695981039346656037u;
    uint64_t values[] = {(uint64_t)d->transa,
                         (uint64_t)d->transb,
                         (uint64_t)d->epilogue,
                         (uint64_t)a->type,
                         (uint64_t)d->aux_ld,
                         a->rows,
                         a->cols,
                         (uint64_t)a->ld,
                         b->rows,
                         b->cols,
                         (uint64_t)b->ld,
                         (uint64_t)c->ld,
                         out->rows,
                         out->cols,
                         (uint64_t)out->ld};
    for (uint64_t v : values)
        key = (key ^ v) * 1099511628211u;
    return key;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                              cublasLtMatmulPreference_t p, int want,
                                              cublasLtMatmulHeuristicResult_t *r, int *found)
{
    problem size;
    *found = 0;
    cublasStatus_t s = examine(d, a, b, c, out, &size);
    if (s) return s;
    if (want < 1) return CUBLAS_STATUS_INVALID_VALUE;
    for (int k = 0; k < want && k < algorithms_for(d, a, b, out); k++) {
        r[k] = {};
        r[k].workspaceSize = p->workspace >= WORKSPACE ? WORKSPACE : 0;
        uint64_t *data = r[k].algo.data;
        data[ALGO_KEY] = key_of(d, a, b, c, out);
        data[ALGO_WORKSPACE] = r[k].workspaceSize;
        for (int i = 0; i < 4; i++)
            data[ALGO_ALIGN + i] = p->align[i];
        data[ALGO_NUMBER] = (uint64_t)k;
        data[ALGO_ROUNDS] = p->schemes & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
        *found = k + 1;
    }
    if (*found) return CUBLAS_STATUS_SUCCESS;
    ever.without_algorithm++;
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

/* ---- the product ---- */

static size_t size_of(const cudasim_layout *l)
{
    return in_8_bits(l->type) ? 1 : l->type == CUDA_R_16BF ? sizeof(uint16_t) : sizeof(float);
}

static float get(const void *x, const cudasim_layout *l, uint64_t i)
{
    if (in_8_bits(l->type))
        return float_of_fp8(l->type == CUDA_R_8F_E4M3 ? E4M3 : E5M2, ((const uint8_t *)x)[i]);
    return l->type == CUDA_R_16BF ? float_of_bf16(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static void put(void *x, const cudasim_layout *l, uint64_t i, float value)
{
    if (l->type == CUDA_R_16BF)
        ((uint16_t *)x)[i] = bf16_of_float(value);
    else
        ((float *)x)[i] = value;
}

/* As a value of a matrix's type. */
static float rounded(const cudasim_layout *l, float x)
{
    return l->type == CUDA_R_16BF ? float_of_bf16(bf16_of_float(x)) : x;
}

static void must_touch(const char *what, const void *p, const cudasim_layout *l)
{
    for (uint64_t j = 0; j < l->cols; j++)
        if (!emu_may_touch((const char *)p + (uint64_t)l->ld * j * size_of(l),
                           l->rows * size_of(l)))
            emu_die("cublasLtMatmul: %s leaves its memory", what);
}

/* (rows,cols) of op(X), dense, in column order */
static std::vector<float> dense(const void *x, const cudasim_layout *l, bool transpose)
{
    std::vector<float> out(l->rows * l->cols);
    for (uint64_t j = 0; j < l->cols; j++)
        for (uint64_t i = 0; i < l->rows; i++)
            out[transpose ? j + i * l->cols : i + j * l->rows] = get(x, l, i + j * (uint64_t)l->ld);
    return out;
}

/* The derivative of the tanh form, in double. */
static float gelu_slope(float x)
{
    double u = 0.7978845608028654 * (x + 0.044715 * (double)x * x * x);
    double slope = 0.7978845608028654 * (1 + 3 * 0.044715 * (double)x * x);
    double e = exp(-2 * fabs(u)), low = e / (1 + e), high = 1 / (1 + e);
    return (float)((u < 0 ? low : high) + x * 2 * slope * (low * high));
}

struct call {
    bool rounds, backwards; /* parts of sums to the output's type; the other algorithm */
    cudasim_desc d;
    cudasim_layout a, b, c, out;
    float alpha, beta;
    const void *A, *B, *C;
    void *D;
};

static float factor_at(const float *scale)
{
    if (scale && !emu_may_touch(scale, sizeof *scale))
        emu_die("cublasLtMatmul: the scale leaves its memory");
    return scale ? *scale : 1;
}

/* Most of what the emulator computes: as vectors, for neither is the other's memory. */
static void add_times(float *__restrict sum, const float *__restrict column, float factor,
                      uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        sum[i] += column[i] * factor;
}

static void multiply(const call &x)
{
    problem p;
    if (examine(&x.d, &x.a, &x.b, &x.c, &x.out, &p)) emu_die("cublasLtMatmul: shapes");
    must_touch("A", x.A, &x.a);
    must_touch("B", x.B, &x.b);
    must_touch("D", x.D, &x.out);
    if (x.beta != 0) must_touch("C", x.C, &x.c);
    bool bias = x.d.epilogue & ADDS_BIAS, sums = x.d.epilogue & SUMS_B;
    cudasim_layout aux = {x.out.type, p.m, p.n, x.d.aux_ld};
    if (x.d.epilogue & HAS_AUX) must_touch("the epilogue's input", x.d.aux, &aux);
    if ((bias || sums) && !emu_may_touch(x.d.bias, (bias ? p.m : p.n) * size_of(&x.out)))
        emu_die("cublasLtMatmul: the bias leaves its memory");
    if ((bias || sums) && (uintptr_t)x.d.bias % 16)
        emu_die("cublasLtMatmul: the bias does not begin on 16 bytes");
    std::vector<float> a = dense(x.A, &x.a, x.d.transa), b = dense(x.B, &x.b, x.d.transb);
    std::vector<float> sum(p.m);
    float scale = factor_at(x.d.scale_a) * factor_at(x.d.scale_b);
    for (uint64_t j = 0; j < p.n; j++) {
        sum.assign(p.m, 0.0f);
        float of_b = 0;
        for (uint64_t n = 0; n < p.k; n++) {
            uint64_t k = x.backwards ? p.k - 1 - n : n;
            const float *column = &a[k * p.m], factor = b[k + j * p.k];
            add_times(sum.data(), column, factor, p.m);
            of_b += factor;
            for (uint64_t i = 0; x.rounds && p.k >= LONG_SUM && n == p.k / 2 && i < p.m; i++)
                sum[i] = rounded(&x.out, sum[i]);
        }
        if (sums) put((void *)x.d.bias, &x.out, j, of_b);
        for (uint64_t i = 0; i < p.m; i++) {
            float v = x.alpha * sum[i] * scale;
            if (x.beta != 0) v += x.beta * get(x.C, &x.c, i + j * (uint64_t)x.c.ld);
            if (bias) v += get(x.d.bias, &x.out, i);
            uint64_t at = i + j * (uint64_t)aux.ld;
            if (x.d.epilogue & DGELU) v *= gelu_slope(get(x.d.aux, &aux, at));
            put(x.D, &x.out, i + j * (uint64_t)x.out.ld, v);
        }
    }
}

/* A long side that is no multiple of 16 bytes of bf16: the library is slow then. */
static bool odd_side(uint64_t n)
{
    return n >= 1024 && n % 8;
}

static bool aligned(const void *p, uint64_t to)
{
    return (uintptr_t)p % to == 0;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t out,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                              cudaStream_t stream)
{
    problem p;
    cublasStatus_t s = examine(d, a, b, c, out, &p);
    if (s) return s;
    size_t need = algo->data[ALGO_WORKSPACE];
    const uint64_t *align = &algo->data[ALGO_ALIGN];
    if (algo->data[ALGO_KEY] != key_of(d, a, b, c, out) || bytes < need || !aligned(workspace, 256))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!aligned(A, align[0]) || !aligned(B, align[1]) || !aligned(C, align[2]) ||
        !aligned(D, align[3]))
        return CUBLAS_STATUS_INVALID_VALUE;
    bool slow = out->type == CUDA_R_16BF && (odd_side(p.m) || odd_side(p.n) || odd_side(p.k));
    const char *what = slow                 ? "product of odd sides"
                       : in_8_bits(a->type) ? "product of 8 bits"
                                            : "product";
    if (emu_recorded(what)) return CUBLAS_STATUS_SUCCESS;
    if (refused_late(out, (int)algo->data[ALGO_NUMBER])) {
        ever.refused_late++;
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (in_8_bits(a->type) &&
        !(aligned(A, 16) && aligned(B, 16) && aligned(C, 16) && aligned(D, 16)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    ever.made++;
    ever.with_epilogue += d->epilogue != CUBLASLT_EPILOGUE_DEFAULT;
    ever.of_8_bits += in_8_bits(a->type);
    bool other = !aligned(A, 16) || !aligned(B, 16) || !aligned(D, 16);
    call x = {algo->data[ALGO_ROUNDS] != 0, other, *d, *a, *b, *c, *out, *(const float *)alpha,
              *(const float *)beta,         A,     B,  C,  D};
    emu_enqueue(stream, [=] {
        memset(workspace, 0xff, need);
        multiply(x);
    });
    return CUBLAS_STATUS_SUCCESS;
}

/* In place of cuda/lt.c, which loads the library. */
error *lt_load(lt_library *out)
{
#define LT_TAKE(name) out->name = cublasLt##name;
    LT_FUNCTIONS(LT_TAKE)
#undef LT_TAKE
    return NULL;
}

void lt_unload(lt_library *l)
{
    *l = (lt_library){};
}
