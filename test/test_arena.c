/* test_arena.c - record, plan, replay.
 *
 * The same function runs twice, as the training step does: once recorded, once or more replayed in real
 * memory.  In replay every block is filled with a number of its own when it is taken, and must still
 * hold it when it is dropped: blocks that are alive together do not overlap.  Each way in which a run
 * can leave its record is tried, and must be refused.
 */
#include "core/arena.h"
#include "core/rng.h"
#include "test/host.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 256 };
#else
enum { RED_ZONE = 0 };
#endif

enum { CANARY = 256 };

/* What a block of so many bytes takes. */
static size_t room(size_t bytes)
{
    return (bytes + RED_ZONE + 255) / 256 * 256;
}

/* ---- an arena and its two devices ---- */

typedef struct {
    arena *a;
    device null, host;
    host_memory memory;
} bed;

static void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

static void open_bed(bed *b)
{
    must(arena_create(&b->a));
    b->null = device_null();
    b->host = host_device(&b->memory);
    arena_attach(b->a, &b->null);
    assert_true(arena_recording(b->a));
}

static void plan_and_commit(bed *b, bool fill_fresh)
{
    must(arena_plan(b->a));
    assert_false(arena_recording(b->a));
    must(arena_commit(b->a, &b->host, fill_fresh));
    assert_int_equal(b->memory.bytes, arena_peak(b->a) + CANARY);
}

static void close_bed(bed *b)
{
    must(device_status(&b->null));
    must(device_status(&b->host));
    arena_destroy(b->a);
    assert_int_equal(b->memory.allocations, b->memory.releases);
}

/* The device's failure, which must be an internal one with these words. */
static void refused(device *dev, const char *words)
{
    error *e = device_status(dev);
    if (!e) fail_msg("not refused; expected: %s", words);
    if (error_kind_of(e) != ERR_INTERNAL || !strstr(error_text(e), words))
        fail_msg("expected: %s; got: %s", words, error_text(e));
    error_free(e);
}

/* ---- a program of random takes and drops, which checks itself ---- */

enum { LIVE_MAX = 60, LOG_MAX = 2000 };

typedef struct {
    tensor t;
    unsigned char mark;
} live_block;

typedef struct {
    bed *b;
    live_block live[LIVE_MAX];
    int n_live, n_kept, taken; /* the first n_kept are not dropped at random */
    void *address[LOG_MAX]; /* of each take */
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
        if (w->n_live == w->n_kept || (u < 0.55 && w->n_live < LIVE_MAX))
            walk_take(w, (block_kind)(i % KIND_COUNT), i % 3 ? F32 : U8, 1 + (int64_t)(v * v * v * 20000));
        else
            walk_drop(w, w->n_kept + (int)(v * (w->n_live - w->n_kept)));
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
    for (uint64_t seed = 0; seed < 20; seed++) {
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

/* Blocks that live outside, across and inside the loop; the first iteration takes what later ones add to. */
static void run_loop(walk *w, int iterations)
{
    arena *a = w->b->a;
    int n = arena_recording(a) && iterations > 2 ? 2 : iterations;
    w->taken = 0;
    arena_begin(a, "loop");
    walk_take(w, KIND_ACTIVATION, F32, 999); /* the whole program */
    for (int k = 0; k < n; k++) {
        arena_iteration(a, k);
        if (k == 0) walk_take(w, KIND_GRADIENT, F32, 5000); /* an overlaid gradient */
        w->n_kept = 2;
        w->taken = k ? 200 : 100; /* later iterations take the blocks of iteration 1 */
        uint64_t at = k ? 1000 : 0;
        walk_some(w, 7, &at, 60);
        while (w->n_live > 2)
            walk_drop(w, w->n_live - 1);
    }
    w->n_kept = 0;
    walk_take(w, KIND_INTERMEDIATE, F32, 5000);
    while (w->n_live)
        walk_drop(w, 0);
    arena_end(a);
}

static void test_micro_batches(void **state)
{
    (void)state;
    static walk w;
    static const int counts[] = {1, 2, 3, 5};
    size_t peak[4];
    for (int i = 0; i < 4; i++) {
        bed b;
        open_bed(&b);
        w.b = &b;
        run_loop(&w, counts[i]);
        plan_and_commit(&b, true);
        for (int step = 0; step < 3; step++) {
            run_loop(&w, counts[i]);
            must(device_status(&b.host));
        }
        peak[i] = arena_peak(b.a);
        close_bed(&b);
    }
    assert_int_equal(peak[1], peak[2]); /* more iterations of the same take no more memory */
    assert_int_equal(peak[1], peak[3]);
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

/* ---- what the plan says ---- */

/* persistent: 1000 + 1000 floats; program "small" peaks at 300, "large" at 2000 + 500 */
static void keep_two(bed *b, tensor *p, tensor *s)
{
    *p = arena_keep(b->a, KIND_PARAMETER, F32, SHAPE(10, 100), NAME("h.%d.weight", 3));
    *s = arena_keep(b->a, KIND_STATE, F32, SHAPE(10, 100), NAME("h.%d.weight", 3));
}

static void run_small(bed *b)
{
    arena_begin(b->a, "small");
    tensor x = arena_take(b->a, KIND_ACTIVATION, F32, SHAPE(300), NAME("x", 0));
    arena_drop(b->a, &x);
    arena_end(b->a);
}

typedef struct {
    char *high, *low, *gradient;
    char seen[3][64]; /* what arena_find says of an address of "low": before, while and after it is alive */
} sightings;

static void find(bed *b, const char *address, char seen[64])
{
    if (!arena_recording(b->a) && !arena_find(b->a, address, seen, 64)) strcpy(seen, "nothing");
}

static void run_large(bed *b, sightings *s)
{
    arena_begin(b->a, "large");
    tensor high = arena_take(b->a, KIND_ACTIVATION, F32, SHAPE(2000), NAME("h%d.high", 12));
    find(b, s->low, s->seen[0]);
    tensor low = arena_take(b->a, KIND_WORKSPACE, U8, SHAPE(500), NAME("low", 0));
    s->low = low.data;
    s->high = high.data;
    find(b, s->low + 499, s->seen[1]);
    arena_drop(b->a, &low);
    find(b, s->low, s->seen[2]);
    tensor g = arena_take(b->a, KIND_GRADIENT, F32, SHAPE(100), NAME("h.%d.weight", 3));
    s->gradient = g.data;
    arena_drop(b->a, &high);
    arena_drop(b->a, &g);
    arena_end(b->a);
}

static void test_programs_share_a_region(void **state)
{
    (void)state;
    bed b;
    tensor p, s;
    sightings seen = {0};
    open_bed(&b);
    keep_two(&b, &p, &s);
    run_small(&b);
    run_large(&b, &seen);
    plan_and_commit(&b, false);
    size_t persistent = 2 * room(4000);
    assert_int_equal(arena_peak(b.a), persistent + room(8000) + room(500));
    assert_int_equal(arena_load(b.a), arena_peak(b.a));

    assert_int_equal(arena_high_water(b.a), 0);
    keep_two(&b, &p, &s);
    assert_int_equal(arena_high_water(b.a), persistent);
    run_small(&b);
    assert_int_equal(arena_high_water(b.a), persistent + room(1200));
    run_large(&b, &seen);
    assert_int_equal(arena_high_water(b.a), arena_peak(b.a));
    close_bed(&b);
}

static void test_summary(void **state)
{
    (void)state;
    bed b;
    tensor p, s;
    sightings seen = {0};
    open_bed(&b);
    keep_two(&b, &p, &s);
    run_small(&b);
    run_large(&b, &seen);
    must(arena_plan(b.a));
    arena_summary sum = arena_summarize(b.a);
    assert_string_equal(sum.program, "large");
    assert_string_equal(sum.peak_name, "low");
    assert_int_equal(sum.peak, arena_peak(b.a));
    assert_int_equal(sum.load, arena_load(b.a));
    assert_int_equal(sum.persistent, 2 * room(4000));
    assert_int_equal(sum.gaps, 0);
    assert_int_equal(sum.peak_clock, 1);
    assert_int_equal(sum.clocks, 6);
    const size_t at_peak[KIND_COUNT] = {[KIND_PARAMETER] = room(4000), [KIND_STATE] = room(4000),
                                        [KIND_ACTIVATION] = room(8000), [KIND_WORKSPACE] = room(500)};
    for (int k = 0; k < KIND_COUNT; k++) {
        assert_int_equal(sum.by_kind[k], at_peak[k]);
        assert_int_equal(sum.most[k], k == KIND_GRADIENT ? room(400) : at_peak[k]);
    }
    close_bed(&b);
}

typedef struct {
    size_t bytes, blocks;
    arena_summary s;
} census;

static void count_block(void *context, const block_info *b)
{
    census *c = context;
    c->blocks++;
    c->bytes += b->start <= c->s.peak_clock && c->s.peak_clock < b->end ? b->bytes : 0;
    assert_true(b->offset + b->bytes <= c->s.peak && b->offset % 256 == 0 && *b->name);
}

/* Sums of a plan with gaps: by kind + gaps = peak, and the visited blocks alive at the peak sum to the same. */
static void test_sums(void **state)
{
    (void)state;
    static walk w;
    size_t gaps = 0;
    for (uint64_t seed = 50; seed < 60; seed++) {
        bed b;
        tensor p, s;
        open_bed(&b);
        w.b = &b;
        keep_two(&b, &p, &s);
        run_walk(&w, "walk", seed, 500);
        must(arena_plan(b.a));
        census c = {.s = arena_summarize(b.a)};
        size_t sum = 0;
        for (int k = 0; k < KIND_COUNT; k++) {
            sum += c.s.by_kind[k];
            assert_true(c.s.by_kind[k] <= c.s.most[k]);
        }
        assert_int_equal(sum + c.s.gaps, c.s.peak);
        assert_int_equal(sum, c.s.load);
        arena_visit(b.a, count_block, &c);
        assert_int_equal(c.blocks, (size_t)w.taken + 2);
        assert_int_equal(c.bytes, sum);
        gaps += c.s.gaps;
        close_bed(&b);
    }
    assert_true(gaps > 0); /* else this test has seen nothing */
}

static void test_find(void **state)
{
    (void)state;
    bed b;
    tensor p, s;
    sightings seen = {0};
    char name[64];
    open_bed(&b);
    keep_two(&b, &p, &s);
    run_large(&b, &seen);
    plan_and_commit(&b, false);
    keep_two(&b, &p, &s);
    run_large(&b, &seen);
    run_large(&b, &seen);
    assert_string_equal(seen.seen[0], "nothing");
    assert_string_equal(seen.seen[1], "low");
    assert_string_equal(seen.seen[2], "nothing");

    assert_true(arena_find(b.a, (char *)p.data + 3999, name, sizeof name));
    assert_string_equal(name, "h.3.weight");
    assert_true(arena_find(b.a, s.data, name, sizeof name));
    assert_string_equal(name, "state of h.3.weight");
    assert_false(arena_find(b.a, (char *)p.data + 4000, name, sizeof name)); /* the rounding belongs to nobody */
    assert_false(arena_find(b.a, &b, name, sizeof name));

    arena_begin(b.a, "large");
    tensor high = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(2000), NAME("h%d.high", 12));
    assert_true(arena_find(b.a, (char *)high.data + 4, name, sizeof name));
    assert_string_equal(name, "h12.high");
    tensor low = arena_take(b.a, KIND_WORKSPACE, U8, SHAPE(500), NAME("low", 0));
    arena_drop(b.a, &low);
    tensor g = arena_take(b.a, KIND_GRADIENT, F32, SHAPE(100), NAME("h.%d.weight", 3));
    assert_true(arena_find(b.a, g.data, name, sizeof name));
    assert_string_equal(name, "gradient of h.3.weight");
    close_bed(&b);
}

/* 13 billion parameters with their states, and single blocks of many GiB: sums that 32 bits do not hold. */
static void test_plan_of_13b(void **state)
{
    (void)state;
    enum { LAYERS = 40, WIDTH = 5120 };
    bed b;
    open_bed(&b);
    size_t persistent = 0;
    for (int copy = 0; copy < 4; copy++)
        for (int l = 0; l < LAYERS; l++) {
            tensor t = arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(12, WIDTH, WIDTH), NAME("h.%d", l));
            persistent += room(tensor_bytes(t));
        }
    arena_begin(b.a, "train");
    tensor kept[LAYERS], scratch;
    for (int l = 0; l < LAYERS; l++)
        kept[l] = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(16, 2048, WIDTH), NAME("act %d", l));
    scratch = arena_take(b.a, KIND_WORKSPACE, F32, SHAPE(3, INT64_C(1) << 31), NAME("scratch", 0)); /* 24 GiB */
    arena_drop(b.a, &scratch);
    for (int l = LAYERS - 1; l >= 0; l--)
        arena_drop(b.a, &kept[l]);
    arena_end(b.a);
    must(arena_plan(b.a));
    size_t acts = LAYERS * room((size_t)16 * 2048 * WIDTH * 4);
    assert_int_equal(arena_peak(b.a), persistent + acts + room((size_t)24 << 30));
    assert_true(arena_peak(b.a) > (size_t)1 << 36);
    assert_int_equal(arena_load(b.a), arena_peak(b.a));
    assert_int_equal(b.memory.allocations, 0);
    close_bed(&b);
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

static void test_poison(void **state)
{
    (void)state;
    bed b;
    tensor p, s;
    sightings seen = {0};
    open_bed(&b);
    keep_two(&b, &p, &s);
    run_large(&b, &seen);
    plan_and_commit(&b, true);
    for (size_t at = 0; at < arena_peak(b.a); at += 64)
        assert_true(poisoned(b.memory.memory + at)); /* nothing is alive yet */
    keep_two(&b, &p, &s);
    arena_begin(b.a, "large");
    tensor high = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(2000), NAME("h%d.high", 12));
    tensor low = arena_take(b.a, KIND_WORKSPACE, U8, SHAPE(500), NAME("low", 0));
    const tensor alive[] = {p, s, high, low};
    for (int i = 0; i < 4; i++) {
        char *first = alive[i].data, *end = first + tensor_bytes(alive[i]);
        assert_null(__asan_region_is_poisoned(first, tensor_bytes(alive[i])));
        for (char *red = end; red < first + room(tensor_bytes(alive[i])); red++)
            assert_true(poisoned(red));
    }
    char *was = low.data;
    arena_drop(b.a, &low);
    assert_true(poisoned(was) && poisoned(was + 499));
    assert_false(poisoned((char *)high.data));
    close_bed(&b);
}
#endif

/* ---- leaving the record ---- */

typedef enum {
    SAME,
    OTHER_SIZE,
    OTHER_NAME,
    OTHER_NUMBER,
    OTHER_KIND,
    OTHER_ORDER,
    DROP_ANOTHER,
    DROP_LATER,
    TWICE,
    ONE_LESS,
    ONE_MORE,
    LEFT_ALIVE,
    OTHER_PROGRAM,
    IN_PROGRAM,
    KEPT_DROPPED,
    DEVIATIONS
} deviation;

static void run_deviating(arena *a, deviation how)
{
    tensor kept = arena_keep(a, KIND_STATE, F32, SHAPE(50), NAME("kept", 0));
    arena_begin(a, how == OTHER_PROGRAM ? "other" : "train");
    if (how == IN_PROGRAM) arena_begin(a, "eval");
    tensor x = arena_take(a, how == OTHER_KIND ? KIND_WORKSPACE : KIND_ACTIVATION, F32, SHAPE(how == OTHER_SIZE ? 101 : 100),
                          NAME(how == OTHER_NAME ? "h%d.z" : "h%d.x", how == OTHER_NUMBER ? 2 : 1));
    tensor y = {0}, z = {0};
    if (how != OTHER_ORDER) y = arena_take(a, KIND_ACTIVATION, F32, SHAPE(200), NAME("y", 0));
    z = arena_take(a, KIND_ACTIVATION, F32, SHAPE(300), NAME("z", 0));
    if (how == OTHER_ORDER) y = arena_take(a, KIND_ACTIVATION, F32, SHAPE(200), NAME("y", 0));
    tensor more = how == ONE_MORE ? arena_take(a, KIND_ACTIVATION, F32, SHAPE(1), NAME("more", 0)) : (tensor){0};
    tensor copy = x;
    if (how == DROP_ANOTHER) arena_drop(a, &y);
    if (how != DROP_LATER) arena_drop(a, &x);
    if (how == TWICE) arena_drop(a, &copy);
    if (how == KEPT_DROPPED) arena_drop(a, &kept);
    arena_drop(a, &y);
    arena_drop(a, &x);
    if (how != LEFT_ALIVE) arena_drop(a, &z);
    arena_drop(a, &more);
    arena_end(a);
}

static void test_replay_is_checked(void **state)
{
    (void)state;
    static const char *const words[DEVIATIONS] = {
        [OTHER_SIZE] = "asks for h1.x (404 bytes) where the plan has h1.x (400 bytes)",
        [OTHER_NAME] = "asks for h1.z (400 bytes) where the plan has h1.x (400 bytes)",
        [OTHER_NUMBER] = "asks for h2.x (400 bytes) where the plan has h1.x (400 bytes)",
        [OTHER_KIND] = "where the plan has h1.x",
        [OTHER_ORDER] = "asks for z (1200 bytes) where the plan has y (800 bytes)",
        [DROP_ANOTHER] = "where the plan has h1.x",
        [DROP_LATER] = "where the plan has h1.x",
        [TWICE] = "where the plan has y",
        [ONE_MORE] = "asks for more (4 bytes)",
        [LEFT_ALIVE] = "program train ends with 1 blocks alive",
        [OTHER_PROGRAM] = "program other begins where it may not",
        [IN_PROGRAM] = "program eval begins where it may not",
        [KEPT_DROPPED] = "where the plan has y",
    };
    for (int how = 0; how < DEVIATIONS; how++) {
        bed b;
        open_bed(&b);
        run_deviating(b.a, SAME);
        plan_and_commit(&b, false);
        run_deviating(b.a, (deviation)how);
        if (words[how]) refused(&b.host, words[how]);
        close_bed(&b);
    }
}

static void test_record_is_checked(void **state)
{
    (void)state;
    static const char *const words[DEVIATIONS] = {
        [TWICE] = "program train drops a block that is not alive",
        [LEFT_ALIVE] = "program train ends with 1 blocks alive",
        [IN_PROGRAM] = "program eval begins where it may not",
        [KEPT_DROPPED] = "program train drops a block that is not alive",
    };
    for (int how = 0; how < DEVIATIONS; how++) {
        if (how != SAME && !words[how]) continue;
        bed b;
        open_bed(&b);
        run_deviating(b.a, (deviation)how);
        error *e = arena_plan(b.a); /* hands out what went wrong in the record */
        if (words[how]) {
            if (!e || !strstr(error_text(e), words[how])) fail_msg("expected: %s; got: %s", words[how], e ? error_text(e) : "no error");
            error_free(e);
        } else {
            must(e);
        }
        close_bed(&b);
    }
}

/* One program less, in the record or at its end in the replay. */
static void test_programs_end(void **state)
{
    (void)state;
    bed b;
    tensor p, s;
    open_bed(&b);
    keep_two(&b, &p, &s);
    run_small(&b);
    run_small(&b); /* a second record of the same */
    refused(&b.null, "program small begins where it may not");
    close_bed(&b);

    open_bed(&b);
    run_small(&b);
    plan_and_commit(&b, false);
    arena_begin(b.a, "small");
    arena_end(b.a);
    refused(&b.host, "at event 0 of 2");
    close_bed(&b);
}

static void test_outside_of_a_program(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    tensor t = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(1), NAME("x", 0));
    assert_false(present(t));
    refused(&b.null, "taken outside of a program");
    t = tensor_of((void *)((uintptr_t)1 << 40), F32, SHAPE(1));
    arena_drop(b.a, &t);
    refused(&b.null, "dropped outside of a program");
    arena_iteration(b.a, 1);
    refused(&b.null, "outside of a program");
    arena_end(b.a);
    refused(&b.null, "program ?");
    arena_drop(b.a, &(tensor){0}); /* absent: ignored */
    close_bed(&b);
}

static void test_persistent_blocks_are_checked(void **state)
{
    (void)state;
    static const char *const words[] = {NULL, "asks for p (404 bytes)", "asks for q (400 bytes)", "where the plan has p", "asks for r"};
    for (int how = 0; how < 5; how++) {
        bed b;
        open_bed(&b);
        arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(100), NAME("p", 0));
        plan_and_commit(&b, false);
        arena_keep(b.a, how == 3 ? KIND_STATE : KIND_PARAMETER, F32, SHAPE(how == 1 ? 101 : 100), NAME(how == 2 ? "q" : "p", 0));
        if (how == 4) arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(1), NAME("r", 0));
        if (words[how]) refused(&b.host, words[how]);
        close_bed(&b);
    }
}

static void test_kind_names(void **state)
{
    (void)state;
    for (int i = 0; i < KIND_COUNT; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(block_kind_name((block_kind)i), block_kind_name((block_kind)j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_programs),
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_iterations_must_balance),
        cmocka_unit_test(test_two_iterations_are_recorded),
        cmocka_unit_test(test_programs_share_a_region),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_plan_of_13b),
        cmocka_unit_test(test_commit_that_fails),
        cmocka_unit_test(test_canary),
        cmocka_unit_test(test_fresh_blocks_are_nan),
#ifdef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_poison),
#endif
        cmocka_unit_test(test_replay_is_checked),
        cmocka_unit_test(test_record_is_checked),
        cmocka_unit_test(test_programs_end),
        cmocka_unit_test(test_outside_of_a_program),
        cmocka_unit_test(test_persistent_blocks_are_checked),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
