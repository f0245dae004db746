/* pool.c - see pool.h */
#include "cpu/pool.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A number whose change can be waited for.
 *
 * A wait spins first, for as long as spinning has paid: what ended while spinning doubles it, what
 * did not halves it.  On an idle machine a wait in a step takes microseconds, and no thread
 * sleeps; on a busy one the thread that is waited for may be without a core, and spinning only
 * keeps it from one. */
typedef struct {
    _Alignas(64) atomic_uint value;
    atomic_int spin; /* ns; 0: never */
    atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} event;

/* The state of a job as all see it, in one number: |generation: 32|open: 1|inside: 31|.  A helper
 * enters by adding 1 while it is open, and only then reads the job; the caller closes it when its
 * own part is done, and waits for those inside.  So a helper that the system has not scheduled in
 * time is not waited for: it finds the job closed. */
#define GENERATION 32
#define OPEN       (UINT64_C(1) << 31)
#define INSIDE     (OPEN - 1)

struct pool {
    event start, turn,
        done; /* there is a job; all are at the barrier; all of a team, or all inside, are done */
    _Alignas(64) atomic_ullong job;
    _Alignas(64) atomic_int arrived, left; /* left: of a team */
    team_fn *f;
    void *context;
    int threads, working; /* working: on this job, at most */
    bool team;            /* a team: all must take part */
    uint32_t generation;
    bool stop;
    struct helper {
        pthread_t thread;
        pool *pool;
        int index;
    } * helpers;
    int running; /* helpers that were started */
};

enum { SPIN_LEAST = 1000, SPIN_MOST = 50000 }; /* ns */

static void event_open(event *e, int spin)
{
    atomic_store(&e->spin, spin);
    pthread_mutex_init(&e->mutex, NULL);
    pthread_cond_init(&e->changed, NULL);
}

static void event_close(event *e)
{
    pthread_mutex_destroy(&e->mutex);
    pthread_cond_destroy(&e->changed);
}

static void event_next(event *e)
{
    atomic_fetch_add(&e->value, 1);
    if (!atomic_load(&e->sleepers)) return;
    pthread_mutex_lock(&e->mutex);
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

static inline void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* Has it changed within the time? */
static bool spin_while(event *e, unsigned old, int ns)
{
    enum { AT_ONCE = 64 };
    for (double end = clock_now() + ns * 1e-9;;) {
        for (int i = 0; i < AT_ONCE; i++) {
            if (atomic_load_explicit(&e->value, memory_order_acquire) != old) return true;
            relax();
        }
        if (clock_now() > end) return false;
    }
}

/* Waits while the event's value is `old`. */
static void event_wait(event *e, unsigned old)
{
    int ns = atomic_load_explicit(&e->spin, memory_order_relaxed);
    if (ns) {
        bool changed = spin_while(e, old, ns);
        ns = changed ? ns * 2 : ns / 2;
        ns = ns < SPIN_LEAST ? SPIN_LEAST : ns > SPIN_MOST ? SPIN_MOST : ns;
        atomic_store_explicit(&e->spin, ns, memory_order_relaxed);
        if (changed) return;
    }
    pthread_mutex_lock(&e->mutex);
    atomic_fetch_add(&e->sleepers, 1);
    while (atomic_load(&e->value) == old)
        pthread_cond_wait(&e->changed, &e->mutex);
    atomic_fetch_sub(&e->sleepers, 1);
    pthread_mutex_unlock(&e->mutex);
}

/* Enters the open job, unless it is `last`; returns which it is. */
static bool go_in(pool *p, uint32_t *last)
{
    unsigned long long job = atomic_load(&p->job);
    do {
        if (!(job & OPEN) || (uint32_t)(job >> GENERATION) == *last) return false;
    } while (!atomic_compare_exchange_weak(&p->job, &job, job + 1));
    *last = (uint32_t)(job >> GENERATION);
    return true;
}

static void go_out(pool *p)
{
    unsigned long long job = atomic_fetch_sub(&p->job, 1) - 1;
    if (!(job & (OPEN | INSIDE))) event_next(&p->done);
}

static void *help(void *argument)
{
    struct helper *h = argument;
    pool *p = h->pool;
    uint32_t last = 0;
    for (unsigned seen = 0;;) {
        event_wait(&p->start, seen);
        if (p->stop) return NULL;
        seen = atomic_load(&p->start.value); /* opening a later job changes it */
        if (!go_in(p, &last)) continue;
        if (h->index < p->working) {
            p->f(p->context, (member){p, h->index, p->working});
            if (p->team && atomic_fetch_sub(&p->left, 1) == 1) event_next(&p->done);
        }
        go_out(p);
    }
}

error *pool_open(int threads, int cores, pool **out)
{
    enum { STACK = 8 << 20 }; /* attention's blocks are there */
    int spin = threads <= cores ? SPIN_MOST : 0;
    pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p) return user_error("no memory for the threads");
    memset(p, 0, sizeof *p);
    p->threads = threads;
    event_open(&p->start, spin);
    event_open(&p->turn, spin);
    event_open(&p->done, spin);
    *out = p;
    p->helpers = calloc((size_t)threads, sizeof *p->helpers);
    int code = p->helpers ? 0 : ENOMEM;
    for (; !code && p->running < threads - 1; p->running += !code) {
        struct helper *h = &p->helpers[p->running];
        *h = (struct helper){.pool = p, .index = p->running + 1};
        code = thread_start(&h->thread, STACK, help, h);
    }
    if (!code) return NULL;
    pool_close(p);
    *out = NULL;
    return user_error("%d threads: %s; give fewer --threads", threads, strerror(code));
}

void pool_close(pool *p)
{
    if (!p) return;
    p->stop = true;
    event_next(&p->start);
    for (int i = 0; i < p->running; i++)
        pthread_join(p->helpers[i].thread, NULL);
    event_close(&p->start);
    event_close(&p->turn);
    event_close(&p->done);
    free(p->helpers);
    free(p);
}

static void open_job(pool *p, int threads, bool team, team_fn *f, void *context)
{
    p->f = f;
    p->context = context;
    p->working = threads;
    p->team = team;
    atomic_store(&p->left, threads - 1);
    atomic_store(&p->job, (unsigned long long)++p->generation << GENERATION | OPEN);
    event_next(&p->start);
}

/* Waits until nobody is inside. */
static void close_job(pool *p)
{
    unsigned done = atomic_load(&p->done.value);
    if (atomic_fetch_and(&p->job, ~OPEN) & INSIDE) event_wait(&p->done, done);
}

void pool_run(pool *p, int threads, team_fn *f, void *context)
{
    if (threads > p->threads) threads = p->threads;
    if (threads <= 1) {
        f(context, (member){p, 0, 1});
        return;
    }
    unsigned done = atomic_load(&p->done.value);
    open_job(p, threads, true, f, context);
    f(context, (member){p, 0, threads});
    event_wait(&p->done, done);
    close_job(p);
}

void pool_barrier(member me)
{
    if (me.threads == 1) return;
    pool *p = me.pool;
    unsigned turn = atomic_load(&p->turn.value);
    if (atomic_fetch_add(&p->arrived, 1) == me.threads - 1) {
        atomic_store(&p->arrived, 0);
        event_next(&p->turn);
    } else {
        event_wait(&p->turn, turn);
    }
}

/* ---- loops ---- */

typedef struct {
    range_fn *f;
    const void *context;
    int64_t n, part;
    atomic_llong next;
} loop;

static void take_parts(void *context, member me)
{
    (void)me;
    loop *l = context; /* any helper may take parts, none has to */
    for (int64_t at; (at = atomic_fetch_add(&l->next, l->part)) < l->n;)
        l->f(l->context, at, at + l->part < l->n ? at + l->part : l->n);
}

void pool_for(pool *p, int64_t n, int64_t grain, range_fn *f, const void *context)
{
    enum { PARTS_EACH = 4 }; /* whoever is done takes the next part */
    int64_t parts = (int64_t)p->threads * PARTS_EACH, part = (n + parts - 1) / parts;
    if (p->threads == 1 || n <= grain) {
        if (n > 0) f(context, 0, n);
        return;
    }
    loop l = {.f = f, .context = context, .n = n, .part = part < grain ? grain : part};
    int64_t count = (n + l.part - 1) / l.part;
    open_job(p, count < p->threads ? (int)count : p->threads, false, take_parts, &l);
    take_parts(&l, (member){p, 0, 1});
    close_job(p);
}
