/* mpi.c - see mpi.h: ranks over MPI, in host memory.
 *
 * MPI moves the bytes; sums are computed here, in rank order whatever algorithm a library would
 * choose.  A scatter proceeds slab by slab through the staging block:
 *
 *     my x   | to rank 0 | to rank 1 | mine      |       each rank sends its slab of every part ...
 *     staged | of rank 0 | of rank 1 | of rank 2 |       ... gets all slabs of its own, and adds
 *
 * In groups (ranks/comm.h) a group scatters among its own.  What the groups before it have added
 * up, in double, comes from the rank that owns the same there; the last group rounds, and each
 * hands the sums back to the one before.  So they are added in the order of the ranks, as without
 * groups, and each link between two groups carries 8 bytes up and a number's own down:
 *
 *     group 0             group 1             group 2
 *     r0 + r1  ---8--->   + r2 + r3  ---8--->   + r4 + r5
 *              <--4----              <--4----   rounded
 *
 * Ranks that are all on one machine need no messages for that: they share memory, which MPI finds
 * for them (ranks/shared.h).  Where it finds none, they send.
 *
 * With comm.beside a thread makes the calls on STREAM_COMM (ranks/beside.h), if this MPI may be
 * called by one thread after the other; if it may not, they are made at once.
 *
 * All waiting is in `wait` and `wait_for`, which check the time.  A waiting rank also answers the
 * question where it is.  So after a timeout a rank asks all others, and those that do not answer
 * within two seconds are named: they are stopped, or stuck in a computation, or their machine is
 * down.  (If a process ends, mpirun notices and ends the others.)
 */
#include "ranks/mpi.h"
#include "base/clock.h"
#include "ranks/add_up.h"
#include "ranks/beside.h"
#include "ranks/shared.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLAB, PART }; /* tags of messages with tensors */
enum {
    ASK = 1,
    ANSWER = 2,
    DOING = 56,
    SPINS = 2000,
    THREAD_SPINS = 20,
    REQUESTS = 2,
    ASK_EVERY = 64
};
static const double ANSWER_SECONDS = 2;

/* Where a rank is. */
typedef struct {
    int64_t calls; /* collective calls it has begun */
    char doing[DOING];
} whereabouts;

typedef struct {
    MPI_Comm data, talk;
    MPI_Request *requests;       /* (2 size) */
    int *counts, *displacements; /* (size) */
    whereabouts *others;         /* (size) */
    bool *answered;              /* (size) */
    const void **from;           /* (size) scratch: what is added up */
    shared *shared;      /* ? if all ranks are on this machine: they exchange tensors by it ... */
    MPI_Win window;      /* ... in this memory */
    int64_t calls, most; /* most: bytes in one call of MPI */
    int local_rank;
    bool may_be_beside;  /* this MPI may be called by one thread after the other */
    beside *beside;      /* ? its thread, from the first such call on */
    bool in_thread;      /* it is this one that is in a call */
    const char *doing;   /* in the current call */
    atomic_bool leaving; /* nothing is waited for any more */
} mpi_state;

static mpi_state *state_of(const comm *c)
{
    return c->state;
}

static error *check_mpi(int status, const char *call)
{
    char text[MPI_MAX_ERROR_STRING];
    int n;
    if (status == MPI_SUCCESS) return NULL;
    MPI_Error_string(status, text, &n);
    return user_error("MPI: %s: %s", call, text);
}
#define MPI_TRY(call) TRY(check_mpi(call, #call))

/* ---- waiting ---- */

static whereabouts here(const comm *c)
{
    const mpi_state *s = state_of(c);
    whereabouts w = {.calls = s->calls};
    snprintf(w.doing, sizeof w.doing, "%s", s->doing ? s->doing : "beginning");
    return w;
}

/* Answers the rank that asked; a message of this size does not block. */
static error *answer(const comm *c)
{
    mpi_state *s = state_of(c);
    for (;;) {
        MPI_Status from;
        int there = 0;
        MPI_TRY(MPI_Iprobe(MPI_ANY_SOURCE, ASK, s->talk, &there, &from));
        if (!there) return NULL;
        whereabouts mine = here(c);
        MPI_TRY(MPI_Recv(NULL, 0, MPI_BYTE, from.MPI_SOURCE, ASK, s->talk, MPI_STATUS_IGNORE));
        MPI_TRY(MPI_Send(&mine, sizeof mine, MPI_BYTE, from.MPI_SOURCE, ANSWER, s->talk));
    }
}

static error *take_answers(const comm *c)
{
    mpi_state *s = state_of(c);
    for (;;) {
        MPI_Status from;
        int there = 0;
        MPI_TRY(MPI_Iprobe(MPI_ANY_SOURCE, ANSWER, s->talk, &there, &from));
        if (!there) return NULL;
        int r = from.MPI_SOURCE;
        MPI_TRY(MPI_Recv(&s->others[r], sizeof *s->others, MPI_BYTE, r, ANSWER, s->talk,
                         MPI_STATUS_IGNORE));
        s->answered[r] = true;
    }
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* Asks all ranks; s->answered and s->others then hold their answers. */
static error *ask_all(const comm *c)
{
    mpi_state *s = state_of(c);
    memset(s->answered, 0, (size_t)c->size * sizeof *s->answered);
    s->answered[c->rank] = true;
    s->others[c->rank] = here(c);
    for (int r = 0; r < c->size; r++)
        if (r != c->rank) MPI_TRY(MPI_Send(NULL, 0, MPI_BYTE, r, ASK, s->talk));
    for (double end = clock_now() + ANSWER_SECONDS; clock_now() < end; pause_a_little()) {
        TRY(answer(c));
        TRY(take_answers(c));
    }
    return NULL;
}

/* After a timeout: which ranks are missing?  The first of those present reports it. */
static error *out_of_patience(comm *c)
{
    mpi_state *s = state_of(c);
    char missing[200] = "";
    int first = c->size, other = -1, n = 0; /* other: the one furthest behind */
    TRY(ask_all(c));
    for (int r = 0; r < c->size; r++) {
        size_t used = strlen(missing);
        if (s->answered[r]) {
            if (first > r) first = r;
            if (r != c->rank && (other < 0 || s->others[r].calls < s->others[other].calls))
                other = r;
        } else if (n++ < 8) {
            snprintf(missing + used, sizeof missing - used, "%s%d", used ? ", " : "", r);
        }
    }
    c->told = first != c->rank;
    if (n)
        return user_error(
            "rank%s %s did not respond for %.0f s while rank %d was %s: stopped, hung or "
            "cut off; start again with --resume auto",
            n > 1 ? "s" : "", missing, c->limit, c->rank, here(c).doing);
    return user_error(
        "for %.0f s rank %d has been %s (call %lld) and rank %d %s (call %lld): they do "
        "not run the same program, or the network is stuck",
        c->limit, c->rank, here(c).doing, (long long)s->calls, other, s->others[other].doing,
        (long long)s->others[other].calls);
}

/* May this rank wait on, since `begin`?  It answers the others. */
static error *may_wait(comm *c, double begin)
{
    if (atomic_load_explicit(&state_of(c)->leaving, memory_order_relaxed))
        return user_error("rank %d ends", c->rank);
    TRY(answer(c));
    return clock_now() > begin + c->limit ? out_of_patience(c) : NULL;
}

/* The first turns of waiting do not give the core away for long; fewer in the thread, whose core
 * computes. */
static bool spins(const comm *c, int64_t turn)
{
    return turn < (state_of(c)->in_thread ? THREAD_SPINS : SPINS);
}

/* Waits until all n requests are done. */
static error *wait(comm *c, MPI_Request *requests, int n)
{
    double begin = clock_now();
    for (int64_t turn = 0;; turn++) {
        int done = 0;
        MPI_TRY(MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE));
        if (done) return NULL;
        TRY(may_wait(c, begin));
        if (spins(c, turn))
            sched_yield();
        else
            pause_a_little();
    }
}

/* A shared_wait.  Whether it may is asked now and then: that takes longer than a look. */
static error *wait_for(void *context, shared_counter *counter, int64_t least)
{
    comm *c = context;
    double begin = clock_now();
    int64_t seen;
    for (int64_t turn = 0; (seen = shared_count(counter)) < least; turn++) {
        bool awake = spins(c, turn);
        if (!awake || turn % ASK_EVERY == 0) TRY(may_wait(c, begin));
        if (awake)
            sched_yield();
        else
            shared_doze(counter, seen);
    }
    return NULL;
}

/* ---- sums ---- */

static bool behind_others(const comm *c, const share *s)
{
    return s->group && c->rank >= s->group;
}
static bool before_others(const comm *c, const share *s)
{
    return s->group && c->rank + s->group < c->size;
}

/* The slab of the own range, from m->from: after the groups before, and for those behind. */
static error *add_slab(comm *c, int threads, tensor own, const share *s, double *sums)
{
    mpi_state *m = state_of(c);
    sum_part part = {.before = behind_others(c, s) ? sums : NULL,
                     .after = before_others(c, s) ? sums : NULL};
    TRY(add_up_part(threads, own, m->from, share_ranks(s, c->size), part));
    if (!part.after) return NULL;
    MPI_TRY(MPI_Isend(sums, (int)(tensor_count(own) * (int64_t)sizeof *sums), MPI_BYTE,
                      c->rank + s->group, PART, m->data, &m->requests[0]));
    return wait(c, m->requests, 1);
}

/* Within the group; sums: (room) of the groups before. */
static error *scatter_slab(comm *c, int threads, tensor x, const share *s, int64_t at, int64_t room)
{
    mpi_state *m = state_of(c);
    int place = share_place(s, c->rank), first = c->rank - place, ranks = share_ranks(s, c->size);
    int64_t size = (int64_t)dtype_size(x.type), own = share_slab(s, place, at, room);
    char *staged = c->staged.data;
    double *sums = (double *)(void *)(staged + ranks * room * size);
    int n = 0;
    for (int r = 0; r < ranks; r++) {
        int64_t theirs = share_slab(s, r, at, room);
        void *part = tensor_part(x, share_begin(s, r) + (theirs ? at : 0), theirs).data;
        m->from[r] = r == place ? part : staged + r * room * size;
        if (r == place) continue;
        if (own)
            MPI_TRY(MPI_Irecv(staged + r * room * size, (int)(own * size), MPI_BYTE, first + r,
                              SLAB, m->data, &m->requests[n++]));
        if (theirs)
            MPI_TRY(MPI_Isend(part, (int)(theirs * size), MPI_BYTE, first + r, SLAB, m->data,
                              &m->requests[n++]));
    }
    if (own && behind_others(c, s))
        MPI_TRY(MPI_Irecv(sums, (int)(own * (int64_t)sizeof *sums), MPI_BYTE, c->rank - s->group,
                          PART, m->data, &m->requests[n++]));
    TRY(wait(c, m->requests, n));
    if (!own) return NULL;
    return add_slab(c, threads, tensor_part(x, share_begin(s, place) + at, own), s, sums);
}

/* The own range's sums, which the last group has, to all groups: from each to the one before it. */
static error *hand_back(comm *c, tensor x, const share *s)
{
    enum { PIECE = 1 << 20 };
    mpi_state *m = state_of(c);
    int n = 0, place = share_place(s, c->rank);
    int64_t size = (int64_t)dtype_size(x.type), end = share_begin(s, place + 1);
    for (int64_t at = share_begin(s, place), k; at < end; at += k) {
        k = end - at < PIECE ? end - at : PIECE;
        void *piece = tensor_part(x, at, k).data;
        if (before_others(c, s))
            MPI_TRY(MPI_Irecv(piece, (int)(k * size), MPI_BYTE, c->rank + s->group, SLAB, m->data,
                              &m->requests[n++]));
        TRY(wait(c, m->requests, n));
        n = 0;
        if (behind_others(c, s))
            MPI_TRY(MPI_Isend(piece, (int)(k * size), MPI_BYTE, c->rank - s->group, SLAB, m->data,
                              &m->requests[n++]));
    }
    return wait(c, m->requests, n);
}

static error *scatter(comm *c, int threads, tensor x, const share *s)
{
    mpi_state *m = state_of(c);
    int64_t each = share_ranks(s, c->size) * (int64_t)dtype_size(x.type),
            sums = s->group ? (int64_t)sizeof(double) : 0,
            room = tensor_count(c->staged) / (each + sums) / 64 * 64;
    if (room < 1)
        return internal_error("%lld bytes of staging for %d ranks",
                              (long long)tensor_count(c->staged), c->size);
    m->calls++;
    if (m->shared) return shared_scatter(m->shared, threads, x, s);
    for (int64_t at = 0, most = share_longest(s); at < most; at += room)
        TRY(scatter_slab(c, threads, x, s, at, room));
    return s->group ? hand_back(c, x, s) : NULL;
}

/* ---- gathers ---- */

/* More than one MPI call can count: part by part, piece by piece. */
static error *gather_in_pieces(comm *c, tensor x, const share *s)
{
    mpi_state *m = state_of(c);
    int64_t size = (int64_t)dtype_size(x.type), most = m->most / size;
    for (int r = 0; r < c->size; r++)
        for (int64_t at = share_begin(s, r), end = share_begin(s, r + 1); at < end; at += most) {
            int64_t n = end - at < most ? end - at : most;
            MPI_TRY(MPI_Ibcast(tensor_part(x, at, n).data, (int)(n * size), MPI_BYTE, r, m->data,
                               &m->requests[0]));
            TRY(wait(c, m->requests, 1));
        }
    return NULL;
}

/* Each sends its range to the others of its group. */
static error *gather_in_group(comm *c, tensor x, const share *s)
{
    mpi_state *m = state_of(c);
    int place = share_place(s, c->rank), first = c->rank - place;
    int64_t size = (int64_t)dtype_size(x.type), room = m->most / size;
    for (int64_t at = 0, most = share_longest(s); at < most; at += room) {
        int64_t own = share_slab(s, place, at, room);
        int n = 0;
        for (int r = 0; r < s->group; r++) {
            int64_t theirs = share_slab(s, r, at, room);
            if (r == place) continue;
            if (theirs)
                MPI_TRY(MPI_Irecv(tensor_part(x, share_begin(s, r) + at, theirs).data,
                                  (int)(theirs * size), MPI_BYTE, first + r, SLAB, m->data,
                                  &m->requests[n++]));
            if (own)
                MPI_TRY(MPI_Isend(tensor_part(x, share_begin(s, place) + at, own).data,
                                  (int)(own * size), MPI_BYTE, first + r, SLAB, m->data,
                                  &m->requests[n++]));
        }
        TRY(wait(c, m->requests, n));
    }
    return NULL;
}

static error *gather(comm *c, tensor x, const share *s)
{
    mpi_state *m = state_of(c);
    int64_t size = (int64_t)dtype_size(x.type);
    m->calls++;
    if (m->shared) return shared_gather(m->shared, x, s);
    if (s->group) return gather_in_group(c, x, s);
    if ((int64_t)tensor_bytes(x) > m->most) return gather_in_pieces(c, x, s);
    for (int r = 0; r < c->size; r++) {
        m->displacements[r] = (int)(share_begin(s, r) * size);
        m->counts[r] = (int)(share_begin(s, r + 1) * size) - m->displacements[r];
    }
    MPI_TRY(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x.data, m->counts, m->displacements,
                            MPI_BYTE, m->data, &m->requests[0]));
    return wait(c, m->requests, 1);
}

/* ---- the table ---- */

/* A few numbers: every rank gets all of them and adds them up. */
static error *sum_small(comm *c, int threads, tensor x)
{
    mpi_state *m = state_of(c);
    int bytes = (int)tensor_bytes(x);
    m->calls++;
    for (int r = 0; r < c->size; r++)
        m->from[r] = (char *)c->staged.data + r * bytes;
    MPI_TRY(MPI_Iallgather(x.data, bytes, MPI_BYTE, c->staged.data, bytes, MPI_BYTE, m->data,
                           &m->requests[0]));
    TRY(wait(c, m->requests, 1));
    return add_up(threads, tensor_part(x, 0, tensor_count(x)), m->from, c->size);
}

static error *sum(comm *c, int threads, tensor x)
{
    mpi_state *m = state_of(c);
    if (m->shared) {
        m->calls++;
        return shared_sum(m->shared, threads, x);
    }
    if (tensor_bytes(x) * (size_t)c->size <= tensor_bytes(c->staged) / 16)
        return sum_small(c, threads, x);
    share s = share_evenly(tensor_count(x), c->size, 16);
    TRY(scatter(c, threads, x, &s));
    return gather(c, x, &s);
}

/* ---- here, or beside ---- */

static error *make_call(comm *c, int threads, const beside_call *call)
{
    switch (call->kind) {
    case CALL_SUM:
        return sum(c, threads, call->x);
    case CALL_SCATTER:
        return scatter(c, threads, call->x, &call->how);
    default:
        return gather(c, call->x, &call->how);
    }
}

/* A beside_serve.  The cores are computing: one thread adds up. */
static error *make_beside(void *context, const beside_call *call)
{
    comm *c = context;
    mpi_state *m = state_of(c);
    m->doing = call->doing;
    m->in_thread = true;
    error *e = make_call(c, 1, call);
    m->in_thread = false;
    return e;
}

/* This thread's turn with MPI: the other has made what it was asked for. */
static error *take_over(comm *c)
{
    mpi_state *m = state_of(c);
    error *e = m->beside ? beside_wait(m->beside, beside_asked(m->beside)) : NULL;
    m->doing = c->doing;
    return e;
}

static error *call(comm *c, device *dev, int stream, const beside_call *what)
{
    mpi_state *m = state_of(c);
    if (stream != STREAM_COMM || !c->beside || !m->may_be_beside) {
        TRY(take_over(c));
        return make_call(c, dev->threads, what);
    }
    if (!m->beside) TRY(beside_open(make_beside, c, &m->beside));
    beside_ask(m->beside, *what);
    return NULL;
}

/* The end of something that began then. */
static void finish(comm *c, device *dev, double begin, error *e)
{
    c->seconds += clock_now() - begin;
    if (e) device_fail(dev, e);
}

static void mpi_call(comm *c, device *dev, int stream, call_kind kind, tensor x, const share *s)
{
    beside_call what = {.kind = kind, .x = x, .doing = c->doing};
    if (s) what.how = *s;
    double begin = clock_now();
    finish(c, dev, begin, call(c, dev, stream, &what));
}

static void mpi_sum(comm *c, device *dev, int stream, tensor x)
{
    mpi_call(c, dev, stream, CALL_SUM, x, NULL);
}

static void mpi_scatter(comm *c, device *dev, int stream, tensor x, const share *s)
{
    mpi_call(c, dev, stream, CALL_SCATTER, x, s);
}

static void mpi_gather(comm *c, device *dev, int stream, tensor x, const share *s)
{
    mpi_call(c, dev, stream, CALL_GATHER, x, s);
}

static int64_t mpi_mark(comm *c, device *dev)
{
    (void)dev;
    return state_of(c)->beside ? beside_asked(state_of(c)->beside) : 0;
}

static void mpi_await(comm *c, device *dev, int stream, int64_t mark)
{
    (void)stream;
    double begin = clock_now();
    if (mark) finish(c, dev, begin, beside_wait(state_of(c)->beside, mark));
}

static void mpi_join(comm *c, device *dev, int stream)
{
    mpi_await(c, dev, stream, mpi_mark(c, dev));
}

/* The thread is in a call that others may never make. */
static void mpi_abandon(comm *c)
{
    mpi_state *m = state_of(c);
    atomic_store(&m->leaving, true);
    beside_close(m->beside);
    m->beside = NULL;
    atomic_store(&m->leaving, false);
}

static error *mpi_share(comm *c, const void *mine, void *all, size_t bytes)
{
    mpi_state *m = state_of(c);
    if (bytes > INT_MAX) return internal_error("%zu bytes of words", bytes);
    TRY(take_over(c));
    m->calls++;
    MPI_TRY(MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, m->data,
                           &m->requests[0]));
    return wait(c, m->requests, 1);
}

static error *mpi_idle(comm *c)
{
    state_of(c)->doing = c->doing;
    return answer(c);
}

static void state_free(mpi_state *s)
{
    beside_close(s->beside);
    free(s->requests);
    free(s->counts);
    free(s->displacements);
    free(s->others);
    free(s->answered);
    free(s->from);
    shared_close(s->shared);
    free(s);
}

/* After a failure that not all ranks know of, nobody can be waited for: MPI aborts. */
static void mpi_close(comm *c, int status)
{
    if (status) mpi_abandon(c);
    if (status && !c->agreed) {
        /* lets the other report first */
        if (c->told) nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        MPI_Abort(MPI_COMM_WORLD, status);
    }
    if (state_of(c)->window != MPI_WIN_NULL) MPI_Win_free(&state_of(c)->window);
    MPI_Finalize();
    state_free(state_of(c));
    c->state = NULL;
}

static error *mpi_local_rank(comm *c, int *out)
{
    *out = state_of(c)->local_rank;
    return NULL;
}

static const comm_ops mpi_table = {.name = "mpi",
                                   .sum = mpi_sum,
                                   .scatter = mpi_scatter,
                                   .gather = mpi_gather,
                                   .join = mpi_join,
                                   .mark = mpi_mark,
                                   .await = mpi_await,
                                   .idle = mpi_idle,
                                   .missing = out_of_patience,
                                   .abandon = mpi_abandon,
                                   .share_words = mpi_share,
                                   .local_rank = mpi_local_rank,
                                   .close = mpi_close};

/* ---- opening ---- */

static error *state_alloc(int size, mpi_state **out)
{
    mpi_state *s;
    size_t n = (size_t)size;
    TRY(alloc_array(&s, 1, sizeof *s));
    *out = s;
    s->window = MPI_WIN_NULL;
    TRY(alloc_array(&s->from, n, sizeof *s->from));
    TRY(alloc_array(&s->requests, REQUESTS * n, sizeof *s->requests));
    TRY(alloc_array(&s->counts, n, sizeof *s->counts));
    TRY(alloc_array(&s->displacements, n, sizeof *s->displacements));
    TRY(alloc_array(&s->others, n, sizeof *s->others));
    return alloc_array(&s->answered, n, sizeof *s->answered);
}

/* Makes errors return instead of ending the program. */
static error *copy_world(MPI_Comm *out)
{
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, out));
    MPI_TRY(MPI_Comm_set_errhandler(*out, MPI_ERRORS_RETURN));
    return NULL;
}

/* This rank's segment of the window, empty, and where the others' are.  MPI aligns them to 8 bytes
 * or so; all processes map whole pages, so all find the same multiple of SHARED_LINE. */
static error *map_segments(comm *c, char **segment)
{
    mpi_state *s = state_of(c);
    for (int r = 0; r < c->size; r++) {
        MPI_Aint bytes;
        int unit;
        MPI_TRY(MPI_Win_shared_query(s->window, r, &bytes, &unit, &segment[r]));
        segment[r] += -(uintptr_t)segment[r] % SHARED_LINE;
    }
    memset(segment[c->rank], 0, SHARED_BYTES);
    MPI_TRY(MPI_Barrier(s->data));
    return NULL;
}

/* Memory for all ranks, if MPI has any to share; without, they send. */
static error *share_memory(comm *c)
{
    mpi_state *s = state_of(c);
    char **segment, *own;
    int here, all;
    MPI_Info info;
    MPI_TRY(MPI_Info_create(&info));
    MPI_TRY(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
    here = MPI_Win_allocate_shared(SHARED_BYTES + SHARED_LINE, 1, info, s->data, &own,
                                   &s->window) == MPI_SUCCESS;
    MPI_TRY(MPI_Info_free(&info));
    MPI_TRY(MPI_Allreduce(&here, &all, 1, MPI_INT, MPI_MIN, s->data));
    if (!all) {
        s->window = MPI_WIN_NULL; /* some have one: to free it all would have to */
        return NULL;
    }
    TRY(alloc_array(&segment, (size_t)c->size, sizeof *segment));
    error *e = map_segments(c, segment);
    if (!e) e = shared_open(c->rank, c->size, segment, wait_for, c, &s->shared);
    free(segment);
    c->shares_memory = !e;
    return e;
}

static error *join(comm *c, mpi_state *s)
{
    MPI_Comm machine;
    int here;
    TRY(copy_world(&s->data));
    TRY(copy_world(&s->talk));
    MPI_TRY(MPI_Comm_split_type(s->data, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &machine));
    MPI_TRY(MPI_Comm_rank(machine, &s->local_rank));
    MPI_TRY(MPI_Comm_size(machine, &here));
    MPI_TRY(MPI_Comm_free(&machine));
    s->most = INT_MAX / 2;
    return here == c->size && here > 1 && here <= SHARED_RANKS ? share_memory(c) : NULL;
}

error *mpi_open(comm *out)
{
    int level, size, rank;
    mpi_state *s = NULL;
    MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level));
    MPI_TRY(MPI_Comm_size(MPI_COMM_WORLD, &size));
    MPI_TRY(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    *out = (comm){.ops = &mpi_table, .size = size, .rank = rank, .staging = MPI_STAGING};
    error *e = state_alloc(size, &s);
    out->state = s;
    if (e) return e;
    s->may_be_beside = level >= MPI_THREAD_SERIALIZED;
    return join(out, s);
}
