/* test_step_clock.c - the time of a step is split into forward, backward and optimizer, with
 * nothing counted twice, wherever the updates happen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "test/small_run.h"

#include <math.h>

/* At least a tenth of a millisecond of processor. */
static void work(void)
{
    for (double until = clock_now() + 1e-4; clock_now() < until;)
        ;
}

static void test_clock(void **state)
{
    (void)state;
    phase_clock c;
    phases_start(&c);
    assert_int_equal(phase_enter(&c, PHASE_FORWARD), PHASE_OTHER);
    work();
    assert_int_equal(phase_enter(&c, PHASE_BACKWARD), PHASE_FORWARD);
    assert_int_equal(phase_enter(&c, PHASE_BACKWARD), PHASE_BACKWARD); /* goes on */
    phase before = phase_enter(&c, PHASE_OPTIMIZER);
    work();
    phase_enter(&c, before);
    double backward = c.seconds[PHASE_BACKWARD];
    work();
    phase_enter(&c, PHASE_OTHER);
    assert_true(c.seconds[PHASE_FORWARD] >= 1e-4 && c.seconds[PHASE_OPTIMIZER] >= 1e-4);
    assert_true(c.seconds[PHASE_BACKWARD] >= backward + 1e-4);
    phase_enter(NULL, PHASE_FORWARD); /* nobody asks */
}

static void check_step(const char *more)
{
    small_run s;
    char arguments[300];
    snprintf(arguments, sizeof arguments, SMALL_MODEL "%s", more);
    small_open(&s, arguments);
    for (int64_t step = 1; step <= 3; step++) {
        step_result r;
        double begin = clock_now(), sum = 0;
        must(trainer_step(s.t, s.data, step, 1e-3, &r));
        double took = clock_now() - begin;
        for (int i = 0; i < PHASE_COUNT; i++) {
            if (i != PHASE_OTHER && !(r.seconds[i] > 0)) fail_msg("%s: phase %d took 0", more, i);
            sum += r.seconds[i];
        }
        if (!(sum <= took)) fail_msg("%s: phases %g s, step %g s", more, sum, took);
    }
    small_close(&s);
}

static void test_every_policy_has_all_phases(void **state)
{
    (void)state;
    check_step("--gradients own");
    check_step("--gradients overlay --accum 2");
    check_step("--gradients release");
    check_step("--optim adan_r --optim-impl passes");
}

static double slow_seconds;
static const device_ops *plain;

/* The optimizer's operation, with a known delay. */
static void slow_optim(device *dev, int stream, const optim_op *op)
{
    double begin = clock_now();
    for (int i = 0; i < 20; i++)
        work();
    slow_seconds += clock_now() - begin;
    plain->optim(dev, stream, op);
}

/* Under release the updates happen inside of the backward pass: their time is the optimizer's all
 * the same. */
static void test_updates_in_backward_are_the_optimizer_s(void **state)
{
    (void)state;
    small_run s;
    step_result r;
    small_open(&s, SMALL_MODEL "--optim adamw_r");
    assert_int_equal(s.t->params.policy, GRADS_RELEASE);
    plain = s.dev.ops;
    device_ops slow = *plain;
    slow.optim = slow_optim;
    s.t->r.dev->ops = &slow;
    slow_seconds = 0;
    must(trainer_step(s.t, s.data, 1, 1e-3, &r));
    s.t->r.dev->ops = plain;
    assert_true(slow_seconds > 0.02); /* more than ten parameters */
    assert_true(r.seconds[PHASE_OPTIMIZER] >= slow_seconds);
    s.t->r.dev->async = true; /* what the host's clock says is no phase's time then */
    must(trainer_step(s.t, s.data, 2, 1e-3, &r));
    assert_true(isnan(r.seconds[PHASE_FORWARD]) && isnan(r.seconds[PHASE_OPTIMIZER]));
    small_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_every_policy_has_all_phases),
        cmocka_unit_test(test_updates_in_backward_are_the_optimizer_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
