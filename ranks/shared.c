/* shared.c - see shared.h */
#include "ranks/shared.h"
#include "ranks/add_up.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    /* exchanges for which this rank's numbers are there, and of what: a call and its sizes */
    _Alignas(SHARED_LINE) shared_counter posted;
    _Atomic uint64_t what[2];
    /* exchanges for which it has read the others' */
    _Alignas(SHARED_LINE) shared_counter taken;
} head;

enum {
    HALF = (SHARED_BYTES - sizeof(head)) / 2 / SHARED_LINE * SHARED_LINE,
    SUM_AT_ONCE = 1 << 16, /* bytes of a sum in one exchange: every rank adds up all of it */
    DOZE = 1000000         /* ns */
};

struct shared {
    int rank, size;
    char **segment;    /* (size) */
    const void **from; /* (size) scratch: what is added up */
    shared_wait *wait;
    void *context;
    int64_t turn; /* the current exchange */
    uint64_t what;
};

/* ---- counters ---- */

void shared_doze(shared_counter *c, int64_t seen)
{
    struct timespec most = {.tv_nsec = DOZE};
    atomic_fetch_add(&c->sleepers, 1);
    if (syscall(SYS_futex, &c->bell, FUTEX_WAIT, (uint32_t)seen, &most, NULL, 0) &&
        errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
        nanosleep(&most, NULL); /* the kernel, or a filter, has no futex for us */
    atomic_fetch_sub(&c->sleepers, 1);
}

/* The bell before the sleepers: one that comes between sees that it has rung. */
static void count_to(shared_counter *c, int64_t n)
{
    atomic_store_explicit(&c->n, n, memory_order_release);
    atomic_store(&c->bell, (uint32_t)n);
    if (atomic_load(&c->sleepers))
        syscall(SYS_futex, &c->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- an exchange ---- */

static head *segment_of(const shared *s, int rank)
{
    return (head *)(void *)s->segment[rank];
}

static char *half_of(const shared *s, int rank)
{
    return s->segment[rank] + sizeof(head) + (s->turn & 1) * HALF;
}

typedef enum { SCATTER = 1, GATHER, SUM } call;

/* A number for a call and its sizes: equal where ranks mean the same. */
static uint64_t meaning(call which, tensor x, const share *how)
{
    return (uint64_t)which ^ (uint64_t)tensor_bytes(x) << 8 ^
           (how ? (uint64_t)(how->each + 31 * (how->owner + 1) + 961 * how->group) << 40 : 0);
}

/* The next one: its half of the own segment may be filled when this returns. */
static error *take_turn(shared *s, call which, tensor x, const share *how)
{
    s->turn++;
    s->what = meaning(which, x, how);
    for (int r = 0; r < s->size; r++)
        if (r != s->rank) TRY(s->wait(s->context, &segment_of(s, r)->taken, s->turn - 2));
    return NULL;
}

static void post(shared *s)
{
    head *own = segment_of(s, s->rank);
    atomic_store_explicit(&own->what[s->turn & 1], s->what, memory_order_relaxed);
    count_to(&own->posted, s->turn);
}

/* Until a rank's half may be read; if it means something else, until the time is up. */
static error *await(shared *s, int rank)
{
    head *other = segment_of(s, rank);
    TRY(s->wait(s->context, &other->posted, s->turn));
    if (atomic_load_explicit(&other->what[s->turn & 1], memory_order_relaxed) == s->what)
        return NULL;
    return s->wait(s->context, &other->posted, INT64_MAX);
}

static void done(shared *s)
{
    count_to(&segment_of(s, s->rank)->taken, s->turn);
}

/* ---- the calls ---- */

/* The slab of a part from element `at` of it on. */
static tensor slab(tensor x, const share *how, int rank, int64_t at, int64_t room)
{
    int64_t n = share_slab(how, rank, at, room);
    return tensor_part(x, share_begin(how, rank) + (n ? at : 0), n);
}

/* Where rank `from` lays what is for the owner of range `to`: if not for itself alone. */
static char *slot(const shared *s, const share *how, int from, int to, size_t bytes)
{
    return half_of(s, from) + (size_t)(how->group || to < from ? to : to - 1) * bytes;
}
static int slots(const shared *s, const share *how)
{
    return how->group ? how->group : s->size - 1;
}

static error *scatter_slab(shared *s, int threads, tensor x, const share *to, int64_t at,
                           int64_t room)
{
    size_t bytes = (size_t)room * dtype_size(x.type);
    int place = share_place(to, s->rank);
    TRY(take_turn(s, SCATTER, x, to));
    for (int r = 0; r < share_ranks(to, s->size); r++) {
        tensor part = slab(x, to, r, at, room);
        if (to->group || r != place)
            memcpy(slot(s, to, s->rank, r, bytes), part.data, tensor_bytes(part));
    }
    post(s);
    tensor own = slab(x, to, place, at, room);
    for (int r = 0; r < s->size; r++) {
        s->from[r] = r == s->rank ? own.data : slot(s, to, r, place, bytes);
        if (r != s->rank) TRY(await(s, r));
    }
    TRY(add_up(threads, own, s->from, s->size));
    done(s);
    return NULL;
}

/* Elements in each slab of a scatter. */
static int64_t slab_room(const shared *s, tensor x, const share *to)
{
    return HALF / slots(s, to) / (int64_t)dtype_size(x.type) / 16 * 16;
}

error *shared_scatter(shared *s, int threads, tensor x, const share *to)
{
    int64_t room = slab_room(s, x, to);
    for (int64_t at = 0, most = share_longest(to); at < most; at += room)
        TRY(scatter_slab(s, threads, x, to, at, room));
    return NULL;
}

/* Begins with the rank behind this one, so that not all read from the same. */
static error *gather_slab(shared *s, tensor x, const share *from, int64_t at, int64_t room)
{
    int place = share_place(from, s->rank), first = s->rank - place,
        ranks = share_ranks(from, s->size);
    TRY(take_turn(s, GATHER, x, from));
    tensor own = slab(x, from, place, at, room);
    memcpy(half_of(s, s->rank), own.data, tensor_bytes(own));
    post(s);
    for (int i = 1; i < ranks; i++) {
        int r = (place + i) % ranks;
        tensor part = slab(x, from, r, at, room);
        TRY(await(s, first + r));
        memcpy(part.data, half_of(s, first + r), tensor_bytes(part));
    }
    done(s);
    return NULL;
}

error *shared_gather(shared *s, tensor x, const share *from)
{
    int64_t room = HALF / (int64_t)dtype_size(x.type) / 16 * 16;
    for (int64_t at = 0, most = share_longest(from); at < most; at += room)
        TRY(gather_slab(s, x, from, at, room));
    return NULL;
}

static error *sum_at_once(shared *s, int threads, tensor x)
{
    TRY(take_turn(s, SUM, x, NULL));
    memcpy(half_of(s, s->rank), x.data, tensor_bytes(x));
    post(s);
    for (int r = 0; r < s->size; r++) {
        s->from[r] = half_of(s, r);
        if (r != s->rank) TRY(await(s, r));
    }
    TRY(add_up(threads, tensor_part(x, 0, tensor_count(x)), s->from, s->size));
    done(s);
    return NULL;
}

error *shared_sum(shared *s, int threads, tensor x)
{
    if (tensor_bytes(x) <= SUM_AT_ONCE) return sum_at_once(s, threads, x);
    share how = share_evenly(tensor_count(x), s->size, 16);
    int64_t room = slab_room(s, x, &how);
    for (int64_t at = 0, most = share_longest(&how); at < most; at += room) {
        TRY(scatter_slab(s, threads, x, &how, at, room));
        TRY(gather_slab(s, x, &how, at, room));
    }
    return NULL;
}

/* ---- open, close ---- */

error *shared_open(int rank, int size, char *const *segment, shared_wait *wait, void *context,
                   shared **out)
{
    shared *s;
    if (size > SHARED_RANKS) return internal_error("%d ranks share memory", size);
    for (int r = 0; r < size; r++)
        if ((uintptr_t)segment[r] % SHARED_LINE)
            return internal_error("rank %d's shared memory is at %p", r, (void *)segment[r]);
    TRY(alloc_array(&s, 1, sizeof *s));
    *s = (shared){.rank = rank, .size = size, .wait = wait, .context = context};
    error *e = alloc_array(&s->segment, (size_t)size, sizeof *s->segment);
    if (!e) e = alloc_array(&s->from, (size_t)size, sizeof *s->from);
    if (e) {
        shared_close(s);
        return e;
    }
    memcpy(s->segment, segment, (size_t)size * sizeof *segment);
    *out = s;
    return NULL;
}

void shared_close(shared *s)
{
    if (!s) return;
    free(s->segment);
    free(s->from);
    free(s);
}
