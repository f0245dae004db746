/* no_thread.c - LD_PRELOAD=...: a process that can start no thread to write its checkpoints, and
 * has a slow disk.
 *
 * pthread_create fails for a stack of 1 MiB, which such a thread has (run/checkpoint_thread.c).
 * Each time it has failed, the next fsync takes SLOW seconds, so that the process that writes
 * itself then is away for longer than a --watchdog below that. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int refused;

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *), void *x)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_NEXT, "pthread_create");
    size_t stack = 0;
    if (how) pthread_attr_getstacksize(how, &stack);
    if (stack != 1 << 20) return next(thread, how, work, x);
    refused = 1;
    return EAGAIN;
}

int fsync(int fd)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    const char *slow = getenv("SLOW");
    if (refused && slow) sleep((unsigned)atoi(slow));
    refused = 0;
    return next(fd);
}
