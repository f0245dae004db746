/* beside.c - see beside.h */
#include "ranks/beside.h"
#include "base/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE = 256,     /* calls that wait at most */
    STACK = 1 << 20, /* of the thread: an MPI library's calls are deep */
};

struct beside {
    beside_serve *serve;
    void *context;
    pthread_t thread;
    bool stop, failed;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    beside_call queue[QUEUE];
    int64_t asked, served;
    error *failure; /* ? until somebody has taken it */
};

static void *serve_calls(void *argument)
{
    beside *b = argument;
    pthread_mutex_lock(&b->lock);
    while (!b->stop || b->served < b->asked) {
        if (b->served == b->asked) {
            pthread_cond_wait(&b->changed, &b->lock);
            continue;
        }
        beside_call call = b->queue[b->served % QUEUE];
        bool dead = b->failed;
        pthread_mutex_unlock(&b->lock);
        error *e = dead ? NULL : b->serve(b->context, &call);
        pthread_mutex_lock(&b->lock);
        if (e) b->failure = e;
        b->failed = b->failed || e;
        b->served++;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

int64_t beside_ask(beside *b, beside_call call)
{
    pthread_mutex_lock(&b->lock);
    while (b->asked - b->served == QUEUE)
        pthread_cond_wait(&b->changed, &b->lock);
    b->queue[b->asked++ % QUEUE] = call;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    return b->asked; /* which this thread alone changes */
}

int64_t beside_asked(const beside *b)
{
    return b->asked;
}

error *beside_wait(beside *b, int64_t number)
{
    pthread_mutex_lock(&b->lock);
    while (b->served < number)
        pthread_cond_wait(&b->changed, &b->lock);
    error *e = b->failure;
    b->failure = NULL;
    pthread_mutex_unlock(&b->lock);
    return e;
}

error *beside_open(beside_serve *serve, void *context, beside **out)
{
    beside *b;
    TRY(alloc_array(&b, 1, sizeof *b));
    b->serve = serve;
    b->context = context;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    int number = thread_start(&b->thread, STACK, serve_calls, b);
    if (number) {
        free(b);
        return user_error("no thread can be started for what ranks exchange: %s; give --prefetch 0 "
                          "--bucket 0",
                          strerror(number));
    }
    *out = b;
    return NULL;
}

void beside_close(beside *b)
{
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    error_free(b->failure);
    free(b);
}
