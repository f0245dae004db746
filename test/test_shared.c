/* test_shared.c - memory that ranks share (ranks/shared.h), where each rank is a thread: sums and
 * copies of all types and sizes, with and without futexes, in parts and in groups, and what does
 * not fit.
 */
#include "base/bf16.h"
#include "ranks/add_up.h"
#include "ranks/shared.h"
#include "test/scratch.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* ---- ranks ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),           cmocka_unit_test(test_shared_without_futex),
        cmocka_unit_test(test_sum_in_parts),     cmocka_unit_test(test_shared_in_groups),
        cmocka_unit_test(test_shared_misplaced), cmocka_unit_test(test_shared_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
