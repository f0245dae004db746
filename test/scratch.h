/* scratch.h - a directory of its own for a test, files in it, what to expect of errors, and the
 * program to be tested. */
#ifndef REGRAD_TEST_SCRATCH_H
#define REGRAD_TEST_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"

#define ok(expression)                                                                             \
    do {                                                                                           \
        error *ok_error_ = (expression);                                                           \
        if (ok_error_) fail_msg("%s", error_text(ok_error_));                                      \
    } while (0)

/* A user error of one line with both texts in it. */
#define fails(expression, text1, text2) check_user_error((expression), #expression, text1, text2)

static inline void check_user_error(error *e, const char *what, const char *text1,
                                    const char *text2)
{
    if (!e) fail_msg("%s: no error, but one about '%s' was expected", what, text1);
    if (error_kind_of(e) != ERR_USER || strchr(error_text(e), '\n') ||
        !strstr(error_text(e), text1) || !strstr(error_text(e), text2))
        fail_msg("%s: '%s' and '%s' expected in one line: %s", what, text1, text2, error_text(e));
    error_free(e);
}

static inline int scratch_make(void **state)
{
    const char *parent = getenv("TMPDIR");
    char *path;
    if (asprintf(&path, "%s/regrad-test-XXXXXX", parent ? parent : P_tmpdir) < 0) return -1;
    *state = path;
    return mkdtemp(path) ? 0 : -1;
}

static inline int scratch_remove_one(const char *path, const struct stat *s, int flag,
                                     struct FTW *at)
{
    (void)s, (void)flag, (void)at;
    return remove(path);
}

static inline int scratch_remove(void **state)
{
    int status = nftw(*state, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return status;
}

/* Group set-up and tear-down of tests that run in the directory, so that files have short names. */
static inline int scratch_enter(void **state)
{
    return scratch_make(state) || chdir(*state);
}

static inline int scratch_leave(void **state)
{
    return chdir("/") || scratch_remove(state);
}

/* "DIR/name", in a buffer that the caller frees. */
static inline char *scratch_path(void **state, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", (const char *)*state, name) < 0) fail_msg("out of memory");
    return path;
}

static inline void file_write(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) fail_msg("cannot write %s", path);
}

/* The whole file, which the caller frees. */
static inline uint8_t *file_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) fail_msg("cannot read %s", path);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*n + 1);
    if (!bytes || fread(bytes, 1, *n, f) != *n) fail_msg("cannot read %s", path);
    fclose(f);
    return bytes;
}

static inline bool same_bytes(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *x = file_read(a, &n), *y = file_read(b, &m);
    bool same = n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

/* The file of that name is the same in both directories. */
static inline void same_file(const char *a, const char *b, const char *name)
{
    char path[2][2000];
    snprintf(path[0], sizeof path[0], "%s/%s", a, name);
    snprintf(path[1], sizeof path[1], "%s/%s", b, name);
    if (!same_bytes(path[0], path[1])) fail_msg("%s and %s differ", path[0], path[1]);
}

/* Files in a directory, without hidden ones. */
static inline int count_files(const char *directory)
{
    int n = 0;
    DIR *d = opendir(directory);
    if (!d) fail_msg("no directory %s", directory);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

enum { PROGRAM_PATH = 4096 };

/* The path of a program that is built beside this test. */
static inline void find_program(const char *name, char path[PROGRAM_PATH])
{
    ssize_t n = readlink("/proc/self/exe", path, PROGRAM_PATH - 1);
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (!slash) fail_msg("where is this test?");
    snprintf(slash + 1, (size_t)(path + PROGRAM_PATH - (slash + 1)), "%s", name);
    if (access(path, X_OK)) fail_msg("%s is not there: run `make` first", path);
}

#endif
