/* thread.c - see thread.h */
#include "base/thread.h"

int thread_start(pthread_t *thread, size_t stack, void *(*work)(void *), void *argument)
{
    pthread_attr_t how;
    int number = pthread_attr_init(&how);
    if (number) return number;
    number = pthread_attr_setstacksize(&how, stack);
    if (!number) number = pthread_create(thread, &how, work, argument);
    pthread_attr_destroy(&how);
    return number;
}
