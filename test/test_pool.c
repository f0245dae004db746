/* test_pool.c - the threads of the CPU device (cpu/pool.h): more of them than cores, so
 * that some always come late.
 *
 *     loops: every number of [0, n) is taken once;  teams: all are there, and nobody is beyond a barrier early */
#include "base/rng.h"
#include "cpu/pool.h"
#include "test/long.h"
#include "test/scratch.h"

#include <stdatomic.h>

enum { THREADS = 7, MOST = 3000, TURNS = 5 };

typedef struct {
    atomic_int taken[MOST];
} taken;

static void take(const void *context, int64_t first, int64_t end)
{
    taken *t = (taken *)(uintptr_t)context;
    for (int64_t i = first; i < end; i++)
        atomic_fetch_add(&t->taken[i], 1);
}

typedef struct {
    atomic_int here[TURNS], calls[THREADS], early;
} meeting;

static void meet(void *context, member me)
{
    meeting *m = context;
    atomic_fetch_add(&m->calls[me.index], 1);
    for (int turn = 0; turn < TURNS; turn++) {
        atomic_fetch_add(&m->here[turn], 1);
        pool_barrier(me);
        if (atomic_load(&m->here[turn]) != me.threads) atomic_fetch_add(&m->early, 1);
    }
}

static int64_t draw(int64_t turn, uint64_t which, int64_t n)
{
    return (int64_t)(rng_uniform((uint64_t)turn, RNG_TEST, which) * (double)n);
}

static void one_loop(pool *p, int64_t turn)
{
    static taken t;
    int64_t n = draw(turn, 0, MOST), grain = 1 + draw(turn, 1, 40);
    for (int64_t i = 0; i < MOST; i++)
        atomic_store(&t.taken[i], 0);
    pool_for(p, n, grain, take, &t);
    for (int64_t i = 0; i < MOST; i++)
        if (atomic_load(&t.taken[i]) != (i < n))
            fail_msg("turn %lld: %lld of %lld is taken %d times", (long long)turn, (long long)i,
                     (long long)n, atomic_load(&t.taken[i]));
}

static void one_team(pool *p, int64_t turn)
{
    meeting m = {0};
    int threads = 1 + (int)draw(turn, 2, THREADS);
    pool_run(p, threads, meet, &m);
    assert_int_equal(atomic_load(&m.early), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(atomic_load(&m.calls[i]), i < threads);
}

/* spins: as where there is a core for each, and as where there is not */
static void loops_and_teams(int cores)
{
    pool *p;
    ok(pool_open(THREADS, cores, &p));
    for (int64_t turn = 0; turn < tries(3000, 300000); turn++)
        (draw(turn, 3, 3) ? one_loop : one_team)(p, turn);
    pool_close(p);
}

static void test_asleep(void **state)
{
    (void)state;
    loops_and_teams(1);
}

static void test_spinning(void **state)
{
    (void)state;
    loops_and_teams(THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_asleep),
                                       cmocka_unit_test(test_spinning)};
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
