/* test_comm.c - who owns what (ranks/comm.c, params/sharded_backing.c) for any sizes and any number
 * of ranks, and what ranks make of each other's words; the words are put into their mouths here.
 *
 * With an argument it is one of two real ranks over MPI that call what does not go together
 * (test_ranks.sh runs it by mpirun), or starts two over TCP that meet and part (edges.sh, where
 * calls fail). */
#include "base/bf16.h"
#include "cpu/cpu.h"
#include "ranks/add_up.h"
#include "ranks/beside.h"
#include "ranks/mpi.h"
#include "params/sharded_backing.h"
#include "ranks/shared.h"
#include "ranks/tcp.h"
#include "test/long.h"
#include "test/scratch.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- shares ---- */

/* Ranges follow one another from 0 to count, and begin at multiples of unit. */
static void check_share(const share *s, int ranks, int64_t count, int64_t unit)
{
    assert_int_equal(share_begin(s, 0), 0);
    assert_int_equal(share_begin(s, ranks), count);
    for (int r = 0; r < ranks; r++) {
        int64_t begin = share_begin(s, r), end = share_begin(s, r + 1);
        assert_true(begin <= end);
        assert_true(begin % unit == 0 || begin == count);
        assert_true(end - begin <= (count + ranks - 1) / ranks + unit - 1);
    }
}

static void test_even_shares(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 2, 15, 16, 17, 31, 100, 1000003, 50257LL * 12288 * 8};
    for (int ranks = 1; ranks <= 1024; ranks = ranks < 20 ? ranks + 1 : 2 * ranks)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (int64_t unit = 1; unit <= 16; unit += 15) {
                share s = share_evenly(counts[i], ranks, unit);
                check_share(&s, ranks, counts[i], unit);
            }
}

static void test_owned_shares(void **state)
{
    (void)state;
    for (int ranks = 1; ranks < 9; ranks++)
        for (int owner = 0; owner < ranks; owner++) {
            share s = {.count = 77, .owner = owner};
            for (int r = 0; r < ranks; r++)
                assert_int_equal(share_begin(&s, r + 1) - share_begin(&s, r), r == owner ? 77 : 0);
        }
}

/* ---- the table dealt ---- */

enum { TENSORS = 23 };

static int64_t size_of(int id)
{
    static const int64_t sizes[] = {1, 7, 16, 4096, 50, 129, 33 * 65, 5};
    return sizes[id % 8] * (1 + id / 8);
}

static void deal_in_groups(int ranks, int group, int rank, int stage, bool full, params *p,
                           zero **z)
{
    comm c = comm_planned(ranks, 0);
    runtime r = {.params = p, .comm = &c};
    c.rank = rank;
    ok(comm_divide(&c, group));
    *p = (params){.type = F32};
    for (int i = 0; i < TENSORS; i++)
        assert_int_equal(
            params_add(p, (param_spec){.name = "t", .layer = -1, .shape = SHAPE(size_of(i))}), i);
    ok(zero_open(&r, stage, full, 0, z));
}

static void deal(int ranks, int rank, int stage, bool full, params *p, zero **z)
{
    deal_in_groups(ranks, 0, rank, stage, full, p, z);
}

static void check_dealt(int ranks, bool full)
{
    int64_t next[TENSORS] = {0}, least = INT64_MAX, most = 0;
    for (int rank = 0; rank < ranks; rank++) {
        params p;
        zero *z;
        int64_t load = 0;
        deal(ranks, rank, 1 + ranks % 3, full, &p, &z);
        for (int i = 0; i < TENSORS; i++) {
            const param *row = &p.row[i];
            assert_int_equal(row->own_first,
                             row->own ? next[i] : share_begin(zero_share(z, i), rank));
            if (full) assert_true(row->own == 0 || row->own == size_of(i));
            next[i] += row->own;
            load += row->own;
        }
        least = load < least ? load : least;
        most = load > most ? load : most;
        params_free(&p);
        zero_close(z);
    }
    for (int i = 0; i < TENSORS; i++)
        assert_int_equal(next[i], size_of(i));
    int64_t unit = 0;
    for (int i = 0; i < TENSORS; i++)
        unit = size_of(i) > unit ? size_of(i) : unit;
    if (full) assert_true(most - least <= unit);
}

static void test_dealt(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= 40; ranks++) {
        check_dealt(ranks, false);
        check_dealt(ranks, true);
    }
}

/* Every group owns what as many ranks without others do; what is no whole groups is refused. */
static void test_dealt_in_groups(void **state)
{
    (void)state;
    params p, alone;
    zero *z, *z_alone;
    for (int ranks = 4; ranks <= 12; ranks += 4)
        for (int group = 1; group <= ranks; group *= 2)
            for (int rank = 0; rank < ranks && ranks % group == 0; rank++) {
                deal_in_groups(ranks, group, rank, 1, rank & 1, &p, &z);
                deal(group, rank % group, 1, rank & 1, &alone, &z_alone);
                for (int i = 0; i < TENSORS; i++) {
                    assert_int_equal(p.row[i].own_first, alone.row[i].own_first);
                    assert_int_equal(p.row[i].own, alone.row[i].own);
                    assert_int_equal(zero_share(z, i)->group, group == ranks ? 0 : group);
                }
                params_free(&p);
                params_free(&alone);
                zero_close(z);
                zero_close(z_alone);
            }
    comm c = comm_planned(6, 0);
    error *e = comm_divide(&c, 4);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "--shard-group 4 with 6 ranks"));
    error_free(e);
}

static void test_stage_0_owns_all(void **state)
{
    (void)state;
    params p;
    zero *z;
    deal(3, 1, 0, false, &p, &z);
    for (int i = 0; i < TENSORS; i++)
        assert_true(p.row[i].own == size_of(i) && p.row[i].own_first == 0);
    assert_false(params_divided(&p));
    params_free(&p);
    zero_close(z);
}

/* ---- words ---- */

/* Other ranks' words: as this one's, but for a byte of one of them (at < 0: none); and a text. */
typedef struct {
    int rank, at;
    char byte;
    const char *text;
} other;

static error *share_words(comm *c, const void *mine, void *all, size_t bytes)
{
    const other *o = c->state;
    for (int r = 0; r < c->size; r++)
        memcpy((char *)all + (size_t)r * bytes, mine, bytes);
    char *theirs = (char *)all + (size_t)o->rank * bytes;
    if (o->at >= 0) theirs[o->at] = o->byte;
    if (o->text) strcpy(theirs + o->at + 4, o->text);
    return NULL;
}

static const comm_ops spoken = {.name = "spoken", .share_words = share_words};

static void test_compare(void **state)
{
    (void)state;
    uint64_t mine[5] = {1, 2, 3, 4, 5};
    other o = {2, -1, 0, NULL};
    comm c = {.ops = &spoken, .state = &o, .size = 4};
    int rank, which;
    ok(comm_compare(&c, mine, 5, &rank, &which));
    assert_true(rank == -1 && which == -1);
    o.at = 3 * 8;
    o.byte = 9;
    ok(comm_compare(&c, mine, 5, &rank, &which));
    assert_true(rank == 2 && which == 3);
}

/* All is well; another rank has failed; and this one has. */
static void test_agree(void **state)
{
    (void)state;
    other o = {2, -1, 0, NULL};
    comm c = {.ops = &spoken, .state = &o, .size = 4, .rank = 1};
    ok(comm_agree(&c, NULL));
    assert_false(c.agreed || c.told);
    o = (other){2, 0, 1, "the disk is full"};
    error *e = comm_agree(&c, NULL);
    assert_string_equal(error_text(e), "rank 2: the disk is full");
    assert_int_equal(error_kind_of(e), ERR_USER);
    assert_true(c.agreed && c.told);
    error_free(e);
    o = (other){2, 0, ERR_INTERNAL, "a bug"};
    e = comm_agree(&c, NULL);
    assert_int_equal(error_kind_of(e), ERR_INTERNAL);
    error_free(e);
    o = (other){0, 0, 0, NULL}; /* rank 0 is well, the others are as this one */
    c.agreed = c.told = false;
    e = comm_agree(&c, user_error("no room"));
    assert_string_equal(error_text(e), "rank 1: no room");
    assert_true(c.agreed && !c.told);
    error_free(e);
}

static void test_one_process(void **state)
{
    (void)state;
    int x = 7, y = 0;
    ok(comm_share(NULL, &x, &y, sizeof y));
    assert_int_equal(y, 7);
    assert_true(comm_size(NULL) == 1 && comm_rank(NULL) == 0);
    comm_abandon(NULL);
    comm_close(NULL, 0);
}

static error *barrier(comm *c)
{
    char mine = 0, all[8];
    assert_true(c->size <= 8);
    return comm_share(c, &mine, all, 1);
}

/* ---- a rank that ends without a word ---- */

/* One of two processes that meet; the second goes after the first barrier. */
static error *meet_and_part(int rank)
{
    comm c;
    setenv("RANK", rank ? "1" : "0", 1);
    TRY(wire_open(&c));
    error *e = barrier(&c);
    if (rank) _exit(e != NULL);
    TRY(e);
    for (int i = 0; i < 2; i++) { /* the second time, too: its end is heard only once */
        e = barrier(&c);
        assert_non_null(e);
        assert_non_null(strstr(error_text(e), "rank 1 has gone"));
        error_free(e);
    }
    comm_close(&c, 1);
    return NULL;
}

/* One that nobody listens at. */
static void free_port(char *port, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&at, n));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(port, size, "%d", ntohs(at.sin_port));
    close(fd);
}

/* The environment of two ranks of this machine, one of which is this process or its child; and none
 * again. */
static void begin_two(const char *port)
{
    setenv("WORLD_SIZE", "2", 1);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    setenv("MASTER_PORT", port, 1);
}

static void end_two(void)
{
    unsetenv("WORLD_SIZE");
    unsetenv("RANK");
    unsetenv("MASTER_ADDR");
    unsetenv("MASTER_PORT");
}

static void test_gone(void **state)
{
    (void)state;
    char port[16];
    int how;
    free_port(port, sizeof port);
    begin_two(port);
    pid_t second = fork();
    assert_true(second >= 0);
    if (!second) {
        (void)meet_and_part(1);
        _exit(1);
    }
    alarm(60); /* it must not wait for one that is not there */
    ok(meet_and_part(0));
    alarm(0);
    assert_int_equal(waitpid(second, &how, 0), second);
    assert_true(WIFEXITED(how) && !WEXITSTATUS(how));
    end_two();
}

/* ---- another service has the port ---- */

enum { SPEAKS, HANGS_UP, SILENT, OF_THREE, HAS_ALL };

typedef struct {
    uint32_t magic, version;
    int32_t size, rank;
} hello; /* ranks/tcp.c's */

/* Serves one caller after the other, as a stranger, as rank 0 of three, or as one that has its two,
 * for ever. */
static void serve(int listener, int how)
{
    static const char http[] = "HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (;;) {
        hello h;
        int fd = accept(listener, NULL, NULL);
        if (how != HANGS_UP && recv(fd, &h, sizeof h, MSG_WAITALL) != sizeof h) _exit(1);
        if (how == SPEAKS && send(fd, http, sizeof http - 1, MSG_NOSIGNAL) < 0) _exit(1);
        if (how == OF_THREE) h.size = 3;
        h.rank = -1;
        if ((how == OF_THREE || how == HAS_ALL) && send(fd, &h, sizeof h, MSG_NOSIGNAL) < 0)
            _exit(1);
        if (how == SILENT) pause();
        close(fd);
    }
}

/* Such a one at MASTER_PORT. */
static pid_t begin_serving(int how)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    char port[16];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&at, n) && !listen(fd, 8));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(port, sizeof port, "%d", ntohs(at.sin_port));
    begin_two(port);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) serve(fd, how);
    close(fd);
    return child;
}

/* A user error that says what it is: what the second rank makes of it. */
static void is_told(int how, const char *words, bool by_first)
{
    comm c = {.size = 1};
    pid_t child = begin_serving(how);
    setenv("RANK", "1", 1);
    alarm(120);
    error *e = wire_open(&c);
    alarm(0);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), ERR_USER);
    if (!strstr(error_text(e), words)) fail_msg("%s", error_text(e));
    assert_int_equal(c.told, by_first);
    error_free(e);
    comm_close(&c, 1);
    end_two();
}

static void test_other_service(void **state)
{
    (void)state;
    is_told(SPEAKS, "is not rank 0 of this program, it says 'HTTP/1.0 400 Bad': give another port",
            false);
    is_told(OF_THREE, "is of a run of 3 ranks, not 2: check WORLD_SIZE, or give another port",
            false);
    is_told(HAS_ALL, "rank 0 does not want rank 1 of 2", true);
}

/* These take as long as a rank 0 may that is busy with others. */
static void test_other_service_patiently(void **state)
{
    (void)state;
    if (!long_run()) skip();
    is_told(HANGS_UP, "has hung up again and again for 25 s", false);
    is_told(SILENT, "has said nothing for 25 s", false);
}

/* A rank that is not one of rank 0's two: what rank 0 says of it. */
static void is_refused(hello h, const char *words)
{
    comm c = {.size = 1};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char port[16];
    free_port(port, sizeof port);
    at.sin_port = htons((uint16_t)atoi(port));
    begin_two(port);
    setenv("RANK", "0", 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        alarm(60);
        while (connect(fd, (struct sockaddr *)&at, sizeof at))
            usleep(10000);
        bool said = send(fd, &h, sizeof h, MSG_NOSIGNAL) == (ssize_t)sizeof h &&
                    recv(fd, &h, sizeof h, MSG_WAITALL) == (ssize_t)sizeof h;
        _exit(!said || h.rank != -1);
    }
    int how;
    alarm(120);
    error *e = wire_open(&c);
    alarm(0);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && !WEXITSTATUS(how));
    assert_non_null(e);
    if (!strstr(error_text(e), words)) fail_msg("%s", error_text(e));
    error_free(e);
    comm_close(&c, 1);
    end_two();
}

static void test_other_rank(void **state)
{
    (void)state;
    is_refused((hello){0x52475244, 1, 2, 1}, "rank 1 is of another version of this program");
    is_refused((hello){0x52475244, 2, 3, 2}, "rank 2 of 3 came to rank 0 of 2: check RANK");
}

/* A caller of rank 0's that is no rank: it is sent away, and the ranks meet. */
static void test_stranger(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char port[16], answer;
    free_port(port, sizeof port);
    begin_two(port);
    pid_t first = fork();
    assert_true(first >= 0);
    if (!first) _exit(meet_and_part(0) != NULL);
    at.sin_port = htons((uint16_t)atoi(port));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), how;
    alarm(120); /* if rank 0 does not come */
    while (connect(fd, (struct sockaddr *)&at, sizeof at))
        usleep(10000);
    assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    assert_true(recv(fd, &answer, 1, 0) <= 0); /* without a word */
    close(fd);
    pid_t second = fork();
    assert_true(second >= 0);
    if (!second) _exit(meet_and_part(1) != NULL);
    assert_int_equal(waitpid(first, &how, 0), first);
    assert_true(WIFEXITED(how) && !WEXITSTATUS(how));
    assert_int_equal(waitpid(second, &how, 0), second);
    alarm(0);
    assert_true(WIFEXITED(how) && !WEXITSTATUS(how));
    end_two();
}

/* ---- a kernel, or a filter, that has no futex: as this program's own syscall() answers ---- */

static atomic_bool no_futex;
static atomic_int refused;

__attribute__((visibility("default"))) long syscall(long number, ...)
{
    long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"), x[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        x[i] = va_arg(rest, long);
    va_end(rest);
    if (number != SYS_futex || !atomic_load(&no_futex))
        return next(number, x[0], x[1], x[2], x[3], x[4], x[5]);
    atomic_fetch_add(&refused, 1);
    errno = ENOSYS;
    return -1;
}

/* ---- memory that ranks share: here each is a thread ---- */

enum { MOST_RANKS = 7, MOST_NUMBERS = 3 << 17 };

typedef struct {
    int rank, size, patience;
    dtype type;
    int64_t count;
    int owner, group; /* as in a share */
    bool other;       /* this rank means something else */
    char *const *segment;
    char *x;
    error *failed;
} sharer;

/* A shared_wait: gives up after that many turns; without, it sleeps in every other one, and without
 * futexes in all. */
static error *wait_turns(void *context, shared_counter *counter, int64_t least)
{
    const sharer *me = context;
    int64_t seen;
    for (int64_t i = 0; (seen = shared_count(counter)) < least; i++) {
        if (me->patience && i > me->patience) return user_error("out of patience");
        if (me->patience || (i % 2 == 0 && !atomic_load(&no_futex)))
            sched_yield();
        else
            shared_doze(counter, seen);
    }
    return NULL;
}

/* Element i of rank r before the calls: of many magnitudes, so that the order of a sum shows. */
static double before(int rank, int64_t i)
{
    double x = (double)((i * 7919 + rank * 104729) % 1000 - 500);
    return i % 3 == rank % 3 ? x * 1e6 : x / 64;
}

static double get(dtype type, const char *x, int64_t i)
{
    if (type == F64) return ((const double *)(const void *)x)[i];
    if (type == F32) return (double)((const float *)(const void *)x)[i];
    return (double)float_of_bf16(((const uint16_t *)(const void *)x)[i]);
}

static double put(dtype type, char *x, int64_t i, double value)
{
    if (type == F64)
        ((double *)(void *)x)[i] = value;
    else if (type == F32)
        ((float *)(void *)x)[i] = (float)value;
    else
        ((uint16_t *)(void *)x)[i] = bf16_of_float((float)value);
    return get(type, x, i);
}

/* Elements that are added up by a call of its own: all that is small, of what is large a part. */
static int64_t added(const sharer *me)
{
    return me->count > 100000 ? me->count - 50001 : me->count < 100 ? me->count : 100;
}

/* Sums, scattered and gathered; then by one call.  Twice: halves take turns. */
static error *exchange(sharer *me, shared *s)
{
    tensor x = tensor_of(me->x, me->type, SHAPE(me->count)),
           few = tensor_of(me->x, me->type, SHAPE(added(me)));
    share how = share_evenly(me->count, me->size, 16);
    if (me->group) how = share_evenly(me->count, me->group, 16);
    if (me->owner >= 0) how = (share){.count = me->count, .owner = me->owner};
    how.group = me->group;
    if (me->other) return shared_gather(s, x, &how);
    for (int k = 0; k < 2; k++) {
        TRY(shared_scatter(s, 1, x, &how));
        TRY(shared_gather(s, x, &how));
        TRY(shared_sum(s, 1, few));
    }
    return NULL;
}

static void *run_sharer(void *context)
{
    sharer *me = context;
    shared *s = NULL;
    me->failed = shared_open(me->rank, me->size, me->segment, wait_turns, me, &s);
    if (!me->failed) me->failed = exchange(me, s);
    shared_close(s);
    return NULL;
}

/* Ranks that exchange; each one's room is to be freed. */
static void share_all(sharer *all, const sharer *how)
{
    char *segment[MOST_RANKS];
    pthread_t thread[MOST_RANKS];
    for (int r = 0; r < how->size; r++) {
        segment[r] = aligned_alloc(SHARED_LINE, SHARED_BYTES);
        memset(segment[r], 0, SHARED_BYTES);
        all[r] = *how;
        all[r].rank = r;
        all[r].segment = segment;
        all[r].other = how->other && r == how->size - 1;
        all[r].x = malloc((size_t)how->count * sizeof(double));
        for (int64_t i = 0; i < how->count; i++)
            put(how->type, all[r].x, i, before(r, i));
    }
    for (int r = 0; r < how->size; r++)
        assert_int_equal(pthread_create(&thread[r], NULL, run_sharer, &all[r]), 0);
    for (int r = 0; r < how->size; r++)
        pthread_join(thread[r], NULL);
    for (int r = 0; r < how->size; r++)
        free(segment[r]);
}

/* What all ranks have of element i after one exchange of values `x`. */
static double summed(const sharer *how, const double *x)
{
    char room[8];
    double sum = x[0];
    for (int r = 1; r < how->size; r++)
        sum += x[r];
    return put(how->type, room, 0, sum);
}

static void check_shared(const sharer *how)
{
    sharer all[MOST_RANKS];
    share_all(all, how);
    for (int r = 0; r < how->size; r++)
        ok(all[r].failed);
    for (int64_t i = 0; i < how->count; i++) {
        double x[MOST_RANKS];
        char room[8];
        for (int r = 0; r < how->size; r++)
            x[r] = put(how->type, room, 0, before(r, i));
        for (int k = 0; k < (i < added(how) ? 4 : 2); k++) {
            double sum = summed(how, x);
            for (int r = 0; r < how->size; r++)
                x[r] = sum;
        }
        for (int r = 0; r < how->size; r++)
            if (get(how->type, all[r].x, i) != x[0])
                fail_msg("%d ranks, %s, %lld elements: element %lld of rank %d is %g, not %g",
                         how->size, dtype_name(how->type), (long long)how->count, (long long)i, r,
                         get(how->type, all[r].x, i), x[0]);
    }
    for (int r = 0; r < how->size; r++)
        free(all[r].x);
}

/* The sums of all ranks, in their order and rounded once, to the bit. */
static void test_shared(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 16, 17, 1000, MOST_NUMBERS - 5};
    static const dtype types[] = {F32, F64, BF16};
    for (int size = 2; size <= MOST_RANKS; size++)
        for (int t = 0; t < 3; t++)
            for (int i = 0; i < 5 - (size % 3 != 2); i++) { /* the last one where ranks are 2, 5 */
                sharer how = {.size = size, .type = types[t], .count = counts[i], .owner = -1};
                check_shared(&how);
                how.owner = size / 2;
                if (i < 4) check_shared(&how);
            }
}

/* Where nobody can be woken all look again after a while: the same bits, and it ends. */
static void test_shared_without_futex(void **state)
{
    (void)state;
    static const int64_t counts[] = {17, 1000, 100000};
    atomic_store(&no_futex, true);
    for (int size = 2; size <= MOST_RANKS; size++)
        for (int i = 0; i < 3; i++)
            check_shared(&(sharer){.size = size, .type = F32, .count = counts[i], .owner = -1});
    atomic_store(&no_futex, false);
    assert_true(atomic_load(&refused) > 0);
}

/* A sum that is handed on, unrounded, has the bits of one. */
static void test_sum_in_parts(void **state)
{
    (void)state;
    enum { COUNT = 1700 };
    static const dtype types[] = {F32, F64, BF16};
    double sums[COUNT];
    for (int t = 0; t < 3; t++)
        for (int first = 1; first < 6; first++) {
            _Alignas(16) char x[6][8 * COUNT], whole[8 * COUNT], part[8 * COUNT];
            const void *from[6];
            for (int r = 0; r < 6; r++) {
                for (int64_t i = 0; i < COUNT; i++)
                    put(types[t], x[r], i, before(r, i));
                from[r] = x[r];
            }
            tensor one = tensor_of(whole, types[t], SHAPE(COUNT)),
                   two = tensor_of(part, types[t], SHAPE(COUNT));
            ok(add_up(1, one, from, 6));
            ok(add_up_part(1, two, from, first, (sum_part){.after = sums}));
            ok(add_up_part(1, two, from + first, 6 - first, (sum_part){.before = sums}));
            assert_memory_equal(whole, part, tensor_bytes(one));
            ok(add_up_part(1, two, from, first, (sum_part){.after = sums}));
            ok(add_up_part(1, two, from + first, 6 - first, (sum_part){sums, sums}));
            for (int64_t i = 0; i < COUNT; i++)
                put(types[t], part, i, sums[i]);
            assert_memory_equal(whole, part, tensor_bytes(one));
        }
}

/* In groups: the same numbers. */
static void test_shared_in_groups(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 17, 1000, 300001};
    for (int size = 4; size <= 6; size++)
        for (int group = 2; group < size; group++)
            for (int i = 0; i < 4 && size % group == 0; i++) {
                sharer how = {.size = size,
                              .group = group,
                              .type = i % 2 ? BF16 : F32,
                              .count = counts[i],
                              .owner = -1};
                check_shared(&how);
                how.owner = group - 1;
                if (i < 3) check_shared(&how);
            }
}

/* Counters of ranks must not lie in one cache line, nor across two. */
static void test_shared_misplaced(void **state)
{
    (void)state;
    char *room = aligned_alloc(SHARED_LINE, 3 * SHARED_BYTES),
         *segment[] = {room, room + SHARED_BYTES + SHARED_LINE / 2};
    shared *s = NULL;
    error *e = shared_open(0, 2, segment, wait_turns, NULL, &s);
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), ERR_INTERNAL);
    error_free(e);
    segment[1] += SHARED_LINE / 2;
    ok(shared_open(0, 2, segment, wait_turns, NULL, &s));
    shared_close(s);
    free(room);
}

/* One gathers where the others add up: nobody takes its numbers for sums. */
static void test_shared_otherwise(void **state)
{
    (void)state;
    for (int size = 2; size <= 4; size++) {
        sharer all[MOST_RANKS], how = {.size = size,
                                       .type = F32,
                                       .count = 1000,
                                       .owner = -1,
                                       .other = true,
                                       .patience = 20000};
        share_all(all, &how);
        for (int r = 0; r < size; r++) {
            assert_non_null(all[r].failed);
            error_free(all[r].failed);
            free(all[r].x);
        }
    }
}

/* ---- calls beside the computation ---- */

/* Each call must be the next; the one with `bad` elements fails. */
typedef struct {
    int64_t made, bad;
} tally;

static error *tick_off(void *context, const beside_call *call)
{
    tally *t = context;
    int64_t n = tensor_count(call->x);
    if (n == t->bad) return user_error("call %lld", (long long)n);
    assert_int_equal(n, t->made + 1);
    t->made = n;
    return NULL;
}

/* More than wait at a time, each in its turn; a failure is told once, and ends them. */
static void test_beside(void **state)
{
    (void)state;
    enum { CALLS = 1000 };
    for (int64_t bad = 0; bad <= CALLS; bad += CALLS / 2) {
        tally t = {.bad = bad};
        beside *b = NULL;
        ok(beside_open(tick_off, &t, &b));
        for (int64_t i = 1; i <= CALLS; i++)
            assert_int_equal(beside_ask(b, (beside_call){.x = tensor_of(NULL, U8, SHAPE(i))}), i);
        assert_int_equal(beside_asked(b), CALLS);
        error *e = beside_wait(b, CALLS);
        assert_true((e != NULL) == (bad > 0));
        if (e) assert_non_null(strstr(error_text(e), bad == CALLS ? "call 1000" : "call 500"));
        error_free(e);
        ok(beside_wait(b, CALLS));
        assert_int_equal(t.made, bad ? bad - 1 : CALLS);
        beside_close(b);
    }
    beside_close(NULL);
}

/* ---- two ranks that do not run the same program ---- */

/* The first adds up, the second gathers, or speaks, or does nothing but wait for the end. */
static error *other_call(comm *c, device *dev, const char *what, tensor x)
{
    share s = share_evenly(tensor_count(x), c->size, 16);
    c->doing = c->rank ? what : "adding up";
    if (!c->rank)
        comm_sum(c, dev, STREAM_COMPUTE, x);
    else if (!strcmp(what, "gathering"))
        comm_gather(c, dev, STREAM_COMPUTE, x, &s);
    else
        TRY(barrier(c));
    return device_status(dev);
}

static error *with_memory(comm *c, const char *what)
{
    enum { COUNT = 100000 };
    device dev;
    float *x = NULL;
    char *staged = NULL;
    TRY(cpu_device(1, &dev));
    error *e = alloc_array(&x, COUNT, sizeof *x);
    if (!e) e = alloc_array(&staged, c->staging, 1);
    c->staged = tensor_of(staged, U8, SHAPE((int64_t)c->staging));
    if (!e) e = other_call(c, &dev, what, tensor_of(x, F32, SHAPE(COUNT)));
    cpu_close(&dev);
    free(x);
    free(staged);
    return e;
}

/* "status 2 alone": the last rank ends with it, agreed upon or not. */
static error *ends_with(comm *c, const char *what)
{
    error *e = NULL;
    if (c->rank == c->size - 1)
        e = what[7] == '2' ? internal_error("on purpose") : user_error("on purpose");
    if (e && strstr(what, "alone")) return e;
    TRY(comm_agree(c, e));
    return barrier(c);
}

static int end(comm *c, error *e)
{
    int status = e ? (int)error_kind_of(e) : 0;
    if (c->told)
        error_free(e);
    else if (e)
        status = error_report("test_comm", e);
    comm_close(c, status);
    return status;
}

static int one_of_several(const char *what)
{
    comm c;
    error *e = mpi_open(&c);
    if (e) return error_report("test_comm", e);
    c.limit = 1;
    e = strncmp(what, "status ", 7) ? with_memory(&c, what) : ends_with(&c, what);
    return end(&c, e);
}

/* "launched": two, by this process. */
static int launched(void)
{
    comm c = {.size = 1};
    bool parent;
    int theirs;
    error *e = wire_launch(2, &parent, &theirs);
    if (!e && parent) return theirs;
    if (!e) e = wire_open(&c);
    c.limit = 5;
    for (int i = 0; i < 3 && !e; i++)
        e = barrier(&c);
    if (!e && !c.rank) puts("met");
    return end(&c, e);
}

int main(int argc, char **argv)
{
    if (argc > 1) return strcmp(argv[1], "launched") ? one_of_several(argv[1]) : launched();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_even_shares),
        cmocka_unit_test(test_owned_shares),
        cmocka_unit_test(test_dealt),
        cmocka_unit_test(test_dealt_in_groups),
        cmocka_unit_test(test_stage_0_owns_all),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_agree),
        cmocka_unit_test(test_one_process),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_other_service),
        cmocka_unit_test(test_other_service_patiently),
        cmocka_unit_test(test_other_rank),
        cmocka_unit_test(test_stranger),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_shared_without_futex),
        cmocka_unit_test(test_sum_in_parts),
        cmocka_unit_test(test_shared_in_groups),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_shared_otherwise),
        cmocka_unit_test(test_shared_misplaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
