/* test_offload_cuda.c - what lies in the memory of a GPU's host changes no bit, and its copies wait
 * for what they must.
 *
 * In the build with sanitizers the GPU is the emulator, on which a missing event gives other bits:
 * each stream runs as late as it may, or, for what must wait for others, as early.  Elsewhere these
 * tests need a GPU and are left out without one.  The same on the CPU is in test_offload.c.
 */
#include "test/scratch.h"
#include "test/small_run.h"
#include "core/far.h"
#include "params/block_kinds.h"
#include "plan/memory_search.h"
#include "train/choose_device.h"
#ifdef CUDASIM
#include "test/cudasim/runtime.h"
#endif

static void need_gpu(void)
{
    device dev;
    error *e = device_open(DEVICE_CUDA, 1, NULL, &dev);
    if (!e) {
        device_close(&dev);
        return;
    }
    printf("skip %s\n", error_text(e));
    error_free(e);
    skip();
}

/* ---- bits ---- */

/* Matrices of 4320 elements and more go; some vectors stay, and what is smaller. */
#define MODEL                                                                                      \
    "--layers 2 --heads 3 --width 36 --context 13 --vocab 301 --batch 2 --seq 5 --threads 2 "      \
    "--warmup 2 --lr 0.003 --weight-decay 0.1 --steps 2 --device cuda "

/* Two pieces of a matrix. */
#define LARGE                                                                                      \
    "--layers 1 --heads 3 --width 66 --context 13 --vocab 4003 --batch 1 --seq 5 --threads 2 "     \
    "--warmup 2 --lr 0.003 --steps 2 --device cuda "

static void same(const char *arguments)
{
    static const char *const what[] = {"states", "params", "activations,states"};
    small_result a = small_train(arguments);
    for (int k = 0; k < 3; k++) {
        char with[900];
        snprintf(with, sizeof with, "%s --offload %s", arguments, what[k]);
        small_result b = small_train(with);
        int64_t at = first_difference(&a, &b);
        if (at >= 0) fail_msg("%s: parameter element %lld differs", with, (long long)at);
        if (memcmp(a.loss, b.loss, (size_t)a.steps * sizeof *a.loss) ||
            memcmp(a.grad_norm, b.grad_norm, (size_t)a.steps * sizeof *a.loss))
            fail_msg("%s: a loss or a norm differs", with);
        small_free(&b);
    }
    small_free(&a);
}

static void test_bits(void **state)
{
    static const char *const how[] = {
        LARGE "--optim adamw_r",
        MODEL "--optim adamw --accum 2 --grad-clip 0.5",
        MODEL "--optim adan --optim-impl passes --gradients overlay",
        MODEL "--optim muon_r --recompute block",
        MODEL "--optim adama --accum 3",
        MODEL "--optim adan_r --dtype bf16 --master split16 --state int8 --state-of all",
        MODEL "--optim lion_r --dtype bf16 --master none --state bf16",
    };
    (void)state;
    need_gpu();
    for (size_t i = 0; i < sizeof how / sizeof *how; i++)
        same(how[i]);
}

/* ---- the plan ---- */

/* Both places hold what was planned, and steps move what was counted. */
static void test_plan(void **state)
{
    small_run s;
    int64_t n;
    (void)state;
    need_gpu();
    arena_summary none = small_plan(MODEL "--optim adan", &n);
    small_open(&s, MODEL "--optim adan --offload params");
    far *f = s.t->params.far;
    size_t values = far_bytes_of(f, KIND_PARAMETER);
    assert_true(values > 0);
    assert_int_equal(far_bytes(f), 5 * values);
    assert_true(arena_peak(s.t->arena) < none.peak);
#ifdef CUDASIM
    assert_true(emu_device_bytes() >= arena_peak(s.t->arena));
    assert_true(emu_device_bytes() < none.peak);
#endif
    assert_false(trainer_has_graphs(s.t, &s.dev));
    for (int64_t step = 1; step <= 2; step++) {
        double waited = far_so_far(f).waited;
        small_step_moves(&s, step);
        assert_true(far_so_far(f).waited > waited);
    }
    assert_true(arena_high_water(s.t->arena) <= arena_peak(s.t->arena));
    small_close(&s);
}

/* How fast the host's memory is reached is measured. */
static void test_rate(void **state)
{
    device dev;
    machine_rates rates;
    (void)state;
    need_gpu();
    must(device_open(DEVICE_CUDA, 1, NULL, &dev));
    must(fit_measure(&dev, 256 << 10, &rates));
    assert_true(rates.host_gbs > 0 && isfinite(rates.host_gbs));
    device_close(&dev);
}

#ifdef CUDASIM

/* ---- streams ---- */

enum { PIECES = 7, N = 1000 };

static tensor floats_at(void *memory, int64_t first, int64_t n)
{
    return tensor_of((float *)memory + first, F32, SHAPE(1, n));
}

/* Pieces through two windows, as an optimizer takes them: those that lie in `f` are read, changed,
 * written; `next` is asked for before the last one is waited for. */
static void change_all(far *f, far_block b, device *dev, void *memory)
{
    int64_t request[2], next = 0;
    for (int64_t k = 0; k < PIECES; k++) {
        for (; next < PIECES && next <= k + 1; next++)
            request[next % 2] =
                far_read(f, b, next * N, N, floats_at(memory, next % 2 * N, N).data);
        error *e = far_wait(f, request[k % 2]);
        assert_null(e);
        tensor part = floats_at(memory, k % 2 * N, N);
        OP(soft_cap, dev, STREAM_COMPUTE, .x = part, .cap = 2);
        far_write(f, b, k * N, N, part.data);
    }
}

/* Runs them; the n-th call of the runtime after the device was opened fails (0: none).  got (PIECES
 * N): what was written. */
static error *run_copies(float *got, int n)
{
    device dev;
    void *memory = NULL;
    far *f;
    float x[PIECES * N];
    for (int i = 0; i < PIECES * N; i++)
        x[i] = (float)(i % 997) * 0.01f - 4;
    must(device_open(DEVICE_CUDA, 1, NULL, &dev));
    must(dev.ops->alloc(&dev, (PIECES + 2) * N * sizeof(float), &memory));
    must(far_create(&f));
    far_keep(f, KIND_STATE, F32, PIECES * N);
    emu_fail_call(n);
    error *e = far_open_host(f, device_host(&dev), &dev, STREAM_COMPUTE);
    if (!e) {
        far_block b = far_keep(f, KIND_STATE, F32, PIECES * N);
        tensor all = floats_at(memory, 2 * N, PIECES * N);
        op_put(&dev, STREAM_COMPUTE, all, x);
        error_free(far_wait(f, far_write(f, b, 0, PIECES * N, all.data)));
        change_all(f, b, &dev, memory);
        error_free(far_wait(f, far_read(f, b, 0, PIECES * N, all.data)));
        op_get(&dev, STREAM_COMPUTE, got, all);
        op_sync(&dev, STREAM_COMPUTE);
        e = device_status(&dev);
    }
    emu_fail_call(0);
    far_destroy(f);
    dev.ops->release(&dev, memory);
    device_close(&dev);
    return e;
}

/* One stream as early as it may be, another's waits left out. */
static void streams_are(const char *eager, const char *deaf)
{
    setenv("CUDASIM_EAGER_STREAM", eager, 1);
    setenv("CUDASIM_DEAF_STREAM", deaf, 1);
}

/* Whichever runs early or late, the numbers are the same; and each of the three must wait for the
 * others: without that they are not. */
static void test_streams(void **state)
{
    static const char *const early[] = {"-1", "0", "2", "3"};
    static const char *const deaf[][2] = {{"-1", "0"}, {"2", "2"}, {"3", "3"}};
    float want[PIECES * N], got[PIECES * N];
    (void)state;
    must(run_copies(want, 0));
    for (int i = 0; i < PIECES * N; i++)
        assert_true(fabsf(want[i] - 2 * tanhf(((float)(i % 997) * 0.01f - 4) / 2)) < 1e-6f);
    for (int i = 0; i < 4; i++) {
        streams_are(early[i], "-1");
        must(run_copies(got, 0));
        assert_memory_equal(got, want, sizeof got);
    }
    for (int i = 0; i < 3; i++) {
        streams_are(deaf[i][0], deaf[i][1]);
        must(run_copies(got, 0));
        if (!memcmp(got, want, sizeof got))
            fail_msg("stream %s need not wait for the others", deaf[i][1]);
    }
    streams_are("-1", "-1");
    must(run_copies(got, 0));
    unsetenv("CUDASIM_EAGER_STREAM");
    unsetenv("CUDASIM_DEAF_STREAM");
}

/* Every failure becomes an error that names the call and its place, or what cannot be pinned;
 * nothing leaks. */
static void test_failing_calls(void **state)
{
    float got[PIECES * N];
    error *e;
    int n = 1;
    (void)state;
    for (; (e = run_copies(got, n)); n++) {
        bool named = strstr(error_text(e), "CUDA: ") && strstr(error_text(e), "cuda/");
        if (!named && !strstr(error_text(e), "cannot be pinned")) fail_msg("%s", error_text(e));
        error_free(e);
        assert_int_equal(emu_device_bytes(), 0);
    }
    assert_true(n > 100);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),    cmocka_unit_test(test_plan),
        cmocka_unit_test(test_rate),
#ifdef CUDASIM
        cmocka_unit_test(test_streams), cmocka_unit_test(test_failing_calls),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
