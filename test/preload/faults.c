/* faults.c - LD_PRELOAD=...: the FAULT_AT-th of the calls on files, of the kinds below, fails with FAULT_ERRNO.
 *
 * test_fault has the programs' own calls fail one at a time, in one process; here it is the program as it is
 * installed, with the calls of its libraries, too.  FAULT_LOG names a file into which the number of calls is
 * written at the end, and the name of the one that failed. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int calls, at = -1, number;
static const char *failed = "none";

static int fails(const char *name)
{
    if (at < 0) {
        const char *text = getenv("FAULT_AT"), *code = getenv("FAULT_ERRNO");
        at = text ? atoi(text) : 0;
        number = code ? atoi(code) : EIO;
    }
    if (__sync_add_and_fetch(&calls, 1) != at) return 0;
    failed = name;
    errno = number;
    return 1;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("FAULT_LOG");
    int (*open_next)(const char *, int, ...) = (int (*)(const char *, int, ...))next("open");
    ssize_t (*write_next)(int, const void *, size_t) =
        (ssize_t(*)(int, const void *, size_t))next("write");
    char text[100];
    int n = snprintf(text, sizeof text, "%d %s\n", calls, failed);
    int fd = path ? open_next(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (fd >= 0 && write_next(fd, text, (size_t)n) != n) failed = "the log";
}

#define CALL(result, name, failure, parameters, arguments)                                         \
    result name parameters;                                                                        \
    result name parameters                                                                         \
    {                                                                                              \
        result(*call_next) parameters = (result(*) parameters)next(#name);                         \
        return fails(#name) ? failure : call_next arguments;                                       \
    }

CALL(ssize_t, read, -1, (int fd, void *to, size_t n), (fd, to, n))
CALL(ssize_t, write, -1, (int fd, const void *from, size_t n), (fd, from, n))
CALL(ssize_t, pread, -1, (int fd, void *to, size_t n, off_t o), (fd, to, n, o))
CALL(ssize_t, pread64, -1, (int fd, void *to, size_t n, off64_t o), (fd, to, n, o))
CALL(ssize_t, pwrite, -1, (int fd, const void *from, size_t n, off_t o), (fd, from, n, o))
CALL(int, fsync, -1, (int fd), (fd))
CALL(int, rename, -1, (const char *a, const char *b), (a, b))
CALL(int, unlink, -1, (const char *a), (a))
CALL(int, rmdir, -1, (const char *a), (a))
CALL(int, mkdir, -1, (const char *a, mode_t mode), (a, mode))
CALL(int, ftruncate, -1, (int fd, off_t n), (fd, n))
CALL(off_t, lseek, -1, (int fd, off_t n, int how), (fd, n, how))
CALL(int, flock, -1, (int fd, int how), (fd, how))
CALL(int, stat, -1, (const char *a, struct stat *s), (a, s))
CALL(int, fstat, -1, (int fd, struct stat *s), (fd, s))
CALL(int, access, -1, (const char *a, int mode), (a, mode))
CALL(int, fclose, EOF, (FILE * f), (f))
CALL(int, fflush, EOF, (FILE * f), (f))
CALL(FILE *, fopen, NULL, (const char *a, const char *how), (a, how))
CALL(void *, mmap, (void *)-1, (void *p, size_t n, int a, int b, int fd, off_t o),
     (p, n, a, b, fd, o))
CALL(int, munmap, -1, (void *p, size_t n), (p, n))
CALL(int, posix_memalign, ENOMEM, (void **p, size_t a, size_t n), (p, a, n))

int open(const char *path, int flags, ...)
{
    int (*f)(const char *, int, ...) = (int (*)(const char *, int, ...))next("open");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails("open") ? -1 : f(path, flags, mode);
}
