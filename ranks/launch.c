/* launch.c - see tcp.h: starts several ranks on one machine by one command.
 *
 *     the process that was started ---- fork ---- rank 0, listens on a free port
 *        waits for all of them            +------ rank 1
 *        forwards signals                 +------ ...
 *
 * Nothing has been opened yet, no GPU and no thread, so a fork is enough. */
#include "ranks/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GRACE = 10 }; /* seconds */

static error *launch_failed(const char *what)
{
    return user_error("ranks cannot be started: %s: %s", what, strerror(errno));
}

/* On a port chosen by the system, for this machine only. */
static error *listen_somewhere(int *fd, int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    if (*fd < 0) return launch_failed("socket");
    if (bind(*fd, (struct sockaddr *)&at, size) || listen(*fd, 128) ||
        getsockname(*fd, (struct sockaddr *)&at, &size)) {
        error *e = launch_failed("a port to meet at");
        close(*fd);
        return e;
    }
    *port = ntohs(at.sin_port);
    return NULL;
}

static error *set(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    return setenv(name, text, 1) ? launch_failed("its environment") : NULL;
}

/* In a child: its rank, for the environment. */
static error *become(int rank, int n, int listener, int port)
{
    if (rank) close(listener);
    if (setenv("MASTER_ADDR", "127.0.0.1", 1)) return launch_failed("its environment");
    unsetenv("TORCHELASTIC_USE_AGENT_STORE");
    TRY(set("MASTER_PORT", port));
    TRY(set("WORLD_SIZE", n));
    TRY(set("RANK", rank));
    TRY(set("LOCAL_RANK", rank));
    return rank ? NULL : set("REGRAD_LISTENER", listener);
}

typedef struct {
    pid_t *pid; /* (n), 0 for those that have ended */
    int n, left;
    int killer, killed; /* ? the signal that ended the first that failed, and its rank */
    int *status;        /* of the first that failed */
} family;

static void to_all(const family *f, int signal)
{
    for (int i = 0; i < f->n; i++)
        if (f->pid[i]) kill(f->pid[i], signal);
}

static void ended(family *f, pid_t pid, int how)
{
    int rank = 0;
    while (rank < f->n && f->pid[rank] != pid)
        rank++;
    if (rank == f->n) return;
    f->pid[rank] = 0;
    f->left--;
    if (*f->status || (WIFEXITED(how) && !WEXITSTATUS(how))) return;
    *f->status = WIFEXITED(how) ? WEXITSTATUS(how) : 1;
    f->killer = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    f->killed = rank;
}

/* Waits until all have ended, forwarding signals. */
static error *watch_family(family *f, const sigset_t *signals)
{
    for (int since_failure = 0; f->left;) {
        int how, signal = sigtimedwait(signals, NULL, &(struct timespec){.tv_sec = 1});
        if (signal > 0 && signal != SIGCHLD) to_all(f, signal);
        for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;)
            ended(f, pid, how);
        if (*f->status && signal < 0 && ++since_failure >= GRACE) to_all(f, SIGKILL);
    }
    if (!f->killer) return NULL;
    return user_error("rank %d was ended by signal %d (%s); start again with --resume auto",
                      f->killed, f->killer, strsignal(f->killer));
}

/* True in a child, whose error is *e. */
static bool bear(family *f, int listener, int port, const sigset_t *before, error **e)
{
    pid_t parent = getpid();
    for (int rank = 0; rank < f->n; rank++) {
        pid_t pid = fork();
        if (pid < 0) {
            *e = launch_failed("fork");
            return false;
        }
        if (pid > 0) {
            f->pid[rank] = pid;
            f->left++;
            continue;
        }
        setpgid(0, 0); /* a signal to the parent's process group is forwarded only once */
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* children do not outlive the parent */
        if (getppid() != parent) raise(SIGTERM);
        sigprocmask(SIG_SETMASK, before, NULL);
        *e = become(rank, f->n, listener, port);
        return true;
    }
    return false;
}

error *wire_launch(int n, bool *parent, int *status)
{
    sigset_t signals, before;
    family f = {.n = n, .status = status};
    int listener, port = 0;
    error *e = NULL;
    *parent = true;
    *status = 0;
    TRY(alloc_array(&f.pid, (size_t)n, sizeof *f.pid));
    TRY(listen_somewhere(&listener, &port));
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &before);
    fflush(NULL);
    if (bear(&f, listener, port, &before, &e)) {
        *parent = false;
    } else {
        close(listener);
        if (e) to_all(&f, SIGKILL);
        e = error_first(e, watch_family(&f, &signals));
    }
    free(f.pid);
    return e;
}
