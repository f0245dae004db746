/* test_low_precision.c - bf16 runs from end to end: what is placed, initial values and their
 * masters, files, and how many bytes a parameter takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/long.h"
#include "test/small_run.h"

#include "core/stored_numbers.h"
#include "io/params_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void open_with(small_run *s, const char *more)
{
    char arguments[500];
    snprintf(arguments, sizeof arguments, SMALL_MODEL "--steps 2 %s", more);
    small_open(s, arguments);
}

static void fetch(small_run *s, tensor t, void *to)
{
    op_get(&s->dev, STREAM_COMPUTE, to, t);
    op_sync(&s->dev, STREAM_COMPUTE);
}

/* Weight and master of a row, joined. */
static float value_of(const param *row, const uint16_t *hi, const void *master, int64_t i)
{
    switch (row->master.type) {
    case F32:
        return ((const float *)master)[i];
    case I16:
        return joined(hi[i], ((const int16_t *)master)[i]);
    case I8:
        return joined(hi[i], 256 * ((const int8_t *)master)[i]);
    default:
        return float_of_bf16(hi[i]);
    }
}

/* What an fp32 run begins with is what the masters say, as far as they have room for it. */
static void test_initial_values(void **state)
{
    (void)state;
    static const char *const masters[] = {"fp32", "split16", "split8", "none"};
    enum { MOST = 1 << 14 };
    static float want[MOST], master[MOST];
    static uint16_t hi[MOST];
    small_run wide;
    open_with(&wide, "");
    for (int m = 0; m < 4; m++) {
        char more[60];
        small_run s;
        snprintf(more, sizeof more, "--dtype bf16 --master %s", masters[m]);
        open_with(&s, more);
        for (int i = 0; i < s.t->params.n; i++) {
            const param *row = &s.t->params.row[i];
            assert_true(row->count <= MOST);
            assert_int_equal(row->value.type, BF16);
            assert_int_equal(present(row->master), m < 3);
            fetch(&wide, wide.t->params.row[i].value, want);
            fetch(&s, row->value, hi);
            if (present(row->master)) fetch(&s, row->master, master);
            for (int64_t k = 0; k < row->count; k++) {
                float saved = m == 2 ? with_24_bits(want[k]) : want[k];
                assert_int_equal(hi[k], split_float(saved).hi);
                if (m < 3) assert_true(value_of(row, hi, master, k) == saved);
            }
        }
        small_close(&s);
    }
    small_close(&wide);
}

/* A bf16 file is what a bf16 run has; its masters say the same then.  Nothing else goes in. */
static void test_files(void **state)
{
    (void)state;
    static const char *const masters[] = {"fp32", "split16", "split8"};
    char path[100], wide_path[100];
    small_run first, wide;
    safetensors *file, *wide_file;
    open_with(&first, "--dtype bf16 --seed 2");
    open_with(&wide, "--seed 3");
    snprintf(path, sizeof path, "%s/bf16.safetensors", first.directory);
    snprintf(wide_path, sizeof wide_path, "%s/f32.safetensors", first.directory);
    must(params_write(path, &first.t->params, &first.dev, NULL));
    must(params_write(wide_path, &wide.t->params, &wide.dev, NULL));
    must(safetensors_open(path, &file));
    must(safetensors_open(wide_path, &wide_file));
    for (int m = 0; m < 3; m++) {
        enum { MOST = 1 << 14 };
        static uint16_t want[MOST], got[MOST];
        static float master[MOST];
        char more[60];
        small_run s;
        snprintf(more, sizeof more, "--dtype bf16 --master %s", masters[m]);
        open_with(&s, more);
        must(params_read(file, &s.t->params, &s.dev));
        must(params_adopt(&s.t->params, &s.dev));
        for (int i = 0; i < s.t->params.n; i++) {
            const param *row = &s.t->params.row[i];
            fetch(&first, first.t->params.row[i].value, want);
            fetch(&s, row->value, got);
            fetch(&s, row->master, master);
            assert_memory_equal(got, want, (size_t)row->count * sizeof *got);
            for (int64_t k = 0; k < row->count; k++)
                assert_true(value_of(row, got, master, k) == float_of_bf16(got[k]));
        }
        error *e = params_read(wide_file, &s.t->params, &s.dev);
        assert_non_null(e);
        assert_non_null(strstr(error_text(e), "is F32, but BF16 is needed"));
        error_free(e);
        small_close(&s);
    }
    error *e = params_read(file, &wide.t->params, &wide.dev);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "--widen"));
    error_free(e);
    must(params_read_cast(file, &wide.t->params, CAST_WIDEN, &wide.dev));
    safetensors_close(file);
    safetensors_close(wide_file);
    unlink(path);
    unlink(wide_path);
    small_close(&wide);
    small_close(&first);
}

/* Bytes for each parameter, where every tensor has the form: research's table, but for the scales,
 * 4 bytes for 64 numbers. */
static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        double weight, master, states;
    } all[] = {
        {"--optim adamw", 4, 0, 8},
        {"--optim adamw --state int8", 4, 0, 2 * 1.0625},
        {"--optim adamw --dtype bf16", 2, 4, 8},
        {"--optim adamw --dtype bf16 --master split16", 2, 2, 8},
        {"--optim adamw --dtype bf16 --master split16 --state bf16", 2, 2, 4},
        {"--optim adamw --dtype bf16 --master split8 --state int8", 2, 1, 2 * 1.0625}, /* 5.125 */
        {"--optim adamw --dtype bf16 --master none --state int8", 2, 0, 2 * 1.0625},
        {"--optim lion --dtype bf16 --master split8 --state int8", 2, 1, 1.0625},
        {"--optim adan --dtype bf16 --master split8 --state int8", 2, 1, 3 * 1.0625 + 2},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char arguments[300];
        int64_t count;
        snprintf(arguments, sizeof arguments,
                 "--model gpt2-124m --batch 1 --seq 64 --state-of all %s", all[i].arguments);
        arena_summary s = small_plan(arguments, &count);
        double n = (double)count,
               slack = 0.003; /* blocks begin on 256 bytes, and a sanitizer has red zones */
        assert_true(fabs((double)s.most[KIND_PARAMETER] / n - all[i].weight) < slack);
        assert_true(fabs((double)s.most[KIND_MASTER] / n - all[i].master) < slack);
        assert_true(fabs((double)s.most[KIND_STATE] / n - all[i].states) < slack);
    }
}

/* What stays in fp32 unless it is asked for: vectors, what is small, embeddings. */
static void test_which_states(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        small_run s;
        open_with(&s, all ? "--state int8 --state-of all" : "--state int8");
        int low = 0;
        for (int i = 0; i < s.t->params.n; i++) {
            const param *row = &s.t->params.row[i];
            const tensor *states = s.t->optimizer->state[i], *scales = s.t->optimizer->scale[i];
            bool matrix = row->spec.shape.rank == 2 && row->count >= 4096 && !row->spec.embedding;
            assert_int_equal(states[0].type, matrix || all ? I8 : F32);
            assert_int_equal(states[1].type, matrix || all ? U8 : F32);
            assert_int_equal(present(scales[0]), matrix || all);
            low += matrix;
        }
        assert_true(low > 0 && low < s.t->params.n);
        small_close(&s);
    }
}

/* ---- products of operands in 8 bits ---- */

/* The mean loss of a run's last ten steps. */
static double end_of(const char *more, int seed)
{
    char arguments[400];
    snprintf(arguments, sizeof arguments,
             "--layers 2 --heads 2 --width 32 --context 16 --seq 16 --vocab 59 --batch 8 --threads "
             "2 --steps 60 --warmup 5 --lr 0.01 --dtype bf16 --seed %d %s",
             seed, more);
    small_result r = small_train(arguments);
    double sum = 0;
    for (int64_t i = r.steps - 10; i < r.steps; i++)
        sum += r.loss[i] / 10;
    small_free(&r);
    return sum;
}

/* Three seeds: the losses of both kinds of products are apart by less than those of the seeds. */
static void test_losses_in_8_bits(void **state)
{
    (void)state;
    double sums[2] = {0}, low = INFINITY, high = 0, unlike = 0;
    if (thin_run()) return; /* a matter of numbers */
    for (int seed = 1; seed <= 3; seed++) {
        double wide = end_of("", seed), narrow = end_of("--products fp8", seed);
        print_message("  seed %d: bf16 %.4f, fp8 %.4f\n", seed, wide, narrow);
        sums[0] += wide / 3, sums[1] += narrow / 3;
        low = fmin(low, wide), high = fmax(high, wide);
        unlike = fmax(unlike, fabs(wide - narrow));
    }
    if (unlike == 0) fail_msg("fp8 has the losses of bf16");
    if (fabs(sums[0] - sums[1]) > high - low)
        fail_msg("bf16 %.4f, fp8 %.4f; the seeds' spread is %.4f", sums[0], sums[1], high - low);
}

static void refused(error *e, const char *says)
{
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), ERR_USER);
    if (!strstr(error_text(e), says)) fail_msg("\"%s\" does not say \"%s\"", error_text(e), says);
    error_free(e);
}

static void test_no_8_bits(void **state)
{
    (void)state;
    char text[SMALL_TEXT];
    options o;
    trainer *t;
    refused(
        small_parse(SMALL_MODEL "--products fp8", text, &o),
        "--products fp8 with --dtype fp32: operands of bf16 are rounded to 8 bits; give --dtype "
        "bf16");
    options_free(&o);
    must(small_parse(SMALL_MODEL "--products fp8 --dtype bf16", text, &o)); /* of width 33 */
    refused(trainer_plan(&o, o.task->kind, &t),
            "--products fp8: no matrix between this model's layers has sides that are multiples of "
            "16");
    options_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initial_values),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_which_states),
        cmocka_unit_test(test_losses_in_8_bits),
        cmocka_unit_test(test_no_8_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
