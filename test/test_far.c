/* test_far.c - the second place of a run's memory: what was written is read, failures of the disk
 * are errors, and nothing is left.
 */
#include "test/scratch.h"
#include "core/far.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static float number(int64_t i)
{
    return (float)(i * 7 % 1001) - 500.0f;
}

static void test_blocks(void **state)
{
    enum { N = 300001 };
    far *f;
    float *x = calloc(N, sizeof *x), *y = calloc(N, sizeof *y);
    uint8_t bytes[5] = {1, 2, 3, 4, 5}, back[5] = {0};
    (void)state;
    ok(far_create(&f));
    far_keep(f, 1, F32, N);
    far_keep(f, 2, U8, 5);
    assert_int_equal(far_bytes(f), (N * 4 + 4095) / 4096 * 4096 + 4096);
    assert_int_equal(far_bytes_of(f, 2), 4096);
    assert_int_equal(far_read(f, (far_block){F32, N, 0}, 0, N, NULL), 0); /* counted, not done */
    assert_int_equal(far_so_far(f).read, 4 * N);
    ok(far_open(f, "empty"));
    far_block a = far_keep(f, 1, F32, N), b = far_keep(f, 2, U8, 5);
    assert_int_equal(count_files("empty"), 0);
    y[7] = 7;
    ok(far_wait(f, far_read(f, a, 0, N, y)));
    for (int64_t i = 0; i < N; i++)
        assert_true(y[i] == 0.0f); /* zero at first */
    for (int64_t i = 0; i < N; i++)
        x[i] = number(i);
    for (int64_t i = 0; i < N; i += 1001) /* many more than wait at a time */
        far_write(f, a, i, N - i < 1001 ? N - i : 1001, x + i);
    far_write(f, b, 0, 5, bytes);
    int64_t first = far_read(f, a, 0, N, y), last = far_read(f, b, 0, 5, back);
    assert_true(last == first + 1);
    ok(far_wait(f, last));
    assert_memory_equal(x, y, N * sizeof *x);
    assert_memory_equal(bytes, back, 5);
    far_moved m = far_so_far(f);
    assert_int_equal(m.read, 2 * 4 * N + 5);
    assert_int_equal(m.written, 4 * N + 5);
    assert_true(m.busy > 0);
    far_destroy(f);
    assert_int_equal(count_files("empty"), 0);
    free(x);
    free(y);
}

/* The disk's calls of this process; one of them may be told to fail. */
static int fail_writes, fail_reads, short_writes;
ssize_t __real_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);

ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (short_writes && n > 1000) n = 1000;
    if (!fail_writes || --fail_writes) return __real_pwrite(fd, from, n, at);
    errno = ENOSPC;
    return -1;
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    if (!fail_reads || --fail_reads) return __real_pread(fd, to, n, at);
    errno = EIO;
    return -1;
}

static void test_disk_fails(void **state)
{
    far *f;
    error *e;
    float x[2000], y[2000] = {0};
    (void)state;
    for (int i = 0; i < 2000; i++)
        x[i] = number(i);
    for (int reads = 0; reads < 2; reads++) {
        ok(far_create(&f));
        far_keep(f, 0, F32, 2000);
        ok(far_open(f, "empty"));
        far_block b = far_keep(f, 0, F32, 2000);
        short_writes = 1;
        far_write(f, b, 0, 2000, x);
        ok(far_wait(f, far_read(f, b, 0, 2000, y)));
        assert_memory_equal(x, y, sizeof x);
        *(reads ? &fail_reads : &fail_writes) = reads ? 1 : 3; /* after a part has been written */
        far_write(f, b, 0, 2000, x);
        far_read(f, b, 0, 2000, y);
        fails(far_wait(f, far_write(f, b, 0, 1, x)), reads ? "cannot read" : "cannot write",
              reads ? "Input/output error" : "No space left on device");
        /* and again: nothing is done any more, so whoever tries once more must not believe the
         * bytes */
        e = far_wait(f, far_read(f, b, 0, 2000, y));
        assert_false(e && error_is_full_disk(e));
        fails(e, reads ? "cannot read" : "cannot write", "is lost");
        far_destroy(f);
        short_writes = fail_reads = fail_writes = 0;
    }
}

static void test_no_place(void **state)
{
    far *f;
    struct rlimit before, small;
    (void)state;
    ok(far_create(&f));
    far_keep(f, 0, F32, 1 << 20);
    fails(far_open(f, "nowhere"), "--offload-to nowhere", "no file can be made there");
    far_destroy(f);
    ok(far_create(&f));
    far_keep(f, 0, F32, 1 << 20);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fails(far_open(f, "empty"), "no room for 4.0 MiB", "give a directory with more");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    far_destroy(f);
    assert_int_equal(count_files("empty"), 0);
}

static int set_up(void **state)
{
    return scratch_enter(state) || mkdir("empty", 0777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_disk_fails),
        cmocka_unit_test(test_no_place),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_leave);
}
