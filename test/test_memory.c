/* test_memory.c - after planning, nothing large is allocated but the arena.
 *
 * The linker sends every allocation of this program through the functions below (--wrap, see the
 * Makefile), and /proc/self/maps shows what libraries map behind its back: OpenBLAS maps a buffer
 * per thread when the device is opened, before the arena is there; that is counted and reported.
 *
 * Two steps, the second of which is as every later one is, and an evaluation of three batches;
 * LONG=1: four, and of eight.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/process_memory.h"
#include "io/params_file.h"
#include "test/long.h"
#include "test/small_run.h"
#include "run/run_state.h"
#include "train/contents.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGE = 1 << 20, SLACK = 48 << 20 };

static volatile bool watching; /* volatile: compilers think that malloc reads no variable of ours */
static volatile int large;     /* allocations of more than LARGE bytes while watching */
static volatile size_t largest;

static void note(size_t bytes)
{
    if (!watching || bytes <= LARGE) return;
    large++;
    if (bytes > largest) largest = bytes;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

void *__wrap_malloc(size_t n)
{
    note(n);
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    note(n * size);
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    note(n);
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    note(n);
    return __real_aligned_alloc(alignment, n);
}

/* Bytes of writable private memory that this process has mapped, used or not. */
static size_t mapped_bytes(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    assert_non_null(f);
    char line[600], mode[8];
    unsigned long from, to;
    size_t sum = 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[0] == 'r' && mode[1] == 'w')
            sum += to - from;
    fclose(f);
    return sum;
}

static void no_report(void *context, error *why)
{
    (void)context;
    must(why);
}

/* Two checkpoints of which one is kept, checked and read back. */
static void keep_and_resume(small_run *s)
{
    char path[PATH_LENGTH];
    checkpoints *c;
    run_contents contents;
    must(contents_describe(s->t, 0, 0, &contents));
    contents.step = 4;
    must(checkpoints_open(s->directory, &c));
    must(run_state_write(c, &contents));
    contents.step = 5;
    must(run_state_write(c, &contents));
    must(checkpoints_prune(c, 1));
    checkpoints_close(c);
    must(checkpoints_open(s->directory, &c));
    must(checkpoints_newest(c, no_report, NULL, path, &contents.step));
    must(run_state_resume(path, &contents));
    assert_int_equal(contents.step, 5);
    checkpoints_close(c);
    contents_free(&contents);
}

static void remove_checkpoints(const small_run *s)
{
    char command[200];
    snprintf(command, sizeof command, "rm -r %s/step_*", s->directory);
    if (system(command)) fail_msg("%s", command);
}

static void one_run(const char *arguments)
{
    small_run s;
    char words[400];
    snprintf(words, sizeof words, "%s --eval-batches %d", arguments, (int)tries(3, 8));
    size_t before = mapped_bytes();
    small_open(&s, words);
    size_t peak = arena_peak(s.t->arena), opened = mapped_bytes();
    print_message("%s\n  arena %.1f MiB; mapped besides, by libraries and staging: %.1f MiB\n",
                  arguments, (double)peak / 1048576.0,
                  (double)(opened - before - peak) / 1048576.0);
    large = 0;
    watching = true;
    for (int64_t step = 1; step <= tries(2, 4); step++) {
        step_result r;
        must(trainer_step(s.t, s.data, step, 1e-3, &r));
    }
    eval_result result;
    must(trainer_evaluate(s.t, s.data, &result));
    char path[100];
    snprintf(path, sizeof path, "%s/model.safetensors", s.directory);
    must(params_write(path, &s.t->params, &s.dev, NULL));
    keep_and_resume(&s);
    watching = false;
    size_t grown = mapped_bytes() - opened, resident = resident_bytes();
    unlink(path);
    remove_checkpoints(&s);
    if (large)
        fail_msg("%d allocations of more than 1 MiB, the largest of %zu bytes", large, largest);
    if ((int64_t)grown > LARGE) fail_msg("mappings grew by %zu bytes while training", grown);
    print_message("  resident %.1f MiB\n", (double)resident / 1048576.0);
    if (resident > peak + peak / 20 + SLACK)
        fail_msg("resident %zu bytes, planned %zu", resident, peak);
    small_close(&s);
}

static void test_wrapping_works(void **state)
{
    (void)state;
    large = 0;
    watching = true;
    void *volatile p = malloc(2 * LARGE);
    watching = false;
    assert_int_equal(large, 1);
    free(p);
}

static void test_nothing_else_is_allocated(void **state)
{
    (void)state;
    one_run("--layers 4 --heads 4 --width 256 --context 128 --vocab 2048 --batch 16 --optim "
            "adamw_r --threads 2");
    one_run("--layers 4 --heads 4 --width 256 --context 128 --vocab 2048 --batch 16 --optim adan "
            "--optim-impl passes --threads 2");
    one_run("--layers 2 --heads 12 --width 768 --context 64 --vocab 50257 --batch 4 --optim lion_r "
            "--accum 2 --threads 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrapping_works),
        cmocka_unit_test(test_nothing_else_is_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
