/* test_kill.c - a run that is killed (SIGKILL) anywhere, again and again, and resumed, is in every
 * bit one that was not.
 *
 * Half of the kills fall between the first and the last call of a checkpoint, drawn evenly from
 * these calls; the others fall anywhere in the life of the process, by the clock.  20 kills;
 * with LONG=1, 200.
 */
#include "base/clock.h"
#include "base/rng.h"
#include "test/disk/calls.h"
#include "test/disk/runs.h"
#include "test/scratch.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define RUN                                                                                        \
    "--layers 2 --heads 3 --width 33 --context 13 --vocab 59 --seq 11 --threads 1 --batch 3 "      \
    "--accum 2 --train-data [a-e]_train.bin --val-data other_train.bin --eval-every 4 "            \
    "--eval-batches 2 --warmup 3 --steps 10 --checkpoint-every 2 --keep 2 --resume auto "

/* Which call of a checkpoint is the last of this process; in memory that both see. */
typedef struct {
    int64_t at;   /* the call before which to die; 0: none */
    int64_t seen; /* calls of checkpoints so far */
} fate;

static bool inside; /* of a checkpoint, in the child */

/* A checkpoint begins when its directory is made and ends when its own name is there and what is
 * old is gone; here, with the first call that has to do with something else. */
static int count_down(void *context, call_kind kind, const char *path)
{
    fate *f = context;
    if (kind == CALL_MKDIR && path && strstr(path, ".tmp")) inside = true;
    if (kind == CALL_OPEN && path && !strstr(path, "step_")) inside = false;
    if (inside && ++f->seen == f->at) raise(SIGKILL);
    return 0;
}

static void arm(void *context)
{
    calls_ask(count_down, context);
}

static void remove_tree(void **state, const char *name)
{
    void *tree = scratch_path(state, name);
    scratch_remove(&tree);
}

/* One life; true if it was killed. */
static bool runs_until_killed(void **state, const char *words, fate *f, double seconds)
{
    pid_t child = run_start(*state, words, arm, f);
    int status;
    if (seconds > 0) {
        struct timespec t = {.tv_nsec = (long)(seconds * 1e9)};
        t.tv_sec = t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        nanosleep(&t, NULL);
        kill(child, SIGKILL);
    }
    status = run_wait(child);
    if (status && status != 1000 + SIGKILL) fail_msg("status %d: %s", status, run_said(*state));
    return status;
}

static void test_killed_anywhere(void **state, const char *optimizer, int kills)
{
    char words[1000];
    fate *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f != MAP_FAILED);
    runs_make(*state);
    double begun = clock_now();
    snprintf(words, sizeof words, RUN "%s --out whole", optimizer);
    assert_false(runs_until_killed(state, words, f, 0));
    double full_seconds = clock_now() - begun;
    int64_t calls = f->seen;
    assert_true(calls > 60); /* five checkpoints */
    snprintf(words, sizeof words, RUN "%s --out run", optimizer);
    int in_checkpoint = 0, anywhere = 0, done = 0;
    for (uint64_t n = 0; in_checkpoint + anywhere < kills; n++) {
        bool by_call = in_checkpoint <= anywhere;
        double u = rng_uniform(17, RNG_TEST, n);
        *f = (fate){.at = by_call ? 1 + (int64_t)(u * (double)calls) : 0};
        bool killed = runs_until_killed(state, words, f, by_call ? 0 : 1e-4 + u * full_seconds);
        if (killed && by_call) in_checkpoint++;
        if (killed && !by_call) anywhere++;
        if (killed && n % 3) continue; /* killed again before it is done */
        *f = (fate){0};
        if (killed) assert_false(runs_until_killed(state, words, f, 0));
        runs_same(*state, "whole", "run", 10);
        remove_tree(state, "run");
        done++;
    }
    print_message(
        "%s: %d kills in %lld calls of checkpoints, %d by the clock; %d runs came to their "
        "end\n",
        optimizer, in_checkpoint, (long long)calls, anywhere, done);
    munmap(f, sizeof *f);
}

static int kills(void)
{
    return getenv("LONG") && atoi(getenv("LONG")) ? 100 : 10;
}

static void test_adan(void **state)
{
    test_killed_anywhere(state, "--optim adan_r", kills());
}

static void test_adamw(void **state)
{
    test_killed_anywhere(state, "--optim adamw --grad-clip 1 --checkpoint-async", kills());
}

static void test_parts(void **state)
{
    test_killed_anywhere(state, "--optim adan_r --checkpoint-parts", kills() / 2);
}

static void test_parts_offloaded(void **state)
{
    test_killed_anywhere(state, "--optim adamw --checkpoint-parts --offload states", kills() / 2);
}

static void test_parts_beside(void **state)
{
    test_killed_anywhere(state, "--optim adamw --checkpoint-parts --checkpoint-async", kills() / 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {TEST(test_adan), TEST(test_adamw), TEST(test_parts),
                                       TEST(test_parts_offloaded), TEST(test_parts_beside)};
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
