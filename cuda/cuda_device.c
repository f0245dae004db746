/* cuda_device.c - see cuda.h: opening a GPU, its memory, its streams, its errors, and the table.
 *
 * Operations are executed later, in the order of their stream.  So a fault on the GPU shows up in a
 * later call: op_sync, or whatever comes next.  Each call is checked; the first failure is kept in
 * the device, with the call and the place, and nothing runs after it.
 *
 * Copies from the host have read its memory when they return, so the host may reuse it at once;
 * copies to the host have arrived after op_sync.  Up to 64 KiB the runtime copies; a batch is
 * larger, and the runtime would wait for the stream, so a batch goes through one of two buffers
 * that the GPU reads directly (pinned).
 */
#include "cuda/cuda_internal.h"
#include "cuda/lt.h"

#include "core/segment.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_MAJOR = 8, MIB = 1 << 20 };

static_assert((size_t)STREAM_COUNT * CUDA_SUMS_AT_ONCE * SEGMENTS * sizeof(double) ==
                  CUDA_ROOM_SUMS,
              "sumsq has the sums that are planned for it");

/* ---- errors ---- */

bool cuda_ok(device *dev, cudaError_t status, const char *call, const char *file, int line)
{
    if (status == cudaSuccess) return true;
    (void)cudaGetLastError(); /* so that the next call does not report it again */
    device_fail(dev, internal_error_at(file, line, "CUDA: %s: %s: %s", call,
                                       cudaGetErrorName(status), cudaGetErrorString(status)));
    return false;
}

uint32_t cuda_alignment(const void *p)
{
    uintptr_t bits = (uintptr_t)p | 256;
    return (uint32_t)(bits & -bits);
}

/* ---- memory ---- */

static error *cuda_alloc(device *dev, size_t bytes, void **out)
{
    size_t available = 0, total = 0;
    if (!CUDA_OK(dev, cudaMemGetInfo(&available, &total))) return device_status(dev);
    if (bytes <= available && cudaMalloc(out, bytes) == cudaSuccess) return NULL;
    (void)cudaGetLastError();
    return user_error("no memory for %.1f MiB on %s, which has %.1f of %.1f MiB free: train a "
                      "smaller model, batch or sequence, or a memory-reduced optimizer "
                      "(--plan compares them)",
                      (double)bytes / MIB, cuda_state_of(dev)->name, (double)available / MIB,
                      (double)total / MIB);
}

static void cuda_release(device *dev, void *memory)
{
    CUDA_OK(dev, cudaFree(memory));
}

/* Larger copies are split by the runtime, which waits for the stream. */
enum { PUT_AT_ONCE = 64 << 10 };

static void open_stages(device *dev)
{
    cuda_state *s = cuda_state_of(dev);
    for (int i = 0; i < CUDA_STAGES; i++)
        if (!CUDA_OK(dev, cudaMallocHost(&s->stage[i].memory, CUDA_STAGE)) ||
            !CUDA_OK(dev, cudaEventCreateWithFlags(&s->stage[i].read, cudaEventDisableTiming)))
            return;
}

static void close_stages(cuda_state *s)
{
    for (int i = 0; i < CUDA_STAGES; i++) {
        if (s->stage[i].read) cudaEventDestroy(s->stage[i].read);
        if (s->stage[i].memory) cudaFreeHost(s->stage[i].memory);
    }
}

/* Through a buffer that is free, or as soon as the older one is. */
static void put_staged(device *dev, int stream, void *dst, const void *host, size_t bytes)
{
    cuda_state *s = cuda_state_of(dev);
    cuda_stage *stage = &s->stage[s->puts++ % CUDA_STAGES];
    cudaError_t ready = stage->used ? cudaEventQuery(stage->read) : cudaSuccess;
    if (ready == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* which is no failure */
        cuda_guard(dev, stage->stream);
        if (dev->failure) return;
        ready = cudaEventSynchronize(stage->read);
    }
    if (!CUDA_OK(dev, ready)) return;
    memcpy(stage->memory, host, bytes);
    stage->stream = stream;
    stage->used = CUDA_OK(dev, cudaMemcpyAsync(dst, stage->memory, bytes, cudaMemcpyHostToDevice,
                                               cuda_stream(dev, stream))) &&
                  CUDA_OK(dev, cudaEventRecord(stage->read, cuda_stream(dev, stream)));
}

static void cuda_put(device *dev, int stream, void *dst, const void *host, size_t bytes)
{
    if (dev->failure) return;
    if (bytes > PUT_AT_ONCE && bytes <= CUDA_STAGE) {
        put_staged(dev, stream, dst, host, bytes);
        return;
    }
    if (bytes > PUT_AT_ONCE) cuda_guard(dev, stream);
    if (dev->failure) return;
    CUDA_OK(dev,
            cudaMemcpyAsync(dst, host, bytes, cudaMemcpyHostToDevice, cuda_stream(dev, stream)));
}

static void cuda_get(device *dev, int stream, void *host, const void *src, size_t bytes)
{
    cuda_guard(dev, stream);
    if (dev->failure) return;
    CUDA_OK(dev,
            cudaMemcpyAsync(host, src, bytes, cudaMemcpyDeviceToHost, cuda_stream(dev, stream)));
}

static void cuda_set(device *dev, int stream, void *dst, int byte, size_t bytes)
{
    CUDA_OK(dev, cudaMemsetAsync(dst, byte, bytes, cuda_stream(dev, stream)));
}

void cuda_copy(device *dev, int stream, const copy_op *o)
{
    if (!tensor_contiguous(o->dst) || !tensor_contiguous(o->src))
        cuda_copy_rows(dev, stream, o);
    else
        CUDA_OK(dev, cudaMemcpyAsync(o->dst.data, o->src.data, tensor_bytes(o->src),
                                     cudaMemcpyDeviceToDevice, cuda_stream(dev, stream)));
}

static void cuda_lend(device *dev, tensor room)
{
    cuda_state *s = cuda_state_of(dev);
    char *p = room.data;
    s->counter = NULL;
    s->workspace = NULL;
    s->workspace_bytes = 0;
    if (!p) return;
    if (tensor_bytes(room) < CUDA_ROOM_LEAST) {
        device_fail(dev, internal_error("the device is lent %zu bytes and needs %d",
                                        tensor_bytes(room), CUDA_ROOM_LEAST));
        return;
    }
    s->counter = (unsigned long long *)p;
    for (int i = 0; i < STREAM_COUNT; i++)
        s->sums[i] = (double *)(p + CUDA_ROOM_COUNTER) + (size_t)i * CUDA_SUMS_AT_ONCE * SEGMENTS;
    s->workspace = p + CUDA_ROOM_LEAST;
    s->workspace_bytes = tensor_bytes(room) - CUDA_ROOM_LEAST;
}

static void cuda_lend_narrow(device *dev, tensor room)
{
    cuda_state_of(dev)->narrow = room;
}

bool cuda_has_room(device *dev)
{
    if (!cuda_state_of(dev)->counter)
        device_fail(dev, internal_error("the device is asked for what it needs room for before any "
                                        "was lent"));
    return cuda_state_of(dev)->counter;
}

/* ---- streams ---- */

static void cuda_sync(device *dev, int stream)
{
    cuda_guard(dev, stream);
    if (!dev->failure) CUDA_OK(dev, cudaStreamSynchronize(cuda_stream(dev, stream)));
}

/* Later work on `to` waits for earlier work on `from`; a join is the same. */
static void cuda_order(device *dev, int from, int to)
{
    cudaEvent_t event = cuda_state_of(dev)->event[from];
    if (CUDA_OK(dev, cudaEventRecord(event, cuda_stream(dev, from))))
        CUDA_OK(dev, cudaStreamWaitEvent(cuda_stream(dev, to), event, 0));
}

static const device_ops cuda_table = {
    .name = "cuda",
    .working_types = 1u << F32 | 1u << BF16,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .put = cuda_put,
    .get = cuda_get,
    .set = cuda_set,
    .sync = cuda_sync,
    .fork = cuda_order,
    .join = cuda_order,
    .lend = cuda_lend,
    .lend_narrow = cuda_lend_narrow,
    .graph_begin = cuda_graph_begin,
    .graph_end = cuda_graph_end,
    .graph_launch = cuda_graph_launch,
    .graph_free = cuda_graph_free,
#define OPERATION(name) .name = cuda_##name,
#include "core/ops.def"
};

/* ---- opening ---- */

/* Is there a GPU, a driver for this CUDA, and code for that GPU? */
static error *look_for_gpu(cuda_state *s)
{
    int n = 0, driver = 0, runtime = 0;
    cudaError_t status = cudaGetDeviceCount(&n);
    (void)cudaGetLastError();
    if (status == cudaErrorInsufficientDriver) {
        if (cudaDriverGetVersion(&driver) || cudaRuntimeGetVersion(&runtime) || driver == 0)
            return user_error("no NVIDIA driver is running here; use --device cpu");
        return user_error("the NVIDIA driver is for CUDA %d.%d, this program needs %d.%d: install "
                          "a newer driver, or use --device cpu",
                          driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    }
    if (status != cudaSuccess || n < 1)
        return user_error("no GPU is visible (%s); use --device cpu",
                          status ? cudaGetErrorString(status) : "none is visible");
    struct cudaDeviceProp about;
    status = cudaGetDeviceProperties(&about, 0);
    if (status)
        return user_error("the GPU cannot be asked what it is: %s", cudaGetErrorString(status));
    snprintf(s->name, sizeof s->name, "%s", about.name);
    s->memory = about.totalGlobalMem;
    s->major = about.major, s->minor = about.minor;
    if (about.major < OLDEST_MAJOR)
        return user_error("%s has compute capability %d.%d, needed is %d.0 or newer; use --device "
                          "cpu",
                          s->name, about.major, about.minor, OLDEST_MAJOR);
    return NULL;
}

static void open_streams(device *dev)
{
    cuda_state *s = cuda_state_of(dev);
    for (int i = 0; i < STREAM_COUNT; i++) {
        if (!CUDA_OK(dev, cudaStreamCreateWithFlags(&s->stream[i], cudaStreamNonBlocking))) return;
        if (!CUDA_OK(dev, cudaEventCreateWithFlags(&s->event[i], cudaEventDisableTiming))) return;
    }
}

/* A first kernel: is there code for this GPU? */
static error *try_kernel(device *dev)
{
    const cuda_state *s = cuda_state_of(dev);
    void *memory;
    TRY(cuda_alloc(dev, sizeof(float), &memory));
    cuda_fill(dev, STREAM_COMPUTE, &(fill_op){.x = tensor_of(memory, F32, SHAPE(1))});
    cuda_sync(dev, STREAM_COMPUTE);
    cuda_release(dev, memory);
    error *e = device_status(dev);
    if (!e || !strstr(error_text(e), "NoKernelImage")) return e;
    error_free(e);
    return user_error("no code for this GPU (%s) is in this program, only for %s: run make again "
                      "with GPU_ARCH set to its architecture, or use --device cpu",
                      s->name, cuda_built_for());
}

static error *open_on(device *dev)
{
    cuda_state *s = cuda_state_of(dev);
    TRY(look_for_gpu(s));
    if (!CUDA_OK(dev, cudaSetDevice(0))) return device_status(dev);
    TRY(alloc_array(&s->lt, 1, sizeof *s->lt));
    TRY(lt_load(&s->lt->call));
    cublasStatus_t status = s->lt->call.Create(&s->lt->handle);
    if (status)
        return user_error("cublasLt does not start on %s: %s", s->name,
                          s->lt->call.GetStatusName(status));
    open_streams(dev);
    if (!dev->failure) open_stages(dev);
    return dev->failure ? device_status(dev) : try_kernel(dev);
}

/* Kernels are loaded at their first launch, which must not be in a capture before CUDA 12.3 and is
 * in the first step: loading all of cublasLt's at once takes seconds and hundreds of MiB. */
error *cuda_device(device *out)
{
    cuda_state *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    *out =
        (device){.ops = &cuda_table, .kind = &cuda_kind, .state = s, .threads = 1, .async = true};
    error *e = open_on(out);
    if (e) cuda_close(out);
    return e;
}

void cuda_close(device *dev)
{
    cuda_state *s = cuda_state_of(dev);
    if (!s) return;
    if (s->part) s->part(dev);
    cuda_close_cudnn(dev);
    for (int i = 0; i < STREAM_COUNT; i++) {
        if (s->event[i]) cudaEventDestroy(s->event[i]);
        if (s->stream[i]) cudaStreamDestroy(s->stream[i]);
    }
    close_stages(s);
    if (s->lt && s->lt->handle) s->lt->call.Destroy(s->lt->handle);
    if (s->lt) lt_unload(&s->lt->call);
    free(s->lt);
    error_free(dev->failure);
    free(s);
    *dev = (device){0};
}

/* From 8.9 on matrix units multiply numbers of 8 bits: Ada, Hopper, Blackwell. */
error *cuda_use(device *dev, const char *kernel, const char *products)
{
    const cuda_state *s = cuda_state_of(dev);
    (void)kernel;
    if (!products_narrow(products) || 10 * s->major + s->minor >= 89) return NULL;
    return user_error("--products %s: %s has compute capability %d.%d, and products of 8 bits need "
                      "8.9 or newer: leave it out, or compare losses on --device cpu",
                      products, s->name, s->major, s->minor);
}

const char *cuda_describe(const device *dev, char *buffer, size_t size)
{
    const cuda_state *s = cuda_state_of(dev);
    snprintf(buffer, size, "%s, %.1f GiB", s->name, (double)s->memory / MIB / 1024);
    return buffer;
}

size_t cuda_memory(const device *dev)
{
    return cuda_state_of(dev)->memory;
}

size_t cuda_free_memory(device *dev)
{
    size_t available = 0, total = 0;
    return CUDA_OK(dev, cudaMemGetInfo(&available, &total)) ? available : 0;
}

#ifndef CUDA_TARGETS
#define CUDA_TARGETS "the emulator"
#endif

const char *cuda_built_for(void)
{
    return CUDA_TARGETS;
}
