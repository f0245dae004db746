/* test_arena.c - record, plan, replay.
 *
 * The same function runs twice, as the training step does: once recorded, once or more replayed in
 * real memory.  In replay every block is filled with a number of its own when it is taken, and must
 * still hold it when it is dropped: blocks that are alive together do not overlap.  What is refused
 * is in test_arena_refuse.c, what the plan says in test_arena_plan.c: programs by hand, which have
 * no longer form.  Short: 20 random programs, one random loop, 10 random plans summed by their
 * definition.  LONG=1: hundreds of each.
 */
#include "base/rng.h"
#include "test/arena_bed.h"
#include "test/long.h"

#include <math.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

/* ---- a program of random takes and drops, which checks itself ---- */

enum { LIVE_MAX = 60, LOG_MAX = 2000 };

typedef struct {
    tensor t;
    unsigned char mark;
} live_block;

typedef struct {
    bed *b;
    live_block live[LIVE_MAX];
    int n_live, n_saved, taken; /* the first n_kept are not dropped at random */
    void *address[LOG_MAX];     /* of each take */
} walk;

static bool overlap(tensor a, tensor b)
{
    char *p = a.data, *q = b.data;
    return p < q + tensor_bytes(b) && q < p + tensor_bytes(a);
}

static tensor walk_take(walk *w, block_kind kind, dtype type, int64_t count)
{
    tensor t = arena_take(w->b->a, kind, type, SHAPE(count), NAME("block %d", w->taken));
    w->address[w->taken++] = t.data;
    assert_int_equal(tensor_count(t), count);
    if (!arena_recording(w->b->a)) {
        size_t from = (size_t)((char *)t.data - w->b->memory.memory);
        assert_int_equal((uintptr_t)t.data % 256, 0);
        assert_true(from + tensor_bytes(t) <= arena_peak(w->b->a));
        for (int i = 0; i < w->n_live; i++)
            assert_false(overlap(t, w->live[i].t));
        memset(t.data, w->taken & 0xff, tensor_bytes(t));
    }
    w->live[w->n_live++] = (live_block){t, (unsigned char)w->taken};
    return t;
}

static void walk_drop(walk *w, int which)
{
    live_block *block = &w->live[which];
    const unsigned char *bytes = block->t.data;
    if (!arena_recording(w->b->a))
        for (size_t i = 0; i < tensor_bytes(block->t); i++)
            if (bytes[i] != block->mark) fail_msg("byte %zu of a live block was overwritten", i);
    arena_drop(w->b->a, &block->t);
    assert_false(present(block->t));
    *block = w->live[--w->n_live];
}

static void walk_some(walk *w, uint64_t seed, uint64_t *at, int events)
{
    for (int i = 0; i < events; i++) {
        double u = rng_uniform(seed, RNG_TEST, (*at)++), v = rng_uniform(seed, RNG_TEST, (*at)++);
        if (w->n_live == w->n_saved || (u < 0.55 && w->n_live < LIVE_MAX))
            walk_take(w, (block_kind)(i % KIND_COUNT), i % 3 ? F32 : U8,
                      1 + (int64_t)(v * v * v * 20000));
        else
            walk_drop(w, w->n_saved + (int)(v * (w->n_live - w->n_saved)));
    }
}

static void run_walk(walk *w, const char *name, uint64_t seed, int events)
{
    uint64_t at = 0;
    w->taken = 0;
    arena_begin(w->b->a, name);
    walk_some(w, seed, &at, events);
    while (w->n_live)
        walk_drop(w, w->n_live - 1);
    arena_end(w->b->a);
}

static void test_random_programs(void **state)
{
    (void)state;
    static walk w, again;
    for (uint64_t seed = 0; seed < (uint64_t)(thin_run() ? 5 : tries(20, 200)); seed++) {
        bed b;
        open_bed(&b);
        w.b = again.b = &b;
        run_walk(&w, "one", seed, 600);
        run_walk(&w, "two", seed + 1000, 300);
        plan_and_commit(&b, seed % 2);
        assert_true(arena_load(b.a) <= arena_peak(b.a));
        run_walk(&w, "one", seed, 600);
        run_walk(&again, "two", seed + 1000, 300);
        run_walk(&again, "one", seed, 600);
        assert_int_equal(w.taken, again.taken);
        assert_memory_equal(w.address, again.address, (size_t)w.taken * sizeof *w.address);
        assert_int_equal(arena_high_water(b.a), arena_peak(b.a));
        assert_true(arena_canary_intact(b.a));
        assert_int_equal(b.memory.allocations, 1);
        close_bed(&b);
    }
}

/* ---- the loop over micro-batches ---- */

/* Blocks that live outside, across and inside the loop; the first iteration takes what later ones
 * add to. */
static void run_loop(walk *w, uint64_t seed, int iterations)
{
    arena *a = w->b->a;
    int n = arena_recording(a) && iterations > 2 ? 2 : iterations;
    w->taken = 0;
    arena_begin(a, "loop");
    walk_take(w, KIND_ACTIVATION, F32, 999); /* the whole program */
    for (int k = 0; k < n; k++) {
        arena_iteration(a, k);
        if (k == 0) walk_take(w, KIND_GRADIENT, F32, 5000); /* an overlaid gradient */
        w->n_saved = 2;
        w->taken = k ? 200 : 100; /* later iterations take the blocks of iteration 1 */
        uint64_t at = k ? 1000 : 0;
        walk_some(w, seed, &at, 60);
        while (w->n_live > 2)
            walk_drop(w, w->n_live - 1);
    }
    w->n_saved = 0;
    walk_take(w, KIND_INTERMEDIATE, F32, 5000);
    while (w->n_live)
        walk_drop(w, 0);
    arena_end(a);
}

static void loops_of(uint64_t seed)
{
    static walk w;
    static const int counts[] = {1, 2, 3, 5};
    size_t peak[4];
    for (int i = 0; i < 4; i++) {
        bed b;
        open_bed(&b);
        w.b = &b;
        run_loop(&w, seed, counts[i]);
        plan_and_commit(&b, true);
        for (int step = 0; step < 3; step++) {
            run_loop(&w, seed, counts[i]);
            must(device_status(&b.host));
        }
        peak[i] = arena_peak(b.a);
        close_bed(&b);
    }
    assert_int_equal(peak[1], peak[2]); /* more iterations of the same take no more memory */
    assert_int_equal(peak[1], peak[3]);
}

static void test_micro_batches(void **state)
{
    (void)state;
    for (uint64_t seed = 7; seed < (uint64_t)tries(8, 100); seed++)
        loops_of(seed);
}

/* The second iteration leaves a block alive that the third does not expect. */
static void run_unbalanced(arena *a, int iterations)
{
    tensor x = {0};
    arena_begin(a, "unbalanced");
    for (int k = 0; k < iterations; k++) {
        arena_iteration(a, k);
        if (k < 2) x = arena_take(a, KIND_WORKSPACE, F32, SHAPE(10), NAME("x", k));
        if (k == 0) arena_drop(a, &x);
    }
    arena_drop(a, &x);
    arena_end(a);
}

static void test_iterations_must_balance(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    run_unbalanced(b.a, 2);
    plan_and_commit(&b, false);
    run_unbalanced(b.a, 2);
    must(device_status(&b.host));
    run_unbalanced(b.a, 3);
    refused(&b.host, "iteration 2 does not leave the blocks it found");
    close_bed(&b);
}

static void test_two_iterations_are_recorded(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    arena_begin(b.a, "three");
    for (int k = 0; k < 3; k++)
        arena_iteration(b.a, k);
    arena_end(b.a);
    refused(&b.null, "iteration 2");
    close_bed(&b);
}

/* ---- sums ---- */

typedef struct {
    block_info block[LOG_MAX];
    int n;
    arena_summary s;
} census;

static void count_block(void *context, const block_info *b)
{
    census *c = context;
    c->block[c->n++] = *b;
    assert_true(b->offset + b->bytes <= c->s.peak && b->offset % 256 == 0 && *b->name);
}

/* Bytes alive at a time, of one kind or (KIND_COUNT) of all. */
static size_t alive(const census *c, int64_t when, int kind)
{
    size_t bytes = 0;
    for (int i = 0; i < c->n; i++)
        if (c->block[i].start <= when && when < c->block[i].end &&
            (kind == KIND_COUNT || c->block[i].kind == kind))
            bytes += c->block[i].bytes;
    return bytes;
}

/* In a plan with gaps: by kind + gaps = peak, and the summary is what the visited blocks sum to. */
static void test_sums(void **state)
{
    (void)state;
    static walk w;
    static census c;
    size_t gaps = 0;
    for (uint64_t seed = 50; seed < (uint64_t)(thin_run() ? 53 : tries(60, 200)); seed++) {
        bed b;
        open_bed(&b);
        w.b = &b;
        arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(1000), NAME("p", 0));
        arena_keep(b.a, KIND_STATE, F32, SHAPE(777), NAME("p", 0));
        run_walk(&w, "walk", seed, 500);
        must(arena_plan(b.a));
        c.s = arena_summarize(b.a);
        c.n = 0;
        arena_visit(b.a, count_block, &c);
        assert_int_equal(c.n, w.taken + 2);
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            size_t most = 0;
            for (int64_t when = 0; when < c.s.clocks; when++)
                if (alive(&c, when, kind) > most) most = alive(&c, when, kind);
            assert_int_equal(c.s.most[kind], most);
            assert_int_equal(c.s.by_kind[kind], alive(&c, c.s.peak_clock, kind));
        }
        size_t sum = alive(&c, c.s.peak_clock, KIND_COUNT);
        assert_int_equal(sum + c.s.gaps, c.s.peak);
        assert_int_equal(sum, c.s.load);
        gaps += c.s.gaps;
        close_bed(&b);
    }
    assert_true(gaps > 0); /* else this test has seen nothing */
}

/* ---- memory ---- */

static void test_commit_that_fails(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    run_small(&b);
    must(arena_plan(b.a));
    b.memory.refuse = true;
    error *e = arena_commit(b.a, &b.host, false);
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), ERR_USER);
    error_free(e);
    close_bed(&b);
}

static void test_canary(void **state)
{
    (void)state;
    static const size_t places[] = {0, 1, CANARY - 1};
    bed b;
    open_bed(&b);
    run_small(&b);
    plan_and_commit(&b, false);
    run_small(&b);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *end = b.memory.memory + arena_peak(b.a) + places[i], before = *end;
        assert_true(arena_canary_intact(b.a));
        *end = (char)(before ^ 1);
        assert_false(arena_canary_intact(b.a));
        *end = before;
    }
    assert_true(arena_canary_intact(b.a));
    close_bed(&b);
}

static void test_fresh_blocks_are_nan(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    for (int replay = 0; replay < 2; replay++) {
        tensor p = arena_keep(b.a, KIND_PARAMETER, F64, SHAPE(33), NAME("p", 0));
        arena_begin(b.a, "train");
        for (int i = 0; i < 2; i++) { /* the second lies where the first has been written to */
            tensor x = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(77), NAME("x", i));
            float *f = x.data;
            for (int k = 0; replay && k < 77; k++) {
                assert_true(isnan(f[k]));
                f[k] = 1;
            }
            arena_drop(b.a, &x);
        }
        arena_end(b.a);
        for (int k = 0; replay && k < 33; k++)
            assert_true(isnan(((double *)p.data)[k]));
        if (!replay) plan_and_commit(&b, true);
    }
    close_bed(&b);
}

#ifdef __SANITIZE_ADDRESS__
static bool poisoned(const char *p)
{
    return __asan_address_is_poisoned(p);
}

/* keep p; take x, y; drop y */
static void take_two(bed *b, tensor alive[3])
{
    alive[0] = arena_keep(b->a, KIND_PARAMETER, F32, SHAPE(1000), NAME("p", 0));
    arena_begin(b->a, "train");
    alive[1] = arena_take(b->a, KIND_ACTIVATION, F32, SHAPE(2000), NAME("x", 0));
    alive[2] = arena_take(b->a, KIND_WORKSPACE, U8, SHAPE(500), NAME("y", 0));
}

static void test_poison(void **state)
{
    (void)state;
    bed b;
    tensor t[3];
    open_bed(&b);
    take_two(&b, t);
    arena_drop(b.a, &t[2]);
    arena_drop(b.a, &t[1]);
    arena_end(b.a);
    plan_and_commit(&b, true);
    for (size_t at = 0; at < arena_peak(b.a); at += 64)
        assert_true(poisoned(b.memory.memory + at)); /* nothing is alive yet */
    take_two(&b, t);
    for (int i = 0; i < 3; i++) {
        char *first = t[i].data, *end = first + tensor_bytes(t[i]);
        assert_null(__asan_region_is_poisoned(first, tensor_bytes(t[i])));
        for (char *red = end; red < end + 256; red++)
            assert_true(poisoned(red));
    }
    char *was = t[2].data;
    arena_drop(b.a, &t[2]);
    assert_true(poisoned(was) && poisoned(was + 499));
    assert_false(poisoned(t[1].data));
    close_bed(&b);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_programs),
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_iterations_must_balance),
        cmocka_unit_test(test_two_iterations_are_recorded),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_commit_that_fails),
        cmocka_unit_test(test_canary),
        cmocka_unit_test(test_fresh_blocks_are_nan),
#ifdef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_poison),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
