/* test_arena_refuse.c - a run that leaves its record is refused, in every way it can leave it.
 *
 * A small program is recorded as it should be and replayed with one thing changed (or recorded with
 * it, where the record itself can be wrong).  The failure must be in the device, and name what was
 * asked and what was planned.
 */
#include "test/arena_bed.h"

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
    PERSISTENT_DROPPED,
    DEVIATIONS
} deviation;

static void run_deviating(arena *a, deviation how)
{
    tensor saved = arena_keep(a, KIND_STATE, F32, SHAPE(50), NAME("kept", 0));
    arena_begin(a, how == OTHER_PROGRAM ? "other" : "train");
    if (how == IN_PROGRAM) arena_begin(a, "eval");
    tensor x = arena_take(a, how == OTHER_KIND ? KIND_WORKSPACE : KIND_ACTIVATION, F32,
                          SHAPE(how == OTHER_SIZE ? 101 : 100),
                          NAME(how == OTHER_NAME ? "h%d.z" : "h%d.x", how == OTHER_NUMBER ? 2 : 1));
    tensor y = {0}, z = {0};
    if (how != OTHER_ORDER) y = arena_take(a, KIND_ACTIVATION, F32, SHAPE(200), NAME("y", 0));
    if (how != ONE_LESS) z = arena_take(a, KIND_ACTIVATION, F32, SHAPE(300), NAME("z", 0));
    if (how == OTHER_ORDER) y = arena_take(a, KIND_ACTIVATION, F32, SHAPE(200), NAME("y", 0));
    tensor more = how == ONE_MORE ? arena_take(a, KIND_ACTIVATION, F32, SHAPE(1), NAME("more", 0))
                                  : (tensor){0};
    tensor copy = x;
    if (how == DROP_ANOTHER) arena_drop(a, &y);
    if (how != DROP_LATER) arena_drop(a, &x);
    if (how == TWICE) arena_drop(a, &copy);
    if (how == PERSISTENT_DROPPED) arena_drop(a, &saved);
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
        [ONE_LESS] = "train: the run asks for",
        [ONE_MORE] = "asks for more (4 bytes)",
        [LEFT_ALIVE] = "program train ends with 1 blocks alive",
        [OTHER_PROGRAM] = "program other begins where it may not",
        [IN_PROGRAM] = "program eval begins where it may not",
        [PERSISTENT_DROPPED] = "where the plan has y",
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
        [PERSISTENT_DROPPED] = "program train drops a block that is not alive",
    };
    for (int how = 0; how < DEVIATIONS; how++) {
        if (how != SAME && !words[how]) continue;
        bed b;
        open_bed(&b);
        run_deviating(b.a, (deviation)how);
        error *e = arena_plan(b.a); /* hands out what went wrong in the record */
        if (words[how]) {
            if (!e || !strstr(error_text(e), words[how]))
                fail_msg("expected: %s; got: %s", words[how], e ? error_text(e) : "no error");
            error_free(e);
        } else {
            must(e);
        }
        close_bed(&b);
    }
}

/* Recorded twice; replayed, but not to its end. */
static void test_whole_programs(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    run_small(&b);
    run_small(&b);
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

static void test_kinds_are_checked(void **state)
{
    (void)state;
    bed b;
    open_bed(&b);
    for (int kind = -1; kind <= KIND_COUNT; kind += KIND_COUNT + 1) {
        tensor t = arena_keep(b.a, kind, F32, SHAPE(1), NAME("x", 0));
        assert_false(present(t));
        refused(&b.null, "a block of kind");
    }
    close_bed(&b);
}

static void test_persistent_blocks_are_checked(void **state)
{
    (void)state;
    static const char *const words[] = {NULL, "asks for p (404 bytes)", "asks for q (400 bytes)",
                                        "where the plan has p", "asks for r"};
    for (int how = 0; how < 5; how++) {
        bed b;
        open_bed(&b);
        arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(100), NAME("p", 0));
        plan_and_commit(&b, false);
        arena_keep(b.a, how == 3 ? KIND_STATE : KIND_PARAMETER, F32, SHAPE(how == 1 ? 101 : 100),
                   NAME(how == 2 ? "q" : "p", 0));
        if (how == 4) arena_keep(b.a, KIND_PARAMETER, F32, SHAPE(1), NAME("r", 0));
        if (words[how]) refused(&b.host, words[how]);
        close_bed(&b);
    }
}

/* Sizes whose products pass 64 bits, and blocks that each fit but not together: a user's error,
 * which names the block. */
static void test_no_machine_has_it(void **state)
{
    (void)state;
    const int64_t sides[] = {INT64_MAX, (int64_t)1 << 40, (int64_t)1 << 31, 1};
    for (int i = 0; i < 4; i++) {
        bed b;
        open_bed(&b);
        arena_keep(b.a, KIND_STATE, F32, SHAPE((int64_t)1 << 57), NAME("half", 0));
        arena_begin(b.a, "train");
        tensor t =
            arena_take(b.a, KIND_ACTIVATION, F32, SHAPE(sides[i], sides[i]), NAME("h%d.x", 3));
        if (i == 3) {
            arena_drop(b.a, &t);
            t = arena_take(b.a, KIND_ACTIVATION, F32, SHAPE((int64_t)1 << 57), NAME("h%d.x", 3));
        }
        assert_false(present(t));
        error *e = device_status(&b.null);
        assert_non_null(e);
        assert_int_equal(error_kind_of(e), ERR_USER);
        assert_non_null(strstr(error_text(e), "h3.x"));
        assert_non_null(strstr(error_text(e), "a smaller batch"));
        error_free(e);
        close_bed(&b);
    }
    tensor x = tensor_of(NULL, F64, SHAPE(INT64_MAX / 2, 3, 5));
    assert_int_equal(tensor_rows(x), INT64_MAX);
    assert_int_equal(tensor_count(x), INT64_MAX);
    assert_int_equal(tensor_bytes(x), INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_is_checked),
        cmocka_unit_test(test_record_is_checked),
        cmocka_unit_test(test_whole_programs),
        cmocka_unit_test(test_outside_of_a_program),
        cmocka_unit_test(test_persistent_blocks_are_checked),
        cmocka_unit_test(test_no_machine_has_it),
        cmocka_unit_test(test_kinds_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
