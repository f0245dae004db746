/* far.c - see far.h */
#include "core/far.h"
#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    QUEUE = 64,         /* requests that wait at most */
    STACK = 128 << 10,  /* of the thread: it calls pread and pwrite, and says what failed */
    AT_ONCE = 16 << 20, /* bytes in one call */
};

/* write: from memory; else to it. */
typedef struct {
    char *memory;
    size_t bytes;
    size_t at;
    bool write;
} request;

struct far {
    bool recording;
    size_t bytes, planned; /* of the blocks so far; of all that were recorded */
    size_t by_kind[FAR_KINDS];
    far_moved moved;
    int fd;
    char *directory;
    /* with the thread */
    pthread_t thread;
    bool started, stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    request queue[QUEUE];
    int64_t queued, served;
    error *failure; /* the first; nothing is read or written after it */
    /* ? in its place the host's memory, beside a device's */
    const far_host *host;
    device *dev;
    void *own; /* ? the host's */
};

error *far_create(far **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    (*out)->recording = true;
    (*out)->fd = -1;
    return NULL;
}

/* ---- the plan ---- */

far_block far_keep(far *f, int kind, dtype type, int64_t count)
{
    far_block b = {type, count, f->bytes};
    size_t bytes = ((size_t)count * dtype_size(type) + PAGE - 1) / PAGE * PAGE;
    f->bytes += bytes;
    if (f->recording) f->by_kind[kind] += bytes;
    return b;
}

size_t far_bytes(const far *f)
{
    return f->recording ? f->bytes : f->planned;
}

size_t far_bytes_of(const far *f, int kind)
{
    return f->by_kind[kind];
}

/* ---- the thread ---- */

/* Without the number: room made for a checkpoint, and another try at it, would save what is
 * lost. */
static error *disk_failed(const far *f, const char *what)
{
    return user_error(
        "--offload-to %s: %s: %s; what was trained since the last checkpoint is lost: "
        "mend that, and give --resume auto",
        f->directory, what, strerror(errno));
}

static error *serve(const far *f, const request *q)
{
    for (size_t done = 0; done < q->bytes;) {
        size_t n = q->bytes - done < AT_ONCE ? q->bytes - done : AT_ONCE;
        off_t at = (off_t)(q->at + done);
        ssize_t moved = q->write ? pwrite(f->fd, q->memory + done, n, at)
                                 : pread(f->fd, q->memory + done, n, at);
        if (moved < 0 && errno == EINTR) continue;
        if (moved == 0) errno = q->write ? ENOSPC : EIO; /* the file has that length */
        if (moved <= 0) return disk_failed(f, q->write ? "cannot write" : "cannot read");
        done += (size_t)moved;
    }
    return NULL;
}

static void *work(void *argument)
{
    far *f = argument;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (f->served == f->queued) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        request q = f->queue[f->served % QUEUE];
        bool dead = f->failure;
        pthread_mutex_unlock(&f->lock);
        double begin = clock_now();
        error *e = dead ? NULL : serve(f, &q);
        pthread_mutex_lock(&f->lock);
        f->moved.busy += clock_now() - begin;
        if (e) f->failure = e;
        f->served++;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static int64_t ask(far *f, far_block b, int64_t first, int64_t n, void *memory, bool write)
{
    size_t size = dtype_size(b.type);
    request q = {memory, (size_t)n * size, b.at + (size_t)first * size, write};
    if (f->started) pthread_mutex_lock(&f->lock);
    *(write ? &f->moved.written : &f->moved.read) += (int64_t)q.bytes;
    if (f->own) return f->dev->failure ? 0 : f->host->copy(f->own, q.at, memory, q.bytes, write);
    if (!f->started) return 0;
    while (f->queued - f->served == QUEUE)
        pthread_cond_wait(&f->changed, &f->lock);
    f->queue[f->queued++ % QUEUE] = q;
    int64_t number = f->queued;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return number;
}

int64_t far_read(far *f, far_block b, int64_t first, int64_t n, void *to)
{
    return ask(f, b, first, n, to, false);
}

int64_t far_write(far *f, far_block b, int64_t first, int64_t n, const void *from)
{
    return ask(f, b, first, n, (void *)(size_t)from, true);
}

error *far_wait(far *f, int64_t number)
{
    if (f->own && number && !f->dev->failure) f->host->wait(f->own, number);
    if (!f->started) return NULL;
    pthread_mutex_lock(&f->lock);
    if (f->served < number) {
        double begin = clock_now();
        while (f->served < number)
            pthread_cond_wait(&f->changed, &f->lock);
        f->moved.waited += clock_now() - begin;
    }
    error *e = f->failure ? user_error("%s", error_text(f->failure)) : NULL;
    pthread_mutex_unlock(&f->lock);
    return e;
}

far_moved far_so_far(far *f)
{
    if (f->started) pthread_mutex_lock(&f->lock);
    far_moved m = f->moved;
    if (f->started) pthread_mutex_unlock(&f->lock);
    if (f->own) m.waited = f->host->waited(f->own);
    return m;
}

/* ---- the file ---- */

/* One without a name: also where the file system cannot make such. */
static error *make_file(far *f)
{
    char *path = NULL;
    f->fd = open(f->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd >= 0) return NULL;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return user_error("--offload-to %s: no file can be made there: %s", f->directory,
                          strerror(errno));
    if (asprintf(&path, "%s/regrad-offload.XXXXXX", f->directory) < 0)
        return user_error("out of memory for --offload-to");
    f->fd = mkstemp(path);
    error *e = f->fd >= 0 ? NULL
                          : user_error("--offload-to %s: no file can be made there: %s",
                                       f->directory, strerror(errno));
    if (!e) unlink(path);
    free(path);
    return e;
}

static error *reserve(const far *f)
{
    int number = f->planned ? posix_fallocate(f->fd, 0, (off_t)f->planned) : 0;
    if (!number) return NULL;
    return error_numbered(
        user_error("--offload-to %s: no room for %.1f MiB: %s: give a directory with more",
                   f->directory, (double)f->planned / 1048576.0, strerror(number)),
        number);
}

static error *start(far *f)
{
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    int number = thread_start(&f->thread, STACK, work, f);
    f->started = number == 0;
    return number ? user_error("--offload: its thread cannot be started: %s", strerror(number))
                  : NULL;
}

static void end_recording(far *f)
{
    f->recording = false;
    f->planned = f->bytes;
    f->bytes = 0;
    f->moved = (far_moved){0};
}

error *far_open_host(far *f, const far_host *host, device *dev, int stream)
{
    end_recording(f);
    f->host = host;
    f->dev = dev;
    return host->open(dev, stream, f->planned, &f->own);
}

error *far_open(far *f, const char *directory)
{
    f->directory = strdup(directory);
    if (!f->directory) return user_error("out of memory for --offload-to");
    end_recording(f);
    TRY(make_file(f));
    TRY(reserve(f));
    return start(f);
}

void far_destroy(far *f)
{
    if (!f) return;
    if (f->started) {
        pthread_mutex_lock(&f->lock);
        f->stop = true;
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
        pthread_cond_destroy(&f->changed);
        pthread_mutex_destroy(&f->lock);
    }
    if (f->own) f->host->close(f->own);
    if (f->failure) error_free(f->failure);
    if (f->fd >= 0) close(f->fd);
    free(f->directory);
    free(f);
}
