/* test_cuda.c - the CUDA device as a whole: training beside the CPU, opening, failing.
 *
 * In the build with sanitizers the device is the emulator; elsewhere these tests need a GPU and are
 * left out without one.  A GPU trains each of the runs below; the emulator, without LONG=1, takes
 * two steps of them, each family in one of the two types, and half of the bases of codes.
 */
#include "test/long.h"
#include "test/shards.h"
#include "test/small_run.h"

#include "cuda/cuda.h"
#include "train/choose_device.h"
#include "base/files.h"
#include "io/model_file.h"
#include "plan/plan_report.h"
#include "train/task.h"
#ifdef CUDASIM
#include "test/cudasim/runtime.h"
#endif

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Skips the test where there is no GPU; what it is told then must be one line that helps. */
static void need_gpu(void)
{
    device dev;
    error *e = cuda_device(&dev);
    if (!e) {
        cuda_close(&dev);
        return;
    }
    assert_int_equal(error_kind_of(e), ERR_USER);
    assert_non_null(strstr(error_text(e), "--device cpu"));
    printf("skip %s\n", error_text(e));
    error_free(e);
    skip();
}

/* ---- training ---- */

#define IN_8_BITS "--heads 2 --width 32 --dtype bf16 --products fp8 "

static const char *const runs[] = {
    SMALL_MODEL "--optim adamw --steps 4",
    SMALL_MODEL "--optim adamw_r --steps 3",
    SMALL_MODEL "--optim adamw --optim-impl passes --steps 3 --accum 2 --grad-clip 0.5",
    SMALL_MODEL "--optim adan_r --optim-impl passes --steps 3",
    SMALL_MODEL "--optim lion --steps 3",
    SMALL_MODEL "--optim muon_r --steps 3",
    SMALL_MODEL "--optim muon --optim-impl passes --steps 3 --accum 2 --grad-clip 0.5",
    SMALL_MODEL "--optim sgd --steps 3 --gradients overlay",
    SMALL_VIT "--optim adamw_r --steps 3",
    SMALL_VIT "--optim adamw --steps 2 --accum 2 --grad-clip 0.5 --drop-path 0.4 --mixup 0.3",
    SMALL_VIT "--optim muon_r --steps 2",
    SMALL_VIT "--optim lion --steps 2 --pool mean --label-smoothing 0.1",
    SMALL_MODEL "--dtype bf16 --optim adamw_r --steps 3",
    SMALL_VIT "--dtype bf16 --optim adamw --steps 3",
    SMALL_MODEL IN_8_BITS "--optim adamw_r --steps 3 --accum 2",
    SMALL_VIT IN_8_BITS "--inner 48 --optim adamw --steps 2 --recompute block",
};

/* The last --steps of a run's arguments are those that count. */
static const char *fewer_steps(void)
{
    return thin_run() ? " --steps 2" : "";
}

static void train_on(const char *where, const char *what, small_result *r)
{
    char arguments[600];
    int length = snprintf(arguments, sizeof arguments, "%s --device %s", what, where);
    assert_true(length > 0 && (size_t)length < sizeof arguments);
    *r = small_train(arguments);
}

/* Both devices round differently, so a loss may differ in its last digits: those of a float, or in
 * bf16 those of 8 bits, of which many average out.  Parameters are not compared where a sign
 * decides (lion). */
static void same_numbers(const char *what, const small_result *got, const small_result *want)
{
    bool bf16 = strstr(what, "bf16");
    double of_loss = bf16 ? 1e-3 : 2e-5, of_norm = bf16 ? 2e-2 : 1e-3;
    for (int64_t i = 0; i < want->steps; i++) {
        if (!(fabs(got->loss[i] - want->loss[i]) < of_loss * want->loss[i]))
            fail_msg("%s: step %lld: loss %.9g, on the CPU %.9g", what, (long long)i + 1,
                     got->loss[i], want->loss[i]);
        if (!(fabs(got->grad_norm[i] - want->grad_norm[i]) < of_norm * want->grad_norm[i]))
            fail_msg("%s: step %lld: gradient norm %.9g, on the CPU %.9g", what, (long long)i + 1,
                     got->grad_norm[i], want->grad_norm[i]);
    }
}

static void compare(const char *what, const small_result *got, const small_result *want)
{
    same_numbers(what, got, want);
    /* but for what either device is lent, the plan is the CPU's, in which no vector waits for a
     * matrix */
    size_t gpu = got->peak - got->room, cpu = want->peak - want->room;
    if (gpu < cpu || gpu > cpu + 4096) /* some vectors, each on 256 bytes */
        fail_msg("%s: planned are %zu bytes, on the CPU %zu, without what the devices are lent",
                 what, gpu, cpu);
}

static void test_training(void **state)
{
    (void)state;
    need_gpu();
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        char what[400];
        small_result cpu, cuda;
        snprintf(what, sizeof what, "%s%s", runs[i], fewer_steps());
        train_on("cpu", what, &cpu);
        train_on("cuda", what, &cuda);
        compare(what, &cuda, &cpu);
        small_free(&cpu);
        small_free(&cuda);
    }
}

#define BY_CUDNN "--layers 2 --heads 3 --width 24 --batch 3 --threads 2 --steps 3 --dtype bf16 "

/* Attention by cuDNN: the CPU's losses; with a graph of the step the bits of one without; all that
 * it works in is planned; and what its engines do not take is said when they are asked. */
static void test_cudnn(void **state)
{
    (void)state;
    need_gpu();
    static const char *const models[] = {
        BY_CUDNN "--vocab 59 --context 13 --seq 11 --optim adamw_r",
        BY_CUDNN "--vocab 59 --context 13 --seq 11 --accum 2 --optim adan_r --recompute attention",
        BY_CUDNN "--patch 3 --image-size 9x15 --channels 3 --classes 7 --optim lion"};
    static const char *const methods[] = {"cudnn", "cudnn-repeatable"};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) {
            char what[400];
            small_result cpu, cuda, plain;
            snprintf(what, sizeof what, "%s%s", models[i], fewer_steps());
            train_on("cpu", what, &cpu);
            snprintf(what, sizeof what, "%s --attention %s%s", models[i], methods[k],
                     fewer_steps());
#ifdef CUDASIM
            int before = emu_cudnn_calls();
#endif
            train_on("cuda", what, &cuda);
#ifdef CUDASIM
            assert_true(emu_cudnn_calls() - before >= 2 * 2); /* of two layers, both ways */
#endif
            same_numbers(what, &cuda, &cpu);
            strcat(what, " --no-cuda-graph");
            train_on("cuda", what, &plain);
            if (k == 1) assert_int_equal(first_difference(&plain, &cuda), -1);
            small_free(&cpu);
            small_free(&cuda);
            small_free(&plain);
        }
}

/* The small form of each family, in float and in bf16.  LONG=1: 50 steps by each of the six
 * optimizers. */
static void test_families(void **state)
{
    (void)state;
    need_gpu();
    static const char *const families[] = {"llama",   "qwen",  "qwen2.5", "qwen3",
                                           "gemma",   "bloom", "phi",     "falcon",
                                           "chatglm", "olmo2", "gemma2",  "gemma3"};
    static const char *const optims[] = {"adamw_r", "adan_r", "lion_r", "adamw", "adan", "lion"};
    int all = sizeof optims / sizeof *optims;
    for (int i = 0; i < (int)(sizeof families / sizeof *families); i++)
        for (int k = 0; k < (long_run() ? 2 * all : 2); k++) {
            char what[300];
            bool half = k % 2;
            if (thin_run() && k != i % 2) continue;
            snprintf(what, sizeof what,
                     "--model %s-nano --vocab 59 --context 16 --batch 2 --seq 9 --threads 2 "
                     "--lr 1e-4 --optim %s --steps %d %s",
                     families[i], optims[(i + k / 2) % all],
                     long_run() ? 50
                     : half     ? 2
                                : 3,
                     half ? "--dtype bf16" : "");
            small_result cpu, cuda;
            train_on("cpu", what, &cpu);
            train_on("cuda", what, &cuda);
            compare(what, &cuda, &cpu);
            small_free(&cpu);
            small_free(&cuda);
        }
}

/* ---- fine-tuning ---- */

/* Documents packed into rows, of which not all is learned: each micro-batch has its own number of
 * rows that are, so that there are no graphs. */
static void test_packed(void **state)
{
    static const int list[] = {5, 9, 2, 3, 6, 2, 4, 8, 9, 9, 3, 7, 9, 11, 2, 9, 9, 12, 1};
    static const char *const how[] = {
        "--layers 2 --heads 3 --width 33 --optim adamw",
        "--layers 2 --heads 3 --width 33 --optim adamw_r --accum 2 --grad-clip 0.5 --recompute "
        "block",
        "--model llama-nano --optim adamw_r --accum 3",
        "--model bloom-nano --dtype bf16 --optim adamw --lr 1e-4",
        "--layers 2 --heads 3 --width 33 --dtype bf16 --optim lion_r --lr 1e-4",
    };
    need_gpu();
    make_documents(state, "x_train.bin", list, sizeof list / sizeof *list);
    char *path = scratch_path(state, "x_train.bin");
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        char what[500];
        small_result cpu, cuda;
        snprintf(what, sizeof what,
                 "%s --steps 3 --vocab 1000 --context 13 --seq 11 --batch 2 --threads 2 "
                 "--train-data %s%s",
                 how[i], path, fewer_steps());
        train_on("cpu", what, &cpu);
#ifdef CUDASIM
        int before = emu_graph_launches();
#endif
        train_on("cuda", what, &cuda);
#ifdef CUDASIM
        assert_int_equal(emu_graph_launches(), before);
#endif
        compare(what, &cuda, &cpu);
        small_free(&cpu);
        small_free(&cuda);
    }
    free(path);
}

static void write_base(const char *path, const char *how)
{
    small_run base;
    char what[200];
    snprintf(what, sizeof what, SMALL_MODEL "--device cpu %s", how);
    small_open(&base, what);
    must(make_directory(path, "test"));
    must(weights_write(path, &base.o.model, &base.t->params, &base.dev, NULL));
    small_close(&base);
}

/* Adapters beside a base of codes, which each product finds unpacked in the planned block: the
 * CPU's losses and its plan, and with a graph of the step the bits of one without. */
static void test_base(void **state)
{
    static const char *const forms[] = {"bf16", "int8", "nf4", "nf4-double"};
    static const char *const how[] = {"--optim adamw",
                                      "--optim adamw_r --accum 2 --recompute block",
                                      "--optim adamw --dtype bf16"};
    need_gpu();
    char *path[2] = {scratch_path(state, "single"), scratch_path(state, "half")};
    write_base(path[0], "");
    write_base(path[1], "--dtype bf16");
    for (size_t i = 0; i < 4 * sizeof how / sizeof *how; i++) {
        char what[500];
        small_result cpu, cuda, plain;
        bool half = strstr(how[i / 4], "bf16");
        if (half && i % 4 == 0) continue; /* there is nothing to code */
        if (thin_run() && (i % 4 + i / 4) % 2) continue;
        snprintf(what, sizeof what,
                 "--load %s --lora 3 --base %s --batch 3 --seq 11 --threads 2 --steps 4 --lr 0.02 "
                 "--warmup 0 %s",
                 path[half], forms[i % 4], how[i / 4]);
        train_on("cpu", what, &cpu);
        train_on("cuda", what, &cuda);
        compare(what, &cuda, &cpu);
        assert_true(cuda.loss[3] < cuda.loss[0]);
        strcat(what, " --no-cuda-graph");
        train_on("cuda", what, &plain);
        assert_int_equal(first_difference(&plain, &cuda), -1);
        small_free(&cpu);
        small_free(&cuda);
        small_free(&plain);
    }
    free(path[0]);
    free(path[1]);
}

/* The same bits from run to run, in whatever order threads and blocks run. */
static void test_bits(void **state)
{
    (void)state;
    need_gpu();
    static const char *const models[] = {SMALL_MODEL "--optim adamw_r --steps 2",
                                         SMALL_VIT "--optim adamw_r --steps 2"};
    for (int i = 0; i < 2; i++) {
        small_result first, again;
        train_on("cuda", models[i], &first);
        for (int order = 1; order < 3; order++) {
#ifdef CUDASIM
            emu_set_order(order);
#endif
            train_on("cuda", models[i], &again);
            assert_int_equal(first_difference(&again, &first), -1);
            assert_memory_equal(again.loss, first.loss, 2 * sizeof(double));
            small_free(&again);
        }
        small_free(&first);
#ifdef CUDASIM
        emu_set_order(0);
#endif
    }
}

/* ---- averaged weights ---- */

/* What the averages make of the validation data after some steps; with a rate for each layer. */
static double averaged_loss(const char *more)
{
    char arguments[400];
    small_run s;
    step_result r;
    eval_result e;
    snprintf(arguments, sizeof arguments,
             SMALL_MODEL "--ema 0.75 --layer-decay 0.7 --steps 4 --warmup 2 --eval-batches 2 %s",
             more);
    small_open(&s, arguments);
    for (int64_t step = 1; step <= 4; step++)
        must(trainer_step(s.t, s.data, step, 0.01, &r));
    must(trainer_evaluate(s.t, s.data, &e));
    small_close(&s);
    assert_true(e.loss != r.loss);
    return e.loss;
}

static void test_averages(void **state)
{
    (void)state;
    static const char *const how[] = {"--optim adamw", "--optim lion_r --accum 2",
                                      "--dtype bf16 --master split16"};
    need_gpu();
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        char more[200];
        snprintf(more, sizeof more, "%s --device cpu", how[i]);
        double cpu = averaged_loss(more), most = strstr(more, "bf16") ? 1e-3 : 2e-5;
        snprintf(more, sizeof more, "%s --device cuda", how[i]);
        double cuda = averaged_loss(more);
        strcat(more, " --no-cuda-graph");
        assert_true(averaged_loss(more) == cuda);
        if (!(fabs(cuda - cpu) < most * cpu))
            fail_msg("%s: loss %.9g, on the CPU %.9g", how[i], cuda, cpu);
    }
}

/* ---- the step as a graph ---- */

static const char *const graph_runs[] = {
    SMALL_MODEL "--optim adamw --grad-clip 0.5",
    SMALL_MODEL "--optim adamw_r",
    SMALL_MODEL "--optim adamw_r --accum 4",
    SMALL_MODEL "--optim adama --accum 3",
    SMALL_MODEL "--optim adan --optim-impl passes --accum 2",
    SMALL_MODEL "--optim adan_r",
    SMALL_MODEL "--optim lion_r --accum 2 --grad-clip 1",
    SMALL_MODEL "--optim sgd --gradients overlay",
    SMALL_VIT "--optim adamw_r --drop-path 0.4 --mixup 0.3 --accum 2",
    SMALL_VIT "--optim lion_r",
    SMALL_MODEL IN_8_BITS "--optim adamw_r --accum 2",
};

/* Each step's numbers (rate, corrections, clipping), tokens and losses come through device memory:
 * the same bits as when every operation is launched. */
static void test_graphs(void **state)
{
    (void)state;
    need_gpu();
    int steps = thin_run() ? 3 : 4;
    for (size_t i = 0; i < sizeof graph_runs / sizeof *graph_runs; i++) {
        char more[400];
        small_result with, without;
#ifdef CUDASIM
        int before = emu_graph_launches();
#endif
        snprintf(more, sizeof more, "%s --steps %d --warmup 2", graph_runs[i], steps);
        train_on("cuda", more, &with);
#ifdef CUDASIM
        int launched = emu_graph_launches() - before;
        assert_true(launched >= steps - 1); /* all but the first */
#endif
        strcat(more, " --no-cuda-graph");
        train_on("cuda", more, &without);
#ifdef CUDASIM
        assert_int_equal(emu_graph_launches() - before, launched);
#endif
        if (first_difference(&with, &without) != -1 ||
            memcmp(with.loss, without.loss, (size_t)steps * sizeof(double)) ||
            memcmp(with.grad_norm, without.grad_norm, (size_t)steps * sizeof(double)))
            fail_msg("%s: other bits with graphs than without", graph_runs[i]);
        small_free(&with);
        small_free(&without);
    }
}

/* ---- streams ---- */

/* What is forked waits, and what is joined has been. */
static void test_fork_join(void **state)
{
    (void)state;
    need_gpu();
    enum { N = 1000 };
    device dev;
    void *memory;
    float got[2 * N];
    must(cuda_device(&dev));
    must(dev.ops->alloc(&dev, sizeof got, &memory));
    tensor x = tensor_of(memory, F32, SHAPE(N)), y = tensor_of((float *)memory + N, F32, SHAPE(N));
    OP(fill, &dev, STREAM_COMPUTE, .x = x, .value = 3);
    op_fork(&dev, STREAM_COMPUTE, STREAM_COMM);
    OP(copy, &dev, STREAM_COMM, .dst = y, .src = x);
    op_join(&dev, STREAM_COMM, STREAM_COMPUTE);
    op_get(&dev, STREAM_COMPUTE, got, tensor_of(memory, F32, SHAPE(2 * N)));
    op_sync(&dev, STREAM_COMPUTE);
    must(device_status(&dev));
    for (int i = 0; i < 2 * N; i++)
        assert_true(got[i] == 3);
    dev.ops->release(&dev, memory);
    cuda_close(&dev);
}

/* ---- what can go wrong ---- */

static void refused(error *e, const char *says, const char *also)
{
    assert_non_null(e);
    if (!strstr(error_text(e), says) || !strstr(error_text(e), also))
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", error_text(e), says, also);
    error_free(e);
}

static void test_too_much(void **state)
{
    (void)state;
    need_gpu();
    device dev;
    void *memory;
    must(cuda_device(&dev));
    error *e = dev.ops->alloc(&dev, (size_t)1 << 50, &memory);
    assert_int_equal(error_kind_of(e), ERR_USER);
    refused(e, "no memory for 1073741824.0 MiB", "free");
    cuda_close(&dev);
}

#ifdef CUDASIM

/* What a training asked of cublasLt. */
static emu_products products_of(const char *what)
{
    small_result r;
    emu_products before = emu_products_ever();
    train_on("cuda", what, &r);
    small_free(&r);
    emu_products p = emu_products_ever();
    return (emu_products){p.made - before.made, p.with_epilogue - before.with_epilogue,
                          p.of_8_bits - before.of_8_bits, p.refused_late - before.refused_late,
                          p.without_algorithm - before.without_algorithm};
}

/* Which way products take: the library's, with epilogues, in 8 bits; the next algorithm or none
 * where it has none. */
static void test_ways_of_products(void **state)
{
    (void)state;
    enum { LAYERS = 2, MATRICES = 4, FORMS = 3, STEPS = 2 };
    const char *const small = "--layers 2 --heads 2 --context 16 --seq 16 --batch 2 --vocab 64 "
                              "--optim adamw --steps 2 --no-cuda-graph ";
    char what[400];
    snprintf(what, sizeof what, "%s --width 32", small);
    emu_products p = products_of(what);
    assert_true(p.made >= LAYERS * MATRICES * FORMS * STEPS && p.with_epilogue > 0);
    assert_true(!p.of_8_bits && !p.refused_late && !p.without_algorithm);
    snprintf(what, sizeof what, "%s --width 32 --dtype bf16", small);
    emu_products wide = products_of(what);
    assert_true(wide.made >= LAYERS * MATRICES * FORMS * STEPS && wide.with_epilogue > 0);
    assert_true(!wide.of_8_bits && !wide.refused_late && !wide.without_algorithm);
    snprintf(what, sizeof what, "%s --width 32 --dtype bf16 --products fp8", small);
    p = products_of(what);
    assert_int_equal(p.of_8_bits, LAYERS * MATRICES * FORMS * STEPS);
    assert_int_equal(p.made, wide.made);
    snprintf(what, sizeof what, "%s --width 36 --dtype bf16", small); /* no multiple of 8 */
    p = products_of(what);
    assert_true(p.made > 0 && p.refused_late > 0);
    snprintf(what, sizeof what, "%s --heads 3 --width 33 --dtype bf16", small); /* odd */
    p = products_of(what);
    assert_true(p.made > 0 && p.without_algorithm > 0);
}
/* What cuDNN's engines do not take is said when they are asked, with what to do. */
static void test_cudnn_refuses(void **state)
{
    (void)state;
    small_run s;
    step_result result;
    small_open(&s,
               "--layers 1 --heads 2 --width 272 --vocab 59 --context 5 --seq 5 --batch 1 --dtype "
               "bf16 --device cuda --attention cudnn");
    error *e = trainer_step(s.t, s.data, 1, 1e-3, &result);
    assert_int_equal(error_kind_of(e), ERR_USER);
    refused(e, "cuDNN has no engine for attention of 2 heads of 136", "--attention flash");
    small_close(&s);
}

/* The planned block is all the memory that is taken.  After the first step nothing at all is asked
 * of the driver, for graphs neither. */
static void test_no_memory_later(void **state)
{
    (void)state;
    static const char *const cases[] = {SMALL_MODEL "--optim adamw_r",
                                        SMALL_MODEL "--optim adamw_r --no-cuda-graph",
                                        SMALL_MODEL "--optim adan --accum 3 --grad-clip 1",
                                        SMALL_MODEL "--optim adamw_r --dtype bf16",
                                        SMALL_MODEL IN_8_BITS "--optim adamw_r",
                                        SMALL_VIT "--optim muon_r",
                                        BY_CUDNN
                                        "--context 13 --seq 11 --optim adamw_r --attention cudnn"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char arguments[500];
        small_run s;
        step_result result;
        eval_result eval;
        int64_t bad = 0;
        snprintf(arguments, sizeof arguments, "%s --device cuda --eval-every 1 --eval-batches 2",
                 cases[i]);
        int before = emu_allocations();
        small_open(&s, arguments);
        assert_int_equal(emu_allocations() - before, 2); /* to try a kernel; and the block */
        assert_int_equal(emu_device_bytes(), arena_peak(s.t->arena) + 256); /* and its canary */
        for (int64_t step = 1; step <= 3; step++) {
            must(trainer_step(s.t, s.data, step, 1e-3, &result));
            emu_refuse_memory(true);
        }
        must(trainer_evaluate(s.t, s.data, &eval));
        OP(nonfinite, &s.dev, STREAM_COMPUTE, .count = &bad, .x = s.t->params.row[0].value);
        must(device_status(&s.dev));
        emu_refuse_memory(false);
        assert_int_equal(emu_allocations() - before, 2);
        assert_int_equal(arena_high_water(s.t->arena), arena_peak(s.t->arena));
        small_close(&s);
    }
}

/* Without room nothing is written where it would be. */
static void test_no_room(void **state)
{
    (void)state;
    device dev;
    void *memory;
    int64_t bad = -1;
    must(cuda_device(&dev));
    must(dev.ops->alloc(&dev, 512, &memory));
    tensor x = tensor_of(memory, F32, SHAPE(8)),
           slot = tensor_of((char *)memory + 256, F64, SHAPE(1));
    op_clear(&dev, STREAM_COMPUTE, x);
    OP(sumsq, &dev, STREAM_COMPUTE, .items = &(sumsq_item){slot, x}, .n = 1);
    refused(device_status(&dev), "before any", "lent");
    OP(nonfinite, &dev, STREAM_COMPUTE, .count = &bad, .x = x);
    refused(device_status(&dev), "before any", "lent");
    op_lend(&dev, tensor_of(memory, U8, SHAPE(512)));
    refused(device_status(&dev), "is lent 512 bytes", "needs");
    dev.ops->release(&dev, memory);
    cuda_close(&dev);
}

static void test_machines(void **state)
{
    (void)state;
    static const struct {
        emu_machine machine;
        const char *says, *also;
    } cases[] = {
        {EMU_NO_DEVICE, "no GPU", "--device cpu"},
        {EMU_OLD_DRIVER, "driver is for CUDA 11.8, this program needs 13.0", "--device cpu"},
        {EMU_OLD_DEVICE, "compute capability 7.0", "--device cpu"},
        {EMU_NO_CODE, "no code for this GPU", "--device cpu"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        device dev;
        emu_set_machine(cases[i].machine);
        refused(cuda_device(&dev), cases[i].says, cases[i].also);
        must(device_open(DEVICE_AUTO, 1, stdout, &dev));
        assert_string_equal(dev.ops->name, "cpu");
        device_close(&dev);
        refused(device_open(DEVICE_CUDA, 1, stdout, &dev), cases[i].says, cases[i].also);
    }
    device dev;
    emu_set_machine(EMU_AMPERE);
    must(device_open(DEVICE_CUDA, 1, stdout, &dev));
    must(device_use(&dev, "auto", "own"));
    refused(device_use(&dev, "auto", "fp8"),
            "--products fp8: emulated GPU has compute capability 8.0",
            "need 8.9 or newer: leave it out");
    device_close(&dev);
    emu_set_machine(EMU_DEVICE);
    must(device_open(DEVICE_AUTO, 1, stdout, &dev));
    assert_string_equal(dev.ops->name, "cuda");
    must(device_use(&dev, "auto", "fp8"));
    device_close(&dev);
}

/* A batch of tokens goes to the GPU while its stream has work, and the host's memory is free at
 * once; the driver is left to load kernels when they are launched. */
static void test_puts(void **state)
{
    enum { N = 64 << 10, PUTS = 5 };
    (void)state;
    device dev;
    void *memory;
    int32_t *host = malloc(N * sizeof *host);
    must(cuda_device(&dev));
    assert_null(getenv("CUDA_MODULE_LOADING"));
    must(dev.ops->alloc(&dev, PUTS * N * sizeof *host, &memory));
    int before = emu_host_waits();
    for (int k = 0; k < PUTS; k++) {
        for (int i = 0; i < N; i++)
            host[i] = k * N + i;
        op_put(&dev, k % 2 ? STREAM_COMM : STREAM_COMPUTE,
               tensor_of((int32_t *)memory + k * N, I32, SHAPE(N)), host);
    }
    assert_int_equal(emu_host_waits(), before);
    op_sync(&dev, STREAM_COMM);
    for (int k = 0; k < PUTS; k++) {
        op_get(&dev, STREAM_COMPUTE, host, tensor_of((int32_t *)memory + k * N, I32, SHAPE(N)));
        op_sync(&dev, STREAM_COMPUTE);
        for (int i = 0; i < N; i++)
            assert_int_equal(host[i], k * N + i);
    }
    must(device_status(&dev));
    dev.ops->release(&dev, memory);
    cuda_close(&dev);
    free(host);
}

/* Opens the device and does a few operations, while the n-th call of the runtime fails. */
static error *with_failing_call(int n)
{
    device dev;
    void *memory = NULL;
    float got[4];
    emu_fail_call(n);
    TRY(cuda_device(&dev));
    error *e = dev.ops->alloc(&dev, 4096 + CUDA_ROOM_LEAST, &memory);
    if (!e) {
        tensor x = tensor_of(memory, F32, SHAPE(4)),
               slot = tensor_of((char *)memory + 256, F64, SHAPE(1));
        op_lend(&dev, tensor_of((char *)memory + 4096, U8, SHAPE(CUDA_ROOM_LEAST)));
        op_put(&dev, STREAM_COMPUTE, x, (float[]){1, 2, 3, 4});
        op_clear(&dev, STREAM_COMPUTE, slot);
        OP(sumsq, &dev, STREAM_COMPUTE, .items = &(sumsq_item){slot, x}, .n = 1);
        op_fork(&dev, STREAM_COMPUTE, STREAM_COMM);
        op_get(&dev, STREAM_COMM, got, x);
        op_sync(&dev, STREAM_COMM);
        e = device_status(&dev);
    }
    emu_fail_call(0);
    if (memory) dev.ops->release(&dev, memory);
    cuda_close(&dev);
    return e;
}

/* Every failure becomes an error that names the call and its place, or what to do; nothing
 * leaks. */
static void test_failing_calls(void **state)
{
    (void)state;
    error *e;
    int n = 1;
    for (; (e = with_failing_call(n)); n++) {
        bool named = strstr(error_text(e), "CUDA: ") && strstr(error_text(e), "cuda/");
        if (!named && !strstr(error_text(e), "no memory for")) fail_msg("%s", error_text(e));
        error_free(e);
        assert_int_equal(emu_device_bytes(), 0);
    }
    emu_fail_call(0);
    assert_true(n > 20);
}

/* ---- a failure in the middle of a run ---- */

#define RUN                                                                                        \
    SMALL_MODEL "--device cuda --no-cuda-graph --optim adamw_r --steps 6 --checkpoint-every 2 "

/* A whole run of the program, in which the n-th launch of a kernel fails (0: none). */
static error *run_once(const small_run *data, const char *out, const char *more, int n)
{
    char text[1000], *argv[SMALL_ARGS] = {(char *)(size_t) "test"}, *rest = NULL;
    int argc = 1;
    options o;
    trainer *t;
    device dev;
    comm alone = {.size = 1};
    snprintf(text, sizeof text, RUN "--train-data %s --val-data %s --out %s/%s --eval-every 3 %s",
             data->shard, data->shard, data->directory, out, more);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    must(options_parse(&text_task, argc, argv, &o));
    o.comm = &alone;
    must(trainer_plan(&o, text_task.kind, &t));
    must(cuda_device(&dev));
    emu_fail_launch(n);
    error *e = train_loop(t, &dev, plan_files);
    if (n != INT_MAX) emu_fail_launch(0);
    trainer_destroy(t);
    cuda_close(&dev);
    options_free(&o);
    return e;
}

static void in_directory(const small_run *data, const char *command)
{
    char all[500];
    snprintf(all, sizeof all, "cd '%s' && %s", data->directory, command);
    if (system(all)) fail_msg("%s", all);
}

/* A launch fails: the error names it, its file and the step; the last checkpoint is whole, and the
 * run that goes on from there has the bits of one that never stopped. */
static void test_failing_run(void **state)
{
    (void)state;
    small_run data;
    small_open(&data, SMALL_MODEL);
    must(run_once(&data, "whole", "", INT_MAX));
    int launches = INT_MAX - emu_launches_left();
    emu_fail_launch(0);
    assert_true(launches > 100);
    for (int part = 5; part < 10; part += (int)tries(4, 2)) {
        error *e = run_once(&data, "part", "", launches * part / 10);
        assert_non_null(e);
        assert_non_null(strstr(error_text(e), "cuda/"));
        refused(e, "step ", "CUDA: launch of ");
        in_directory(&data, "test -f part/step_00000002/model.safetensors");
        in_directory(&data, "test ! -e part/model.safetensors");
        must(run_once(&data, "part", "--resume auto", 0));
        in_directory(&data, "cmp -s whole/model.safetensors part/model.safetensors");
        in_directory(&data, "rm -r part");
    }
    in_directory(&data, "rm -r whole");
    small_close(&data);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef CUDASIM
        cmocka_unit_test(test_failing_run),
        cmocka_unit_test(test_puts),
#endif
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_families),
        cmocka_unit_test_setup_teardown(test_packed, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_base, scratch_make, scratch_remove),
        cmocka_unit_test(test_cudnn),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_averages),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_fork_join),
        cmocka_unit_test(test_too_much),
#ifdef CUDASIM
        cmocka_unit_test(test_cudnn_refuses),
        cmocka_unit_test(test_ways_of_products),
        cmocka_unit_test(test_no_memory_later),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_machines),
        cmocka_unit_test(test_failing_calls),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
