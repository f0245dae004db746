/* test_golden.c - the reader of golden files: what it reads, and what it says of broken ones. */
#include "test/golden.h"

#include "test/scratch.h"

#include <math.h>

static error *open_text(void **state, const char *text, golden **g)
{
    char *path = scratch_path(state, "values");
    file_write(path, text, strlen(text));
    error *e = golden_open(path, g);
    free(path);
    return e;
}

static void expect(const golden *g, const char *name, int64_t n, const double *want)
{
    const double *got;
    int64_t count;
    ok(golden_get(g, name, &got, &count));
    assert_int_equal(count, n);
    for (int64_t i = 0; i < n; i++)
        if (!(got[i] == want[i] || (isnan(got[i]) && isnan(want[i]))))
            fail_msg("%s[%lld]: got %.17g, want %.17g", name, (long long)i, got[i], want[i]);
}

static void test_reads(void **state)
{
    golden *g;
    ok(open_text(state,
                 "# a comment 3\n"
                 "loss 1\n4.15887928\n"
                 "h0.w 6 1e-3 0.10000000000000001  # first two\n"
                 "\t-4.5e-4 0\r\n\n inf nan\n"
                 "none 0\n"
                 "same-line 2 7 8 next 1\n9",
                 &g));
    expect(g, "loss", 1, (double[]){4.15887928});
    expect(g, "h0.w", 6, (double[]){1e-3, 0.1, -4.5e-4, 0, INFINITY, NAN});
    expect(g, "none", 0, NULL);
    expect(g, "same-line", 2, (double[]){7, 8});
    expect(g, "next", 1, (double[]){9});
    const double *values;
    int64_t n;
    fails(golden_get(g, "Loss", &values, &n), "'Loss'", "values");
    golden_free(g);
}

static void test_many(void **state)
{
    enum { NAMES = 100, VALUES = 37 };
    char *path = scratch_path(state, "many");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < NAMES; i++) {
        fprintf(f, "x%d %d\n", i, VALUES);
        for (int k = 0; k < VALUES; k++)
            fprintf(f, "%.17g%c", sin(i * VALUES + k), k % 5 ? ' ' : '\n');
        fprintf(f, "\n");
    }
    assert_int_equal(fclose(f), 0);
    golden *g;
    ok(golden_open(path, &g));
    free(path);
    for (int i = NAMES - 1; i >= 0; i--) {
        char name[20];
        double want[VALUES];
        snprintf(name, sizeof name, "x%d", i);
        for (int k = 0; k < VALUES; k++)
            want[k] = sin(i * VALUES + k);
        expect(g, name, VALUES, want);
    }
    golden_free(g);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"a 2 1 2\nb 3 1 2", "'b'"},
        {"a", "'a'"},
        {"a 2 1 x\n", ":1: 'x'"},
        {"a 2\n1 2\n3\n", ":3: '3'"},
        {"a two 1 2\n", "'two'"},
        {"a -1\n", "'-1'"},
        {"a 1 1\na 1 1\n", ":2: 'a'"},
        {"a 1 1.5e\n", "'1.5e'"},
        {"a 99999999999999999999 1\n", "'99999999999999999999'"},
        {"a 9223372036854775807 1\n", "out of memory"},
    };
    golden *g;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fails(open_text(state, cases[i].text, &g), cases[i].says, "values");
    fails(golden_open("test/golden/no-such-file", &g), "test/golden/no-such-file",
          "cannot be opened");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
