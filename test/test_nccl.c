/* test_nccl.c - the engine for GPUs by itself (cuda/nccl.c): every call on tensors that ranges
 * divide evenly, unevenly, or not at all, in every type; one rank, on whatever GPU there is, and
 * two and three, as processes with an emulated GPU each, which meet over TCP (ranks/tcp.c). */
#include "cuda/cuda.h"
#include "ranks/tcp.h"
#include "test/scratch.h"

#include <string.h>
#include <unistd.h>

enum { MOST = 64 };

/* ---- the calls; these run in processes without cmocka: 0 is well, else the place that is not
 * ---- */

typedef struct {
    comm *c;
    device *dev;
    char *memory;
} endpoint;

/* x[i] of a rank: numbers that every type holds, and all sums of them. */
static int number(int rank, int64_t i)
{
    return (int)((i * 7 + rank * 5) % 11);
}

static void put_numbers(const endpoint *p, tensor x)
{
    double wide[MOST];
    float single[MOST];
    uint16_t half[MOST];
    for (int64_t i = 0; i < tensor_count(x); i++) {
        uint32_t bits;
        wide[i] = single[i] = (float)number(p->c->rank, i);
        memcpy(&bits, &single[i], sizeof bits);
        half[i] = (uint16_t)(bits >> 16);
    }
    op_put(p->dev, STREAM_COMPUTE, x,
           x.type == F64   ? (void *)wide
           : x.type == F32 ? (void *)single
                           : half);
}

static double got(const char *from, dtype type, int64_t i)
{
    float single;
    double wide;
    uint32_t bits = 0;
    if (type == F64) {
        memcpy(&wide, from + i * 8, sizeof wide);
        return wide;
    }
    memcpy(type == F32 ? (char *)&bits : (char *)&bits + 2, from + i * (type == F32 ? 4 : 2),
           type == F32 ? 4 : 2);
    memcpy(&single, &bits, sizeof single);
    return (double)single;
}

/* Elements [first, first + n) of x are the sum of all ranks' (rank < 0), or a rank's. */
static bool they_are(const char *x, dtype type, int64_t first, int64_t end, int rank, int size)
{
    for (int64_t i = first; i < end; i++) {
        int want = rank < 0 ? 0 : number(rank, i);
        for (int r = 0; rank < 0 && r < size; r++)
            want += number(r, i);
        if (got(x, type, i) != want) return false;
    }
    return true;
}

/* Elements of x are those of the ranges of ranks' group. */
static bool gathered(const endpoint *p, const char *x, dtype type, const share *s)
{
    int size = p->c->size, place = share_place(s, p->c->rank), first = p->c->rank - place;
    for (int r = 0; r < share_ranks(s, size); r++)
        if (!they_are(x, type, share_begin(s, r), share_begin(s, r + 1), first + r, size))
            return false;
    return true;
}

static bool calls_are_right(const endpoint *p, dtype type, share s)
{
    comm *c = p->c;
    char x[MOST * 8];
    tensor t = tensor_of(p->memory, type, SHAPE(s.count));
    bool right = true;
    int place = share_place(&s, c->rank);

    put_numbers(p, t);
    comm_scatter(c, p->dev, STREAM_COMPUTE, t, &s);
    op_get(p->dev, STREAM_COMPUTE, x, t);
    op_sync(p->dev, STREAM_COMPUTE);
    right =
        right && they_are(x, type, share_begin(&s, place), share_begin(&s, place + 1), -1, c->size);

    put_numbers(p, t);
    comm_gather(c, p->dev, STREAM_COMPUTE, t, &s);
    op_get(p->dev, STREAM_COMPUTE, x, t);
    op_sync(p->dev, STREAM_COMPUTE);
    right = right && gathered(p, x, type, &s);

    put_numbers(p, t);
    comm_sum(c, p->dev, STREAM_COMPUTE, t);
    op_get(p->dev, STREAM_COMPUTE, x, t);
    op_sync(p->dev, STREAM_COMPUTE);
    return right && they_are(x, type, 0, s.count, -1, c->size);
}

static int all_calls(const endpoint *p)
{
    static const dtype types[] = {F32, F64, BF16};
    int n = p->c->size;
    const share shares[] = {share_evenly(48, n, 1),
                            share_evenly(37, n, 16),
                            share_evenly(1, n, 16),
                            {.count = 50, .owner = n - 1}};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++)
            if (!calls_are_right(p, types[i], shares[k])) return 10 + 4 * i + k;
    error *e = device_status(p->dev);
    bool failed = e;
    error_free(e);
    return failed ? 9 : comm_waited(p->c, p->dev) > 0 || n == 1 ? 0 : 8;
}

/* In groups of two: each call by itself, and more in one group of NCCL's than are put off at a
 * time. */
static int calls_in_groups(const endpoint *p)
{
    enum { MANY = 70 };
    const share one[] = {share_evenly(48, 2, 1),
                         share_evenly(37, 2, 16),
                         share_evenly(1, 2, 16),
                         {.count = 50, .owner = 1}};
    for (int k = 0; k < 4; k++) {
        share s = one[k];
        s.group = 2;
        if (!calls_are_right(p, k % 2 ? F64 : F32, s)) return 30 + k;
    }
    share few = share_evenly(4, 2, 1);
    char x[MANY * 4 * 4];
    few.group = 2;
    for (int i = 0; i < MANY; i++)
        put_numbers(p, tensor_of(p->memory + i * 16, F32, SHAPE(4)));
    op_fork(p->dev, STREAM_COMPUTE, STREAM_COMM);
    comm_group(p->c, p->dev, true);
    for (int i = 0; i < MANY; i++)
        comm_scatter(p->c, p->dev, STREAM_COMM, tensor_of(p->memory + i * 16, F32, SHAPE(4)), &few);
    comm_group(p->c, p->dev, false);
    comm_join(p->c, p->dev, STREAM_COMPUTE);
    op_get(p->dev, STREAM_COMPUTE, x, tensor_of(p->memory, F32, SHAPE(4 * MANY)));
    op_sync(p->dev, STREAM_COMPUTE);
    /* pairs across do not wait for one another: nobody leaves before all are done */
    error *e = comm_agree(p->c, device_status(p->dev));
    if (e) printf("%s\n", error_text(e));
    error_free(e);
    if (e) return 36;
    int64_t own = share_begin(&few, p->c->rank % 2);
    for (int i = 0; i < MANY; i++)
        if (!they_are(x + i * 16, F32, own, own + 2, -1, 4)) return 34;
    return p->c->moved.between > 0 ? 0 : 35;
}

/* One of them sums where the others gather. */
static int other_call(const endpoint *p)
{
    tensor t = tensor_of(p->memory, F32, SHAPE(48));
    share s = share_evenly(48, p->c->size, 1);
    put_numbers(p, t);
    if (p->c->rank)
        comm_gather(p->c, p->dev, STREAM_COMPUTE, t, &s);
    else
        comm_sum(p->c, p->dev, STREAM_COMPUTE, t);
    op_sync(p->dev, STREAM_COMPUTE);
    return 0;
}

/* One of them does not come. */
static int no_call(const endpoint *p)
{
    tensor t = tensor_of(p->memory, F32, SHAPE(48));
    p->c->limit = 1;
    if (p->c->rank) {
        sleep(6);
        return 0;
    }
    comm_sum(p->c, p->dev, STREAM_COMPUTE, t);
    op_sync(p->dev, STREAM_COMPUTE);
    error *e = device_status(p->dev);
    bool named =
        e && strstr(error_text(e), "rank 1 did not respond for 1 s while rank 0 was adding up");
    error_free(e);
    return named ? 7 : 6;
}

/* NCCL says that another one has failed; it has not called, so nothing else would end the
 * waiting. */
static int remote_failure(const endpoint *p)
{
    tensor t = tensor_of(p->memory, F32, SHAPE(48));
    if (p->c->rank) {
        sleep(2);
        return 0;
    }
    comm_sum(p->c, p->dev, STREAM_COMPUTE, t);
    op_sync(p->dev, STREAM_COMPUTE);
    error *e = device_status(p->dev);
    bool told = e && strstr(error_text(e), "NCCL: another rank: ");
    error_free(e);
    return told ? 7 : 6;
}

static int never(const endpoint *p)
{
    (void)p;
    return 1;
}

static int on_gpu(comm *c, int (*what)(const endpoint *))
{
    device dev;
    void *memory = NULL;
    int status = 1;
    error *e = cuda_device(&dev);
    if (e) goto over;
    if (what == calls_in_groups) e = comm_divide(c, 2);
    if (!e) e = cuda_join(&dev, c);
    if (e && !c->told) status = strstr(error_text(e), "rank 1 is meeting through NCCL") ? 7 : 1;
    if (e && c->told) status = 0;
    c->doing = "adding up";
    if (!e) e = dev.ops->alloc(&dev, MOST * 32, &memory);
    if (!e) status = what(&(endpoint){c, &dev, memory});
    if (status) comm_abandon(c);
    if (memory) dev.ops->release(&dev, memory);
    cuda_close(&dev);
over:
    if (e) printf("%s\n", error_text(e));
    error_free(e);
    comm_close(c, status);
    return status;
}

/* ---- one rank ---- */

static error *alone(comm *c, const void *mine, void *all, size_t bytes)
{
    (void)c;
    memcpy(all, mine, bytes);
    return NULL;
}
static const comm_ops nobody = {.name = "alone", .share_words = alone};

/* The fronts do nothing for one rank: the engine is called by itself. */
static int one_rank(const endpoint *p)
{
    const comm_ops *ops = p->c->ops;
    share s = share_evenly(37, 1, 16);
    tensor t = tensor_of(p->memory, F32, SHAPE(37));
    char x[MOST * 8];
    put_numbers(p, t);
    ops->scatter(p->c, p->dev, STREAM_COMPUTE, t, &s);
    ops->gather(p->c, p->dev, STREAM_COMPUTE, t, &s);
    ops->sum(p->c, p->dev, STREAM_COMPUTE, t);
    op_get(p->dev, STREAM_COMPUTE, x, t);
    op_sync(p->dev, STREAM_COMPUTE);
    return they_are(x, F32, 0, 37, 0, 1) ? 0 : 3;
}

/* More elements than the tensor has bytes for never reach NCCL. */
static int beyond(const endpoint *p)
{
    share s = share_evenly(38, 1, 1);
    p->c->ops->scatter(p->c, p->dev, STREAM_COMPUTE, tensor_of(p->memory, F32, SHAPE(37)), &s);
    error *e = device_status(p->dev);
    bool seen = e && strstr(error_text(e), "elements 0 + 38");
    error_free(e);
    return seen ? 4 : 0;
}

static void test_one_rank(void **state)
{
    (void)state;
    if (!cuda_driver_here()) skip();
    comm c = {.ops = &nobody, .size = 1, .limit = 30};
    assert_int_equal(on_gpu(&c, one_rank), 0);
    c = (comm){.ops = &nobody, .size = 1, .limit = 30};
    assert_int_equal(on_gpu(&c, beyond), 4);
}

/* ---- several, each with an emulated GPU ---- */

static int in_processes(int n, int (*what)(const endpoint *))
{
    bool parent;
    int status;
    if (!cuda_driver_here() || strcmp(cuda_built_for(), "the emulator")) skip();
    ok(wire_launch(n, &parent, &status));
    if (parent) return status;
    comm c = {.size = 1};
    error *e = wire_open(&c);
    if (what == never) c.limit = 1;
    if (e) printf("%s\n", error_text(e));
    _exit(e ? 2 : on_gpu(&c, what));
}

static void test_several_ranks(void **state)
{
    (void)state;
    assert_int_equal(in_processes(2, all_calls), 0);
    assert_int_equal(in_processes(3, all_calls), 0);
}

static void test_groups(void **state)
{
    (void)state;
    assert_int_equal(in_processes(4, calls_in_groups), 0);
}

static void test_another_call(void **state)
{
    (void)state;
    assert_int_equal(in_processes(2, other_call), 5);
}

static void test_no_call(void **state)
{
    (void)state;
    assert_int_equal(in_processes(2, no_call), 7);
}

static void test_remote_failure(void **state)
{
    (void)state;
    setenv("CUDASIM_NCCL_FAULT", "remote", 1);
    assert_int_equal(in_processes(2, remote_failure), 7);
    unsetenv("CUDASIM_NCCL_FAULT");
}

/* One of them does not come to the meeting: the other one's error says so. */
static void test_absent(void **state)
{
    (void)state;
    setenv("CUDASIM_NCCL_FAULT", "absent", 1);
    assert_int_equal(in_processes(2, never), 7);
    unsetenv("CUDASIM_NCCL_FAULT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_rank), cmocka_unit_test(test_several_ranks),
        cmocka_unit_test(test_groups),   cmocka_unit_test(test_another_call),
        cmocka_unit_test(test_no_call),  cmocka_unit_test(test_remote_failure),
        cmocka_unit_test(test_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
