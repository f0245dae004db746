/* faults.c - LD_PRELOAD=...: the FAULT_AT-th of the calls of one kind fails with FAULT_ERRNO.
 *
 *     FAULT_KIND=files      what opens, reads, writes, names, locks and removes them, and what lists directories
 *                memory     malloc and its family, mmap
 *                threads    pthread_create
 *                system     clocks, pauses, limits, the number of processors, the environment
 *                network    sockets, and the processes that speak through them
 *
 * test_fault has the programs' own calls fail one at a time, in one process; here it is the program
 * as it is installed, with the calls of its libraries, too.  Calls count from main() on: what
 * libraries do before it is none of ours.  FAULT_LOG names a file to which each process adds the
 * number of its calls at the end, and the name of the one that failed. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef enum { FILES, MEMORY, THREADS, SYSTEM, NETWORK, KINDS } kind;

static int calls, at, number, chosen = KINDS;
static const char *failed = "none";

static int fails(kind k, const char *name)
{
    if ((int)k != chosen || __sync_add_and_fetch(&calls, 1) != at) return 0;
    failed = name;
    errno = number;
    return 1;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* ---- from main() to the end ---- */

static int (*real_main)(int, char **, char **);

static int counted_main(int argc, char **argv, char **env)
{
    static const char *const names[] = {"files", "memory", "threads", "system", "network"};
    const char *text = getenv("FAULT_AT"), *code = getenv("FAULT_ERRNO"), *k = getenv("FAULT_KIND");
    at = text ? atoi(text) : 0;
    number = code ? atoi(code) : EIO;
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(k ? k : names[0], names[i])) chosen = i;
    return real_main(argc, argv, env);
}

int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                      void (*)(void), void *);
int __libc_start_main(int (*f)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                 void (*)(void), void *) = next("__libc_start_main");
    real_main = f;
    return start(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("FAULT_LOG");
    int (*open_next)(const char *, int, ...) = next("open");
    ssize_t (*write_next)(int, const void *, size_t) = next("write");
    char text[100];
    chosen = KINDS;
    int n = snprintf(text, sizeof text, "%d %s\n", calls, failed);
    int fd = path ? open_next(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd >= 0 && write_next(fd, text, (size_t)n) != n) failed = "the log";
}

/* ---- memory: the C library's own, by the names that it has for such as this ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t n)
{
    return fails(MEMORY, "malloc") ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails(MEMORY, "calloc") ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails(MEMORY, "realloc") ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails(MEMORY, "aligned_alloc") ? NULL : __libc_memalign(alignment, n);
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    if (fails(MEMORY, "posix_memalign")) return ENOMEM;
    *p = __libc_memalign(alignment, n);
    return *p ? 0 : ENOMEM;
}

/* ---- the rest ---- */

#define CALL(kind, result, name, failure, parameters, arguments)                                   \
    result name parameters                                                                         \
    {                                                                                              \
        result(*call_next) parameters = next(#name);                                               \
        return fails(kind, #name) ? failure : call_next arguments;                                 \
    }

CALL(MEMORY, void *, mmap, MAP_FAILED, (void *p, size_t n, int a, int b, int fd, off_t o),
     (p, n, a, b, fd, o))
CALL(MEMORY, int, munmap, -1, (void *p, size_t n), (p, n))
CALL(MEMORY, int, madvise, -1, (void *p, size_t n, int how), (p, n, how))

CALL(FILES, ssize_t, read, -1, (int fd, void *to, size_t n), (fd, to, n))
CALL(FILES, ssize_t, write, -1, (int fd, const void *from, size_t n), (fd, from, n))
CALL(FILES, ssize_t, pread, -1, (int fd, void *to, size_t n, off_t o), (fd, to, n, o))
CALL(FILES, ssize_t, pread64, -1, (int fd, void *to, size_t n, off64_t o), (fd, to, n, o))
CALL(FILES, ssize_t, pwrite, -1, (int fd, const void *from, size_t n, off_t o), (fd, from, n, o))
CALL(FILES, int, fsync, -1, (int fd), (fd))
CALL(FILES, int, rename, -1, (const char *a, const char *b), (a, b))
CALL(FILES, int, unlink, -1, (const char *a), (a))
CALL(FILES, int, rmdir, -1, (const char *a), (a))
CALL(FILES, int, mkdir, -1, (const char *a, mode_t mode), (a, mode))
CALL(FILES, int, ftruncate, -1, (int fd, off_t n), (fd, n))
CALL(FILES, off_t, lseek, -1, (int fd, off_t n, int how), (fd, n, how))
CALL(FILES, int, flock, -1, (int fd, int how), (fd, how))
CALL(FILES, int, stat, -1, (const char *a, struct stat *s), (a, s))
CALL(FILES, int, fstat, -1, (int fd, struct stat *s), (fd, s))
CALL(FILES, int, access, -1, (const char *a, int mode), (a, mode))
CALL(FILES, ssize_t, readlink, -1, (const char *a, char *to, size_t n), (a, to, n))
CALL(FILES, DIR *, opendir, NULL, (const char *a), (a))
CALL(FILES, struct dirent *, readdir, NULL, (DIR * d), (d))
CALL(FILES, int, fclose, EOF, (FILE * f), (f))
CALL(FILES, int, fflush, EOF, (FILE * f), (f))
CALL(FILES, FILE *, fopen, NULL, (const char *a, const char *how), (a, how))
CALL(FILES, FILE *, freopen, NULL, (const char *a, const char *how, FILE *f), (a, how, f))
CALL(FILES, FILE *, open_memstream, NULL, (char **to, size_t *n), (to, n))
CALL(FILES, void *, dlopen, NULL, (const char *a, int how), (a, how))

CALL(THREADS, int, pthread_create, EAGAIN,
     (pthread_t * t, const pthread_attr_t *a, void *(*f)(void *), void *x), (t, a, f, x))

CALL(SYSTEM, int, clock_gettime, -1, (clockid_t c, struct timespec *t), (c, t))
CALL(SYSTEM, int, nanosleep, -1, (const struct timespec *t, struct timespec *left), (t, left))
CALL(SYSTEM, long, sysconf, -1, (int name), (name))
CALL(SYSTEM, int, getrlimit, -1, (__rlimit_resource_t which, struct rlimit *to), (which, to))
CALL(SYSTEM, int, sched_getaffinity, -1, (pid_t pid, size_t n, cpu_set_t *to), (pid, n, to))
CALL(SYSTEM, int, setenv, -1, (const char *a, const char *b, int c), (a, b, c))
CALL(SYSTEM, int, unsetenv, -1, (const char *a), (a))
CALL(SYSTEM, int, sigaction, -1, (int n, const struct sigaction *a, struct sigaction *b), (n, a, b))
CALL(SYSTEM, int, isatty, 0, (int fd), (fd))

CALL(NETWORK, pid_t, fork, -1, (void), ())
CALL(NETWORK, int, setpgid, -1, (pid_t a, pid_t b), (a, b))
CALL(NETWORK, int, socket, -1, (int a, int b, int c), (a, b, c))
CALL(NETWORK, int, bind, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
CALL(NETWORK, int, listen, -1, (int fd, int n), (fd, n))
CALL(NETWORK, int, accept4, -1, (int fd, struct sockaddr *a, socklen_t *n, int how),
     (fd, a, n, how))
CALL(NETWORK, int, connect, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
CALL(NETWORK, ssize_t, send, -1, (int fd, const void *from, size_t n, int how), (fd, from, n, how))
CALL(NETWORK, ssize_t, recv, -1, (int fd, void *to, size_t n, int how), (fd, to, n, how))
CALL(NETWORK, int, poll, -1, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
CALL(NETWORK, int, setsockopt, -1, (int fd, int a, int b, const void *c, socklen_t n),
     (fd, a, b, c, n))
CALL(NETWORK, int, getsockname, -1, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
CALL(NETWORK, int, getpeername, -1, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
CALL(NETWORK, int, getaddrinfo, EAI_AGAIN,
     (const char *a, const char *b, const struct addrinfo *c, struct addrinfo **d), (a, b, c, d))

int open(const char *path, int flags, ...)
{
    int (*f)(const char *, int, ...) = next("open");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(FILES, "open") ? -1 : f(path, flags, mode);
}
