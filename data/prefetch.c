/* prefetch.c - see prefetch.h */
#include "data/prefetch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORKERS = 64 };

typedef enum { EMPTY, FILLING, READY } slot_state;

typedef struct {
    slot_state state;
    error *failure;
    uint8_t *inputs, *targets;
} slot;

typedef struct {
    source base;
    int64_t count, stride;            /* samples of a block, and from one block to the next */
    size_t input_bytes, target_bytes; /* of a block */
    slot *slots;                      /* (n) */
    int n;
    pthread_t thread[MOST_WORKERS];
    int workers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop, started;
    int64_t next;   /* the sample at which the next block to fill begins */
    int64_t wanted; /* and the next to be read; blocks in between are in the slots, a ring */
} prefetch;

static slot *slot_of(const prefetch *p, int64_t first)
{
    return &p->slots[first / p->stride % p->n];
}

static void *work(void *argument)
{
    prefetch *p = argument;
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (!p->started || p->next - p->wanted >= p->stride * p->n ||
            slot_of(p, p->next)->state != EMPTY) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        int64_t first = p->next;
        slot *s = slot_of(p, first);
        s->state = FILLING;
        p->next += p->stride;
        pthread_mutex_unlock(&p->lock);
        error *e = source_read(p->base.inner, first, p->count, s->inputs, s->targets);
        pthread_mutex_lock(&p->lock);
        s->failure = e;
        s->state = READY;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Waits for the workers, discards their blocks, and restarts them at `first`. */
static void begin_at(prefetch *p, int64_t first)
{
    p->started = false;
    for (int i = 0; i < p->n; i++) {
        while (p->slots[i].state == FILLING)
            pthread_cond_wait(&p->changed, &p->lock);
        if (p->slots[i].failure) error_free(p->slots[i].failure);
        p->slots[i].failure = NULL;
        p->slots[i].state = EMPTY;
    }
    p->next = p->wanted = first;
    p->started = true;
    pthread_cond_broadcast(&p->changed);
}

static error *prefetch_read(source *base, int64_t first, int64_t count, void *inputs, void *targets)
{
    prefetch *p = (prefetch *)base;
    if (count != p->count || first % count)
        return source_read(p->base.inner, first, count, inputs, targets);
    pthread_mutex_lock(&p->lock);
    if (!p->started || first != p->wanted) begin_at(p, first);
    slot *s = slot_of(p, first);
    while (s->state != READY)
        pthread_cond_wait(&p->changed, &p->lock);
    error *e = s->failure;
    s->failure = NULL;
    pthread_mutex_unlock(&p->lock);
    if (!e) {
        memcpy(inputs, s->inputs, p->input_bytes);
        memcpy(targets, s->targets, p->target_bytes);
    }
    pthread_mutex_lock(&p->lock);
    s->state = EMPTY;
    p->wanted = first + p->stride;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return e;
}

static void prefetch_close(source *base)
{
    prefetch *p = (prefetch *)base;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->workers; i++)
        pthread_join(p->thread[i], NULL);
    for (int i = 0; i < p->n && p->slots; i++) {
        if (p->slots[i].failure) error_free(p->slots[i].failure);
        free(p->slots[i].inputs);
        free(p->slots[i].targets);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->slots);
    source_close(p->base.inner);
    free(p);
}

static error *start(prefetch *p, int workers)
{
    TRY(alloc_array(&p->slots, (size_t)p->n, sizeof *p->slots));
    for (int i = 0; i < p->n; i++) {
        TRY(alloc_array(&p->slots[i].inputs, p->input_bytes, 1));
        TRY(alloc_array(&p->slots[i].targets, p->target_bytes, 1));
    }
    for (; p->workers < workers; p->workers++)
        if (pthread_create(&p->thread[p->workers], NULL, work, p))
            return user_error("--workers %d: thread %d cannot be started", workers, p->workers + 1);
    return NULL;
}

error *prefetch_open(source *inner, int workers, int64_t count, int64_t stride, size_t input_bytes,
                     size_t target_bytes, source **out)
{
    static const source_ops ops = {.read = prefetch_read, .close = prefetch_close};
    prefetch *p;
    if (workers > MOST_WORKERS) workers = MOST_WORKERS;
    error *e = alloc_array(&p, 1, sizeof *p);
    if (e) {
        source_close(inner);
        return e;
    }
    p->base = (source){.ops = &ops, .count = inner->count, .ends = inner->ends, .inner = inner};
    p->count = count;
    p->stride = stride;
    p->n = (int)prefetch_blocks(workers);
    p->input_bytes = (size_t)count * input_bytes;
    p->target_bytes = (size_t)count * target_bytes;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    e = start(p, workers);
    if (e)
        prefetch_close(&p->base);
    else
        *out = &p->base;
    return e;
}
