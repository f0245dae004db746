/* test_comm.c - who owns what (ranks/comm.c, params/sharded_backing.c) for any sizes and any number
 * of ranks, and what ranks make of each other's words; the words are put into their mouths here.
 *
 * With an argument it is one of two real ranks over MPI that call what does not go together
 * (test_ranks.sh runs it by mpirun), or starts two over TCP that meet and part (edges.sh, where
 * calls fail). */
#include "cpu/cpu.h"
#include "ranks/beside.h"
#include "ranks/mpi.h"
#include "params/sharded_backing.h"
#include "ranks/tcp.h"
#include "test/long.h"
#include "test/scratch.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
        cmocka_unit_test(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
