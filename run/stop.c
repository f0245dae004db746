/* stop.c - see stop.h */
#include "run/stop.h"

#include "base/clock.h"

#include <signal.h>
#include <stddef.h>

/* A signal handler has no other way to report: the only global variables of the program that are
 * its own.  The first signal, and when it came, in tenths of a second. */
static volatile sig_atomic_t came, moment;

/* Tenths of a second in which a second signal is the first one again: `timeout`, say, sends one to
 * the process and one to its group. */
enum { AGAIN = 10 };

/* Those whose second occurrence ends the process come first. */
static const struct {
    int number;
    const char *name;
    bool twice;
} signals[] = {{SIGINT, "SIGINT", true},
               {SIGTERM, "SIGTERM", true},
               {SIGHUP, "SIGHUP", false},
               {SIGPIPE, "SIGPIPE", false}};

enum { SIGNALS = sizeof signals / sizeof *signals };

static void note(int number)
{
    sig_atomic_t now = (sig_atomic_t)(clock_now() * 10);
    if (!came) {
        came = number;
        moment = now;
    }
    for (int i = 0; i < SIGNALS && now - moment >= AGAIN; i++)
        if (signals[i].twice && signals[i].number == number) {
            signal(number, SIG_DFL);
            raise(number); /* ends the process when this handler has returned */
        }
}

static void handle_all(void (*handler)(int))
{
    struct sigaction new = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&new.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&new.sa_mask, signals[i].number);
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i].number, &new, NULL);
    signal(SIGXFSZ, handler == SIG_DFL ? SIG_DFL : SIG_IGN);
}

void stop_listen(void)
{
    came = 0;
    handle_all(note);
}

void stop_unlisten(void)
{
    bool nobody_reads = came == SIGPIPE;
    handle_all(SIG_DFL);
    if (nobody_reads) signal(SIGPIPE, SIG_IGN); /* nor what is printed at the end */
    came = 0;
}

const char *stop_asked(void)
{
    int i = 0;
    while (i < SIGNALS - 1 && signals[i].number != came)
        i++;
    return came ? signals[i].name : NULL;
}

bool stop_is_asked(void)
{
    return came != 0;
}
