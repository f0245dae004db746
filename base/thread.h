/* thread.h - a thread with a stack of a size that is known, as its memory is part of what a run
 * takes. */
#ifndef REGRAD_THREAD_H
#define REGRAD_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Starts one; stack: bytes, at least PTHREAD_STACK_MIN.  Returns 0, or an error number: then there
 * is none. */
int thread_start(pthread_t *thread, size_t stack, void *(*work)(void *), void *argument);

#endif
