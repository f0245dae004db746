/* test_files.c - files and paths as a whole (base/files.h): what they give, and what they refuse */
#include "base/files.h"
#include "base/hash.h"
#include "test/scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void refused(error *e, const char *word)
{
    assert_non_null(e);
    if (!strstr(error_text(e), word)) fail_msg("no '%s' in: %s", word, error_text(e));
    assert_int_equal(error_kind_of(e), ERR_USER);
    error_free(e);
}

static void test_join(void **state)
{
    (void)state;
    char path[PATH_LENGTH], name[PATH_LENGTH];
    assert_null(path_join(path, "a", "b"));
    assert_string_equal(path, "a/b");
    memset(name, 'n', sizeof name);
    name[PATH_LENGTH - 3] = 0; /* "a/" and a zero: the longest */
    assert_null(path_join(path, "a", name));
    assert_int_equal(strlen(path), PATH_LENGTH - 1);
    name[PATH_LENGTH - 3] = 'n';
    name[PATH_LENGTH - 2] = 0;
    refused(path_join(path, "a", name), "too long");
}

static void test_parent(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a/b/c.txt", "a/b"}, {"c.txt", "."}, {"/c.txt", "/"}, {"../c", ".."}, {"/a/b", "/a"}};
    char path[PATH_LENGTH], name[PATH_LENGTH + 2];
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_null(path_parent(path, pairs[i][0]));
        assert_string_equal(path, pairs[i][1]);
    }
    memset(name, 'n', sizeof name);
    name[PATH_LENGTH] = '/';
    name[PATH_LENGTH + 1] = 0;
    refused(path_parent(path, name), "too long");
}

static void test_whole_files(void **state)
{
    char *a = scratch_path(state, "a"), *b = scratch_path(state, "b");
    uint8_t text[200000], *back;
    size_t n;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    assert_null(file_write_all(a, text, sizeof text));
    assert_null(file_copy(a, b));
    assert_null(file_read_all(b, sizeof text, &back, &n));
    assert_int_equal(n, sizeof text);
    assert_memory_equal(back, text, n);
    assert_int_equal(back[n], 0);
    free(back);
    refused(file_read_all(b, sizeof text - 1, &back, &n), "most: 199999");
    assert_null(back);
    assert_null(file_write_text(a, "line"));
    assert_null(file_copy(a, b));
    assert_null(file_read_all(b, 5, &back, &n));
    assert_string_equal((char *)back, "line\n");
    free(back);
    assert_null(file_write_all(a, "", 0));
    assert_null(file_read_all(a, 0, &back, &n));
    assert_int_equal(n, 0);
    free(back);
    free(a);
    free(b);
}

/* The target of a failed copy stays as it was. */
static void test_refused_files(void **state)
{
    char *a = scratch_path(state, "a"), *pipe = scratch_path(state, "pipe");
    uint8_t *bytes;
    size_t n;
    assert_int_equal(mkfifo(pipe, 0666), 0);
    assert_null(file_write_text(a, "before"));
    refused(file_read_all(pipe, 10, &bytes, &n), "not a regular file");
    refused(file_read_all(*state, 10, &bytes, &n), "not a regular file");
    refused(file_copy(pipe, a), "not a regular file");
    refused(file_copy("no/such/file", a), "No such file");
    refused(file_write_all("no/such/file", "x", 1), "No such file");
    assert_null(file_read_all(a, 10, &bytes, &n));
    assert_string_equal((char *)bytes, "before\n");
    free(bytes);
    free(a);
    free(pipe);
}

static void test_parts(void **state)
{
    char *a = scratch_path(state, "a"), to[8] = "";
    int fd = -1;
    int64_t size = 0;
    size_t got;
    assert_null(file_write_all(a, "0123456789", 10));
    assert_null(file_open(a, &fd, &size));
    assert_int_equal(size, 10);
    assert_null(file_pread(fd, a, to, 4, 6));
    assert_string_equal(to, "6789");
    refused(file_pread(fd, a, to, 5, 6), "too early, at byte 10");
    assert_null(file_read_some(fd, a, to, 8, &got));
    assert_int_equal(got, 8);
    assert_null(file_read_some(fd, a, to, 8, &got));
    assert_int_equal(got, 2);
    close(fd);
    refused(file_pread(fd, a, to, 1, 0), "Bad file descriptor");
    free(a);
}

static void test_streams(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t n = 0, capacity = 0, wanted = 3 << 20;
    memory_stream m;
    assert_null(memory_stream_open(&m, "a test"));
    for (size_t i = 0; i < wanted / 8; i++)
        fprintf(m.to, "%7zu\n", i);
    assert_null(memory_stream_close(&m));
    assert_int_equal(m.n, wanted);
    FILE *f = fmemopen(m.text, m.n, "r");
    assert_non_null(f);
    assert_null(stream_read_all(f, "f", &bytes, &n, &capacity));
    rewind(f);
    assert_null(stream_read_all(f, "f", &bytes, &n, &capacity)); /* appends */
    assert_int_equal(n, 2 * wanted);
    assert_memory_equal(bytes, m.text, wanted);
    assert_memory_equal(bytes + wanted, m.text, wanted);
    fclose(f);
    f = fopen("/dev/null", "w");
    refused(stream_read_all(f, "f", &bytes, &n, &capacity), "f cannot be read");
    fclose(f);
    free(bytes);
    free(m.text);
}

static void test_directories(void **state)
{
    char *deep = scratch_path(state, "a/b/c/"), *file = scratch_path(state, "file");
    char *under = scratch_path(state, "file/x"), longest[PATH_LENGTH + 1];
    struct stat st;
    assert_null(make_directory(deep, "--out"));
    assert_null(make_directory(deep, "--out"));
    assert_int_equal(stat(deep, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_null(file_write_text(file, "x"));
    refused(make_directory(file, "--out"), "--out");
    refused(make_directory(under, "--out"), "--out");
    memset(longest, 'n', PATH_LENGTH);
    longest[PATH_LENGTH] = 0;
    refused(make_directory(longest, "--out"), "shorter");
    assert_null(directory_sync(deep));
    refused(directory_sync(file), "cannot open");
    free(deep);
    free(file);
    free(under);
}

/* The values that the authors of FNV publish. */
static void test_hash(void **state)
{
    (void)state;
    assert_true(hash_add(HASH_BEGIN, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(hash_add(HASH_BEGIN, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(hash_add(HASH_BEGIN, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    assert_true(hash_add(hash_add(HASH_BEGIN, "foo", 3), "bar", 3) == UINT64_C(0x85944171f73967e8));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_join),  TEST(test_parent),  TEST(test_whole_files), TEST(test_refused_files),
        TEST(test_parts), TEST(test_streams), TEST(test_directories), TEST(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
