/* test_checkpoint.c - the protocol of checkpoints: what is on the disk at any moment, what is
 * believed, what is kept, what is removed.  Files here are made up; what they hold in a run is
 * test_resume.c's.
 */
#include "run/checkpoint.h"
#include "base/outfile.h"
#include "test/disk/power.h"
#include "test/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- made-up checkpoints ---- */

/* The bytes of file `which` in the checkpoint of a step. */
static size_t content(int64_t step, int which, uint8_t *out)
{
    size_t n = which == 0 ? 70000 : (size_t)(90 * which);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(i * 7 + (size_t)step * 13 + (size_t)which);
    return n;
}

static error *write_content(void *context, const char *path, int which)
{
    static uint8_t bytes[100000];
    outfile *f;
    size_t n = content(*(int64_t *)context, which, bytes);
    TRY(outfile_create(path, &f));
    error *e = outfile_write(f, bytes, n);
    if (!e) return outfile_commit(f);
    outfile_discard(f);
    return e;
}

static error *write_large(void *context, const char *path)
{
    return write_content(context, path, 0);
}

static error *write_small(void *context, const char *path)
{
    return write_content(context, path, 1);
}

static const checkpoint_part parts[] = {{"model.bin", write_large}, {"state.bin", write_small}};

static error *save(checkpoints *c, int64_t step)
{
    return checkpoint_write(c, step, parts, 2, &step);
}

static void count_reports(void *context, error *why)
{
    ++*(int *)context;
    error_free(why);
}

/* The newest whole one, which must have the bytes of its step. */
static int64_t newest(const char *directory, int *reports)
{
    char path[PATH_LENGTH];
    checkpoints *c;
    int64_t step;
    int left;
    *reports = 0;
    ok(checkpoints_open(directory, &c));
    ok(checkpoints_clean(c, &left));
    ok(checkpoints_newest(c, count_reports, reports, path, &step));
    checkpoints_close(c);
    for (int which = 0; which < 2 && step >= 0; which++) {
        static uint8_t want[100000];
        char file[2 * PATH_LENGTH];
        size_t n, n_want = content(step, which, want);
        snprintf(file, sizeof file, "%s/%s", path, parts[which].name);
        uint8_t *got = file_read(file, &n);
        if (n != n_want || memcmp(got, want, n)) fail_msg("%s has other bytes", file);
        free(got);
    }
    return step;
}

static int count_names(const char *directory, const char *with)
{
    int n = 0;
    DIR *d = opendir(directory);
    if (!d) fail_msg("no directory %s", directory);
    for (struct dirent *e; (e = readdir(d));)
        n += strncmp(e->d_name, "step_", 5) == 0 && strstr(e->d_name, with) != NULL;
    closedir(d);
    return n;
}

static char *make_run(void **state, const char *name)
{
    char *path = scratch_path(state, name);
    if (mkdir(path, 0777)) fail_msg("cannot make %s", path);
    return path;
}

static void remove_run(char *path)
{
    void *tree = path;
    if (scratch_remove(&tree)) fail_msg("cannot remove a directory");
}

/* ---- the power cut ---- */

/* The state after n calls, in every way of losing: `least` is promised, `most` may be there. */
static void check_cut(void **state, const call_log *log, int64_t n, const char *from, int64_t least,
                      int64_t most)
{
    enum { COINS = 6 };
    for (uint64_t coin = 0; coin < POWER_ANY + COINS; coin++) {
        power_loss loss = coin < POWER_ANY ? (power_loss)coin : POWER_ANY;
        int reports;
        char *to = make_run(state, "cut");
        power_cut(log, n, from, to, loss, coin * 1000003 + (uint64_t)n);
        int64_t got = newest(to, &reports);
        if (got < least || got > most)
            fail_msg("after %lld calls, loss %d, coin %d: step %lld, promised was %lld",
                     (long long)n, (int)loss, (int)coin, (long long)got, (long long)least);
        if (count_names(to, ".tmp") || count_names(to, ".trash")) fail_msg("something is left");
        if (loss == POWER_ALL && reports)
            fail_msg("after %lld calls a checkpoint under its own name is not whole", (long long)n);
        remove_run(to);
    }
}

/* Writes steps 10, 20, 30 ... keeping one, and the log of it. */
static void record(const char *directory, call_log *log)
{
    checkpoints *c;
    ok(checkpoints_open(directory, &c));
    calls_record(log);
    for (int64_t step = 10; step <= 40; step += 10) {
        ok(save(c, step));
        calls_mark(step);
        ok(checkpoints_prune(c, 1));
    }
    calls_record(NULL);
    checkpoints_close(c);
}

static void test_power_cut(void **state)
{
    char *from = make_run(state, "run");
    call_log *log = calloc(1, sizeof *log);
    assert_non_null(log);
    record(from, log);
    int64_t done = -1, renames = 0;
    for (int64_t n = 0; n <= log->n; n++) {
        if (n && log->list[n - 1].kind == CALL_MARK) done = log->list[n - 1].file;
        if (n && log->list[n - 1].kind == CALL_RENAME) renames++;
        check_cut(state, log, n, from, done, done < 0 ? 10 : done + 10);
    }
    print_message("%lld calls, %lld renames\n", (long long)log->n, (long long)renames);
    assert_int_equal(done, 40);
    assert_true(renames >= 4 + 3); /* four checkpoints, three removed */
    calls_free(log);
    free(log);
    remove_run(from);
}

/* The test itself: without one of its syncs the protocol does not hold. */
static bool holds_without(void **state, const call_log *log, int64_t omitted, const char *from)
{
    call_log less = *log;
    less.list = malloc((size_t)log->n * sizeof *less.list);
    assert_non_null(less.list);
    bool holds = true;
    int64_t done = -1;
    less.n = 0;
    for (int64_t i = 0; i < log->n; i++)
        if (i != omitted) less.list[less.n++] = log->list[i];
    for (int64_t n = 0; n <= less.n && holds; n++) {
        if (n && less.list[n - 1].kind == CALL_MARK) done = less.list[n - 1].file;
        for (int k = POWER_SYNCED; k <= POWER_NAMES && holds; k++) {
            int reports;
            char *to = make_run(state, "less");
            power_cut(&less, n, from, to, (power_loss)k, 0);
            holds = newest(to, &reports) >= done;
            remove_run(to);
        }
    }
    free(less.list);
    return holds;
}

static void test_every_sync_is_needed(void **state)
{
    char *from = make_run(state, "run2");
    call_log *log = calloc(1, sizeof *log);
    assert_non_null(log);
    record(from, log);
    int64_t mark = 0, tried = 0, idle = 0;
    for (int64_t i = 0; i < log->n && mark < 2; i++) {
        mark += log->list[i].kind == CALL_MARK;
        if (log->list[i].kind != CALL_FSYNC || mark != 1) continue;
        tried++;
        idle += holds_without(state, log, i, from);
    }
    print_message("%lld syncs, %lld without effect\n", (long long)tried, (long long)idle);
    assert_int_equal(tried, 5); /* three files, their directory, the run's */
    assert_int_equal(idle, 0);
    calls_free(log);
    free(log);
    remove_run(from);
}

/* ---- failing calls ---- */

typedef struct {
    int64_t left; /* calls until one fails */
    int number;
    bool onward;
} failing;

static int fail_later(void *context, call_kind kind, const char *path)
{
    failing *f = context;
    (void)path;
    if (kind == CALL_UNLINK || kind == CALL_RMDIR) return 0; /* a full disk lets one remove */
    if (f->left > 0 && --f->left > 0) return 0;
    if (f->left == 0 && !f->onward) {
        f->left = -1;
        return f->number;
    }
    return f->onward ? f->number : 0;
}

/* Each call of a checkpoint fails, alone and with all after it: one clear line, the old one whole,
 * no remains; and the next try works. */
static void test_failing_calls(void **state)
{
    static const int numbers[] = {ENOSPC, EIO, EROFS};
    for (int k = 0; k < 6; k++)
        for (int64_t n = 1;; n++) {
            char *run = make_run(state, "fails");
            checkpoints *c;
            int reports;
            ok(checkpoints_open(run, &c));
            ok(save(c, 1));
            failing f = {.left = n, .number = numbers[k % 3], .onward = k >= 3};
            calls_ask(fail_later, &f);
            error *e = save(c, 2);
            calls_ask(NULL, NULL);
            bool failed = e;
            if (e) check_user_error(e, "checkpoint_write", run, strerror(numbers[k % 3]));
            if (count_names(run, ".tmp")) fail_msg("call %lld failed: remains", (long long)n);
            ok(save(c, 3));
            checkpoints_close(c);
            assert_int_equal(newest(run, &reports), 3);
            assert_int_equal(reports, 0);
            remove_run(run);
            if (!failed) {
                assert_true(n > 12);
                break;
            }
        }
}

/* ---- what is believed ---- */

typedef struct {
    checkpoints *c;
    char *run, said[1000];
} bed;

static void bed_open(bed *b, void **state, int64_t n)
{
    b->run = make_run(state, "bed");
    ok(checkpoints_open(b->run, &b->c));
    for (int64_t step = 1; step <= n; step++)
        ok(save(b->c, step));
}

static void bed_close(bed *b)
{
    checkpoints_close(b->c);
    remove_run(b->run);
}

static void keep_report(void *context, error *why)
{
    bed *b = context;
    snprintf(b->said, sizeof b->said, "%s", error_text(why));
    error_free(why);
}

/* A file of the newest of two is other bytes: refused by its name, and the one before is taken. */
static void expect_refused(bed *b, const char *name, const uint8_t *bytes, size_t n,
                           const char *word, long long where)
{
    char path[PATH_LENGTH], text[PATH_LENGTH];
    checkpoints *c;
    int64_t step;
    snprintf(path, sizeof path, "%s/step_00000002/%s", b->run, name);
    unlink(path); /* file systems sync a file that is cut and written again */
    file_write(path, bytes, n);
    checkpoints_close(b->c);
    ok(checkpoints_open(b->run, &c));
    b->c = c;
    *b->said = 0;
    ok(checkpoints_newest(c, keep_report, b, text, &step));
    if (step != 1) fail_msg("%s, byte %lld: step %lld was taken", name, where, (long long)step);
    if (!strstr(b->said, word) || !strstr(b->said, "step_00000002"))
        fail_msg("%s, byte %lld: \"%s\"", name, where, b->said);
}

static void test_changed_bytes(void **state)
{
    static const char *const names[] = {"model.bin", "state.bin", "manifest.json"};
    bool all = getenv("LONG") && atoi(getenv("LONG"));
    bed b;
    bed_open(&b, state, 2);
    for (int f = 0; f < 3; f++) {
        char path[PATH_LENGTH];
        size_t n;
        snprintf(path, sizeof path, "%s/step_00000002/%s", b.run, names[f]);
        uint8_t *bytes = file_read(path, &n);
        size_t stride = all || f ? 1 : 9973;
        for (size_t i = 0; i < n; i += stride) {
            uint8_t saved = bytes[i];
            bytes[i] = (uint8_t)(saved ^ (1 << (i * 5 % 8)));
            expect_refused(&b, names[f], bytes, n, f == 2 ? "step_" : names[f], (long long)i);
            bytes[i] = saved;
            if (f || i % (5 * stride) == 0)
                expect_refused(&b, names[f], bytes, i, "step_", -(long long)i);
        }
        bytes = realloc(bytes, n + 1);
        assert_non_null(bytes);
        bytes[n] = '\n';
        expect_refused(&b, names[f], bytes, n + 1, names[f], (long long)n);
        file_write(path, bytes, n);
        free(bytes);
        int reports;
        checkpoints_close(b.c);
        assert_int_equal(newest(b.run, &reports), 2); /* as it was */
        ok(checkpoints_open(b.run, &b.c));
    }
    bed_close(&b);
}

/* Cuts the last name off a path, in a copy that lasts until the next call. */
static const char *dirname_of(const char *path)
{
    static char copy[PATH_LENGTH];
    snprintf(copy, sizeof copy, "%s", path);
    *strrchr(copy, '/') = 0;
    return copy;
}

static void test_missing_files(void **state)
{
    static const char *const names[] = {"model.bin", "state.bin", "manifest.json"};
    for (int f = 0; f < 3; f++) {
        bed b;
        char path[PATH_LENGTH];
        int64_t step;
        bed_open(&b, state, 2);
        snprintf(path, sizeof path, "%s/step_00000002/%s", b.run, names[f]);
        assert_int_equal(unlink(path), 0);
        fails(manifest_check(dirname_of(path), 2), names[f], "missing");
        assert_int_equal(mkdir(path, 0777), 0);
        fails(manifest_check(dirname_of(path), 2), names[f], "regular");
        checkpoints_close(b.c);
        ok(checkpoints_open(b.run, &b.c));
        ok(checkpoints_newest(b.c, keep_report, &b, path, &step));
        assert_int_equal(step, 1);
        bed_close(&b);
    }
}

/* A directory under another step's name is not that step. */
static void test_renamed(void **state)
{
    bed b;
    char from[PATH_LENGTH], to[PATH_LENGTH];
    int reports;
    bed_open(&b, state, 2);
    checkpoints_close(b.c);
    snprintf(from, sizeof from, "%s/step_00000001", b.run);
    snprintf(to, sizeof to, "%s/step_00000007", b.run);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(newest(b.run, &reports), 2);
    assert_int_equal(reports, 1);
    ok(checkpoints_open(b.run, &b.c));
    bed_close(&b);
}

static void test_hostile_manifests(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"files\":{}}",
        "{\"files\":[1]}",
        "{\"files\":[{\"name\":\"../state.bin\",\"bytes\":1,\"xxh64\":\"0\"}]}",
        "{\"files\":[{\"name\":\"manifest.json\",\"bytes\":1,\"xxh64\":\"0\"}]}",
        "{\"files\":[{\"name\":\"state.bin\",\"bytes\":-1,\"xxh64\":\"0\"}]}",
        "{\"files\":[{\"name\":\"state.bin\",\"bytes\":1e300,\"xxh64\":\"0\"}]}",
        "{\"files\":[{\"name\":\"state.bin\",\"bytes\":9223372036854775808,\"xxh64\":\"0\"}]}",
        "{\"format\":\"regrad-checkpoint\",\"version\":1,\"step\":2,\"files\":[\n]} ",
    };
    bed b;
    bed_open(&b, state, 2);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_refused(&b, "manifest.json", (const uint8_t *)texts[i], strlen(texts[i]), "step_",
                       (long long)i);
    size_t n = 3 << 20;
    uint8_t *deep = malloc(n);
    assert_non_null(deep);
    memset(deep, '[', n);
    expect_refused(&b, "manifest.json", deep, n, "too long", 0);
    expect_refused(&b, "manifest.json", deep, 1 << 19, "damaged", 0);
    free(deep);
    bed_close(&b);
}

/* ---- what is kept ---- */

static void break_one(const char *run, int64_t step)
{
    char path[PATH_LENGTH];
    snprintf(path, sizeof path, "%s/step_%08lld/state.bin", run, (long long)step);
    file_write(path, "?", 1);
}

static void test_keeps_the_last_whole_ones(void **state)
{
    bed b;
    bed_open(&b, state, 5);
    checkpoints_close(b.c);
    break_one(b.run, 4);
    ok(checkpoints_open(b.run, &b.c)); /* nothing is known of them now */
    ok(checkpoints_prune(b.c, 3));
    assert_int_equal(checkpoints_count(b.c), 4); /* 5, 3, 2 and the broken one between them */
    ok(checkpoints_prune(b.c, 2));
    assert_int_equal(checkpoints_count(b.c), 3);
    ok(checkpoints_prune(b.c, 1));
    assert_int_equal(checkpoints_count(b.c), 1);
    assert_int_equal(checkpoints_latest(b.c), 5);
    assert_int_equal(count_names(b.run, "step_"), 1);
    bed_close(&b);
}

static void test_in_the_way(void **state)
{
    bed b;
    bed_open(&b, state, 3);
    fails(save(b.c, 3), "step_00000003", "already");
    for (int round = 1; round <= 3; round++) { /* broken ones are set aside, each by itself */
        checkpoints_close(b.c);
        break_one(b.run, 3);
        ok(checkpoints_open(b.run, &b.c));
        ok(save(b.c, 3));
        assert_int_equal(count_names(b.run, ".broken"), round);
        assert_int_equal(count_names(b.run, ".tmp"), 0);
    }
    ok(checkpoints_prune(b.c, 1));
    assert_int_equal(count_names(b.run, ".broken"), 3); /* never ours to remove */
    bed_close(&b);
}

static void test_left_overs(void **state)
{
    bed b;
    int n;
    bed_open(&b, state, 1);
    static const char *const made[] = {"step_00000005.tmp", "step_00000001.trash", "step_5.tmp",
                                       "other.tmp", "step_00000009.tmp.mine"};
    for (int i = 0; i < 5; i++) {
        char path[PATH_LENGTH], file[PATH_LENGTH + 8];
        snprintf(path, sizeof path, "%s/%s", b.run, made[i]);
        assert_int_equal(mkdir(path, 0777), 0);
        snprintf(file, sizeof file, "%s/x", path);
        file_write(file, "x", 1);
    }
    ok(checkpoints_clean(b.c, &n));
    assert_int_equal(n, 2); /* the others are no names of ours */
    assert_int_equal(count_names(b.run, "step_"), 3);
    bed_close(&b);
}

static void test_steps_by_name(void **state)
{
    (void)state;
    assert_int_equal(checkpoint_step("step_00000012"), 12);
    assert_int_equal(checkpoint_step("runs/a/step_00000012/"), 12);
    assert_int_equal(checkpoint_step("/x/step_123456789012"), 123456789012);
    static const char *const none[] = {"",
                                       "step_",
                                       "step_12",
                                       "step_-0000001",
                                       "step_00000012.tmp",
                                       "step_0000001x",
                                       "runs",
                                       "step_00000012/x",
                                       "step_99999999999999999999"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (checkpoint_step(none[i]) != -1) fail_msg("%s has a step", none[i]);
}

/* ---- one process at a time ---- */

static void test_lock(void **state)
{
    bed b;
    checkpoints *other;
    bed_open(&b, state, 1);
    fails(checkpoints_open(b.run, &other), b.run, "another process");
    checkpoints_close(b.c);
    ok(checkpoints_open(b.run, &b.c));
    pid_t child = fork();
    if (!child) {
        error *e = checkpoints_open(b.run, &other);
        _exit(e && strstr(error_text(e), "another process") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ok(checkpoints_newest(b.c, keep_report, &b, b.said, &(int64_t){0}));
    bed_close(&b);
}

static void test_no_directory(void **state)
{
    checkpoints *c;
    char *path = scratch_path(state, "nosuch"), *file = scratch_path(state, "file");
    fails(checkpoints_open(path, &c), "nosuch", "No such");
    file_write(file, "x", 1);
    fails(checkpoints_open(file, &c), "file", "Not a directory");
    free(path);
    free(file);
    bed b;
    bed_open(&b, state, 1);
    void *tree = strdup(b.run);
    scratch_remove(&tree); /* gone while it is open */
    fails(save(b.c, 2), "step_00000002.tmp", "No such");
    ok(checkpoints_prune(b.c, 1));
    assert_int_equal(mkdir(b.run, 0777), 0);
    ok(save(b.c, 2));
    ok(checkpoints_prune(b.c, 1)); /* forgets what is not there any more */
    assert_int_equal(checkpoints_count(b.c), 1);
    bed_close(&b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(test_power_cut),         TEST(test_every_sync_is_needed),
        TEST(test_failing_calls),     TEST(test_changed_bytes),
        TEST(test_missing_files),     TEST(test_renamed),
        TEST(test_hostile_manifests), TEST(test_keeps_the_last_whole_ones),
        TEST(test_in_the_way),        TEST(test_left_overs),
        TEST(test_steps_by_name),     TEST(test_lock),
        TEST(test_no_directory),
    };
    /* thousands of small files: in memory, where there is such a place */
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
