/* test_schedule.c - learning rates against the formulas of schedule.h, worked
 * out at chosen steps. */
#include "optim/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fabs(want) + 1e-15)) fail_msg("%.17g, not %.17g", got, want);
}

static schedule make(schedule_kind kind, int64_t warmup, int64_t steps, double final)
{
    return (schedule){
        .kind = kind, .lr = 0.4, .warmup = warmup, .steps = steps, .final_fraction = final};
}

static void test_warmup(void **state)
{
    (void)state;
    for (int kind = 0; kind < SCHEDULE_COUNT; kind++) {
        schedule s = make((schedule_kind)kind, 10, 110, 0.1);
        near(schedule_lr(&s, 0), 0.04); /* never 0: the first step counts */
        near(schedule_lr(&s, 4), 0.20);
        near(schedule_lr(&s, 9), 0.40);
        near(schedule_lr(&s, 10), 0.40); /* where all four begin */
    }
}

static void test_after_warmup(void **state)
{
    (void)state;
    static const struct {
        schedule_kind kind;
        double quarter, half, four_fifths, nine_tenths, end;
    } want[] = {
        /* of the way from 0.4 to 0.1 * 0.4 = 0.04 */
        {SCHEDULE_CONSTANT, 0.4, 0.4, 0.4, 0.4, 0.4},
        {SCHEDULE_LINEAR, 0.31, 0.22, 0.112, 0.076, 0.04},
        {SCHEDULE_COSINE, 0.3472792206135785, 0.22, 0.07437694101250946, 0.04880982706687236, 0.04},
        {SCHEDULE_WSD, 0.4, 0.4, 0.4, 0.22, 0.04},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        schedule s = make(want[i].kind, 20, 120, 0.1);
        near(schedule_lr(&s, 45), want[i].quarter);
        near(schedule_lr(&s, 70), want[i].half);
        near(schedule_lr(&s, 100), want[i].four_fifths);
        near(schedule_lr(&s, 110), want[i].nine_tenths);
        near(schedule_lr(&s, 120), want[i].end);
        near(schedule_lr(&s, 1000), want[i].end); /* beyond its end it stays */
    }
}

static void test_ends_at_zero_or_at_the_top(void **state)
{
    (void)state;
    for (int kind = 0; kind < SCHEDULE_COUNT; kind++) {
        schedule zero = make((schedule_kind)kind, 0, 50, 0),
                 top = make((schedule_kind)kind, 0, 50, 1);
        near(schedule_lr(&zero, 50), kind == SCHEDULE_CONSTANT ? 0.4 : 0);
        for (int64_t step = 0; step < 50; step++) {
            near(schedule_lr(&top, step), 0.4);
            assert_true(schedule_lr(&zero, step) > 0); /* the last step still learns */
        }
    }
}

/* From the top down, never up, never outside of [final, top], and without jumps. */
static void test_falls_smoothly(void **state)
{
    (void)state;
    for (int kind = 0; kind < SCHEDULE_COUNT; kind++) {
        schedule s = make((schedule_kind)kind, 5, 1005, 0.25);
        double before = schedule_lr(&s, 5);
        for (int64_t step = 6; step < 1005; step++) {
            double lr = schedule_lr(&s, step);
            assert_true(lr <= before * (1 + 1e-15) && before - lr < 0.4 * 0.75 / 200 * 1.001);
            assert_true(lr >= 0.1 * (1 - 1e-12));
            before = lr;
        }
    }
}

static void test_no_room_after_warmup(void **state)
{
    (void)state;
    for (int kind = 0; kind < SCHEDULE_COUNT; kind++) {
        schedule longer = make((schedule_kind)kind, 100, 10, 0.1),
                 same = make((schedule_kind)kind, 10, 10, 0.1);
        near(schedule_lr(&longer, 9), 0.04);
        near(schedule_lr(&same, 9), 0.4);
        near(schedule_lr(&same, 10), 0.4);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[SCHEDULE_COUNT] = {[SCHEDULE_COSINE] = "cosine",
                                                      [SCHEDULE_LINEAR] = "linear",
                                                      [SCHEDULE_CONSTANT] = "constant",
                                                      [SCHEDULE_WSD] = "wsd"};
    for (int kind = 0; kind < SCHEDULE_COUNT; kind++) {
        schedule_kind found = SCHEDULE_COUNT;
        assert_null(schedule_find(names[kind], &found));
        assert_int_equal(found, kind);
    }
    static const char *const wrong[][2] = {{"cosin", "cosine"},
                                           {"Linear", "linear"},
                                           {"", "wsd"},
                                           {"const", "constant"},
                                           {"wsd_", "wsd"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        schedule_kind found;
        error *e = schedule_find(wrong[i][0], &found);
        assert_non_null(e);
        assert_int_equal(error_kind_of(e), ERR_USER);
        const char *nearest = strstr(error_text(e), "nearest is ");
        assert_non_null(nearest);
        assert_memory_equal(nearest + 11, wrong[i][1], strlen(wrong[i][1]));
        error_free(e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_after_warmup),
        cmocka_unit_test(test_ends_at_zero_or_at_the_top),
        cmocka_unit_test(test_falls_smoothly),
        cmocka_unit_test(test_no_room_after_warmup),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
