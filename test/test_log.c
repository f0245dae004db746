/* test_log.c - numbers in log.jsonl come back as they were: floats to their bits, bytes to the last
 * one. */
#include "run/log.h"
#include "test/scratch.h"

#include <math.h>
#include <string.h>

static void test_numbers_come_back(void **state)
{
    run_log *log;
    int64_t bytes;
    char *path = scratch_path(state, "log.jsonl");
    ok(log_start(path, &log));
    ok(log_value(log, 1, "high_water_bytes", 8583601408.0));
    ok(log_value(log, 1, "val_loss", (double)0.1f));
    ok(log_value(log, 1, "val_loss", (double)1e30f));
    ok(log_value(log, 1, "val_loss", NAN));
    step_record s = {.step = 2,
                     .loss = 7,
                     .ms = 1.5,
                     .forward_ms = 0.25,
                     .backward_ms = NAN,
                     .mfu_llmc = 0.5,
                     .mfu_palm = NAN};
    s.unit = "tokens";
    ok(log_step(log, &s));
    s.step = 3;
    s.checkpoint_ms = 812.5;
    ok(log_step(log, &s));
    ok(log_sync(log, &bytes));
    log_close(log);
    size_t n;
    char *text = (char *)file_read(path, &n);
    assert_int_equal((int64_t)n, bytes);
    text[n - 1] = 0; /* the last newline */
    static const char *const parts[] = {
        "{\"step\":1,\"high_water_bytes\":8583601408}\n",
        "{\"step\":1,\"val_loss\":0.100000001}\n",
        "{\"step\":1,\"val_loss\":1.00000002e+30}\n",
        "{\"step\":1,\"val_loss\":null}\n",
        "{\"step\":2,\"loss\":7,",
        "\"mfu_llmc\":0.5,\"accuracy\":0,\"tokens_per_s\"",
        "\"checkpoint_ms\":812.5,\"peak_bytes\":0}",
        "\"tokens_per_s\":0,\"peak_bytes\":0}\n", /* no checkpoint: nothing of it */
        "\"ms\":1.5,\"forward_ms\":0.25,\"backward_ms\":null,\"optimizer_ms\":0,"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("no %s in %s", parts[i], text);
    free(text);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers_come_back, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
