/* test_offload.c - what lies in a file changes no bit, is what was planned, and leaves nothing
 * behind.
 *
 * Small runs in this process with and without: every rule, every policy of gradients, forms of
 * numbers; a matrix of two pieces and an odd end, others of one, and some that stay.  Then the
 * program, beside this test: checkpoints of either go on as the other, resident memory is the
 * plan's, a model whose weights are larger than all that the process may have trains, is killed and
 * goes on, and so does one whose disk fails.  The file itself is tested in test_far.c.
 */
#include "test/long.h"
#include "test/scratch.h"
#include "test/shards.h"
#include "test/small_run.h"
#include "core/far.h"
#include "io/safetensors.h"
#include "params/block_kinds.h"
#include "run/checkpoint.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* ---- bits ---- */

/* wte: 270090 elements, two pieces; matrices of 8100 to 32400 go, norms and biases stay. */
#define MODEL                                                                                      \
    "--layers 2 --heads 3 --width 90 --context 13 --vocab 3001 --batch 2 --seq 5 --threads 2 "     \
    "--warmup 2 --lr 0.003 --weight-decay 0.1 --steps 3 "

/* Nothing, states, values and activations offloaded: the same parameters, losses and norms. */
static void same(const char *arguments)
{
    static const char *const what[] = {"states", "params", "activations", "params,activations"};
    small_result a = small_train(arguments);
    static int turn;
    int levels = strstr(arguments, "sqrt") ? 2 : 4;
    turn++;
    for (int k = 0; k < levels; k++) {
        char with[900];
        if (thin_run() && k != turn % levels) continue;
        snprintf(with, sizeof with, "%s --offload %s --offload-to far", arguments, what[k]);
        small_result b = small_train(with);
        int64_t at = first_difference(&a, &b);
        if (at >= 0) fail_msg("%s: parameter element %lld differs", with, (long long)at);
        for (int64_t i = 0; i < a.steps; i++)
            if (memcmp(&a.loss[i], &b.loss[i], sizeof *a.loss) ||
                memcmp(&a.grad_norm[i], &b.grad_norm[i], sizeof *a.loss))
                fail_msg("%s: loss or norm of step %lld differs", with, (long long)i + 1);
        assert_int_equal(count_files("far"), 0);
        small_free(&b);
    }
    small_free(&a);
}

static void test_bits(void **state)
{
    static const char *const how[] = {
        "--optim adamw",
        "--optim adamw_r",
        "--optim adan_r --optim-impl passes --gradients overlay",
        "--optim adan --optim-impl passes",
        "--optim lion_r --optim-impl passes --accum 3",
        "--optim adan --grad-clip 0.5 --accum 2",
        "--optim muon_r --grad-clip 1",
        "--optim adama --accum 3",
        "--optim sgd --recompute block",
        "--optim adan_r --dtype bf16 --master split16 --state int8 --state-of all",
        "--optim adamw --dtype bf16 --accum 2 --recompute sqrt",
        "--optim lion_r --dtype bf16 --master none --state bf16",
        "--optim adamw_r --freeze wte* --dropout 0.1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        char arguments[800];
        snprintf(arguments, sizeof arguments, MODEL "%s %s", how[i], thin_run() ? "--steps 2" : "");
        same(arguments);
    }
}

/* Activations of blocks of every shape: norms before and after, of heads, gates, parallel branches;
 * where some are not kept, and where nothing below is trained. */
static void test_blocks(void **state)
{
    static const char *const models[] = {"gemma2-nano",
                                         "qwen3-nano --recompute norms",
                                         "neox-nano",
                                         "phi-nano --freeze *layers.0.*",
                                         "olmo2-nano",
                                         "smollm3-nano --recompute gelu:0-1,block:2-3 --accum 2",
                                         "bloom-nano --recompute attention --train-only *h.1.*"};
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char arguments[400];
        snprintf(arguments, sizeof arguments,
                 "--model %s --vocab 59 --seq 11 --batch 2 --steps 2 --threads 2 --optim lion_r "
                 "--offload-to far --offload ",
                 models[i]);
        size_t end = strlen(arguments);
        strcpy(arguments + end, "states");
        small_result a = small_train(arguments);
        strcpy(arguments + end, "activations,states");
        small_result b = small_train(arguments);
        assert_int_equal(first_difference(&a, &b), -1);
        assert_memory_equal(a.loss, b.loss, 2 * sizeof(double));
        small_free(&a);
        small_free(&b);
    }
}

static void test_images(void **state)
{
    (void)state;
    same(SMALL_VIT "--width 66 --steps 2 --optim adamw_r");
}

/* ---- the plan ---- */

static void test_plan(void **state)
{
    small_run s;
    (void)state;
    int64_t n;
    arena_summary none = small_plan(MODEL "--optim adan --accum 3", &n);
    small_open(&s, MODEL "--optim adan --accum 3 --offload params --offload-to far");
    arena_summary with = arena_summarize(s.t->arena);
    far *f = s.t->params.far;
    size_t values = 0;
    int64_t elements = 0;
    for (int i = 0; i < s.t->params.n; i++) {
        const param *row = &s.t->params.row[i];
        bool large = row->spec.shape.rank > 1 && row->count >= FAR_LEAST;
        assert_int_equal(is_far(row->far_value), large);
        if (large) elements += row->count;
        if (large) values += ((size_t)row->count * 4 + 4095) / 4096 * 4096;
    }
    /* what is no more in the arena is in the file: four states, values */
    assert_int_equal(far_bytes_of(f, KIND_PARAMETER), values);
    assert_int_equal(far_bytes_of(f, KIND_STATE), 4 * values);
    assert_int_equal(far_bytes(f), 5 * values);
    size_t near = none.by_kind[KIND_STATE] - with.by_kind[KIND_STATE];
    assert_true(near <= 4 * values && near + 4 * 4096 * (size_t)s.t->params.n >= 4 * values);
    for (int64_t step = 1; step <= 2; step++)
        small_step_moves(&s, step);
    /* every number is written once; a value is read for it, and for forward and backward of each
     * micro-batch, but for the one that both use in a row */
    assert_int_equal(s.t->step_moved.written, 5 * 4 * elements);
    assert_true(s.t->step_moved.read > 5 * 4 * elements + 3 * 4 * elements);
    assert_true(s.t->step_moved.read <= 5 * 4 * elements + 3 * 3 * 4 * elements);
    assert_true(arena_high_water(s.t->arena) <= arena_peak(s.t->arena));
    small_close(&s);
}

/* Of six blocks the activations of two are here, the others there: as much as was counted for
 * them. */
static void test_plan_of_activations(void **state)
{
#define DEEP_MODEL                                                                                 \
    "--layers 6 --heads 2 --width 32 --context 64 --vocab 59 --batch 4 --seq 64 --optim sgd "
    small_run s;
    int64_t n;
    (void)state;
    arena_summary none = small_plan(DEEP_MODEL, &n), one = small_plan(DEEP_MODEL "--layers 1", &n),
                  two = small_plan(DEEP_MODEL "--layers 2", &n);
    size_t each = two.most[KIND_ACTIVATION] - one.most[KIND_ACTIVATION];
    small_open(&s, DEEP_MODEL "--offload activations --offload-to far");
    arena_summary with = arena_summarize(s.t->arena);
    far *f = s.t->params.far;
    assert_int_equal(far_bytes(f), far_bytes_of(f, KIND_ACTIVATION));
    assert_true(far_bytes(f) >= 5 * each && far_bytes(f) < 5 * each + 5 * 18 * 4096);
    assert_true(with.most[KIND_ACTIVATION] <= none.most[KIND_ACTIVATION] - 3 * each);
    assert_int_equal(with.most[KIND_STATE], none.most[KIND_STATE]);
    for (int64_t step = 1; step <= 2; step++)
        small_step_moves(&s, step);
    assert_int_equal(s.t->step_moved.read, s.t->step_moved.written);
    assert_true(arena_high_water(s.t->arena) <= arena_peak(s.t->arena));
    small_close(&s);
}

/* ---- the program ---- */

static char program[PROGRAM_PATH]; /* train_gpt */

/* limit: KiB of address space, 0: any. */
static pid_t start(const char *arguments, int limit)
{
    char command[6000], bound[60] = "";
    if (limit) snprintf(bound, sizeof bound, "ulimit -v %d; ", limit);
    snprintf(command, sizeof command,
             "%sexec '%s' --device cpu --threads 2 --train-data x_train.bin --eval-every 0 %s "
             ">said 2>&1 </dev/null",
             bound, program, arguments);
    pid_t child = fork();
    if (!child) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    return child;
}

static int end_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static char *said(void)
{
    static char text[4000];
    FILE *f = fopen("said", "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static const char *last_line(void)
{
    char *text = said(), *end = strrchr(text, '\n');
    if (end) *end = 0;
    const char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

/* Until the child has written that file. */
static void wait_until_written(pid_t child, const char *path)
{
    struct timespec moment = {.tv_nsec = 5000000};
    while (access(path, R_OK)) {
        int status;
        if (waitpid(child, &status, WNOHANG)) fail_msg("it has ended, %d: %s", status, last_line());
        nanosleep(&moment, NULL);
    }
}

static void run_program(const char *arguments, int limit)
{
    int status = end_of(start(arguments, limit));
    if (status) fail_msg("status %d: %s\n%s", status, arguments, said());
}

#define STEPS4 "--warmup 2 --steps 4 --checkpoint-every 2 --keep 3 "
#define NARROW                                                                                     \
    STEPS4 "--layers 2 --heads 3 --width 90 --context 13 --vocab 3001 --batch 2 --seq 11 --dtype " \
           "bf16 --master split8 --state int8 --optim adan_r "

#define FINE "--steps 2 --warmup 1 --load near --dtype bf16 --seq 11 --batch 2 "

/* What the program writes is the same, and either resumes from what the other has written. */
static void test_checkpoints(void **state)
{
    static const char *const files[] = {"model.safetensors", "optimizer.safetensors"};
    (void)state;
    run_program(NARROW "--out near", 0);
    run_program(NARROW "--out far --offload params --offload-to disk", 0);
    run_program(NARROW "--out to --resume near/step_00000002 --offload states", 0);
    run_program(NARROW "--out from --resume far/step_00000002 --offload none", 0);
    for (int i = 0; i < 2; i++) {
        same_file("near/step_00000002", "far/step_00000002", files[i]);
        same_file("near/step_00000004", "far/step_00000004", files[i]);
        same_file("near/step_00000004", "to/step_00000004", files[i]);
        same_file("near/step_00000004", "from/step_00000004", files[i]);
    }
    same_file("near", "far", "model.safetensors");
    run_program(FINE "--offload params --out loaded", 0);
    run_program(FINE "--offload states --out loaded_states", 0);
    run_program(FINE "--out loaded_near", 0);
    same_file("loaded", "loaded_near", "model.safetensors");
    same_file("loaded_states", "loaded_near", "model.safetensors");
}

/* Adapters, small ones and such whose states are far, beside values as they are and beside
 * codes. */
static void test_adapters(void **state)
{
    static const char *const how[] = {"--lora 2", "--lora 64", "--lora 64 --base nf4",
                                      "--lora 64 --master split8 --base nf4-double"};
    static const char *const what[] = {"none", "states", "params", "states,activations"};
    (void)state;
    for (size_t i = 0; i < sizeof how / sizeof *how; i++)
        for (int k = 0; k < 4; k++) {
            char arguments[400], out[2][40];
            snprintf(out[0], sizeof out[0], "tuned%zu_none", i);
            snprintf(out[1], sizeof out[1], "tuned%zu_%s", i, what[k]);
            snprintf(arguments, sizeof arguments, FINE "%s --offload %s --out %s", how[i], what[k],
                     out[1]);
            run_program(arguments, 0);
            same_file(out[0], out[1], "adapter_model.safetensors");
        }
}

/* The number behind "name": in the last line of the log that has it. */
static double logged(const char *directory, const char *name)
{
    char path[200], key[60], line[1000];
    double value = -1;
    snprintf(path, sizeof path, "%s/log.jsonl", directory);
    snprintf(key, sizeof key, "\"%s\":", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        const char *at = strstr(line, key);
        if (at) value = strtod(at + strlen(key), NULL);
    }
    fclose(f);
    if (value < 0) fail_msg("%s has no %s", path, name);
    return value;
}

#define WIDE                                                                                       \
    "--warmup 1 --steps 2 --layers 3 --heads 8 --width 512 --context 16 --vocab 2000 --batch 1 "   \
    "--seq 16 --optim adamw_r "

/* What the plan says is saved is not resident. */
static void test_resident(void **state)
{
    static const char *const out[] = {"r0", "r1", "r2"};
    (void)state;
    run_program(WIDE "--out r0", 0);
    run_program(WIDE "--out r1 --offload states", 0);
    run_program(WIDE "--out r2 --offload params", 0);
    same_file("r0", "r1", "model.safetensors");
    same_file("r0", "r2", "model.safetensors");
    for (int i = 1; i < 3; i++) {
        double planned = logged(out[0], "peak_bytes") - logged(out[i], "peak_bytes"),
               resident = logged(out[0], "resident_bytes") - logged(out[i], "resident_bytes");
        assert_true(planned > 75e6);
#ifndef __SANITIZE_ADDRESS__
        if (resident < planned - 4e6 || resident > planned + 4e6)
            fail_msg("%s: %.1f MB less are planned, %.1f MB less are resident", out[i],
                     planned * 1e-6, resident * 1e-6);
#endif
        assert_true(resident > 0);
        assert_true(logged(out[i], "offload_bytes") > 0);
        assert_true(logged(out[i], "offload_ms") >= 0);
    }
}

#ifdef __SANITIZE_ADDRESS__
enum { LIMIT = 0 }; /* its shadow is larger than any */
#define LARGE "--layers 4 --width 64 "
#else
enum { LIMIT = 92 << 10 }; /* KiB; a program with kernels for every GPU maps 20 MiB of itself */
#define LARGE "--layers 42 --width 256 "
#endif

#define DEEP                                                                                       \
    LARGE "--heads 8 --context 16 --vocab 256 --batch 1 --seq 16 --optim adamw_r --lr 0.001 "      \
          "--recompute block --warmup 2 --schedule constant --checkpoint-every 2 --keep 3 "        \
          "--resume auto "

/* Weights of 1.3 times all the memory that the process may have: trained, killed, resumed, in no
 * bit another run than one that had room for all. */
static void test_larger_than_memory(void **state)
{
    char arguments[500], path[PATH_LENGTH];
    struct stat s;
    (void)state;
    if (LIMIT) {
        assert_int_equal(end_of(start(DEEP "--steps 1 --out none", LIMIT)), 1);
        assert_non_null(strstr(said(), "--offload"));
    }
    pid_t child =
        start(DEEP "--steps 1000000 --out part --offload params --offload-to disk", LIMIT);
    wait_until_written(child, "part/step_00000002/manifest.json");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(end_of(child), 1000 + SIGKILL);
    assert_int_equal(count_files("disk"), 0);
    long long end = (long long)checkpoint_below("part", INT64_MAX, path) + 2;
    snprintf(arguments, sizeof arguments,
             DEEP "--steps %lld --out part --offload params --offload-to disk", end);
    run_program(arguments, LIMIT);
    assert_non_null(strstr(said(), "resuming from part/step_"));
    assert_int_equal(count_files("disk"), 0);
    snprintf(arguments, sizeof arguments, DEEP "--steps %lld --out whole", end);
    run_program(arguments, 0);
    same_file("whole", "part", "model.safetensors");
    assert_int_equal(stat("whole/model.safetensors", &s), 0);
    assert_true((double)s.st_size > 1.3 * 1024 * LIMIT);
    char checkpoint[2][40];
    snprintf(checkpoint[0], sizeof checkpoint[0], "whole/step_%08lld", end);
    snprintf(checkpoint[1], sizeof checkpoint[1], "part/step_%08lld", end);
    same_file(checkpoint[0], checkpoint[1], "optimizer.safetensors");
}

#define ENDLESS                                                                                    \
    "--layers 2 --heads 3 --width 90 --context 13 --vocab 256 --batch 2 --seq 11 --warmup 2 "      \
    "--schedule constant --checkpoint-every 10 --resume auto "

/* From some step on the file cannot be written any more: one line and status 1, nothing is left in
 * its directory, and the last checkpoint resumes as if nothing had happened. */
static void test_disk_fails(void **state)
{
    char arguments[400], path[PATH_LENGTH];
    const struct rlimit small = {64 << 10, RLIM_INFINITY};
    (void)state;
    pid_t child = start(ENDLESS "--steps 1000000 --log-every 1000000 --out broken --offload params "
                                "--offload-to disk",
                        0);
    wait_until_written(child, "broken/step_00000010/manifest.json");
    assert_int_equal(prlimit(child, RLIMIT_FSIZE, &small, NULL), 0);
    assert_int_equal(end_of(child), 1);
    const char *line = strstr(said(), "train_gpt: --offload-to disk: cannot write: File too large");
    if (!line || !strstr(line, "--resume auto") || strchr(line, '\n') != strrchr(line, '\n'))
        fail_msg("%s", said());
    assert_int_equal(count_files("disk"), 0);
    long long last = (long long)checkpoint_below("broken", INT64_MAX, path);
    assert_true(last >= 10);
    snprintf(arguments, sizeof arguments,
             ENDLESS "--steps %lld --out broken --offload params --offload-to disk", last + 2);
    run_program(arguments, 0);
    assert_non_null(strstr(said(), "resuming from broken/step_"));
    snprintf(arguments, sizeof arguments, ENDLESS "--steps %lld --out unbroken", last + 2);
    run_program(arguments, 0);
    same_file("broken", "unbroken", "model.safetensors");
}

static int set_up(void **state)
{
    if (scratch_enter(state)) return -1;
    find_program("train_gpt", program);
    make_shard(state, "x_train.bin", 256, 5, 3000);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_plan_of_activations),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_resident),
        cmocka_unit_test(test_larger_than_memory),
        cmocka_unit_test(test_disk_fails),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_leave);
}
