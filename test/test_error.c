/* test_error.c - errors as values: kinds, texts, context, truncation, and the allocation that fails
 * politely.
 *
 * What a user sees is one line "program: context: text" and an exit status; both are read back here
 * through a pipe in place of stderr.
 */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void expect(error *e, error_kind kind, const char *text)
{
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), kind);
    assert_string_equal(error_text(e), text);
    error_free(e);
}

static void test_user(void **state)
{
    (void)state;
    expect(user_error("--batch %d: must be at least %s", -3, "1"), ERR_USER,
           "--batch -3: must be at least 1");
}

static void test_internal(void **state)
{
    (void)state;
    error *e = internal_error("%d blocks", 7);
    char want[200];
    snprintf(want, sizeof want, "internal error at %s:%d: 7 blocks", __FILE__, __LINE__ - 2);
    expect(e, ERR_INTERNAL, want);
}

static void test_context(void **state)
{
    (void)state;
    assert_null(error_context(NULL, "unused"));
    error *e = error_context(user_error("empty"), "shard '%s'", "a.bin");
    expect(error_context(e, "training"), ERR_USER, "training: shard 'a.bin': empty");
}

/* However long the parts are, the text stays a text, and what is cut off is its end. */
static void test_truncation(void **state)
{
    (void)state;
    char huge[5000], context[900];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    memset(context, 'c', sizeof context - 1);
    context[sizeof context - 1] = 0;

    error *e = user_error("%s", huge);
    size_t longest = strlen(error_text(e));
    assert_in_range(longest, 500, sizeof huge - 2);
    assert_int_equal(strspn(error_text(e), "x"), longest);

    e = error_context(e, "%s", context);
    assert_int_equal(strlen(error_text(e)), longest);
    assert_memory_equal(error_text(e), context, sizeof context - 1);
    assert_memory_equal(error_text(e) + sizeof context - 1, ": xx", 4);

    e = error_context(e, "%s", huge); /* no room for a context this long: the text is kept */
    assert_memory_equal(error_text(e), context, sizeof context - 1);
    error_free(e);

    e = internal_error_at(huge, 1, "cut");
    assert_int_equal(error_kind_of(e), ERR_INTERNAL);
    assert_in_range(strlen(error_text(e)), 100, longest);
    error_free(e);
}

static error *through(error *inner, int *reached)
{
    TRY(inner);
    ++*reached;
    return NULL;
}

static void test_try(void **state)
{
    (void)state;
    int reached = 0;
    assert_null(through(NULL, &reached));
    assert_int_equal(reached, 1);
    expect(through(user_error("no"), &reached), ERR_USER, "no");
    assert_int_equal(reached, 1);
}

/* error_report's status, and what it prints into text (size). */
static int reported(error *e, char *text, size_t size)
{
    int ends[2], saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(pipe(ends), 0);
    fflush(stderr);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    int status = error_report("train_gpt", e);
    fflush(stderr);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], text, size - 1);
    close(ends[0]);
    assert_true(n >= 0);
    text[n] = 0;
    return status;
}

static void test_report(void **state)
{
    (void)state;
    char text[300];
    assert_int_equal(reported(user_error("--lr x: must be a number"), text, sizeof text), 1);
    assert_string_equal(text, "train_gpt: --lr x: must be a number\n");
    assert_int_equal(reported(internal_error_at("a.c", 5, "lost"), text, sizeof text), 2);
    assert_string_equal(text, "train_gpt: internal error at a.c:5: lost\n");
}

static void test_free_nothing(void **state)
{
    (void)state;
    error_free(NULL);
}

static void test_alloc_array(void **state)
{
    (void)state;
    int64_t *p = NULL;
    assert_null(alloc_array(&p, 1000, sizeof *p));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    free(p);

    char *none = NULL; /* an empty array is a pointer that can be freed, not a failure */
    assert_null(alloc_array(&none, 0, 8));
    assert_non_null(none);
    free(none);

    int keep = 5, *q = &keep; /* on failure the pointer is left alone */
    error *e = alloc_array(&q, SIZE_MAX / 4, 8);
    assert_ptr_equal(q, &keep);
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), ERR_USER);
    assert_non_null(strstr(error_text(e), "out of memory"));
    error_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user),         cmocka_unit_test(test_internal),
        cmocka_unit_test(test_context),      cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_try),          cmocka_unit_test(test_report),
        cmocka_unit_test(test_free_nothing), cmocka_unit_test(test_alloc_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
