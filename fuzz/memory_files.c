/* memory_files.c - see memory_files.h */
#include "fuzz/memory_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { MOST_FILES = 8, MOST_OPEN = 16, FIRST_FD = 1 << 20 };

const char memory_directory[] = "/regrad-fuzz";

typedef struct {
    char path[64];
    char *bytes;
    size_t n, capacity;
    int fd;       /* of the system's file with the same bytes; 0: there is none */
    size_t there; /* bytes of that file */
    bool changed; /* since they were put there */
} file;

static file files[MOST_FILES];

static struct {
    const file *of; /* NULL: free */
    size_t at;
} opened[MOST_OPEN];

static void need(bool fine, const char *what)
{
    if (fine) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static file *find(const char *path)
{
    for (int i = 0; i < MOST_FILES && *files[i].path; i++)
        if (!strcmp(files[i].path, path)) return &files[i];
    return NULL;
}

const char *memory_file(const char *name, const void *bytes, size_t n)
{
    char path[sizeof files->path];
    snprintf(path, sizeof path, "%s/%s", memory_directory, name);
    file *f = find(path);
    for (int i = 0; i < MOST_FILES && !f; i++)
        if (!*files[i].path) f = memcpy(&files[i], path, sizeof path);
    need(f, "too many files in memory");
    if (n > f->capacity) {
        f->bytes = realloc(f->bytes, f->capacity = 2 * n);
        need(f->bytes, "no memory for a file");
    }
    if (n) memcpy(f->bytes, bytes, n);
    f->n = n;
    f->changed = true;
    return f->path;
}

/* ---- what the linker puts in place of the system's ---- */

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
int __real_stat(const char *path, struct stat *s);
int __real_fstat(int fd, struct stat *s);
int __real_access(const char *path, int mode);
ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
FILE *__real_fopen(const char *path, const char *mode);
gzFile __real_gzopen(const char *path, const char *mode);

int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_stat(const char *path, struct stat *s);
int __wrap_fstat(int fd, struct stat *s);
int __wrap_access(const char *path, int mode);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);
FILE *__wrap_fopen(const char *path, const char *mode);
gzFile __wrap_gzopen(const char *path, const char *mode);

static bool is_ours(const char *path)
{
    return !strncmp(path, memory_directory, sizeof memory_directory - 1);
}

static bool is_open(int fd)
{
    return fd >= FIRST_FD && fd < FIRST_FD + MOST_OPEN && opened[fd - FIRST_FD].of;
}

static int failed(int with)
{
    errno = with;
    return -1;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!is_ours(path)) return __real_open(path, flags, mode);
    const file *f = find(path);
    if ((flags & O_ACCMODE) != O_RDONLY) return failed(EROFS);
    if (!f) return failed(ENOENT);
    int i = 0;
    while (i < MOST_OPEN && opened[i].of)
        i++;
    need(i < MOST_OPEN, "files are left open");
    opened[i].of = f;
    opened[i].at = 0;
    return FIRST_FD + i;
}

int __wrap_close(int fd)
{
    if (fd < FIRST_FD) return __real_close(fd);
    need(is_open(fd), "a file is closed that is not open");
    opened[fd - FIRST_FD].of = NULL;
    return 0;
}

static int say(const file *f, struct stat *s)
{
    *s = (struct stat){.st_mode = f ? S_IFREG | 0444 : S_IFDIR | 0555,
                       .st_nlink = 1,
                       .st_ino = f ? (ino_t)(f - files) + 2 : 1,
                       .st_size = f ? (off_t)f->n : 0};
    return 0;
}

int __wrap_stat(const char *path, struct stat *s)
{
    if (!is_ours(path)) return __real_stat(path, s);
    const file *f = find(path);
    return f || !strcmp(path, memory_directory) ? say(f, s) : failed(ENOENT);
}

int __wrap_fstat(int fd, struct stat *s)
{
    return is_open(fd) ? say(opened[fd - FIRST_FD].of, s) : __real_fstat(fd, s);
}

int __wrap_access(const char *path, int mode)
{
    struct stat s;
    if (!is_ours(path)) return __real_access(path, mode);
    return mode & W_OK ? failed(EROFS) : __wrap_stat(path, &s);
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    if (!is_open(fd)) return __real_pread(fd, to, n, at);
    const file *f = opened[fd - FIRST_FD].of;
    if (at < 0) return failed(EINVAL);
    if ((size_t)at >= f->n) return 0;
    if (n > f->n - (size_t)at) n = f->n - (size_t)at;
    memcpy(to, f->bytes + at, n);
    return (ssize_t)n;
}

ssize_t __wrap_read(int fd, void *to, size_t n)
{
    if (!is_open(fd)) return __real_read(fd, to, n);
    ssize_t got = __wrap_pread(fd, to, n, (off_t)opened[fd - FIRST_FD].at);
    opened[fd - FIRST_FD].at += (size_t)got;
    return got;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (!is_ours(path)) return __real_fopen(path, mode);
    file *f = find(path);
    if (f && *mode == 'r') return fmemopen(f->bytes, f->n, "r");
    errno = f ? EROFS : ENOENT;
    return NULL;
}

gzFile __wrap_gzopen(const char *path, const char *mode)
{
    char name[40];
    if (!is_ours(path)) return __real_gzopen(path, mode);
    file *f = find(path);
    if (!f) return __real_gzopen(path, mode);
    if (!f->fd) f->fd = memfd_create("fuzz", 0);
    if (f->changed)
        need(f->fd > 0 && (!f->n || pwrite(f->fd, f->bytes, f->n, 0) == (ssize_t)f->n) &&
                 (f->n == f->there || !ftruncate(f->fd, (off_t)f->n)),
             "no file in memory");
    f->changed = false;
    f->there = f->n;
    snprintf(name, sizeof name, "/proc/self/fd/%d", f->fd);
    return __real_gzopen(name, mode);
}
