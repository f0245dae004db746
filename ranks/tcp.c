/* tcp.c - see tcp.h
 *
 *     rank 1 ---- rank 0 ---- rank 2        a star: rank 0 collects messages, and sends all to all
 *                   |
 *                 rank 3
 *
 * A process that ends closes its connections, so the others know at once; a machine that is down is
 * detected by keepalive within 20 seconds.  A process that hangs is found as over MPI
 * (ranks/mpi.c): after a timeout a rank asks through rank 0, and whoever does not answer is
 * named.  Rank 0 then ends the others with a last message.
 */
#include "ranks/tcp.h"
#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WORDS, ALL, ASK, ANSWER, REPORT, LAST }; /* kinds of messages */
enum { MAGIC = 0x52475244, VERSION = 2, DOING = 56, MOST_BYTES = 1 << 26 };
enum { JOIN_SECONDS = 300, HELLO_SECONDS = 25, STRANGER_SECONDS = 5 };
static const double ANSWER_SECONDS = 2;

typedef struct {
    uint32_t magic, version;
    int32_t size, rank; /* rank: -1 in the answer to a rejected one */
} hello;

typedef struct {
    uint32_t kind, bytes;
} header;

typedef struct {
    int64_t calls; /* of share_words that it has begun */
    char doing[DOING];
} whereabouts;

typedef struct {
    int fd;
    char *in; /* (room) bytes received of incomplete messages */
    size_t have, room;
    char *words; /* ? a message of WORDS or ALL that has not been consumed */
    size_t n_words;
    bool answered;
    whereabouts where;
} peer;

typedef struct {
    peer *peers; /* (size) at rank 0, else (1): rank 0 */
    struct pollfd *polled;
    int n;
    int64_t calls;
    bool reported; /* to rank 0, from a rank that has timed out */
} wire_state;

static wire_state *state_of(const comm *c)
{
    return c->state;
}

/* The rank that peer i reports. */
static int rank_of(const comm *c, int i)
{
    return c->rank ? 0 : i;
}

/* ---- messages ---- */

static error *gone(comm *c, int i)
{
    peer *p = &state_of(c)->peers[i];
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    return user_error(
        "rank %d has gone while rank %d was %s: its process or its machine has ended; "
        "start again with --resume auto",
        rank_of(c, i), c->rank, c->doing ? c->doing : "beginning");
}

static error *send_bytes(comm *c, int i, const void *bytes, size_t n)
{
    int fd = state_of(c)->peers[i].fd;
    double end = clock_now() + c->limit;
    for (size_t done = 0; done < n;) {
        ssize_t k = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k > 0) {
            done += (size_t)k;
        } else if (errno == EAGAIN && clock_now() < end) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            (void)poll(&p, 1, 100);
        } else if (errno != EINTR) {
            return gone(c, i);
        }
    }
    return NULL;
}

static error *say(comm *c, int i, uint32_t kind, const void *bytes, size_t n)
{
    header h = {kind, (uint32_t)n};
    if (state_of(c)->peers[i].fd < 0) return gone(c, i);
    TRY(send_bytes(c, i, &h, sizeof h));
    return send_bytes(c, i, bytes, n);
}

static error *take_message(comm *c, int i, header h, const char *bytes)
{
    wire_state *s = state_of(c);
    peer *p = &s->peers[i];
    whereabouts here = {.calls = s->calls};
    switch (h.kind) {
    case WORDS:
    case ALL:
        if (p->words) return internal_error("rank %d speaks out of turn", rank_of(c, i));
        TRY(alloc_array(&p->words, h.bytes + 1, 1));
        memcpy(p->words, bytes, h.bytes);
        p->n_words = h.bytes;
        return NULL;
    case ASK:
        snprintf(here.doing, sizeof here.doing, "%s", c->doing ? c->doing : "beginning");
        return say(c, i, ANSWER, &here, sizeof here);
    case ANSWER:
        if (h.bytes != sizeof p->where) break;
        memcpy(&p->where, bytes, sizeof p->where);
        p->where.doing[DOING - 1] = 0;
        p->answered = true;
        return NULL;
    case REPORT:
        s->reported = true;
        return NULL;
    case LAST:
        c->told = true;
        return user_error("rank %d has ended the run", rank_of(c, i));
    }
    return internal_error("rank %d sent something that is not a message of this program",
                          rank_of(c, i));
}

/* Reads from a peer and handles complete messages. */
static error *receive(comm *c, int i)
{
    peer *p = &state_of(c)->peers[i];
    if (p->room - p->have < 4096) {
        size_t more = 2 * p->room + 8192;
        char *in = realloc(p->in, more);
        if (!in) return user_error("out of memory for words of other ranks");
        p->in = in;
        p->room = more;
    }
    ssize_t k = recv(p->fd, p->in + p->have, p->room - p->have, MSG_DONTWAIT);
    if (k < 0 && (errno == EAGAIN || errno == EINTR)) return NULL;
    if (k <= 0) return gone(c, i);
    p->have += (size_t)k;
    size_t at = 0;
    error *e = NULL;
    while (!e && p->have - at >= sizeof(header)) {
        header h;
        memcpy(&h, p->in + at, sizeof h);
        if (h.bytes > MOST_BYTES)
            return internal_error("rank %d sends %u bytes at once", rank_of(c, i), h.bytes);
        if (p->have - at - sizeof h < h.bytes) break;
        e = take_message(c, i, h, p->in + at + sizeof h);
        at += sizeof h + h.bytes;
    }
    memmove(p->in, p->in + at, p->have - at);
    p->have -= at;
    return e;
}

static error *pump(comm *c, int milliseconds)
{
    wire_state *s = state_of(c);
    for (int i = 0; i < s->n; i++)
        s->polled[i] = (struct pollfd){.fd = s->peers[i].fd, .events = POLLIN};
    if (poll(s->polled, (nfds_t)s->n, milliseconds) <= 0) return NULL;
    for (int i = 0; i < s->n; i++)
        if (s->polled[i].revents) TRY(receive(c, i));
    return NULL;
}

/* ---- who is missing ---- */

static error *pump_for(comm *c, double seconds)
{
    for (double end = clock_now() + seconds; clock_now() < end;)
        TRY(pump(c, 50));
    return NULL;
}

static error *name_missing(comm *c)
{
    wire_state *s = state_of(c);
    char missing[200] = "";
    int n = 0, other = 1; /* the one furthest behind */
    for (int i = 1; i < s->n; i++) {
        s->peers[i].answered = false;
        TRY(say(c, i, ASK, NULL, 0));
    }
    TRY(pump_for(c, ANSWER_SECONDS));
    for (int i = 1; i < s->n; i++) {
        size_t used = strlen(missing);
        if (!s->peers[i].answered && n++ < 8)
            snprintf(missing + used, sizeof missing - used, "%s%d", used ? ", " : "", i);
        else if (s->peers[i].where.calls < s->peers[other].where.calls)
            other = i;
    }
    const char *doing = c->doing ? c->doing : "beginning";
    if (n)
        return user_error(
            "rank%s %s did not respond for %.0f s while rank 0 was %s: stopped, hung or "
            "cut off; start again with --resume auto",
            n > 1 ? "s" : "", missing, c->limit, doing);
    return user_error(
        "no rank has come further for %.0f s; rank %d is %s, rank 0 %s: they do not run "
        "the same program, or the network is stuck",
        c->limit, other, s->peers[other].where.doing, doing);
}

/* Rank 0 finds out, by asking; the others ask rank 0, and report something themselves if it does
 * not answer. */
static error *out_of_patience(comm *c)
{
    if (c->rank == 0) return name_missing(c);
    TRY(say(c, 0, REPORT, NULL, 0));
    TRY(pump_for(c, 1.5 * ANSWER_SECONDS));
    return user_error(
        "rank 0 did not respond for %.0f s while rank %d was %s: stopped, hung or cut off; "
        "start again with --resume auto",
        c->limit, c->rank, c->doing ? c->doing : "beginning");
}

static error *wire_idle(comm *c)
{
    TRY(pump(c, 0));
    return state_of(c)->reported ? name_missing(c) : NULL;
}

/* ---- words ---- */

static error *await_words(comm *c, int i)
{
    double begin = clock_now();
    while (!state_of(c)->peers[i].words) {
        if (state_of(c)->peers[i].fd < 0) return gone(c, i); /* detected by an earlier call */
        TRY(pump(c, 50));
        if (state_of(c)->reported || clock_now() - begin > c->limit) return out_of_patience(c);
    }
    c->seconds += clock_now() - begin;
    return NULL;
}

/* Waits for a message of `bytes` from a peer, into `out`. */
static error *take_words(comm *c, int i, void *out, size_t bytes)
{
    peer *p = &state_of(c)->peers[i];
    TRY(await_words(c, i));
    if (p->n_words != bytes)
        return internal_error("rank %d says %zu bytes where rank %d says %zu", rank_of(c, i),
                              p->n_words, c->rank, bytes);
    memcpy(out, p->words, bytes);
    free(p->words);
    p->words = NULL;
    return NULL;
}

static error *wire_share(comm *c, const void *mine, void *all, size_t bytes)
{
    wire_state *s = state_of(c);
    size_t n = (size_t)c->size * bytes;
    if (n > MOST_BYTES) return internal_error("%zu bytes of words", n);
    s->calls++;
    if (c->rank) {
        TRY(say(c, 0, WORDS, mine, bytes));
        return take_words(c, 0, all, n);
    }
    memcpy(all, mine, bytes);
    for (int r = 1; r < c->size; r++)
        TRY(take_words(c, r, (char *)all + (size_t)r * bytes, bytes));
    for (int r = 1; r < c->size; r++)
        TRY(say(c, r, ALL, all, n));
    return NULL;
}

static void wire_close(comm *c, int status)
{
    wire_state *s = state_of(c);
    for (int i = 0; i < s->n; i++) {
        peer *p = &s->peers[i];
        if (p->fd >= 0 && status && !c->agreed) error_free(say(c, i, LAST, NULL, 0));
        if (p->fd >= 0) close(p->fd);
        free(p->in);
        free(p->words);
    }
    free(s->peers);
    free(s->polled);
    free(s);
    c->state = NULL;
}

/* ---- rendezvous ---- */

/* The value of a variable, or NULL if it is empty. */
static const char *environment_value(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static error *environment_number(const char *a, const char *b, int least, int most, int *out)
{
    const char *name = environment_value(a) ? a : b, *text = environment_value(name);
    char *end;
    if (!text) return user_error("%s is not set: ranks without mpirun need it", a);
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < least || value > most)
        return user_error("%s=%s: must be a number from %d to %d", name, text, least, most);
    *out = (int)value;
    return NULL;
}

const char *wire_size(void)
{
    const char *world = environment_value("WORLD_SIZE");
    return world ? world : environment_value("SLURM_NTASKS");
}

/* Values that are not numbers are reported at the rendezvous. */
bool wire_started(void)
{
    const char *world = environment_value("WORLD_SIZE"), *tasks = environment_value("SLURM_NTASKS");
    if (world) return strcmp(world, "1");
    return tasks && strcmp(tasks, "1") && getenv("SLURM_PROCID") && getenv("MASTER_ADDR");
}

static error *wire_local_rank(comm *c, int *out)
{
    (void)c;
    *out = 0;
    if (!environment_value("LOCAL_RANK") && !environment_value("SLURM_LOCALID")) return NULL;
    return environment_number("LOCAL_RANK", "SLURM_LOCALID", 0, 1 << 16, out);
}

static const comm_ops wire_table = {.name = "wire",
                                    .idle = wire_idle,
                                    .missing = out_of_patience,
                                    .share_words = wire_share,
                                    .local_rank = wire_local_rank,
                                    .close = wire_close};

/* torchrun's own process may listen on the port: then the next one is ours. */
static error *port(char *text, size_t size)
{
    int n = 0;
    const char *taken = getenv("TORCHELASTIC_USE_AGENT_STORE");
    TRY(environment_number("MASTER_PORT", "MASTER_PORT", 1, 65534, &n));
    snprintf(text, size, "%d", n + (taken && !strcmp(taken, "True")));
    return NULL;
}

static void prepare(int fd)
{
    int on = 1, seconds = 5, times = 3, most = 20000;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most, sizeof most);
}

/* A connection to a local port where nobody listens may be assigned that very port, and is then
 * connected to itself. */
static bool is_own_echo(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t n = sizeof here, m = sizeof there;
    return !getsockname(fd, (struct sockaddr *)&here, &n) &&
           !getpeername(fd, (struct sockaddr *)&there, &m) && n == m && !memcmp(&here, &there, n);
}

/* At one address: a listening socket, or (connects) one connected to rank 0; -1 and errno. */
static int open_at(const struct addrinfo *a, bool connects)
{
    int on = 1, off = 0, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6) /* a listener accepts IPv4, too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    bool open = connects ? !connect(fd, a->ai_addr, a->ai_addrlen)
                         : !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 128);
    int why = errno;
    if (open && connects && is_own_echo(fd)) {
        open = false;
        why = ECONNREFUSED;
    }
    if (open) return fd;
    close(fd);
    errno = why;
    return -1;
}

/* The same at the first address that works. */
static int open_socket(const struct addrinfo *all, bool connects)
{
    int fd = -1;
    for (const struct addrinfo *a = all; a && fd < 0 && !connects; a = a->ai_next)
        if (a->ai_family == AF_INET6) fd = open_at(a, false);
    for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next)
        fd = open_at(a, connects);
    return fd;
}

static bool is_loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "localhost") || !strcmp(host, "::1");
}

static error *look_up(const char *host, bool connects, struct addrinfo **out)
{
    char at[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = connects ? 0 : AI_PASSIVE};
    TRY(port(at, sizeof at));
    int status = getaddrinfo(connects || is_loopback(host) ? host : NULL, at, &hints, out);
    return status ? user_error("MASTER_ADDR=%s: %s", host, gai_strerror(status)) : NULL;
}

static error *reach(const char *host, bool connects, int *out)
{
    struct addrinfo *all;
    const char *given = getenv("REGRAD_LISTENER"); /* from wire_launch */
    if (!connects && given) {
        *out = atoi(given);
        return NULL;
    }
    TRY(look_up(host, connects, &all));
    double end = clock_now() + (connects ? JOIN_SECONDS : 0);
    while ((*out = open_socket(all, connects)) < 0 && clock_now() < end) {
        if (errno == ENETUNREACH && is_loopback(host))
            break; /* no network at all: waiting is useless */
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    int why = errno;
    freeaddrinfo(all);
    if (*out >= 0) return NULL;
    return connects
               ? user_error("rank 0 cannot be reached at MASTER_ADDR=%s MASTER_PORT=%s: %s", host,
                            getenv("MASTER_PORT"), strerror(why))
               : user_error("MASTER_PORT=%s: rank 0 cannot listen there: %s: give another port",
                            getenv("MASTER_PORT"), strerror(why));
}

/* Reads up to n bytes until `end`; false once the other side has closed. */
static bool hear(int fd, void *to, size_t n, double end, size_t *got)
{
    for (*got = 0; *got < n && clock_now() < end;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0) continue;
        ssize_t k = recv(fd, (char *)to + *got, n - *got, MSG_DONTWAIT);
        if (!k || (k < 0 && errno != EAGAIN && errno != EINTR)) return false;
        if (k > 0) *got += (size_t)k;
    }
    return true;
}

/* Identifies a caller; anything else that found the port is sent away. */
static error *welcome(comm *c, int fd, int *missing)
{
    hello h = {0}, mine = {MAGIC, VERSION, c->size, 0};
    size_t n;
    prepare(fd);
    (void)hear(fd, &h, sizeof h, clock_now() + STRANGER_SECONDS, &n);
    if (n < sizeof h || h.magic != MAGIC) {
        close(fd);
        return NULL;
    }
    peer *p = h.rank > 0 && h.rank < c->size ? &state_of(c)->peers[h.rank] : NULL;
    bool wanted = h.version == VERSION && h.size == c->size && p && p->fd < 0;
    if (!wanted) mine.rank = -1;
    /* if it does not arrive, the rank will be reported missing */
    (void)send(fd, &mine, sizeof mine, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (!wanted) {
        close(fd);
        if (h.version != VERSION)
            return user_error(
                "rank %d is of another version of this program than rank 0: all ranks "
                "must run the same build",
                h.rank);
        return user_error("rank %d of %d came to rank 0 of %d%s: check RANK and WORLD_SIZE", h.rank,
                          h.size, c->size, p && p->fd >= 0 ? ", where it is already" : "");
    }
    p->fd = fd;
    --*missing;
    return NULL;
}

static error *gather_round(comm *c, int listener)
{
    double end = clock_now() + JOIN_SECONDS;
    for (int missing = c->size - 1; missing;) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        int fd = poll(&p, 1, 200) > 0 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0) TRY(welcome(c, fd, &missing));
        if (clock_now() < end) continue;
        int r = 1;
        while (state_of(c)->peers[r].fd >= 0)
            r++;
        return user_error("rank %d has not joined within %d s, and %d in all: start as many as "
                          "WORLD_SIZE says",
                          r, JOIN_SECONDS, missing);
    }
    return NULL;
}

/* Something listens that is not rank 0: n bytes are all it sent. */
static error *no_first_rank(const char *host, const void *said, size_t n, bool hung_up)
{
    char words[sizeof(hello) + 1] = "";
    memcpy(words, said, n);
    const char *port = getenv("MASTER_PORT");
    if (n)
        return user_error("what listens at MASTER_ADDR=%s MASTER_PORT=%s is not rank 0 of this "
                          "program, it says '%s': give another port",
                          host, port, words);
    return user_error("what listens at MASTER_ADDR=%s MASTER_PORT=%s %s for %d s: it is not rank 0 "
                      "of this program, or hangs: give another port",
                      host, port, hung_up ? "has hung up again and again" : "has said nothing",
                      HELLO_SECONDS);
}

/* Rank 0 has answered: do we belong to its run? */
static error *take_answer(comm *c, int fd, const hello *theirs)
{
    state_of(c)->peers[0].fd = fd;
    if (theirs->version == VERSION && theirs->size == c->size && !theirs->rank) return NULL;
    if (theirs->version == VERSION &&
        theirs->size != c->size) /* perhaps another run, which we cannot see */
        return user_error(
            "rank 0 at MASTER_ADDR=%s MASTER_PORT=%s is of a run of %d ranks, not %d: "
            "check WORLD_SIZE, or give another port",
            getenv("MASTER_ADDR"), getenv("MASTER_PORT"), theirs->size, c->size);
    c->told = true; /* by rank 0, which knows more */
    return user_error("rank 0 does not want rank %d of %d", c->rank, c->size);
}

/* Calls again if the other side hangs up: there may be a relay whose other end is not up yet. */
static error *find_first_rank(comm *c, const char *host)
{
    hello mine = {MAGIC, VERSION, c->size, c->rank}, theirs;
    bool hung_up = false;
    for (double end = 0;;) {
        int fd;
        size_t n = 0;
        TRY(reach(host, true, &fd));
        if (end == 0) end = clock_now() + HELLO_SECONDS;
        prepare(fd);
        if (send(fd, &mine, sizeof mine, MSG_NOSIGNAL) != (ssize_t)sizeof mine ||
            !hear(fd, &theirs, sizeof theirs, end, &n))
            hung_up = true;
        if (n == sizeof theirs && theirs.magic == MAGIC) return take_answer(c, fd, &theirs);
        close(fd);
        if (n || clock_now() >= end) return no_first_rank(host, &theirs, n, hung_up);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

static error *meet_hosts(comm *c)
{
    int fd = -1;
    const char *host = getenv("MASTER_ADDR");
    if (!host) return user_error("MASTER_ADDR is not set: ranks without mpirun need it");
    if (c->rank) return find_first_rank(c, host);
    TRY(reach(host, false, &fd));
    error *e = gather_round(c, fd);
    close(fd);
    return e;
}

error *wire_open(comm *out)
{
    wire_state *s;
    int size = 0, rank = 0;
    TRY(environment_number("WORLD_SIZE", "SLURM_NTASKS", 1, 1 << 16, &size));
    TRY(environment_number("RANK", "SLURM_PROCID", 0, size - 1, &rank));
    TRY(alloc_array(&s, 1, sizeof *s));
    *out =
        (comm){.ops = &wire_table, .state = s, .size = size, .rank = rank, .limit = JOIN_SECONDS};
    int n = rank ? 1 : size;
    TRY(alloc_array(&s->peers, (size_t)n, sizeof *s->peers));
    TRY(alloc_array(&s->polled, (size_t)n, sizeof *s->polled));
    for (s->n = 0; s->n < n; s->n++)
        s->peers[s->n].fd = -1;
    return meet_hosts(out);
}
