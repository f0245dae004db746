/* nccl.c - see cuda.h: ranks on GPUs.
 *
 * NCCL moves and adds what lies in the memory of the GPUs; words of the hosts go the way that they
 * went before (MPI), which also carries NCCL's own number at the start.
 *
 *     STREAM_COMPUTE   backward ... | backward ...        | update
 *     STREAM_COMM          \ scatter of a bucket ... \____/
 *
 * All its calls are on STREAM_COMM, one after the other, whoever asks: what is asked for on another
 * stream waits there and is waited for.  A tensor that is dealt evenly goes by the collective of that
 * name; any other by one reduction or broadcast for each rank, in one group.  The order of its sums
 * is NCCL's: the same from run to run with the same ranks, not the same for every stage.
 *
 * Nothing waits for ever: before the host blocks, `settle` looks at the clock and at NCCL's state,
 * and answers other ranks that ask where this one is.
 */
#include "cuda/internal.h"
#include "cuda/nccl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    nccl_library lib;
    ncclComm_t comm;
    comm host; /* carries the hosts' words */
    cudaEvent_t done;
} nccl_state;

static nccl_state *state_of(const comm *c)
{
    return c->state;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static error *checked(const nccl_state *s, ncclResult_t status, const char *call)
{
    if (status == ncclSuccess) return NULL;
    return user_error("NCCL: %s: %s", call, s->lib.GetErrorString(status));
}

static void keep(const nccl_state *s, device *dev, ncclResult_t status, const char *call)
{
    if (status != ncclSuccess) device_fail(dev, checked(s, status, call));
}
#define NCCL_DO(call) keep(s, dev, s->lib.call, #call)

/* ---- calls ---- */

/* Elements [first, first + n) of a tensor, as NCCL counts them. */
typedef struct {
    void *at;
    size_t n;
    ncclDataType_t type;
} span;

/* A count in another unit than the type's would reach beyond the tensor: checked against its bytes. */
static span span_of(device *dev, tensor x, int64_t first, int64_t n)
{
    static const struct {
        ncclDataType_t type;
        size_t bytes;
    } types[DTYPE_COUNT] = {[F32] = {ncclFloat32, 4},
                            [F64] = {ncclFloat64, 8},
                            [BF16] = {ncclBfloat16, 2},
                            [U8] = {ncclUint8, 1}};
    size_t size = types[x.type].bytes, begin = (size_t)first * size, bytes = (size_t)n * size;
    if (!size || first < 0 || n < 0 || begin + bytes > tensor_bytes(x)) {
        char text[80];
        device_fail(dev, internal_error("NCCL: elements %lld + %lld of %s", (long long)first,
                                        (long long)n, tensor_text(x, text, sizeof text)));
        return (span){0};
    }
    return (span){(char *)x.data + begin, (size_t)n, types[x.type].type};
}

static cudaStream_t enter(device *dev, int stream)
{
    if (stream != STREAM_COMM) op_fork(dev, stream, STREAM_COMM);
    return cuda_stream(dev, STREAM_COMM);
}

static void leave(device *dev, int stream)
{
    if (stream != STREAM_COMM) op_join(dev, STREAM_COMM, stream);
}

static void nccl_sum(comm *c, device *dev, int stream, tensor x)
{
    const nccl_state *s = state_of(c);
    span all = span_of(dev, x, 0, tensor_count(x));
    cudaStream_t on = enter(dev, stream);
    if (!dev->failure) NCCL_DO(AllReduce(all.at, all.at, all.n, all.type, ncclSum, s->comm, on));
    leave(dev, stream);
}

/* Is each range as long as any other? */
static bool even(const comm *c, const share *s)
{
    return s->owner < 0 && s->each * c->size == s->count;
}

static span range_of(device *dev, tensor x, const share *s, int rank)
{
    int64_t first = share_begin(s, rank);
    return span_of(dev, x, first, share_begin(s, rank + 1) - first);
}

static void nccl_scatter(comm *c, device *dev, int stream, tensor x, const share *dealt)
{
    const nccl_state *s = state_of(c);
    cudaStream_t on = enter(dev, stream);
    if (even(c, dealt)) {
        span own = range_of(dev, x, dealt, c->rank);
        if (!dev->failure)
            NCCL_DO(ReduceScatter(x.data, own.at, own.n, own.type, ncclSum, s->comm, on));
    } else {
        NCCL_DO(GroupStart());
        for (int r = 0; r < c->size && !dev->failure; r++) {
            span part = range_of(dev, x, dealt, r);
            if (part.n)
                NCCL_DO(Reduce(part.at, part.at, part.n, part.type, ncclSum, r, s->comm, on));
        }
        NCCL_DO(GroupEnd());
    }
    leave(dev, stream);
}

static void nccl_gather(comm *c, device *dev, int stream, tensor x, const share *dealt)
{
    const nccl_state *s = state_of(c);
    cudaStream_t on = enter(dev, stream);
    if (even(c, dealt)) {
        span own = range_of(dev, x, dealt, c->rank);
        if (!dev->failure) NCCL_DO(AllGather(own.at, x.data, own.n, own.type, s->comm, on));
    } else {
        NCCL_DO(GroupStart());
        for (int r = 0; r < c->size && !dev->failure; r++) {
            span part = range_of(dev, x, dealt, r);
            if (part.n) NCCL_DO(Broadcast(part.at, part.at, part.n, part.type, r, s->comm, on));
        }
        NCCL_DO(GroupEnd());
    }
    leave(dev, stream);
}

static void nccl_broadcast(comm *c, device *dev, int stream, tensor x, int root)
{
    nccl_gather(c, dev, stream, x, &(share){.count = tensor_count(x), .owner = root});
}

static void nccl_group(comm *c, device *dev, bool begin)
{
    const nccl_state *s = state_of(c);
    if (begin)
        NCCL_DO(GroupStart());
    else
        NCCL_DO(GroupEnd());
}

/* ---- waiting, words, the end ---- */

static error *out_of_patience(comm *c)
{
    nccl_state *s = state_of(c);
    s->host.doing = c->doing;
    s->host.limit = c->limit;
    error *e = s->host.ops->missing(&s->host);
    c->told = s->host.told;
    return e;
}

static void nccl_settle(comm *c, device *dev, int stream)
{
    nccl_state *s = state_of(c);
    double end = now() + c->limit;
    if (!CUDA_OK(dev, cudaEventRecord(s->done, cuda_stream(dev, stream)))) return;
    for (;;) {
        ncclResult_t state = ncclSuccess;
        cudaError_t status = cudaEventQuery(s->done);
        if (status != cudaErrorNotReady) {
            CUDA_OK(dev, status);
            return;
        }
        NCCL_DO(CommGetAsyncError(s->comm, &state));
        keep(s, dev, state, "a rank");
        s->host.doing = c->doing;
        error *e = s->host.ops->idle(&s->host);
        if (!e && now() > end) e = out_of_patience(c);
        if (e) device_fail(dev, e);
        if (dev->failure) return;
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}

static error *nccl_share(comm *c, const void *mine, void *all, size_t bytes)
{
    nccl_state *s = state_of(c);
    s->host.limit = c->limit;
    s->host.doing = c->doing;
    error *e = s->host.ops->share_words(&s->host, mine, all, bytes);
    c->told = c->told || s->host.told;
    return e;
}

static void nccl_close(comm *c, bool failed)
{
    nccl_state *s = state_of(c);
    comm host = s->host;
    if (s->comm) (failed ? s->lib.CommAbort : s->lib.CommDestroy)(s->comm);
    if (s->done) cudaEventDestroy(s->done);
    nccl_unload(&s->lib);
    host.agreed = c->agreed;
    host.told = c->told;
    free(s);
    host.ops->close(&host, failed);
}

static const comm_ops nccl_table = {.name = "nccl",
                                    .sum = nccl_sum,
                                    .scatter = nccl_scatter,
                                    .gather = nccl_gather,
                                    .broadcast = nccl_broadcast,
                                    .group = nccl_group,
                                    .settle = nccl_settle,
                                    .share_words = nccl_share,
                                    .close = nccl_close};

/* ---- joining ---- */

/* The first rank's number of the meeting, to all. */
static error *meeting(nccl_state *s, ncclUniqueId *id)
{
    ncclUniqueId *all;
    error *e = NULL;
    if (s->host.rank == 0) e = checked(s, s->lib.GetUniqueId(id), "GetUniqueId");
    TRY(comm_agree(&s->host, e));
    TRY(alloc_array(&all, (size_t)s->host.size, sizeof *all));
    e = comm_share(&s->host, id, all, sizeof *id);
    *id = all[0];
    free(all);
    return e;
}

static error *join(device *dev, nccl_state *s)
{
    ncclUniqueId id = {{0}};
    TRY(comm_agree(&s->host, nccl_load(&s->lib)));
    TRY(meeting(s, &id));
    if (!CUDA_OK(dev, cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming)))
        return device_status(dev);
    return checked(s, s->lib.CommInitRank(&s->comm, s->host.size, id, s->host.rank),
                   "CommInitRank");
}

error *cuda_join(device *dev, comm *c)
{
    nccl_state *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->host = *c;
    error *e = join(dev, s);
    c->agreed = s->host.agreed;
    c->told = s->host.told;
    if (e) {
        nccl_unload(&s->lib);
        free(s);
        return e;
    }
    c->ops = &nccl_table;
    c->state = s;
    c->seconds = NAN; /* the host does not wait for the other ranks, but for its GPU */
    return NULL;
}
