/* test_fingerprint.c - base/fingerprint.h: all that is in a file counts, once. */
#include "base/fingerprint.h"
#include "test/scratch.h"

#include <fcntl.h>
#include <omp.h>
#include <sys/stat.h>
#include <time.h>

enum { BLOCK = 1 << 18, SIZE = 20 * BLOCK + 77 };

static const char *const names[] = {"a", "b", "empty", "c"};

enum { FILES = sizeof names / sizeof *names };

static fingerprint of_all(const fingerprint *known)
{
    fingerprint_file files[FILES];
    fingerprint f;
    for (int i = 0; i < FILES; i++)
        files[i] = (fingerprint_file){names[i], names[i], -1};
    ok(fingerprint_files(files, FILES, 0, known, &f));
    return f;
}

static void write_files(void)
{
    uint8_t *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    file_write("a", bytes, SIZE);
    file_write("b", bytes, 1);
    file_write("empty", bytes, 0);
    file_write("c", bytes, 3 * BLOCK);
    free(bytes);
}

static void flip(const char *name, off_t at)
{
    uint8_t byte;
    int fd = open(name, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void test_every_block_counts(void **state)
{
    (void)state;
    write_files();
    fingerprint first = of_all(NULL);
    assert_int_equal(first.read, first.bytes);
    assert_int_equal(first.bytes, SIZE + 1 + 3 * BLOCK);
    for (off_t at = 0; at < SIZE; at += BLOCK / 2 + 31) {
        flip("a", at);
        assert_true(of_all(NULL).value != first.value);
        flip("a", at);
    }
    flip("a", SIZE - 1);
    assert_true(of_all(NULL).value != first.value);
    flip("a", SIZE - 1);
    assert_true(of_all(NULL).value == first.value);
}

/* Where one file ends and the next begins, and what they are called. */
static void test_borders_count(void **state)
{
    (void)state;
    write_files();
    fingerprint first = of_all(NULL);
    assert_int_equal(rename("empty", "x") || rename("b", "empty") || rename("x", "b"), 0);
    assert_true(of_all(NULL).value != first.value);
    write_files();
    fingerprint_file swapped[] = {{"c", NULL, -1}, {"b", NULL, -1}},
                     as[] = {{"b", NULL, -1}, {"c", NULL, -1}};
    fingerprint x, y;
    ok(fingerprint_files(swapped, 2, 0, NULL, &x));
    ok(fingerprint_files(as, 2, 0, NULL, &y));
    assert_true(x.value != y.value);
    ok(fingerprint_files(as, 2, 1, NULL, &x));
    assert_true(x.value != y.value);
}

static void test_threads(void **state)
{
    (void)state;
    write_files();
    omp_set_num_threads(1);
    fingerprint one = of_all(NULL);
    omp_set_num_threads(7);
    fingerprint seven = of_all(NULL);
    assert_true(one.value == seven.value && one.read == seven.read);
}

/* What is known is taken only while the files are what they were. */
static void test_known(void **state)
{
    (void)state;
    write_files();
    fingerprint first = of_all(NULL), known = first;
    known.value = 4711; /* so that it is seen where a value comes from */
    assert_true(of_all(&known).value == 4711);
    struct stat st;
    assert_int_equal(stat("a", &st), 0);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* the system's clock has ticks */
    flip("a", BLOCK);
    assert_int_equal(utimensat(AT_FDCWD, "a", (struct timespec[]){st.st_atim, st.st_mtim}, 0), 0);
    fingerprint now = of_all(&known); /* its modification time says that nothing has changed */
    assert_true(now.value != 4711 && now.value != first.value);
    flip("a", BLOCK);
    assert_true(of_all(&now).value == first.value);
}

/* What cannot be read has no contents where it is opened here, and is an error where it is open. */
static void test_unreadable(void **state)
{
    (void)state;
    write_files();
    fingerprint first = of_all(NULL);
    assert_int_equal(unlink("c"), 0);
    fingerprint without = of_all(NULL);
    assert_true(without.value != first.value);
    assert_int_equal(without.bytes, SIZE + 1);
    int fd = open("b", O_WRONLY);
    fingerprint f;
    fails(fingerprint_files(&(fingerprint_file){"b", NULL, fd}, 1, 0, NULL, &f), "b",
          "cannot be read");
    close(fd);
    fails(fingerprint_path("c", &f), "c", "No such file");
}

/* Of more than 2.5 GB no more than that is read, evenly: the sizes alone decide which. */
static void test_large(void **state)
{
    (void)state;
    const int64_t most = INT64_C(2500000000), large = INT64_C(10500000000);
    fingerprint x, y;
    int fd = open("large", O_RDWR | O_CREAT, 0666);
    if (fd < 0 || ftruncate(fd, most)) skip(); /* a disk without room for holes */
    ok(fingerprint_path("large", &x));
    assert_int_equal(x.read, most);
    if (ftruncate(fd, large)) skip();
    close(fd);
    ok(fingerprint_path("large", &x));
    assert_int_equal(x.bytes, large);
    assert_in_range(x.read, most - 2 * BLOCK, most);
    flip("large", 0); /* block 0 counts, and of any five neighbours one does */
    ok(fingerprint_path("large", &y));
    assert_true(x.value != y.value);
    flip("large", 0);
    for (off_t i = 0; i < 5; i++)
        flip("large", large / 2 + i * BLOCK);
    ok(fingerprint_path("large", &y));
    assert_true(x.value != y.value);
    assert_int_equal(unlink("large"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_block_counts),
        cmocka_unit_test(test_borders_count),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
