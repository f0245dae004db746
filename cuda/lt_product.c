/* lt_product.c - matrix products by cublasLt.
 *
 * The library's matrices are column-major.  A row-major matrix is its own transpose in column-major
 * order, so for d = op(x) op(y) it is asked for the transposes:
 *
 *     d^T (cols,rows) = op(y)^T op(x)^T        A = y, B = x, D = d, bias along the rows of D
 *
 * Products are in float, without TF32, or of bf16, always with float accumulation: also where the
 * library splits `inner` among blocks, which it would otherwise add up in bf16.  Algorithms are
 * requested once for each kind of product and cached; they depend on shapes, strides and alignment
 * only, so a step repeats its bits.  The workspace they may use is part of that.
 *
 * The library may lack what is requested, and shows it in one of two ways (PyTorch met both, at odd
 * sizes): it finds no algorithm, or it finds one and then refuses to run it.  So there are
 * fallbacks:
 *
 *     the next algorithm -> without the epilogue -> plain_product.cu
 *
 * Operands in 8 bits (narrow.cu) are multiplied in one form only, with x as it is and y
 * transposed, and with a factor of each in device memory; sums are not made faster by cutting
 * their precision (FAST_ACCUM).
 *
 * And it is slow where sides of bf16 matrices are not multiples of 16 bytes, as with most
 * vocabularies: a long side is divided into a multiple and a remainder, so that 50257 columns are
 * 50256 and 1.
 */
#include "cuda/cuda_internal.h"
#include "cuda/lt.h"

#include <string.h>

/* The objects of one call. */
typedef struct {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulPreference_t preference;
} objects;

static bool lt_ok(device *dev, cublasStatus_t status, const char *call, int line)
{
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    device_fail(dev, internal_error_at(__FILE__, line, "cublasLt: %s: %s", call,
                                       cuda_state_of(dev)->lt->call.GetStatusName(status)));
    return false;
}
#define LT_OK(call) lt_ok(dev, call, #call, __LINE__)

static bool set_desc(device *dev, cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a,
                     const void *value, size_t bytes)
{
    const lt_library *lt = &cuda_state_of(dev)->lt->call;
    return LT_OK(lt->MatmulDescSetAttribute(d, a, value, bytes));
}

enum { EPILOGUE_ALIGNMENT = 16 };

static bool on_16_bytes(const void *p)
{
    return (uintptr_t)p % EPILOGUE_ALIGNMENT == 0;
}

/* The library wants rows of the epilogue's input to begin on 16 bytes (AUX_LD in cublasLt.h). */
static bool may_have_epilogue(const product *p)
{
    return (!p->gelu_of || (p->ld_gelu % 8 == 0 && on_16_bytes(p->gelu_of))) &&
           on_16_bytes(p->x_sums);
}

/* The bias, where an epilogue may read it.  The heuristic is told the alignment of the operands,
 * but not that of the bias: an algorithm that reads 16 bytes at a time would fault. */
static const void *aligned_bias(device *dev, int stream, const product *p)
{
    size_t bytes = (size_t)p->cols * dtype_size(p->type);
    if (!p->bias || on_16_bytes(p->bias)) return p->bias;
    if (bytes > CUDA_ROOM_SUMS / STREAM_COUNT || !cuda_state_of(dev)->counter) return NULL;
    void *to = cuda_state_of(dev)->sums[stream];
    return CUDA_OK(dev, cudaMemcpyAsync(to, p->bias, bytes, cudaMemcpyDeviceToDevice,
                                        cuda_stream(dev, stream)))
               ? to
               : NULL;
}

static cudaDataType_t operand_type(const product *p, fp8_format format)
{
    if (p->narrow) return format == E4M3 ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2;
    return p->type == BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static bool describe(device *dev, const product *p, objects *x)
{
    const lt_library *lt = &cuda_state_of(dev)->lt->call;
    /* as in memory: rows of y are columns here */
    int64_t ya = p->y_transposed ? p->inner : p->cols, yb = p->y_transposed ? p->cols : p->inner;
    int64_t xa = p->x_transposed ? p->rows : p->inner, xb = p->x_transposed ? p->inner : p->rows;
    cublasOperation_t op_y = p->y_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t op_x = p->x_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    cudaDataType_t type = p->type == BF16 ? CUDA_R_16BF : CUDA_R_32F;
    cudaDataType_t of_x = operand_type(p, p->format_x), of_y = operand_type(p, p->format_y);
    cublasLtEpilogue_t epilogue = p->gelu_of  ? CUBLASLT_EPILOGUE_DGELU
                                  : p->x_sums ? CUBLASLT_EPILOGUE_BGRADB
                                  : p->bias   ? CUBLASLT_EPILOGUE_BIAS
                                              : CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = p->x_sums ? p->x_sums : p->bias;
    return LT_OK(lt->MatmulDescCreate(&x->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F)) &&
           set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_y, sizeof op_y) &&
           set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_x, sizeof op_x) &&
           set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) &&
           (!bias ||
            set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias)) &&
           (!p->gelu_of || (set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                                     &p->gelu_of, sizeof p->gelu_of) &&
                            set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                                     &p->ld_gelu, sizeof p->ld_gelu))) &&
           (!p->narrow || (set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &p->back_y,
                                    sizeof p->back_y) &&
                           set_desc(dev, x->desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &p->back_x,
                                    sizeof p->back_x))) &&
           LT_OK(lt->MatrixLayoutCreate(&x->a, of_y, (uint64_t)ya, (uint64_t)yb, p->ldy)) &&
           LT_OK(lt->MatrixLayoutCreate(&x->b, of_x, (uint64_t)xa, (uint64_t)xb, p->ldx)) &&
           LT_OK(lt->MatrixLayoutCreate(&x->c, type, (uint64_t)p->cols, (uint64_t)p->rows,
                                        p->c ? p->ldc : p->ldd)) &&
           LT_OK(lt->MatrixLayoutCreate(&x->d, type, (uint64_t)p->cols, (uint64_t)p->rows, p->ldd));
}

static void forget(device *dev, objects *x)
{
    const lt_library *lt = &cuda_state_of(dev)->lt->call;
    if (x->desc) lt->MatmulDescDestroy(x->desc);
    if (x->a) lt->MatrixLayoutDestroy(x->a);
    if (x->b) lt->MatrixLayoutDestroy(x->b);
    if (x->c) lt->MatrixLayoutDestroy(x->c);
    if (x->d) lt->MatrixLayoutDestroy(x->d);
    if (x->preference) lt->MatmulPreferenceDestroy(x->preference);
}

/* ---- plans ---- */

/* The key of an algorithm. */
static product_plan wanted_plan(const product *p, size_t workspace)
{
    return (product_plan){.key = {p->rows,
                                  p->cols,
                                  p->inner,
                                  p->ldx,
                                  p->ldy,
                                  p->ldd,
                                  p->c ? p->ldc : 0,
                                  p->bias != NULL,
                                  p->x_transposed,
                                  p->y_transposed,
                                  cuda_alignment(p->x),
                                  cuda_alignment(p->y),
                                  cuda_alignment(p->c ? p->c : p->d),
                                  cuda_alignment(p->d),
                                  p->bias ? cuda_alignment(p->bias) : 0,
                                  (int64_t)workspace,
                                  p->type,
                                  p->gelu_of ? p->ld_gelu : 0,
                                  p->gelu_of ? cuda_alignment(p->gelu_of) : 0,
                                  p->x_sums != NULL,
                                  p->x_sums ? cuda_alignment(p->x_sums) : 0,
                                  p->narrow ? 1 + (int)p->format_x : 0}};
}

static bool set_preference(device *dev, cublasLtMatmulPreference_t preference,
                           cublasLtMatmulPreferenceAttributes_t a, const void *value, size_t bytes)
{
    const lt_library *lt = &cuda_state_of(dev)->lt->call;
    return LT_OK(lt->MatmulPreferenceSetAttribute(preference, a, value, bytes));
}

/* Fills in the algorithms of a plan; there may be none. */
static bool find_algorithms(device *dev, objects *x, product_plan *plan)
{
    const lt_library *lt = &cuda_state_of(dev)->lt->call;
    static const cublasLtMatmulPreferenceAttributes_t attributes[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    size_t workspace = (size_t)plan->key[15];
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; /* or none */
    cublasLtMatmulHeuristicResult_t result[PRODUCT_ALGORITHMS];
    if (!LT_OK(lt->MatmulPreferenceCreate(&x->preference)) ||
        !set_preference(dev, x->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                        sizeof workspace) ||
        !set_preference(dev, x->preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                        sizeof schemes))
        return false;
    for (int i = 0; i < 4; i++) {
        uint32_t bytes = (uint32_t)plan->key[10 + i];
        if (!set_preference(dev, x->preference, attributes[i], &bytes, sizeof bytes)) return false;
    }
    cublasLtHandle_t handle = cuda_state_of(dev)->lt->handle;
    cublasStatus_t status =
        lt->MatmulAlgoGetHeuristic(handle, x->desc, x->a, x->b, x->c, x->d, x->preference,
                                   PRODUCT_ALGORITHMS, result, &plan->n);
    if (status != CUBLAS_STATUS_SUCCESS) plan->n = 0;
    for (int i = 0; i < plan->n; i++) {
        plan->algo[i] = result[i].algo;
        plan->workspace[i] = result[i].workspaceSize;
    }
    return status == CUBLAS_STATUS_SUCCESS || status == CUBLAS_STATUS_NOT_SUPPORTED ||
           status == CUBLAS_STATUS_INVALID_VALUE ||
           lt_ok(dev, status, "cublasLtMatmulAlgoGetHeuristic", __LINE__);
}

/* The plan for a product, made now if there is none yet; NULL after a failure. */
static product_plan *plan_for(device *dev, const product *p, size_t workspace, objects *x)
{
    lt_state *s = cuda_state_of(dev)->lt;
    product_plan plan = wanted_plan(p, workspace);
    for (int64_t i = 0; i < s->plans && i < PLANS; i++)
        if (!memcmp(s->plan[i].key, plan.key, sizeof plan.key)) return &s->plan[i];
    if (!find_algorithms(dev, x, &plan)) return NULL;
    product_plan *slot = &s->plan[s->plans++ % PLANS];
    *slot = plan;
    return slot;
}

/* ---- a product ---- */

/* With the first algorithm that the library does not refuse to run.  False: there is none. */
static bool run_plan(device *dev, int stream, const product *p, const objects *x,
                     product_plan *plan)
{
    cuda_state *s = cuda_state_of(dev);
    const float alpha = p->scaled ? p->alpha : 1, beta = !p->c ? 0 : p->scaled ? p->beta : 1;
    for (; plan->at < plan->n; plan->at++) {
        cublasStatus_t status =
            s->lt->call.Matmul(s->lt->handle, x->desc, &alpha, p->y, x->a, p->x, x->b, &beta,
                               p->c ? p->c : p->d, x->c, p->d, x->d, &plan->algo[plan->at],
                               s->workspace, plan->workspace[plan->at], s->stream[stream]);
        if (status == CUBLAS_STATUS_SUCCESS) return true;
        if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
            return lt_ok(dev, status, "cublasLtMatmul", __LINE__);
    }
    return false;
}

/* By the library.  False: it has no such product, or the device has failed; nothing is done. */
static bool library_product(device *dev, int stream, const product *p)
{
    size_t workspace = stream == STREAM_COMPUTE ? cuda_state_of(dev)->workspace_bytes : 0;
    objects x = {0};
    product_plan *plan = describe(dev, p, &x) ? plan_for(dev, p, workspace, &x) : NULL;
    bool done = plan && run_plan(dev, stream, p, &x, plan);
    forget(dev, &x);
    return done;
}

/* By the library, or else by our own kernel. */
static bool full_product(device *dev, int stream, const product *p)
{
    product q = *p;
    if (dev->failure || !may_have_epilogue(p)) return false;
    q.bias = aligned_bias(dev, stream, p);
    if ((!p->bias || q.bias) && library_product(dev, stream, &q)) return true;
    if (dev->failure || p->gelu_of || p->x_sums) return false;
    if (p->bias && !p->c && !p->scaled) { /* the bias as the addend */
        cuda_bias_rows(dev, stream, p);
        q.bias = NULL, q.c = p->d, q.ldc = p->ldd;
        if (library_product(dev, stream, &q)) return true;
    }
    cuda_plain_product(dev, stream, p);
    return !dev->failure;
}

/* ---- long sides ---- */

enum { SIDE_UNIT = 8, LONG_SIDE = 1024 };

/* If a side is divided, separate passes do the epilogue's work. How much of a side's n is in the
 * main part: all, or those that fill whole 16 bytes of bf16. */
static int64_t bulk_of(const product *p, int64_t n)
{
    return p->type == BF16 && n >= LONG_SIDE ? n / SIDE_UNIT * SIDE_UNIT : n;
}

/* n elements further on; NULL stays NULL. */
static const void *on(const product *p, const void *at, int64_t n)
{
    return at ? (const char *)at + (size_t)n * dtype_size(p->type) : NULL;
}

static product from_row(const product *p, int64_t first)
{
    product q = *p;
    q.rows -= first;
    q.x = on(p, p->x, p->x_transposed ? first : first * p->ldx);
    q.c = on(p, p->c, first * p->ldc);
    q.d = (char *)p->d + (size_t)(first * p->ldd) * dtype_size(p->type);
    return q;
}

static product from_column(const product *p, int64_t first)
{
    product q = *p;
    q.cols -= first;
    q.y = on(p, p->y, p->y_transposed ? first * p->ldy : first);
    q.c = on(p, p->c, first);
    q.d = (char *)p->d + (size_t)first * dtype_size(p->type);
    q.bias = on(p, p->bias, first);
    return q;
}

/* The small products of the remainder come first, rounded; what is added to them is not. */
static bool cut_inner(device *dev, int stream, const product *p, int64_t bulk)
{
    product rest = *p, most = *p;
    rest.inner -= bulk;
    rest.x = on(p, p->x, p->x_transposed ? bulk * p->ldx : bulk);
    rest.y = on(p, p->y, p->y_transposed ? bulk : bulk * p->ldy);
    most.inner = bulk;
    most.c = p->d, most.ldc = p->ldd, most.bias = NULL, most.beta = 1;
    return full_product(dev, stream, &rest) && full_product(dev, stream, &most);
}

bool cuda_product(device *dev, int stream, const product *p)
{
    if (p->narrow) return full_product(dev, stream, p);
    /* only along the contiguous side */
    bool along_rows = p->x_transposed, along_inner = !p->x_transposed || p->y_transposed;
    int64_t rows = along_rows ? bulk_of(p, p->rows) : p->rows, cols = bulk_of(p, p->cols);
    int64_t inner = along_inner && !p->c && !p->bias ? bulk_of(p, p->inner) : p->inner;
    bool cut = rows < p->rows || cols < p->cols || inner < p->inner;
    if (!cut) return full_product(dev, stream, p);
    if (p->gelu_of || p->x_sums) return false;
    if (inner < p->inner) return cut_inner(dev, stream, p, inner);
    product bulk = *p, rest = rows < p->rows ? from_row(p, rows) : from_column(p, cols);
    bulk.rows = rows;
    if (rows == p->rows) bulk.cols = cols;
    return cuda_product(dev, stream, &rest) && cuda_product(dev, stream, &bulk);
}
