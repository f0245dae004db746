/* test_arena_plan.c - what the plan says: peaks, kinds, names, of programs small enough to sum by
 * hand, and of one too large for any memory here.
 */
#include "test/arena_bed.h"

#ifdef __SANITIZE_ADDRESS__
enum { RED_ZONE = 256 };
#else
enum { RED_ZONE = 0 };
#endif

/* What a block of so many bytes takes. */
static size_t room(size_t bytes)
{
    return (bytes + RED_ZONE + 255) / 256 * 256;
}

/* ---- two programs ---- */

/* persistent: 1000 + 1000 floats; program "small" peaks at 300, "large" at 2000 + 500 */
static void keep_two(bed *b, tensor *p, tensor *s)
{
    *p = arena_keep(b->a, KIND_PARAMETER, F32, SHAPE(10, 100), NAME("h.%d.weight", 3));
    *s = arena_keep(b->a, KIND_STATE, F32, SHAPE(10, 100), NAME("h.%d.weight", 3));
}

typedef struct {
    char *low;        /* where it was the last time */
    char seen[3][64]; /* what arena_find says of an address of "low": before, while and after it is
                         alive */
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
    find(b, s->low + 499, s->seen[1]);
    arena_drop(b->a, &low);
    find(b, s->low, s->seen[2]);
    tensor g = arena_take(b->a, KIND_GRADIENT, F32, SHAPE(100), NAME("h.%d.weight", 3));
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
    const size_t at_peak[KIND_COUNT] = {[KIND_PARAMETER] = room(4000),
                                        [KIND_STATE] = room(4000),
                                        [KIND_ACTIVATION] = room(8000),
                                        [KIND_WORKSPACE] = room(500)};
    for (int k = 0; k < KIND_COUNT; k++) {
        assert_int_equal(sum.by_kind[k], at_peak[k]);
        assert_int_equal(sum.most[k], k == KIND_GRADIENT ? room(400) : at_peak[k]);
    }
    close_bed(&b);
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
    assert_false(arena_find(b.a, (char *)p.data + 4000, name,
                            sizeof name)); /* the rounding belongs to nobody */
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

/* 13 billion parameters with their states, and single blocks of many GiB: sums that 32 bits do not
 * hold. */
static void test_plan_of_13b(void **state)
{
    (void)state;
    enum { LAYERS = 40, WIDTH = 5120 };
    bed b;
    open_bed(&b);
    size_t persistent = 0;
    for (int copy = 0; copy < 4; copy++)
        for (int l = 0; l < LAYERS; l++) {
            tensor t =
                arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(12, WIDTH, WIDTH), NAME("h.%d", l));
            persistent += room(tensor_bytes(t));
        }
    arena_begin(b.a, "train");
    tensor saved[LAYERS], scratch;
    for (int l = 0; l < LAYERS; l++)
        saved[l] = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(16, 2048, WIDTH), NAME("act %d", l));
    scratch = arena_take(b.a, KIND_WORKSPACE, F32, SHAPE(3, INT64_C(1) << 31),
                         NAME("scratch", 0)); /* 24 GiB */
    arena_drop(b.a, &scratch);
    for (int l = LAYERS - 1; l >= 0; l--)
        arena_drop(b.a, &saved[l]);
    arena_end(b.a);
    must(arena_plan(b.a));
    size_t acts = LAYERS * room((size_t)16 * 2048 * WIDTH * 4);
    assert_int_equal(arena_peak(b.a), persistent + acts + room((size_t)24 << 30));
    assert_true(arena_peak(b.a) > (size_t)1 << 36);
    assert_int_equal(arena_load(b.a), arena_peak(b.a));
    assert_int_equal(b.memory.allocations, 0);
    close_bed(&b);
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
        cmocka_unit_test(test_programs_share_a_region),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_plan_of_13b),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
