/* nccl.c - see cuda.h: ranks on GPUs.
 *
 * NCCL moves and sums data in the GPUs' memory; control messages use the same way as before (MPI or
 * TCP), which also distributes NCCL's unique id at the start.
 *
 *     STREAM_COMPUTE   backward ... | backward ...        | update
 *     STREAM_COMM          \ scatter of a bucket ... \____/
 *
 * All its calls are on STREAM_COMM, in order, whoever makes them: a call for another stream makes
 * both wait for each other.  A tensor that divides evenly uses the collective of that name; any
 * other uses one reduction or broadcast per rank, in one group.  The order of its sums is NCCL's:
 * the same from run to run with the same ranks, but not for every stage.
 *
 * Ranks in groups (ranks/comm.h) have two communicators more: of the group, and of those that have
 * the same place in every group.  A scatter is one in the group, and then the own range's
 * all-reduce across.  The second needs the first's result, which calls of one group of NCCL's do
 * not wait for: so between comm_group's begin and end it is put off until the first ones have been
 * issued.
 *
 * Nothing waits forever: before the host blocks, `guard` checks the time and NCCL's state, and
 * answers other ranks that ask where this one is.  After a timeout, NCCL's kernels are aborted, so
 * that memory and streams can be freed.  The host does not run far ahead either: with more calls
 * than the driver's queue holds, a launch would block without a timeout.  The rendezvous, which
 * returns when all ranks have arrived, runs in a thread of its own, for the same reason.
 */
#include "base/clock.h"
#include "cuda/cuda_internal.h"
#include "cuda/nccl.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* MARKS: that can be waited for each by itself; of earlier ones a later one is waited for. */
enum { SPINS = 2000, AHEAD = 16, MEETING_SECONDS = 300, MARKS = 32, MOST_PUT_OFF = 64 };

/* Communicators: of all ranks, of the own group, of the ranks in the own place of each group. */
enum { ALL, WITHIN, ACROSS, COMMS };

/* Elements [first, first + n) of a tensor, as NCCL counts them. */
typedef struct {
    void *at;
    size_t n;
    ncclDataType_t type;
} span;

typedef struct {
    nccl_library lib;
    ncclComm_t comms[COMMS]; /* ? those of groups */
    comm host;               /* for control messages between hosts */
    device *dev;
    cudaEvent_t done;
    cudaEvent_t behind[2]; /* this and the last AHEAD calls */
    cudaEvent_t marks[MARKS];
    int64_t calls, marked;
    int open;                   /* groups of NCCL's */
    span put_off[MOST_PUT_OFF]; /* to be added up across when what is open has been issued */
    int n_put_off;              /* of them */
    bool adrift;                /* a rendezvous timed out, and its thread is still in NCCL */
    uint64_t *waited;           /* (1) in the GPU's memory, in nanoseconds; see stamp.cu */
} nccl_state;

static nccl_state *nccl_state_of(const comm *c)
{
    return c->state;
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

/* A count in a wrong unit would reach beyond the tensor: checked against its bytes. */
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

static void until(device *dev, nccl_state *s, cudaEvent_t event);

/* After every AHEAD calls: waits for those before the last AHEAD. */
static void keep_pace(device *dev, nccl_state *s)
{
    cudaEvent_t *mine = &s->behind[s->calls / AHEAD % 2], *before = &s->behind[!(mine - s->behind)];
    if (s->open || cuda_state_of(dev)->capturing || dev->failure || ++s->calls % AHEAD) return;
    if (CUDA_OK(dev, cudaEventRecord(*mine, cuda_stream(dev, STREAM_COMM)))) until(dev, s, *before);
}

static cudaStream_t enter(device *dev, int stream)
{
    if (stream != STREAM_COMM) op_fork(dev, stream, STREAM_COMM);
    return cuda_stream(dev, STREAM_COMM);
}

static void nccl_join(comm *c, device *dev, int stream)
{
    const nccl_state *s = nccl_state_of(c);
    cuda_stamp(dev, stream, s->waited, -1);
    op_join(dev, STREAM_COMM, stream);
    cuda_stamp(dev, stream, s->waited, 1);
}

static int64_t nccl_mark(comm *c, device *dev)
{
    nccl_state *s = nccl_state_of(c);
    cudaEvent_t mark = s->marks[++s->marked % MARKS];
    CUDA_OK(dev, cudaEventRecord(mark, cuda_stream(dev, STREAM_COMM)));
    return s->marked;
}

static void nccl_await(comm *c, device *dev, int stream, int64_t mark)
{
    const nccl_state *s = nccl_state_of(c);
    cuda_stamp(dev, stream, s->waited, -1);
    CUDA_OK(dev, cudaStreamWaitEvent(cuda_stream(dev, stream), s->marks[mark % MARKS], 0));
    cuda_stamp(dev, stream, s->waited, 1);
}

static void leave(comm *c, device *dev, int stream)
{
    if (stream != STREAM_COMM) nccl_join(c, dev, stream);
    keep_pace(dev, nccl_state_of(c));
}

static void nccl_sum(comm *c, device *dev, int stream, tensor x)
{
    const nccl_state *s = nccl_state_of(c);
    span all = span_of(dev, x, 0, tensor_count(x));
    cudaStream_t on = enter(dev, stream);
    if (!dev->failure)
        NCCL_DO(AllReduce(all.at, all.at, all.n, all.type, ncclSum, s->comms[ALL], on));
    leave(c, dev, stream);
}

/* Are all ranges equally long? */
static bool even(const comm *c, const share *s)
{
    return s->owner < 0 && s->each * share_ranks(s, c->size) == s->count;
}

/* The communicator of the ranks that it is divided over. */
static ncclComm_t divided_over(const nccl_state *s, const share *parts)
{
    return s->comms[parts->group ? WITHIN : ALL];
}

/* Adds up across the groups what was put off. */
static void add_across(device *dev, nccl_state *s)
{
    cudaStream_t on = cuda_stream(dev, STREAM_COMM);
    int n = s->n_put_off;
    s->n_put_off = 0;
    if (!n || dev->failure) return;
    NCCL_DO(GroupStart());
    for (int i = 0; i < n && !dev->failure; i++) {
        const span *x = &s->put_off[i];
        if (!x->n) continue;
        NCCL_DO(AllReduce(x->at, x->at, x->n, x->type, ncclSum, s->comms[ACROSS], on));
    }
    NCCL_DO(GroupEnd());
}

/* The own range, of this group's sums: at once, or when they have been issued.  One that is empty
 * counts, too: all ranks must cut what is open at the same call. */
static void put_off(device *dev, nccl_state *s, span own)
{
    s->put_off[s->n_put_off++] = own;
    if (!s->open) {
        add_across(dev, s);
    } else if (s->n_put_off == MOST_PUT_OFF) {
        NCCL_DO(GroupEnd());
        add_across(dev, s);
        NCCL_DO(GroupStart());
    }
}

static span range_of(device *dev, tensor x, const share *s, int rank)
{
    int64_t first = share_begin(s, rank);
    return span_of(dev, x, first, share_begin(s, rank + 1) - first);
}

static void nccl_scatter(comm *c, device *dev, int stream, tensor x, const share *parts)
{
    nccl_state *s = nccl_state_of(c);
    ncclComm_t over = divided_over(s, parts);
    cudaStream_t on = enter(dev, stream);
    span own = range_of(dev, x, parts, share_place(parts, c->rank));
    if (even(c, parts)) {
        if (!dev->failure)
            NCCL_DO(ReduceScatter(x.data, own.at, own.n, own.type, ncclSum, over, on));
    } else {
        NCCL_DO(GroupStart());
        for (int r = 0; r < share_ranks(parts, c->size) && !dev->failure; r++) {
            span part = range_of(dev, x, parts, r);
            if (part.n) NCCL_DO(Reduce(part.at, part.at, part.n, part.type, ncclSum, r, over, on));
        }
        NCCL_DO(GroupEnd());
    }
    if (parts->group && !dev->failure) put_off(dev, s, own);
    leave(c, dev, stream);
}

static void nccl_gather(comm *c, device *dev, int stream, tensor x, const share *parts)
{
    const nccl_state *s = nccl_state_of(c);
    ncclComm_t over = divided_over(s, parts);
    cudaStream_t on = enter(dev, stream);
    if (even(c, parts)) {
        span own = range_of(dev, x, parts, share_place(parts, c->rank));
        if (!dev->failure) NCCL_DO(AllGather(own.at, x.data, own.n, own.type, over, on));
    } else {
        NCCL_DO(GroupStart());
        for (int r = 0; r < share_ranks(parts, c->size) && !dev->failure; r++) {
            span part = range_of(dev, x, parts, r);
            if (part.n) NCCL_DO(Broadcast(part.at, part.at, part.n, part.type, r, over, on));
        }
        NCCL_DO(GroupEnd());
    }
    leave(c, dev, stream);
}

static void nccl_group(comm *c, device *dev, bool begin)
{
    nccl_state *s = nccl_state_of(c);
    if (begin ? dev->failure != NULL : !s->open) return;
    s->open += begin ? 1 : -1;
    if (begin)
        NCCL_DO(GroupStart());
    else
        NCCL_DO(GroupEnd());
    if (!begin) add_across(dev, s);
    keep_pace(dev, s);
}

/* ---- waiting, messages, shutdown ---- */

/* What is wrong with the other hosts, if anything; `since` when this one has been waiting. */
static error *look_at_hosts(comm *host, double since)
{
    error *e = host->ops->idle ? host->ops->idle(host) : NULL;
    return !e && clock_now() - since > host->limit ? host->ops->missing(host) : e;
}

/* The same, and with NCCL. */
static error *look(comm *c, double since)
{
    nccl_state *s = nccl_state_of(c);
    ncclResult_t state = ncclSuccess;
    s->host.doing = c->doing;
    s->host.limit = c->limit;
    error *e = look_at_hosts(&s->host, since);
    for (int i = 0; i < COMMS && !e; i++) {
        if (!s->comms[i]) continue;
        e = checked(s, s->lib.CommGetAsyncError(s->comms[i], &state), "CommGetAsyncError");
        if (!e) e = checked(s, state, "another rank");
    }
    c->told = c->told || s->host.told;
    return e;
}

static void abandon(nccl_state *s)
{
    for (int i = 0; i < COMMS; i++) {
        if (s->comms[i]) s->lib.CommAbort(s->comms[i]);
        s->comms[i] = NULL;
    }
}

/* Between two looks: a small part of what has been waited, so that it adds as little, and a rank
 * that waits for long keeps no core busy. */
static void pause_for(double waited)
{
    double ns = fmin(fmax(waited / 512 * 1e9, 20e3), 1e6);
    nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

static void until(device *dev, nccl_state *s, cudaEvent_t event)
{
    double since = clock_now();
    for (int64_t turn = 0; !dev->failure; turn++) {
        cudaError_t status = cudaEventQuery(event);
        if (status != cudaErrorNotReady) {
            CUDA_OK(dev, status);
            return;
        }
        error *e = look(cuda_state_of(dev)->ranks, since);
        if (e) {
            abandon(s);
            device_fail(dev, e);
        } else if (turn < SPINS) {
            sched_yield();
        } else {
            pause_for(clock_now() - since);
        }
    }
}

static void guard(device *dev, int stream)
{
    nccl_state *s = nccl_state_of(cuda_state_of(dev)->ranks);
    if (dev->failure || cuda_state_of(dev)->capturing) return;
    if (CUDA_OK(dev, cudaEventRecord(s->done, cuda_stream(dev, stream)))) until(dev, s, s->done);
}

static void nccl_waited(comm *c, device *dev)
{
    uint64_t ns = 0;
    op_get(dev, STREAM_COMPUTE, &ns, tensor_of(nccl_state_of(c)->waited, U8, SHAPE(sizeof ns)));
    op_sync(dev, STREAM_COMPUTE);
    c->seconds = 1e-9 * (double)ns;
}

/* All ranks have made the same calls so far, so the streams will finish. */
static error *nccl_share(comm *c, const void *mine, void *all, size_t bytes)
{
    nccl_state *s = nccl_state_of(c);
    if (s->comms[ALL]) guard(s->dev, STREAM_COMM);
    TRY(device_status(s->dev));
    s->host.limit = c->limit;
    s->host.doing = c->doing;
    error *e = s->host.ops->share_words(&s->host, mine, all, bytes);
    c->told = c->told || s->host.told;
    return e;
}

static void nccl_abandon(comm *c)
{
    abandon(nccl_state_of(c));
}

/* The device is being closed: releases what belongs to it first. */
static void part_from_others(device *dev)
{
    nccl_state *s = nccl_state_of(cuda_state_of(dev)->ranks);
    cudaEvent_t events[] = {s->done, s->behind[0], s->behind[1]};
    for (int i = 0; i < 3; i++)
        if (events[i]) cudaEventDestroy(events[i]);
    for (int i = 0; i < MARKS; i++)
        if (s->marks[i]) cudaEventDestroy(s->marks[i]);
    if (s->waited) cudaFree(s->waited);
    for (int i = COMMS - 1; i >= 0; i--) {
        if (s->comms[i]) s->lib.CommDestroy(s->comms[i]);
        s->comms[i] = NULL;
    }
}

static void nccl_close(comm *c, int status)
{
    nccl_state *s = nccl_state_of(c);
    comm host = s->host;
    if (!s->adrift) nccl_unload(&s->lib);
    host.agreed = c->agreed;
    host.told = c->told;
    free(s);
    if (host.ops->close) host.ops->close(&host, status);
}

static const comm_ops nccl_table = {.name = "nccl",
                                    .sum = nccl_sum,
                                    .scatter = nccl_scatter,
                                    .gather = nccl_gather,
                                    .group = nccl_group,
                                    .join = nccl_join,
                                    .mark = nccl_mark,
                                    .await = nccl_await,
                                    .waited = nccl_waited,
                                    .abandon = nccl_abandon,
                                    .share_words = nccl_share,
                                    .close = nccl_close};

/* ---- joining ---- */

/* A communicator: its ranks, this one's number among them, and which rank makes its unique id. */
typedef struct {
    int size, rank, first;
} circle;

static circle circle_of(const comm *c, int which)
{
    if (which == ALL) return (circle){c->size, c->rank, 0};
    int place = c->rank % c->group;
    if (which == WITHIN) return (circle){c->group, place, c->rank - place};
    return (circle){c->size / c->group, c->rank / c->group, place};
}

/* Distributes unique ids, made by the first rank of each circle. */
static error *meeting(nccl_state *s, int which, ncclUniqueId *id)
{
    ncclUniqueId *all;
    circle mine = circle_of(&s->host, which);
    error *e = NULL;
    if (mine.rank == 0) e = checked(s, s->lib.GetUniqueId(id), "GetUniqueId");
    TRY(comm_agree(&s->host, e));
    TRY(alloc_array(&all, (size_t)s->host.size, sizeof *all));
    e = comm_share(&s->host, id, all, sizeof *id);
    *id = all[mine.first];
    free(all);
    return e;
}

static bool take_events(device *dev, nccl_state *s)
{
    cudaEvent_t *events[] = {&s->done, &s->behind[0], &s->behind[1]};
    for (int i = 0; i < 3; i++)
        if (!CUDA_OK(dev, cudaEventCreateWithFlags(events[i], cudaEventDisableTiming)))
            return false;
    for (int i = 0; i < MARKS; i++)
        if (!CUDA_OK(dev, cudaEventCreateWithFlags(&s->marks[i], cudaEventDisableTiming)))
            return false;
    return CUDA_OK(dev, cudaMalloc((void **)&s->waited, sizeof *s->waited)) &&
           CUDA_OK(dev, cudaMemsetAsync(s->waited, 0, sizeof *s->waited,
                                        cuda_stream(dev, STREAM_COMPUTE)));
}

/* A call of ncclCommInitRank: owned by its thread until it returns. */
typedef struct {
    __typeof__(ncclCommInitRank) *init;
    ncclUniqueId id;
    int size, rank;
    ncclComm_t comm;
    ncclResult_t status;
    atomic_bool over;
} meeting_call;

static void *meet(void *own)
{
    meeting_call *m = own;
    m->status = m->init(&m->comm, m->size, m->id, m->rank);
    atomic_store(&m->over, true);
    return NULL;
}

/* Waits until all have arrived, or one is missing. */
static error *watch(nccl_state *s, meeting_call *m)
{
    error *e = NULL;
    double limit = s->host.limit, since = clock_now();
    if (limit > MEETING_SECONDS) s->host.limit = MEETING_SECONDS;
    s->host.doing = "meeting through NCCL";
    while (!e && !atomic_load(&m->over)) {
        e = look_at_hosts(&s->host, since);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    s->host.limit = limit;
    return error_context(e, "NCCL (NCCL_DEBUG=INFO shows what it waits for)");
}

/* If it times out, the thread and its call are abandoned. */
static error *meet_watched(nccl_state *s, int which, ncclUniqueId id)
{
    meeting_call *m;
    circle mine = circle_of(&s->host, which);
    pthread_t thread;
    TRY(alloc_array(&m, 1, sizeof *m));
    *m =
        (meeting_call){.init = s->lib.CommInitRank, .id = id, .size = mine.size, .rank = mine.rank};
    int status = pthread_create(&thread, NULL, meet, m);
    if (status) {
        free(m);
        return user_error("no thread can be started: %s", strerror(status));
    }
    error *e = watch(s, m);
    s->adrift = e;
    if (e) {
        pthread_detach(thread);
        return e;
    }
    pthread_join(thread, NULL);
    s->comms[which] = m->comm;
    e = checked(s, m->status, "CommInitRank");
    free(m);
    return e;
}

static error *join_others(device *dev, nccl_state *s)
{
    TRY(comm_agree(&s->host, nccl_load(&s->lib)));
    TRY(comm_agree(&s->host, take_events(dev, s) ? NULL : device_status(dev)));
    for (int which = ALL; which < (s->host.group ? COMMS : WITHIN); which++) {
        ncclUniqueId id = {{0}};
        TRY(meeting(s, which, &id));
        TRY(meet_watched(s, which, id));
    }
    return NULL;
}

error *cuda_join(device *dev, comm *c)
{
    nccl_state *s;
    TRY(alloc_array(&s, 1, sizeof *s));
    s->host = *c;
    s->dev = dev;
    error *e = join_others(dev, s);
    *c = s->host;
    c->ops = &nccl_table;
    c->state = s;
    c->seconds = 0;
    cuda_state_of(dev)->ranks = c;
    cuda_state_of(dev)->guard = guard;
    cuda_state_of(dev)->part = part_from_others;
    return e;
}
