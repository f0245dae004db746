/* calls.c - see calls.h */
#include "test/disk/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t n);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_rmdir(const char *path);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t n);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_mkdir(const char *path, mode_t mode);

static call_log *recording;
static calls_hook asked;
static void *asked_context;

void calls_record(call_log *log)
{
    recording = log;
}

void calls_ask(calls_hook hook, void *context)
{
    asked = hook;
    asked_context = context;
}

static bool may(call_kind kind, const char *path)
{
    int number = asked ? asked(asked_context, kind, path) : 0;
    if (number) errno = number;
    return number == 0;
}

static void add(call c)
{
    if (!recording) return;
    int saved = errno;
    if (recording->n == recording->room) {
        recording->room = recording->room ? 2 * recording->room : 256;
        recording->list =
            realloc(recording->list, (size_t)recording->room * sizeof *recording->list);
        if (!recording->list) abort();
    }
    if (c.a) c.a = strdup(c.a);
    if (c.b) c.b = strdup(c.b);
    if (c.bytes) {
        uint8_t *copy = malloc(c.n);
        if (!copy) abort();
        c.bytes = memcpy(copy, c.bytes, c.n);
    }
    recording->list[recording->n++] = c;
    errno = saved;
}

void calls_mark(int64_t n)
{
    add((call){.kind = CALL_MARK, .file = n});
}

void calls_free(call_log *log)
{
    for (int64_t i = 0; i < log->n; i++) {
        free(log->list[i].a);
        free(log->list[i].b);
        free(log->list[i].bytes);
    }
    free(log->list);
    *log = (call_log){0};
}

/* ---- the wrappers ---- */

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_CREAT) && !may(CALL_OPEN, path)) return -1;
    int fd = __real_open(path, flags, mode);
    if (fd >= 0 && fd < 1024 && recording) {
        recording->open[fd] = ++recording->files;
        add((call){.kind = CALL_OPEN,
                   .a = (char *)(size_t)path,
                   .file = recording->files,
                   .create = flags & O_CREAT,
                   .truncate = flags & O_TRUNC});
    }
    return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t n)
{
    if (!may(CALL_WRITE, NULL)) return -1;
    ssize_t done = __real_write(fd, data, n);
    if (done > 0 && recording)
        add((call){.kind = CALL_WRITE,
                   .file = recording->open[fd],
                   .bytes = (uint8_t *)(size_t)data,
                   .n = (size_t)done});
    return done;
}

/* A sync is noted and not done: what it would have saved is power.c's to
 * know, and tests are many. */
int __wrap_fsync(int fd)
{
    if (!may(CALL_FSYNC, NULL)) return -1;
    if (fcntl(fd, F_GETFD) < 0) return -1;
    if (recording) add((call){.kind = CALL_FSYNC, .file = recording->open[fd]});
    return 0;
}

int __wrap_rename(const char *from, const char *to)
{
    if (!may(CALL_RENAME, from)) return -1;
    int status = __real_rename(from, to);
    if (!status)
        add((call){.kind = CALL_RENAME, .a = (char *)(size_t)from, .b = (char *)(size_t)to});
    return status;
}

#define ONE_PATH(name, call_kind_)                                                                 \
    int __wrap_##name(const char *path)                                                            \
    {                                                                                              \
        if (!may(call_kind_, path)) return -1;                                                     \
        int status = __real_##name(path);                                                          \
        if (!status) add((call){.kind = call_kind_, .a = (char *)(size_t)path});                   \
        return status;                                                                             \
    }

ONE_PATH(unlink, CALL_UNLINK)
ONE_PATH(rmdir, CALL_RMDIR)

int __wrap_mkdir(const char *path, mode_t mode)
{
    if (!may(CALL_MKDIR, path)) return -1;
    int status = __real_mkdir(path, mode);
    if (!status) add((call){.kind = CALL_MKDIR, .a = (char *)(size_t)path});
    return status;
}
