/* test_ops_front.c - the front of the operation table, on every device.
 *
 * The first failure is kept, and nothing is done until it is taken; the null device checks as every
 * other; a watch is told what is written.  What is refused is test_ops_misuse.c's.
 */
#include "core/ops_internal.h"
#include "test/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { R = 6, C = 4, N = 7 };

static tensor blank(rig *on, dtype type, shape s)
{
    static const double nothing[64];
    assert_true(tensor_bytes(tensor_of(NULL, type, s)) <= sizeof nothing);
    return rig_put(on, type, s, nothing);
}

static void on_both(void **state, void (*test)(rig *))
{
    bench *b = *state;
    test(&b->ref);
    test(&b->many);
}

/* ---- failures are kept ---- */

/* The first failure stays, and nothing is done until it is taken. */
static void kept_on(rig *on)
{
    tensor x = blank(on, rig_type(on), SHAPE(4)), wrong = blank(on, I32, SHAPE(4));
    double got[4] = {1, 1, 1, 1};
    OP(fill, &on->dev, STREAM_COMPUTE, .x = wrong, .value = 3);
    OP(sumsq, &on->dev, STREAM_COMPUTE, .items = &(sumsq_item){x, x}, .n = 1);
    OP(fill, &on->dev, STREAM_COMPUTE, .x = x, .value = 3);
    op_put(&on->dev, STREAM_COMPUTE, x, got);
    error *e = device_status(&on->dev);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "fill"));
    error_free(e);
    assert_null(device_status(&on->dev));
    rig_get(on, x, got);
    for (size_t i = 0; i < tensor_bytes(x); i++)
        assert_int_equal(((unsigned char *)got)[i], 0);
    OP(fill, &on->dev, STREAM_COMPUTE, .x = x, .value = 3);
    rig_well(on, "fill");
}

static void test_kept(void **state)
{
    on_both(state, kept_on);
}

/* The null device checks as every other, and touches nothing: its tensors have no memory. */
static void test_null(void **state)
{
    (void)state;
    device none = device_null();
    tensor x = tensor_of(NULL, F32, SHAPE(R, C)), w = tensor_of(NULL, F32, SHAPE(N, C)),
           out = tensor_of(NULL, F32, SHAPE(R, N));
    OP(linear, &none, STREAM_COMPUTE, .out = out, .x = x, .w = w);
    op_put(&none, STREAM_COMPUTE, x, NULL);
    assert_null(device_status(&none));
    OP(linear, &none, STREAM_COMPUTE, .out = x, .x = x, .w = w);
    error *e = device_status(&none);
    assert_non_null(e);
    error_free(e);
}

/* ---- the watch ---- */

typedef struct {
    int n;
    const void *written[4];
} log_of_writes;

static void note(void *context, device *dev, const char *op, tensor written)
{
    log_of_writes *log = context;
    (void)dev;
    assert_string_equal(op, "linear");
    assert_true(log->n < 4);
    log->written[log->n++] = written.data;
}

static void watch_on(rig *on)
{
    log_of_writes log = {0};
    dtype type = rig_type(on);
    tensor x = blank(on, type, SHAPE(R, C)), w = blank(on, type, SHAPE(N, C)),
           out = blank(on, type, SHAPE(R, N)), pre = blank(on, type, SHAPE(R, N));
    on->dev.watch = note;
    on->dev.watch_context = &log;
    OP(linear, &on->dev, STREAM_COMPUTE, .out = out, .x = x, .w = w, .pre = pre,
       .act = ACT_GELU_TANH);
    OP(linear, &on->dev, STREAM_COMPUTE, .out = out, .x = x, .w = w);
    on->dev.watch = NULL;
    rig_well(on, "linear");
    assert_int_equal(log.n, 3);
    assert_true(log.written[0] == pre.data && log.written[1] == out.data &&
                log.written[2] == out.data);
}

static void test_watch(void **state)
{
    on_both(state, watch_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_watch),
    };
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
