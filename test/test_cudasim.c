/* test_cudasim.c - the emulator of CUDA notices mistakes (test/cudasim/faults.h), and it is the
 * check in question that notices: with that check off, each mistake goes unnoticed.
 *
 * Each runs in a process of its own, which must end in the way that belongs to the check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef CUDASIM

#include "test/cudasim/faults.h"
#include "test/cudasim/runtime.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UPWARDS, DOWNWARDS };
typedef enum { SANITIZER, EMULATOR, RACES, VALUE, VALUE_DOWNWARDS } check;

typedef struct {
    const char *name;
    fault which;
    check by;
    const char *says; /* what its report contains */
    emu_check off;    /* of the emulator: the check to switch off */
} row;

static const row rows[] = {
    {"beyond global memory", FAULT_GLOBAL, SANITIZER, "use-after-poison", 0},
    {"beyond static shared memory", FAULT_STATIC_SHARED, SANITIZER, "out of bounds", 0},
    {"beyond dynamic shared memory", FAULT_DYNAMIC_SHARED, SANITIZER, "heap-buffer-overflow", 0},
    {"beyond a thread's own array", FAULT_OWN_ARRAY, SANITIZER, "out of bounds", 0},
    {"misaligned vector", FAULT_MISALIGNED, SANITIZER, "misaligned address", 0},
    {"forbidden memory", FAULT_FORBIDDEN, SANITIZER, "use-after-poison", 0},
    {"barrier missing", FAULT_MISSING_BARRIER, VALUE_DOWNWARDS, "", 0},
    {"shared memory never written", FAULT_NEVER_WRITTEN, VALUE, "", EMU_NAN},
    {"different barriers", FAULT_DIVERGENT_BARRIER, EMULATOR, "different barriers", EMU_BARRIERS},
    {"barrier for some", FAULT_PARTIAL_BARRIER, EMULATOR, "part of the block", EMU_BARRIERS},
    {"lane that ended", FAULT_EXITED_LANE, EMULATOR, "a lane that ended", EMU_MASKS},
    {"lane outside the mask", FAULT_OUTSIDE_MASK, EMULATOR, "not in mask", EMU_MASKS},
    {"race between blocks", FAULT_BLOCK_RACE, VALUE_DOWNWARDS, "", 0},
    {"barrier missing, in any order", FAULT_MISSING_BARRIER, RACES, "read after a write",
     EMU_RACES},
    {"warp barrier missing", FAULT_MISSING_WARP_BARRIER, RACES, "read after a write", EMU_RACES},
    {"barrier missing in a loop", FAULT_LOOP_BARRIER, RACES, "without a barrier", EMU_RACES},
    {"race between blocks, in any order", FAULT_BLOCK_RACE, RACES, "write after a write",
     EMU_RACES},
    {"sum that is not atomic", FAULT_PLAIN_SUM, RACES, "device memory + 0", EMU_RACES},
    {"fence missing", FAULT_MISSING_FENCE, RACES, "read after a write", EMU_RACES},
    {"race of whole structures", FAULT_STRUCT_RACE, RACES, "copy_struct", EMU_RACES},
    {"nobody wrote it", FAULT_NEVER_WRITTEN, RACES, "nobody wrote", EMU_RACES | EMU_NAN},
    {"copy that nobody waits for", FAULT_COPY_WAIT, EMULATOR, "copies under way", EMU_COPIES},
    {"copy that is in no group", FAULT_COPY_COMMIT, EMULATOR, "copies under way", EMU_COPIES},
    {"misaligned copy", FAULT_COPY_MISALIGNED, EMULATOR, "not aligned to 16", EMU_COPIES},
    {"too much shared memory", FAULT_SHARED_LIMIT, VALUE, "", EMU_LIMITS},
    {"too deep a block", FAULT_THREAD_LIMIT, VALUE, "", EMU_LIMITS},
    {"too wide a grid", FAULT_GRID_LIMIT, VALUE, "", EMU_LIMITS},
    {"device memory and the host", FAULT_HOST_ACCESS, EMULATOR, "", EMU_HOST},
    {"event missing", FAULT_MISSING_EVENT, VALUE, "", EMU_LATE},
    {"buffer used too early", FAULT_EARLY_REUSE, VALUE, "", EMU_LATE},
    {"event missing in a graph", FAULT_GRAPH_EVENT, VALUE, "", EMU_LATE},
    {"stream not joined in a graph", FAULT_GRAPH_JOIN, VALUE, "", EMU_CAPTURE},
    {"waiting while it captures", FAULT_GRAPH_SYNC, VALUE, "", EMU_CAPTURE},
};

typedef struct {
    bool died, right; /* ended by a report; with the right result */
    char report[16000];
} outcome;

typedef int form(fault); /* of the kernels: how they were compiled */

static outcome run_fault(fault which, form *run, int order, emu_check off)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        dup2(ends[1], 2);
        close(ends[0]);
        signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on with the tests */
        emu_set_order(order);
        emu_switch_off(off);
        _exit(run(which) ? 0 : 77);
    }
    close(ends[1]);
    outcome r = {0};
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], r.report + used, sizeof r.report - 1 - used)) > 0;)
        used += (size_t)n;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    r.right = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    r.died = !r.right && !(WIFEXITED(status) && WEXITSTATUS(status) == 77);
    return r;
}

static void test_clean(void **state)
{
    (void)state;
    form *const forms[] = {faults_checked, faults_watched, faults_unchecked};
    for (int order = 0; order < 8; order++)
        for (int i = 0; i < 3; i++)
            for (fault f = FAULT_NONE; f <= FAULT_NONE_GRAPH; f++) {
                outcome r = run_fault(f, forms[i], order, 0);
                if (!r.right) fail_msg("form %d, order %d: %s", i, order, r.report);
            }
}

static void test_faults_are_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *x = &rows[i];
        int order = x->by == VALUE_DOWNWARDS ? DOWNWARDS : UPWARDS;
        outcome r = run_fault(x->which, x->by == RACES ? faults_watched : faults_checked, order, 0);
        bool report = x->by == SANITIZER || x->by == EMULATOR || x->by == RACES;
        if (report ? !r.died || !strstr(r.report, x->says) : r.right)
            fail_msg("%s: not noticed: died %d, right %d: %s", x->name, r.died, r.right, r.report);
    }
}

static void test_by_that_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *x = &rows[i];
        form *without = x->by == RACES       ? faults_watched
                        : x->by == SANITIZER ? faults_unchecked
                                             : faults_checked;
        outcome r = run_fault(x->which, without, UPWARDS, x->off);
        if (!r.right)
            fail_msg("%s: noticed with its check off: died %d: %s", x->name, r.died, r.report);
    }
}

#else

static void skipped(void **state)
{
    (void)state;
    printf("skip the emulator is in the build with sanitizers\n");
    skip();
}
#define test_clean              skipped
#define test_faults_are_noticed skipped
#define test_by_that_check      skipped

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clean),
                                       cmocka_unit_test(test_faults_are_noticed),
                                       cmocka_unit_test(test_by_that_check)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
