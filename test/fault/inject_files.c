/* inject_files.c - the wrappers of files and streams; see inject.h */
#include "test/fault/inject.h"
#include "test/fault/strike.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- descriptors ---- */

static int real_open(const char *path, int flags, mode_t mode)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    return fault_strikes("open", writes ? FAULT_OUTPUT : FAULT_INPUT)
               ? -1
               : __real_open(path, flags, mode);
}

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return real_open(path, flags, mode);
}

ssize_t __wrap_read(int fd, void *to, size_t n)
{
    return fault_strikes("read", FAULT_INPUT) ? -1 : __real_read(fd, to, fault_part(n));
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    return fault_strikes("pread", FAULT_INPUT) ? -1 : __real_pread(fd, to, fault_part(n), at);
}

ssize_t __wrap_write(int fd, const void *from, size_t n)
{
    return fault_strikes("write", FAULT_OUTPUT) ? -1 : __real_write(fd, from, fault_part(n));
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at)
{
    return fault_strikes("pwrite", FAULT_OUTPUT) ? -1 : __real_pwrite(fd, from, fault_part(n), at);
}

/* Not done: no run here loses power, and a disk took half of the time for it. */
int __wrap_fsync(int fd)
{
    if (fault_strikes("fsync", FAULT_OUTPUT)) return -1;
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

/* The descriptor is gone after a close that fails. */
int __wrap_close(int fd)
{
    bool struck = fault_strikes("close", FAULT_OUTPUT);
    int number = errno, status = __real_close(fd);
    if (struck) errno = number;
    return struck ? -1 : status;
}

/* ---- names ---- */

int __wrap_rename(const char *from, const char *to)
{
    return fault_strikes("rename", FAULT_OUTPUT) ? -1 : __real_rename(from, to);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return fault_strikes("mkdir", FAULT_OUTPUT) ? -1 : __real_mkdir(path, mode);
}

int __wrap_fstat(int fd, struct stat *out)
{
    return fault_strikes("fstat", FAULT_INPUT) ? -1 : __real_fstat(fd, out);
}

int __wrap_stat(const char *path, struct stat *out)
{
    return fault_strikes("stat", FAULT_INPUT) ? -1 : __real_stat(path, out);
}

DIR *__wrap_opendir(const char *path)
{
    return fault_strikes("opendir", FAULT_INPUT) ? NULL : __real_opendir(path);
}

struct dirent *__wrap_readdir(DIR *d)
{
    return fault_strikes("readdir", FAULT_INPUT) ? NULL : __real_readdir(d);
}

int __wrap_ftruncate(int fd, off_t n)
{
    return fault_strikes("ftruncate", FAULT_OUTPUT) ? -1 : __real_ftruncate(fd, n);
}

off_t __wrap_lseek(int fd, off_t at, int whence)
{
    return fault_strikes("lseek", FAULT_INPUT) ? -1 : __real_lseek(fd, at, whence);
}

int __wrap_flock(int fd, int how)
{
    return fault_strikes("flock", FAULT_OUTPUT) ? -1 : __real_flock(fd, how);
}

int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *out)
{
    if (fault_strikes("glob's memory", FAULT_MEMORY)) return GLOB_NOSPACE;
    if (fault_strikes("glob", FAULT_INPUT)) return GLOB_ABORTED;
    return __real_glob(pattern, flags, on_error, out);
}

/* ---- streams ---- */

enum { STREAMS = 256 };

typedef struct {
    FILE *stream; /* NULL: free */
    int fd;
} open_stream;

static open_stream streams[STREAMS]; /* those of ours; fileno does not know them */

static ssize_t stream_read(void *cookie, char *to, size_t n)
{
    const open_stream *s = cookie;
    if (fault_strikes("read of a stream", FAULT_INPUT)) return -1;
    return __real_read(s->fd, to, fault_part(n));
}

static ssize_t stream_write(void *cookie, const char *from, size_t n)
{
    const open_stream *s = cookie;
    if (fault_strikes("write of a stream", FAULT_OUTPUT)) return 0; /* fopencookie's way to fail */
    size_t done = 0;
    for (ssize_t part = 1; part > 0 && done<n; done += part> 0 ? (size_t)part : 0)
        part = __real_write(s->fd, from + done, n - done);
    return done == n ? (ssize_t)n : 0;
}

static int stream_seek(void *cookie, off64_t *at, int whence)
{
    const open_stream *s = cookie;
    off64_t to = lseek64(s->fd, *at, whence);
    if (to < 0) return -1;
    *at = to;
    return 0;
}

static int stream_close(void *cookie)
{
    open_stream *s = cookie;
    s->stream = NULL;
    return __wrap_close(s->fd);
}

static FILE *stream_of(int fd, const char *mode)
{
    open_stream *s = streams;
    while (s->stream && s < streams + STREAMS - 1)
        s++;
    s->fd = fd;
    s->stream = fopencookie(
        s, mode, (cookie_io_functions_t){stream_read, stream_write, stream_seek, stream_close});
    return s->stream;
}

static int flags_of(const char *mode)
{
    int way = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    int make = *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT | O_APPEND : 0;
    return way | make | (strchr(mode, 'e') ? O_CLOEXEC : 0) | (strchr(mode, 'x') ? O_EXCL : 0);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (!fault_armed()) return __real_fopen(path, mode);
    if (fault_strikes("fopen's memory", FAULT_MEMORY)) return NULL;
    int fd = real_open(path, flags_of(mode), 0666);
    return fd < 0 ? NULL : stream_of(fd, mode);
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
    if (!fault_armed()) return __real_fdopen(fd, mode);
    return fault_strikes("fdopen", FAULT_MEMORY) ? NULL : stream_of(fd, mode);
}

void fault_stdout(void)
{
    stdout = stream_of(STDOUT_FILENO, "w");
}

int __wrap_fileno(FILE *f)
{
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].stream == f) return streams[i].fd;
    return __real_fileno(f);
}

/* ---- streams in memory ---- */

typedef struct {
    char *bytes, **out;
    size_t n, *n_out;
    void *owner;
} memory_stream;

static ssize_t memory_write(void *cookie, const char *from, size_t n)
{
    memory_stream *m = cookie;
    if (fault_strikes("growing of a memory stream", FAULT_MEMORY)) return 0;
    fault_untrack(m->bytes);
    m->bytes = fault_track(__real_realloc(m->bytes, m->n + n + 1), m->owner);
    memcpy(m->bytes + m->n, from, n);
    m->n += n;
    m->bytes[m->n] = 0;
    *m->out = m->bytes;
    *m->n_out = m->n;
    return (ssize_t)n;
}

static int memory_close(void *cookie)
{
    __real_free(cookie);
    return 0;
}

FILE *__wrap_open_memstream(char **out, size_t *n)
{
    if (!fault_armed()) return __real_open_memstream(out, n);
    if (fault_strikes("open_memstream", FAULT_MEMORY)) return NULL;
    void *owner = __builtin_return_address(0);
    memory_stream *m = __real_malloc(sizeof *m);
    *m = (memory_stream){fault_track(__real_calloc(1, 1), owner), out, 0, n, owner};
    *out = m->bytes;
    *n = 0;
    return fopencookie(m, "w",
                       (cookie_io_functions_t){.write = memory_write, .close = memory_close});
}
