/* gemm_probe.cu - the products of a GPT-2 124M step, requested from cublasLt as in
 * cuda/lt_product.c, and variants: is each supported, are the results correct (against sums in
 * double), how fast is the heuristic's first algorithm, and how fast the best of 12?  One JSON
 * object per line.
 *
 *     gemm_probe [ROWS]          (tokens of a micro-batch, 16384)
 *
 * Part of scripts/gpu-day.  Products are in row-major order: d (rows,cols) = op(x) op(y), as
 * there. */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef __nv_bfloat16 bf16;

#define FUNCTIONS(X)                                                                               \
    X(Create)                                                                                      \
    X(MatmulDescCreate)                                                                            \
    X(MatmulDescDestroy)                                                                           \
    X(MatmulDescSetAttribute)                                                                      \
    X(MatrixLayoutCreate)                                                                          \
    X(MatrixLayoutDestroy)                                                                         \
    X(MatmulPreferenceCreate)                                                                      \
    X(MatmulPreferenceDestroy)                                                                     \
    X(MatmulPreferenceSetAttribute)                                                                \
    X(MatmulAlgoGetHeuristic)                                                                      \
    X(Matmul)                                                                                      \
    X(MatmulAlgoConfigGetAttribute)                                                                \
    X(GetVersion)
#define DECLARE(name) static __typeof__(cublasLt##name) *name;
FUNCTIONS(DECLARE)

#define CUDA(call)                                                                                 \
    do {                                                                                           \
        cudaError_t e_ = (call);                                                                   \
        if (e_) fail(#call, cudaGetErrorString(e_));                                               \
    } while (0)

static void fail(const char *what, const char *why)
{
    printf("{\"error\":\"%s: %s\"}\n", what, why);
    exit(1);
}

static __global__ void fill_matrix(bf16 *p, size_t n, unsigned seed, float scale)
{
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x) {
        unsigned h = (unsigned)i * 2654435761u ^ seed;
        h ^= h >> 15, h *= 2246822519u, h ^= h >> 13, h *= 3266489917u, h ^= h >> 16;
        p[i] = __float2bfloat16(((float)(h & 0xffff) / 32768.f - 1.f) * scale);
    }
}

typedef enum { PLAIN, BIAS, GELU_AUX_BIAS, DGELU, DGELU_BGRAD, BGRADB } extra;
static const cublasLtEpilogue_t epilogues[] = {
    CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS,        CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
    CUBLASLT_EPILOGUE_DGELU,   CUBLASLT_EPILOGUE_DGELU_BGRAD, CUBLASLT_EPILOGUE_BGRADB};

typedef struct {
    const char *name;
    long rows, cols, inner;
    bool x_transposed, y_transposed;
    extra with;
    bool adds, apart; /* beta = 1; what is added lies apart from d */
    long ld_x, ld_d;  /* 0: rows lie one after the other */
} shape;

enum { ALGORITHMS = 12, SAMPLES = 24 };
static const int TIMES = 10;
static const size_t WORKSPACE = 32 << 20;
static cublasLtHandle_t handle;
static void *workspace;
static cudaStream_t stream;

static bf16 *numbers(size_t n, unsigned seed, float scale)
{
    bf16 *p;
    CUDA(cudaMalloc(&p, n * sizeof *p));
    fill_matrix<<<1024, 256, 0, stream>>>(p, n, seed, scale);
    return p;
}

static double at(const bf16 *p, long i)
{
    bf16 h;
    CUDA(cudaMemcpy(&h, p + i, sizeof h, cudaMemcpyDeviceToHost));
    return __bfloat162float(h);
}

/* A row or column of an operand, on the host. */
static bf16 *line_of(const bf16 *p, long first, long step, long n)
{
    bf16 *to = (bf16 *)malloc((size_t)n * sizeof *to);
    CUDA(cudaMemcpy2D(to, sizeof *to, p + first, (size_t)step * sizeof *to, sizeof *to, (size_t)n,
                      cudaMemcpyDeviceToHost));
    return to;
}

typedef struct {
    bf16 *x, *y, *d, *c, *gelu_of, *bias;
    long ld_x, ld_y, ld_d;
} operands;

/* The largest error, in half steps of a bf16 result. */
static double error_of(const shape *s, const operands *o)
{
    double worst = 0;
    for (int k = 0; k < SAMPLES; k++) {
        long row = (long)k * 7919 % s->rows, col = k ? (long)k * 104729 % s->cols : s->cols - 1;
        bf16 *x = s->x_transposed ? line_of(o->x, row, o->ld_x, s->inner)
                                  : line_of(o->x, row * o->ld_x, 1, s->inner);
        bf16 *y = s->y_transposed ? line_of(o->y, col * o->ld_y, 1, s->inner)
                                  : line_of(o->y, col, o->ld_y, s->inner);
        double sum = 0, all = 0;
        for (long i = 0; i < s->inner; i++) {
            double term = (double)__bfloat162float(x[i]) * (double)__bfloat162float(y[i]);
            sum += term, all += fabs(term);
        }
        if (s->with == BIAS) sum += at(o->bias, col);
        if (s->adds) sum += at(o->c, row * o->ld_d + col);
        double off = fabs(at(o->d, row * o->ld_d + col) - sum);
        off /= fabs(sum) / 256 + all * 1e-6 + 1e-6;
        if (off > worst) worst = off;
        free(x), free(y);
    }
    return worst;
}

static void attribute(cublasLtMatmulDesc_t m, cublasLtMatmulDescAttributes_t a, const void *value,
                      size_t bytes)
{
    if (MatmulDescSetAttribute(m, a, value, bytes)) fail("an attribute", "refused");
}

static cublasLtMatmulDesc_t describe(const shape *s, const operands *o)
{
    cublasLtMatmulDesc_t m;
    cublasOperation_t of_y = s->y_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                      of_x = s->x_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    if (MatmulDescCreate(&m, CUBLAS_COMPUTE_32F, CUDA_R_32F)) fail("a descriptor", "refused");
    attribute(m, CUBLASLT_MATMUL_DESC_TRANSA, &of_y, sizeof of_y);
    attribute(m, CUBLASLT_MATMUL_DESC_TRANSB, &of_x, sizeof of_x);
    attribute(m, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogues[s->with], sizeof *epilogues);
    if (s->with != PLAIN && s->with != DGELU)
        attribute(m, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &o->bias, sizeof o->bias);
    if (s->with == GELU_AUX_BIAS || s->with == DGELU || s->with == DGELU_BGRAD) {
        int64_t ld = o->ld_d;
        attribute(m, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &o->gelu_of, sizeof o->gelu_of);
        attribute(m, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &ld, sizeof ld);
    }
    return m;
}

static operands make_operands(const shape *s)
{
    operands o;
    o.ld_x = s->ld_x ? s->ld_x : s->x_transposed ? s->rows : s->inner;
    o.ld_y = s->y_transposed ? s->inner : s->cols;
    o.ld_d = s->ld_d ? s->ld_d : s->cols;
    size_t of_d = (size_t)s->rows * (size_t)o.ld_d;
    o.x = numbers((size_t)(s->x_transposed ? s->inner : s->rows) * (size_t)o.ld_x, 1, 1.f);
    o.y = numbers((size_t)(s->y_transposed ? s->cols : s->inner) * (size_t)o.ld_y, 2, .05f);
    o.d = numbers(of_d, 3, 1.f), o.c = numbers(of_d, 3, 1.f), o.gelu_of = numbers(of_d, 4, 1.f);
    o.bias = numbers((size_t)(s->rows > s->cols ? s->rows : s->cols), 5, 1.f);
    return o;
}

static void free_operands(operands *o)
{
    for (bf16 *p : {o->x, o->y, o->d, o->c, o->gelu_of, o->bias})
        CUDA(cudaFree(p));
}

/* What cublasLt is told of a product, and the algorithms that it suggests. */
typedef struct {
    cublasLtMatmulDesc_t m;
    cublasLtMatrixLayout_t x, y, d;
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    int n; /* found */
    cublasStatus_t status;
} request;

static void open_request(request *q, const shape *s, const operands *o, uint32_t schemes)
{
    cublasLtMatmulPreference_t preference;
    q->m = describe(s, o), q->n = 0;
    MatrixLayoutCreate(&q->y, CUDA_R_16BF, (uint64_t)(s->y_transposed ? s->inner : s->cols),
                       (uint64_t)(s->y_transposed ? s->cols : s->inner), o->ld_y);
    MatrixLayoutCreate(&q->x, CUDA_R_16BF, (uint64_t)(s->x_transposed ? s->rows : s->inner),
                       (uint64_t)(s->x_transposed ? s->inner : s->rows), o->ld_x);
    MatrixLayoutCreate(&q->d, CUDA_R_16BF, (uint64_t)s->cols, (uint64_t)s->rows, o->ld_d);
    MatmulPreferenceCreate(&preference);
    MatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE,
                                 sizeof WORKSPACE);
    MatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                                 sizeof schemes);
    q->status = MatmulAlgoGetHeuristic(handle, q->m, q->y, q->x, q->d, q->d, preference, ALGORITHMS,
                                       q->found, &q->n);
    MatmulPreferenceDestroy(preference);
}

static void close_request(request *q)
{
    MatmulDescDestroy(q->m);
    for (cublasLtMatrixLayout_t layout : {q->x, q->y, q->d})
        MatrixLayoutDestroy(layout);
}

static cublasStatus_t multiply_by(const request *q, const shape *s, const operands *o,
                                  int algorithm)
{
    float alpha = 1, beta = s->adds ? 1 : 0;
    const cublasLtMatmulHeuristicResult_t *by = &q->found[algorithm];
    return Matmul(handle, q->m, &alpha, o->y, q->y, o->x, q->x, &beta, s->apart ? o->c : o->d, q->d,
                  o->d, q->d, &by->algo, workspace, by->workspaceSize, stream);
}

/* Milliseconds of one product. */
static float time_of(const request *q, const shape *s, const operands *o, int algorithm)
{
    cudaEvent_t begin, end;
    float ms;
    CUDA(cudaEventCreate(&begin));
    CUDA(cudaEventCreate(&end));
    CUDA(cudaEventRecord(begin, stream));
    for (int k = 0; k < TIMES; k++)
        multiply_by(q, s, o, algorithm);
    CUDA(cudaEventRecord(end, stream));
    CUDA(cudaEventSynchronize(end));
    CUDA(cudaEventElapsedTime(&ms, begin, end));
    CUDA(cudaEventDestroy(begin));
    CUDA(cudaEventDestroy(end));
    return ms / (float)TIMES;
}

static int config_of(const request *q, cublasLtMatmulAlgoConfigAttributes_t which)
{
    int value = 0;
    MatmulAlgoConfigGetAttribute(&q->found[0].algo, which, &value, sizeof value, NULL);
    return value;
}

/* What is asked of a product. */
typedef struct {
    float first_ms, best_ms;
    int best, split, scheme;
    double off; /* -1: not looked at */
} answer;

static answer try_algorithms(request *q, const shape *s, const operands *o)
{
    answer a = {0, 0, -1, 0, 0, -1};
    for (int i = 0; i < q->n; i++) {
        CUDA(cudaStreamSynchronize(stream));
        cublasStatus_t refused = multiply_by(q, s, o, i);
        if (i == 0) q->status = refused;
        if (refused) continue;
        CUDA(cudaStreamSynchronize(stream));
        if (i == 0) {
            if (s->with == PLAIN || s->with == BIAS || s->with == BGRADB) a.off = error_of(s, o);
            a.split = config_of(q, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
            a.scheme = config_of(q, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
        }
        float ms = time_of(q, s, o, i);
        if (i == 0) a.first_ms = ms;
        if (a.best < 0 || ms < a.best_ms) a.best_ms = ms, a.best = i;
    }
    return a;
}

static void probe(const shape *s, uint32_t schemes, const char *note)
{
    operands o = make_operands(s);
    request q;
    open_request(&q, s, &o, schemes);
    answer a = try_algorithms(&q, s, &o);
    double flop = 2. * (double)s->rows * (double)s->cols * (double)s->inner / 1e9;
    double first = a.first_ms, best = a.best_ms;
    printf("{\"product\":\"%s\",\"note\":\"%s\",\"rows\":%ld,\"cols\":%ld,\"inner\":%ld,"
           "\"status\":%d,\"algorithms\":%d,\"first_ms\":%.4f,\"first_tflops\":%.0f,"
           "\"best_ms\":%.4f,\"best_tflops\":%.0f,\"best\":%d,\"split\":%d,\"reduction\":%d,"
           "\"off\":%.2f}\n",
           s->name, note, s->rows, s->cols, s->inner, (int)q.status, q.n, first,
           first > 0 ? flop / first : 0, best, best > 0 ? flop / best : 0, a.best, a.split,
           a.scheme, a.off);
    fflush(stdout);
    close_request(&q);
    free_operands(&o);
}

static void open_library(void)
{
    void *library = dlopen("libcublasLt.so.13", RTLD_NOW);
    if (!library) fail("dlopen", dlerror());
#define TAKE(name)                                                                                 \
    if (!(name = (__typeof__(name))dlsym(library, "cublasLt" #name))) fail(#name, "not there");
    FUNCTIONS(TAKE)
    CUDA(cudaSetDevice(0));
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA(cudaMalloc(&workspace, WORKSPACE));
    if (Create(&handle)) fail("cublasLtCreate", "refused");
    printf("{\"cublasLt\":%zu}\n", GetVersion());
}

int main(int argc, char **argv)
{
    const long R = argc > 1 ? atol(argv[1]) : 16384, C = 768, FLOAT = 2, ANY = 7;
    const shape layer[] = {
        {"qkv", R, 3 * C, C, false, true, BIAS, false, false, 0, 0},
        {"proj + residual", R, C, C, false, true, BIAS, true, true, 0, 0},
        {"proj", R, C, C, false, true, BIAS, false, false, 0, 0},
        {"up", R, 4 * C, C, false, true, BIAS, false, false, 0, 0},
        {"up, GELU_AUX_BIAS", R, 4 * C, C, false, true, GELU_AUX_BIAS, false, false, 0, 0},
        {"down + residual", R, C, 4 * C, false, true, BIAS, true, true, 0, 0},
        {"down", R, C, 4 * C, false, true, BIAS, false, false, 0, 0},
        {"dx of down", R, 4 * C, C, false, false, PLAIN, false, false, 0, 0},
        {"dx of down, DGELU", R, 4 * C, C, false, false, DGELU, false, false, 0, 0},
        {"dx of down, DGELU_BGRAD", R, 4 * C, C, false, false, DGELU_BGRAD, false, false, 0, 0},
        {"dx of up", R, C, 4 * C, false, false, PLAIN, false, false, 0, 0},
        {"dx of qkv", R, C, 3 * C, false, false, PLAIN, false, false, 0, 0},
        {"dx of proj", R, C, C, false, false, PLAIN, false, false, 0, 0},
        {"dw of down", C, 4 * C, R, true, false, PLAIN, false, false, 0, 0},
        {"dw of up", 4 * C, C, R, true, false, PLAIN, false, false, 0, 0},
        {"dw of qkv", 3 * C, C, R, true, false, PLAIN, false, false, 0, 0},
        {"dw of proj", C, C, R, true, false, PLAIN, false, false, 0, 0},
        {"dw of qkv, BGRADB", 3 * C, C, R, true, false, BGRADB, false, false, 0, 0},
        {"dw of up, BGRADB", 4 * C, C, R, true, false, BGRADB, false, false, 0, 0},
        {"dw of qkv, added", 3 * C, C, R, true, false, PLAIN, true, false, 0, 0},
    };
    open_library();
    for (const shape &s : layer)
        probe(&s, (uint32_t)FLOAT, "");
    probe(&layer[13], (uint32_t)ANY, "any reduction");
    probe(&layer[16], (uint32_t)ANY, "any reduction");
    for (long rows : {328, 1024, 2048, 4096})
        for (long vocab : {50257, 50304}) {
            const long ld = vocab == 50257 ? 50272 : 50304;
            const char *note = vocab == 50257 ? "50257 columns, 50272 apart" : "padded to 50304";
            const shape head[] = {
                {"logits", rows, vocab, C, false, true, PLAIN, false, false, 0, ld},
                {"dw of the head", vocab, C, rows, true, false, PLAIN, true, false, ld, 0},
                {"dx of the head", rows, C, vocab, false, false, PLAIN, false, false, ld, 0}};
            for (const shape &s : head)
                probe(&s, (uint32_t)FLOAT, note);
        }
    return 0;
}
