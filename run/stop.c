/* stop.c - see stop.h */
#include "run/stop.h"

#include <signal.h>
#include <stddef.h>

/* A handler has no other way to say what it saw: the one variable of the program that is its own. */
static volatile sig_atomic_t came;

static void note(int signal_number)
{
    came = signal_number;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static void both(void (*handler)(int))
{
    static const int numbers[] = {SIGINT, SIGTERM};
    struct sigaction new = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&new.sa_mask);
    sigaddset(&new.sa_mask, SIGINT);
    sigaddset(&new.sa_mask, SIGTERM);
    for (int i = 0; i < 2; i++)
        sigaction(numbers[i], &new, NULL);
}

void stop_listen(void)
{
    came = 0;
    both(note);
}

void stop_unlisten(void)
{
    both(SIG_DFL);
    came = 0;
}

const char *stop_asked(void)
{
    return came == SIGINT ? "SIGINT" : came ? "SIGTERM" : NULL;
}
