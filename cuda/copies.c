/* copies.c - see copies.h
 *
 * The block is pinned, so that the GPU's copy engines read and write it without the host.  Each
 * direction has a stream of its own, for a bus carries both at once; events order them with the
 * stream that computes:
 *
 *     compute   update 0 . . . | . . update 1 . | . . update 2 . .
 *                     | e              ^               ^
 *     in        read 1 . . . . . ------+   read 2 . . -+          read 2 waits for write 0: its window's
 *     out             v . . write 0 . . | . . write 1 . .
 *
 * A copy waits for what was asked of the computing stream before it, and the computing stream waits
 * for a copy when it is asked to.  Each copy has an event, in a ring for each direction: one that
 * has been taken again is a later copy of the same stream, so whoever waits for it waits long
 * enough.  Copies are numbered by direction: 2 k and 2 k + 1 for the k-th to the GPU and from it.
 */
#include "cuda/copies.h"
#include "cuda/cuda_internal.h"

#include <stdlib.h>
#include <string.h>

enum { IN, OUT, WAYS, RING = 32, ALIGN = 256 };

typedef struct {
    device *dev;
    int stream; /* that computes */
    char *memory;
    uint64_t *waited; /* (1) behind it, in nanoseconds; see stamp.cu */
    cudaStream_t on[WAYS];
    cudaEvent_t done[WAYS][RING], begin;
    int64_t n[WAYS];
} copies;

/* Closes as much of it as was opened. */
static void copies_close(void *own)
{
    copies *c = own;
    device *dev = c->dev;
    if (!dev->failure) cuda_guard(dev, c->stream);
    CUDA_OK(dev, cudaStreamSynchronize(cuda_stream(dev, c->stream))); /* its stamps */
    for (int way = 0; way < WAYS; way++) {
        if (c->on[way]) CUDA_OK(dev, cudaStreamSynchronize(c->on[way]));
        for (int i = 0; i < RING; i++)
            if (c->done[way][i]) cudaEventDestroy(c->done[way][i]);
        if (c->on[way]) cudaStreamDestroy(c->on[way]);
    }
    if (c->begin) cudaEventDestroy(c->begin);
    if (c->memory) cudaFreeHost(c->memory);
    free(c);
}

static bool make_event(device *dev, cudaEvent_t *event)
{
    return CUDA_OK(dev, cudaEventCreateWithFlags(event, cudaEventDisableTiming));
}

static void open_streams(copies *c)
{
    bool ok = make_event(c->dev, &c->begin);
    for (int way = 0; way < WAYS && ok; way++) {
        ok = CUDA_OK(c->dev, cudaStreamCreateWithFlags(&c->on[way], cudaStreamNonBlocking));
        for (int i = 0; i < RING && ok; i++)
            ok = make_event(c->dev, &c->done[way][i]);
    }
}

/*     | the block | nanoseconds waited |      */
static error *pin(copies *c, size_t bytes)
{
    void *memory = NULL;
    size_t room = (bytes + ALIGN - 1) / ALIGN * ALIGN, all = room + sizeof *c->waited;
    cudaError_t status = cudaMallocHost(&memory, all);
    if (status == cudaSuccess) {
        memset(memory, 0, all);
        c->memory = memory;
        c->waited = (uint64_t *)(void *)(c->memory + room);
        return NULL;
    }
    (void)cudaGetLastError(); /* so that the next call does not report it again */
    return user_error(
        "--offload: %.1f MiB of the host's memory cannot be pinned (%s): offload less, "
        "or train where there is more",
        (double)bytes / 1048576.0, cudaGetErrorString(status));
}

static error *copies_open(device *dev, int stream, size_t bytes, void **own)
{
    copies *c;
    TRY(alloc_array(&c, 1, sizeof *c));
    c->dev = dev;
    c->stream = stream;
    error *e = pin(c, bytes);
    if (!e) open_streams(c);
    if (!e) e = device_status(dev);
    if (e)
        copies_close(c);
    else
        *own = c;
    return e;
}

/* The event of that copy, or of a later one. */
static cudaEvent_t done_of(const copies *c, int way, int64_t k)
{
    return c->done[way][k % RING];
}

static int64_t copies_copy(void *own, size_t at, void *memory, size_t bytes, bool write)
{
    copies *c = own;
    device *dev = c->dev;
    int way = write ? OUT : IN;
    cudaStream_t on = c->on[way];
    char *there = c->memory + at;
    bool ok = CUDA_OK(dev, cudaEventRecord(c->begin, cuda_stream(dev, c->stream))) &&
              CUDA_OK(dev, cudaStreamWaitEvent(on, c->begin, 0));
    if (ok && !write && c->n[OUT])
        ok = CUDA_OK(dev, cudaStreamWaitEvent(on, done_of(c, OUT, c->n[OUT]), 0));
    if (ok && write)
        ok = CUDA_OK(dev, cudaMemcpyAsync(there, memory, bytes, cudaMemcpyDeviceToHost, on));
    else if (ok)
        ok = CUDA_OK(dev, cudaMemcpyAsync(memory, there, bytes, cudaMemcpyHostToDevice, on));
    int64_t k = ++c->n[way];
    ok = ok && CUDA_OK(dev, cudaEventRecord(done_of(c, way, k), on));
    return ok ? WAYS * k + way : 0;
}

static void copies_wait(void *own, int64_t number)
{
    copies *c = own;
    device *dev = c->dev;
    cuda_stamp(dev, c->stream, c->waited, -1);
    CUDA_OK(dev, cudaStreamWaitEvent(cuda_stream(dev, c->stream),
                                     done_of(c, (int)(number % WAYS), number / WAYS), 0));
    cuda_stamp(dev, c->stream, c->waited, 1);
}

static double copies_waited(void *own)
{
    const copies *c = own;
    return 1e-9 * (double)*(const volatile uint64_t *)c->waited;
}

const far_host cuda_host = {.open = copies_open,
                            .close = copies_close,
                            .copy = copies_copy,
                            .wait = copies_wait,
                            .waited = copies_waited};
