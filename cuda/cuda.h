/* cuda.h - the operation table on an NVIDIA GPU (sm_80 and newer), in float or bf16.
 *
 *     cuda_device.c memory, streams, errors, the table
 *     cuda_kind.c   what can be answered without a GPU: room, workspaces, methods of attention
 *     driver.c      is there a driver at all?
 *     cuda_graph.c  the training step as one CUDA graph
 *     NAME.cu       one operation: kernel -> launcher -> checks
 *     lt_product.c  the matrix products, by cublasLt (lt.c loads it when a device is opened)
 *     cudnn.c       attention by cuDNN (cudnn_load.c loads it on demand)
 *     nccl.c        several ranks, each with its own GPU (nccl_load.c loads NCCL when they connect)
 *     absent.c      replaces all of this in a build without CUDA
 *
 * Every result has the same bits from run to run; the optimizer's, and the sums for clipping, have
 * the CPU's bits.  There are no atomics on floating-point numbers.  (Attention by cuDNN is
 * different; see below.)
 */
#ifndef REGRAD_CUDA_H
#define REGRAD_CUDA_H

#include "ranks/comm.h"

extern const device_kind cuda_kind;

/* Methods of attention.
 *
 *     flash             own kernels (ATTENTION_OWN): the same bits from run to run
 *     cudnn             the queries' gradient is summed up by atomic additions, in whatever order
 *                       they come, so its bits differ from run to run
 *     cudnn-repeatable  without those; all T x T scores' gradients are in its workspace
 *
 * cuDNN's are for bf16, KV = H, no ALiBi, D a multiple of 8. */
enum {
    CUDA_ATTENTION_FLASH = ATTENTION_OWN,
    CUDA_ATTENTION_CUDNN,
    CUDA_ATTENTION_CUDNN_REPEATABLE,
    CUDA_ATTENTIONS
};

/* Limit on the workspace of cuDNN's engines; the rest of a workspace is ours. */
int64_t cuda_engine_room(int method, const attention_sizes *s, bool backward);

/* Was the program built with this device?  If so, for which GPUs: "sm_80 sm_90 ..." */
const char *cuda_built_for(void);

/* Is there an NVIDIA driver?  (Then there may be a GPU.)  Does not initialize it.  False in a build
 * without CUDA. */
bool cuda_driver_here(void);

/* Opens the first GPU.  Error if there is none, if the driver or the GPU is too old, or in a build
 * without CUDA. */
error *cuda_device(device *out) NODISCARD;
void cuda_close(device *dev);

/* "NVIDIA H100 80GB HBM3, 79.1 GiB"; returns buffer. */
const char *cuda_describe(const device *dev, char *buffer, size_t size);

size_t cuda_memory(const device *dev); /* total bytes */
size_t cuda_free_memory(device *dev);  /* 0 after a failure, which the device keeps */

/* Bytes of device memory to lend it (op_lend), the same for every GPU, so that plans need none:
 *
 *     | counter of nonfinite | sums of sumsq, by stream | workspace of the libraries: the rest |
 *
 * With less, the workspace is smaller.  The libraries' algorithms, and so the bits, depend on
 * it. */
enum {
    CUDA_ROOM_COUNTER = 256,
    CUDA_ROOM_SUMS = 1 << 20,
    CUDA_ROOM_LEAST = CUDA_ROOM_COUNTER + CUDA_ROOM_SUMS,
    CUDA_ROOM = CUDA_ROOM_LEAST + (32 << 20)
};

/* Connects the ranks of c, which are already connected on their hosts, through NCCL: c's calls on
 * tensors then use this device's memory, until it is closed.  All ranks call this. */
error *cuda_join(device *dev, comm *c) NODISCARD;

/* User error if its products cannot be as --products wants them.  What that says of CPUs means
 * nothing here. */
error *cuda_use(device *dev, const char *kernel, const char *products) NODISCARD;

/* Loads cuDNN, for attention.  User error if it is not installed, or does not start. */
error *cuda_try_cudnn(device *dev) NODISCARD;

/* The largest head size for attention. */
enum { CUDA_MOST_HEAD = 256 };

#endif
