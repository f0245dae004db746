/* cuda_internal.h - shared by the files of the CUDA device. */
#ifndef REGRAD_CUDA_INTERNAL_H
#define REGRAD_CUDA_INTERNAL_H

#include "cuda/cuda.h"
#include "core/narrow.h"

#include <cuda_runtime_api.h>

#define OPERATION(name) void cuda_##name(device *dev, int stream, const name##_op *o);
#include "core/ops.def"

/* In cuda_graph.c. */
void cuda_graph_begin(device *dev, int stream);
void *cuda_graph_end(device *dev, int stream);
void cuda_graph_launch(device *dev, int stream, void *graph);
void cuda_graph_free(device *dev, void *graph);

enum { CUDA_SUMS_AT_ONCE = 64 };

/* Host memory that the GPU reads directly; a batch of 1024 x 1024 tokens is 4 MiB. */
enum { CUDA_STAGES = 2, CUDA_STAGE = 4 << 20 };
typedef struct {
    void *memory;
    cudaEvent_t read; /* occurs when its contents have been read */
    int stream;       /* on which it is */
    bool used;
} cuda_stage;

typedef struct {
    cudaStream_t stream[STREAM_COUNT];
    cudaEvent_t event[STREAM_COUNT]; /* the last one recorded on each stream */
    cuda_stage stage[CUDA_STAGES];
    unsigned puts;       /* pinned buffers for copies */
    struct lt_state *lt; /* NULL until the library is loaded; lt.h, which kernels do without */
    /* In the lent workspace; NULL and 0 until then. */
    unsigned long long *counter; /* (1), of nonfinite */
    double *sums[STREAM_COUNT];  /* (CUDA_SUMS_AT_ONCE, SEGMENTS), of sumsq and column_sums */
    void *workspace;             /* for libraries, on STREAM_COMPUTE */
    size_t workspace_bytes;
    tensor narrow;             /* ? for operands in 8 bits */
    struct cudnn_state *cudnn; /* NULL until it is asked for */
    comm *ranks;               /* ? this GPU's rank among them */
    /* ? With ranks: work on a stream may wait for other ranks forever; so the host waits here
     * first, with a timeout (nccl.c).  It returns when the stream is idle, or the device has
     * failed. */
    void (*guard)(device *, int stream);
    void (*part)(device *); /* ? with ranks: before the device is closed */
    bool capturing;
    size_t memory;
    char name[256];
    int major, minor; /* compute capability */
} cuda_state;

static inline cuda_state *cuda_state_of(const device *dev)
{
    return (cuda_state *)dev->state;
}

static inline cudaStream_t cuda_stream(const device *dev, int stream)
{
    return cuda_state_of(dev)->stream[stream];
}

static inline void cuda_guard(device *dev, int stream)
{
    if (cuda_state_of(dev)->guard) cuda_state_of(dev)->guard(dev, stream);
}

/* *nanoseconds += sign times the GPU's clock, in the order of the stream; see stamp.cu */
void cuda_stamp(device *dev, int stream, uint64_t *nanoseconds, int sign);

/* True if a call succeeded; else the device has failed, with the call and its place. */
bool cuda_ok(device *dev, cudaError_t status, const char *call, const char *file, int line);
#define CUDA_OK(dev, call) cuda_ok(dev, call, #call, __FILE__, __LINE__)

/* Is there lent workspace?  If not, the device fails. */
bool cuda_has_room(device *dev);

/* The alignment of an address in bytes: at most 256. */
uint32_t cuda_alignment(const void *p);

/* d (rows,cols) = alpha op(x) op(y) (+ beta c) (+ bias), all row-major; see lt_product.c. */
typedef struct {
    int64_t rows, cols, inner;
    dtype type;                   /* of all of them: F32 or BF16 */
    const void *x, *y, *c, *bias; /* c, bias: NULL if there is none */
    void *d;
    const void *gelu_of; /* NULL, or bf16 (rows,cols): d = sum * gelu'(gelu_of), the tanh form */
    void *x_sums;        /* NULL, or (rows): op(x) summed over `inner` is written there, too */
    int64_t ldx, ldy, ldc, ldd, ld_gelu;
    bool x_transposed; /* x is (inner,rows), else (rows,inner) */
    bool y_transposed; /* y is (cols,inner), else (inner,cols) */
    bool scaled;       /* alpha and beta are given; else both are 1 */
    float alpha, beta;
    /* narrow: x (rows,inner) and y (cols,inner) are codes of 8 bits, and the sum is times back_x
     * and back_y, which are on the device; the rest is of `type`.  Without gelu_of and x_sums. */
    bool narrow;
    fp8_format format_x, format_y;
    const float *back_x, *back_y; /* (1) each */
} product;
/* Has x and y in codes: those without are rounded in the memory that was lent for it; if none was,
 * the product stays as it is (narrow.cu). */
void cuda_product_narrow(device *dev, int stream, product *p, narrow_form x, narrow_form y);
/* False if the library has no such product with gelu_of or x_sums, or the device has failed:
 * nothing was done.  Products without these two always exist. */
bool cuda_product(device *dev, int stream, const product *p);
/* Without the library: see plain_product.cu. */
void cuda_plain_product(device *dev, int stream, const product *p);
void cuda_bias_rows(device *dev, int stream, const product *p);

/* Attention by cuDNN (cudnn.c). */
void cuda_cudnn_attention(device *dev, int stream, const attention_op *o);
void cuda_cudnn_attention_grad(device *dev, int stream, const attention_grad_op *o);
void cuda_close_cudnn(device *dev);

/* Copies between matrices (f32) with padded rows. */
void cuda_copy_rows(device *dev, int stream, const copy_op *o);

/* y = act(x) + residual (NULL: none), each (rows,cols); y may be x. */
typedef struct {
    int64_t rows, cols;
    activation act;
    dtype type; /* F32 or BF16 */
    const void *x, *residual;
    void *y;
    int64_t ldx, ldr, ldy;
} apply_call;
void cuda_apply(device *dev, int stream, const apply_call *a);

/* dx *= act'(pre), each (rows,cols) */
void cuda_apply_grad(device *dev, int stream, activation act, tensor dx, tensor pre);

/* db (+)= column sums of dout */
void cuda_column_sums(device *dev, int stream, grad db, tensor dout);

/* slot = sum(x^2) for each of n, unless h is given and h->ok is 0; see sumsq.cu */
typedef struct {
    const void *x;
    dtype type; /* F32 or BF16 */
    int64_t n;
    double *slot;
} square_sum;
void cuda_square_sums(device *dev, int stream, const square_sum *sums, int64_t n, const hyper *h);

#endif
