/* test_mfu.c - model FLOP/s utilization: known figures, and the table of GPUs. */
#include "test/scratch.h"
#include "train/mfu.h"

#include <math.h>

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-3 * want)) fail_msg("got %.6g, want %.6g", got, want);
}

/* GPT-2 124M and 350M at T = 1024: what llm.c's formula gives for its parameters,
 * vocabulary padded to 50304. */
static void test_formulas(void **state)
{
    (void)state;
    model_config small = gpt_config("124M", 12, 12, 768, 1024, 50304);
    model_config medium = gpt_config("350M", 24, 16, 1024, 1024, 50304);
    near(mfu_llmc(&small, 124475904, 1024), 8.035e8);
    near(mfu_llmc(&medium, 354871296, 1024), 2.280e9);
    near(mfu_palm(&small, 124475904, 1024), 8.035e8 + 6.0 * 12 * 768 * 1024);
}

static void test_convolutions(void **state)
{
    model_config c = {.layers = 12, .stage = {4, 4, 4}, .width = 32};
    (void)state;
    assert_true(isnan(mfu_llmc(&c, 1467610, 1)));
    assert_true(isnan(mfu_palm(&c, 1467610, 1)));
}

static void test_table(void **state)
{
    (void)state;
    near(mfu_listed_peak("cuda, NVIDIA H100 80GB HBM3, 79.1 GiB", 2), 989.4e12);
    near(mfu_listed_peak("cuda, NVIDIA H100 PCIe, 79.1 GiB", 2), 756e12);
    near(mfu_listed_peak("NVIDIA A100-SXM4-80GB", 4), 19.5e12);
    near(mfu_listed_peak("NVIDIA A10, 22.0 GiB", 2), 125e12);
    assert_true(isnan(mfu_listed_peak("emulated GPU", 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formulas),
                                       cmocka_unit_test(test_convolutions),
                                       cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
