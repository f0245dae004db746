/* test_tokens.c - token shards, written, read and damaged.
 *
 * Short: one flip of each byte that means something.  LONG=1: all 255 flips of each, and every cut
 * of the header. */
#include "test/long.h"
#include "test/shards.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "data/tokens_format.h"

enum { HEADER = 1024 };

/* ---- shards ---- */

static void check_width(void **state, int64_t vocab, int32_t magic, int32_t version, size_t width)
{
    enum { N = 10000 }; /* more than is converted at a time */
    static int32_t ids[N], back[N];
    for (int32_t i = 0; i < N; i++)
        ids[i] = (int32_t)(vocab - 1 - i);
    char *path = scratch_path(state, "width.bin");
    token_writer *w;
    ok(tokens_create(path, vocab, &w));
    ok(tokens_append(w, ids, 17));
    ok(tokens_append(w, ids + 17, N - 17));
    ok(tokens_finish(w));

    size_t n_bytes;
    uint8_t *bytes = file_read(path, &n_bytes);
    assert_int_equal(n_bytes, HEADER + N * width);
    int32_t header[256];
    memcpy(header, bytes, sizeof header);
    const int32_t wanted[256] = {magic, version, N};
    assert_memory_equal(header, wanted, sizeof header);
    for (size_t i = 0; i < width; i++) /* little endian */
        assert_int_equal(bytes[HEADER + i], (ids[0] >> 8 * i) & 255);
    free(bytes);

    token_set *set;
    ok(open_one(state, "width.bin", vocab, &set));
    assert_int_equal(tokens_shards(set), 1);
    assert_int_equal(tokens_count(set, 0), N);
    assert_string_equal(tokens_path(set, 0), path);
    ok(tokens_read(set, 0, 0, N, back));
    assert_memory_equal(back, ids, sizeof ids);
    ok(tokens_read(set, 0, 4095, 3, back));
    assert_memory_equal(back, ids + 4095, 3 * sizeof *ids);
    ok(tokens_read(set, 0, N, 0, back));
    tokens_close(set);
    free(path);
}

static void test_16_bits(void **state)
{
    check_width(state, 50257, 20240520, 1, 2);
    check_width(state, 65536, 20240520, 1, 2);
}

static void test_32_bits(void **state)
{
    check_width(state, 65537, 20240801, 7, 4);
    check_width(state, INT32_MAX, 20240801, 7, 4);
}

static void test_globs(void **state)
{
    make_shard(state, "g_2.bin", 256, 20, 4);
    make_shard(state, "g_10.bin", 256, 10, 3);
    make_shard(state, "g_1.bin", 256, 1, 2);
    make_shard(state, "h[1].bin", 256, 5, 6);
    token_set *set;
    ok(open_one(state, "g_*.bin", 256, &set));
    assert_int_equal(tokens_shards(set), 3); /* sorted by name, byte by byte */
    assert_non_null(strstr(tokens_path(set, 0), "g_1.bin"));
    assert_non_null(strstr(tokens_path(set, 1), "g_10.bin"));
    assert_non_null(strstr(tokens_path(set, 2), "g_2.bin"));
    tokens_close(set);

    char *one = scratch_path(state, "g_2.bin"), *many = scratch_path(state, "g_1*.bin");
    const char *patterns[] = {one, many};
    ok(tokens_open(patterns, 2, 256, &set)); /* patterns keep their order */
    assert_int_equal(tokens_shards(set), 3);
    assert_int_equal(tokens_count(set, 0), 4);
    assert_int_equal(tokens_count(set, 1), 2);
    tokens_close(set);
    free(one);
    free(many);

    ok(open_one(state, "h[1].bin", 256, &set)); /* a file's own name comes before its pattern */
    assert_int_equal(tokens_count(set, 0), 6);
    tokens_close(set);
}

static void test_nothing_to_open(void **state)
{
    token_set *set;
    fails(open_one(state, "none_*.bin", 256, &set), "no file matches", "none_*.bin");
    fails(open_one(state, "none.bin", 256, &set), "none.bin", "No such file");
    fails(open_one(state, "", 256, &set), *state, "not a regular file");
    fails(tokens_open(NULL, 0, 256, &set), "no token shards", "tokenize");
    char *pipe_path = scratch_path(state, "pipe.bin");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    fails(open_one(state, "pipe.bin", 256, &set), "pipe.bin", "not a regular file");
    free(pipe_path);
}

static void test_unreadable(void **state)
{
    make_shard(state, "secret.bin", 256, 0, 10);
    char *path = scratch_path(state, "secret.bin");
    token_set *set;
    uid_t me = geteuid();
    assert_int_equal(chmod(path, 0), 0);
    if (me == 0) assert_int_equal(seteuid(65534), 0); /* root may read everything */
    error *e = open_one(state, "secret.bin", 256, &set);
    assert_int_equal(seteuid(me), 0);
    check_user_error(e, "tokens_open", "secret.bin", "Permission denied");
    free(path);
}

static void test_too_many_open_files(void **state)
{
    make_shard(state, "many_1.bin", 256, 0, 10);
    make_shard(state, "many_2.bin", 256, 0, 10);
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = open("/dev/null", O_RDONLY);
    close(next);
    low = (struct rlimit){(rlim_t)next + 1, old.rlim_max};
    token_set *set;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    error *e = NULL;
    char *one = scratch_path(state, "many_1.bin"), *two = scratch_path(state, "many_2.bin");
    const char *paths[] = {one, two};
    e = tokens_open(paths, 2, 256, &set);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    check_user_error(e, "tokens_open", "many_2.bin", "ulimit -n");
    free(one);
    free(two);
}

/* A shard of uint16 with these header fields and so many bytes after the header. */
static void make_raw(void **state, int32_t magic, int32_t version, int32_t n, size_t payload)
{
    tokens_header h = {.magic = magic, .version = version, .n_tokens = n};
    uint8_t *bytes = calloc(1, HEADER + payload);
    memcpy(bytes, &h, sizeof h);
    char *path = scratch_path(state, "raw.bin");
    file_write(path, bytes, HEADER + payload);
    free(path);
    free(bytes);
}

static void test_damaged_headers(void **state)
{
    static const struct {
        int32_t magic, version, n;
        size_t payload;
        const char *complaint;
    } cases[] = {
        {20240521, 1, 4, 8, "wrong magic number 20240521"},
        {20240520, 7, 4, 8, "format version 7"},
        {20240801, 1, 4, 16, "format version 1"},
        {20240520, 1, 4, 7, "wrong size: 1031 bytes"},
        {20240520, 1, 4, 9, "make 1032"},
        {20240520, 1, 4, 16, "wrong size: 1040 bytes"},
        {20240801, 7, 4, 8, "make 1040"},
        {20240520, 1, INT32_MAX, 8, "make 4294968318"},
        {20240520, 1, -1, 8, "claims -1 tokens"},
        {20240520, 1, INT32_MIN, 8, "claims -2147483648 tokens"},
        {20240520, 1, 0, 0, "the shard is empty"},
        {20240520, 1, 0, 8, "the shard is empty"},
    };
    token_set *set;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_raw(state, cases[i].magic, cases[i].version, cases[i].n, cases[i].payload);
        fails(open_one(state, "raw.bin", 256, &set), "raw.bin", cases[i].complaint);
    }
    char *path = scratch_path(state, "raw.bin");
    file_write(path, "some text", 9);
    fails(open_one(state, "raw.bin", 256, &set), "raw.bin", "9 bytes are too few");
    file_write(path, "", 0);
    fails(open_one(state, "raw.bin", 256, &set), "raw.bin", "0 bytes are too few");
    free(path);
}

static void test_one_bad_shard_among_good_ones(void **state)
{
    make_shard(state, "mix_1.bin", 256, 0, 10);
    char *path = scratch_path(state, "mix_2.bin");
    file_write(path, "text", 4);
    token_set *set;
    fails(open_one(state, "mix_*.bin", 256, &set), "mix_2.bin", "too few");
    free(path);
}

static void test_ids_outside_the_vocabulary(void **state)
{
    int32_t ids[5000];
    token_set *set;
    make_shard(state, "range.bin", 5000, 0, 5000);
    ok(open_one(state, "range.bin", 4990, &set));
    ok(tokens_read(set, 0, 0, 4990, ids));
    fails(tokens_read(set, 0, 0, 5000, ids), "range.bin': token 4990 is 4990", "has 4990 tokens");
    fails(tokens_read(set, 0, 4995, 1, ids), "range.bin': token 4995 is 4995", "vocabulary");
    tokens_close(set);

    tokens_header h = {.magic = 20240801, .version = 7, .n_tokens = 1};
    uint32_t huge = UINT32_MAX; /* must not become -1 */
    uint8_t bytes[HEADER + 4];
    memcpy(bytes, &h, HEADER);
    memcpy(bytes + HEADER, &huge, 4);
    char *path = scratch_path(state, "huge.bin");
    file_write(path, bytes, sizeof bytes);
    ok(open_one(state, "huge.bin", INT32_MAX, &set));
    fails(tokens_read(set, 0, 0, 1, ids), "huge.bin': token 0 is 4294967295", "2147483647");
    tokens_close(set);
    free(path);
}

static void test_places_outside_the_shard(void **state)
{
    int32_t ids[10];
    token_set *set;
    make_shard(state, "small.bin", 256, 0, 10);
    ok(open_one(state, "small.bin", 256, &set));
    const struct {
        int shard;
        int64_t first, count;
    } cases[] = {{1, 0, 1},  {-1, 0, 1}, {0, -1, 1},        {0, 0, 11},
                 {0, 10, 1}, {0, 0, -1}, {0, INT64_MAX, 1}, {0, 1, INT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error *e = tokens_read(set, cases[i].shard, cases[i].first, cases[i].count, ids);
        assert_non_null(e);
        assert_int_equal(error_kind_of(e), ERR_INTERNAL);
        error_free(e);
    }
    tokens_close(set);
}

static void test_shard_changes_while_open(void **state)
{
    int32_t ids[10];
    token_set *set;
    make_shard(state, "live.bin", 256, 0, 10);
    ok(open_one(state, "live.bin", 256, &set));
    make_shard(state, "live.bin", 256, 100, 10); /* a new file of that name */
    ok(tokens_read(set, 0, 0, 10, ids));
    assert_int_equal(ids[0], 0);
    tokens_close(set);

    ok(open_one(state, "live.bin", 256, &set));
    char *path = scratch_path(state, "live.bin");
    assert_int_equal(truncate(path, HEADER + 10), 0);
    fails(tokens_read(set, 0, 0, 10, ids), "live.bin", "ends too early");
    tokens_close(set);
    free(path);
}

/* 1.2 thousand million tokens of 32 bits, most of them a hole in the file. */
static void test_over_4_gib(void **state)
{
    enum { N = 1200000000 };
    char *path = scratch_path(state, "large.bin");
    tokens_header h = {.magic = 20240801, .version = 7, .n_tokens = N};
    uint32_t last[2] = {123456, 654321};
    file_write(path, &h, sizeof h);
    int fd = open(path, O_WRONLY);
    off_t at = HEADER + (off_t)4 * (N - 2);
    assert_int_equal(pwrite(fd, last, sizeof last, at), sizeof last);
    close(fd);
    token_set *set;
    int32_t ids[3];
    ok(open_one(state, "large.bin", 700000, &set));
    assert_int_equal(tokens_count(set, 0), N);
    ok(tokens_read(set, 0, N - 3, 3, ids));
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 123456);
    assert_int_equal(ids[2], 654321);
    tokens_close(set);
    remove(path);
    free(path);
}

/* ---- writing ---- */

static int count_files_named(void **state, const char *part)
{
    char *command;
    int n = -1;
    if (asprintf(&command, "ls '%s' | grep -c '%s'", (const char *)*state, part) < 0) return -1;
    FILE *f = popen(command, "r");
    if (f && fscanf(f, "%d", &n) != 1) n = -1;
    if (f) pclose(f);
    free(command);
    return n;
}

static void test_discarding_leaves_the_old_shard(void **state)
{
    make_shard(state, "keep.bin", 256, 7, 3);
    char *path = scratch_path(state, "keep.bin");
    token_writer *w;
    const int32_t id = 1;
    ok(tokens_create(path, 256, &w));
    ok(tokens_append(w, &id, 1));
    ok(tokens_seal(w));
    assert_int_equal(count_files_named(state, "^keep.bin"), 2);
    tokens_discard(w);
    assert_int_equal(count_files_named(state, "^keep.bin"), 1);
    token_set *set;
    ok(open_one(state, "keep.bin", 256, &set));
    assert_int_equal(tokens_count(set, 0), 3);
    tokens_close(set);
    free(path);
}

static void test_unwritable(void **state)
{
    char *path = scratch_path(state, "no/dir/x.bin");
    token_writer *w;
    fails(tokens_create(path, 256, &w), "no/dir/x.bin", "No such file or directory");
    free(path);

    path = scratch_path(state, "taken.bin"); /* a directory cannot be replaced by a file */
    assert_int_equal(mkdir(path, 0700), 0);
    ok(tokens_create(path, 256, &w));
    fails(tokens_finish(w), "taken.bin", "Is a directory");
    assert_int_equal(count_files_named(state, "^taken.bin"), 1);
    free(path);
}

/* A file size limit stands in for a full disk. */
static error *write_limited(const char *path, rlim_t limit)
{
    struct rlimit old, low;
    getrlimit(RLIMIT_FSIZE, &old);
    low = (struct rlimit){limit, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &low);
    static const int32_t ids[100000];
    token_writer *w;
    error *e = tokens_create(path, 256, &w);
    bool created = !e;
    if (!e) e = tokens_append(w, ids, limit > 5000 ? 100000 : 1000);
    if (created && e) tokens_discard(w);
    if (!e) e = tokens_finish(w);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    return e;
}

static void test_full_disk(void **state)
{
    char *path = scratch_path(state, "full.bin");
    fails(write_limited(path, 50000), "cannot write", "full.bin"); /* while appending */
    fails(write_limited(path, 2000), "full.bin", "make room");     /* when the buffer is flushed */
    fails(write_limited(path, 0), "full.bin", "make room");
    assert_int_equal(count_files_named(state, "^full.bin"), 0);
    free(path);
}

static void test_writer_keeps_to_the_vocabulary(void **state)
{
    char *path = scratch_path(state, "ids.bin");
    token_writer *w;
    const int32_t ids[] = {255, 256, -1};
    ok(tokens_create(path, 256, &w));
    ok(tokens_append(w, ids, 1));
    for (int i = 1; i < 3; i++) {
        error *e = tokens_append(w, ids + i, 1);
        assert_non_null(e);
        assert_int_equal(error_kind_of(e), ERR_INTERNAL);
        error_free(e);
    }
    fails(tokens_append(w, ids, (size_t)INT32_MAX), "at most 2147483647", "several runs");
    tokens_discard(w);
    free(path);
}

/* ---- cut and flipped ---- */

static void test_cut_and_flipped(void **state)
{
    enum { N = 50 };
    make_shard(state, "fuzz.bin", 256, 0, N);
    char *path = scratch_path(state, "fuzz.bin");
    size_t n;
    uint8_t *good = file_read(path, &n), *bad = malloc(n);
    token_set *set;
    for (size_t i = 0; i < n; i += i < HEADER ? (size_t)tries(13, 1) : 1) {
        file_write(path, good, i);
        fails(open_one(state, "fuzz.bin", 256, &set), "fuzz.bin", "wrong size");
    }
    int opened = 0, refused = 0;
    size_t flips = (size_t)tries(1, 255); /* of each byte */
    for (size_t at = 0; at < n * flips; at++) {
        size_t i = at / flips;
        uint32_t flip = (uint32_t)(at % flips);
        if (i >= 12 && i < HEADER && i % 101 != 0) continue; /* bytes without meaning: a few do */
        uint32_t bits[4];
        rng_bits(1, RNG_TEST, i, bits);
        memcpy(bad, good, n);
        bad[i] ^= (uint8_t)(1 + (bits[0] + flip) % 255);
        file_write(path, bad, n);
        error *e = open_one(state, "fuzz.bin", 256, &set);
        if (!e) {
            int32_t ids[N];
            opened++;
            e = tokens_read(set, 0, 0, N, ids);
            tokens_close(set);
        }
        if (e) {
            assert_int_equal(error_kind_of(e), ERR_USER);
            refused++;
        }
        error_free(e);
    }
    assert_true(opened > 0);
    assert_true(refused >= 12 + N); /* each byte of the fields, each high byte of an id */
    free(good);
    free(bad);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_16_bits),
        cmocka_unit_test(test_32_bits),
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_nothing_to_open),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_too_many_open_files),
        cmocka_unit_test(test_damaged_headers),
        cmocka_unit_test(test_one_bad_shard_among_good_ones),
        cmocka_unit_test(test_ids_outside_the_vocabulary),
        cmocka_unit_test(test_places_outside_the_shard),
        cmocka_unit_test(test_shard_changes_while_open),
        cmocka_unit_test(test_over_4_gib),
        cmocka_unit_test(test_discarding_leaves_the_old_shard),
        cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_writer_keeps_to_the_vocabulary),
        cmocka_unit_test(test_cut_and_flipped),
    };
    return cmocka_run_group_tests_name("tokens", tests, scratch_make, scratch_remove);
}
