/* test_fit.c - --memory: what is chosen fits, is the fastest by its own count, and trains the same.
 *
 * The rates are given, so that the choice is the same on every machine.  What is counted is held
 * against formulas for a model small enough to add up by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/small_run.h"
#include "train/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const machine_rates rates = {100, 10};

static void parse(const char *arguments, options *o)
{
    static char text[SMALL_TEXT];
    must(small_parse(arguments, text, o));
}

static trainer *planned(const options *o)
{
    trainer *t;
    must(trainer_plan(o, o->task->kind, &t));
    return t;
}

/* ---- what is counted ---- */

/* Operations of one micro-batch: each product forward once and backward twice; attention 2 products
 * forward and 5 backward, over half of all pairs. */
static void test_operations_are_counted(void **state)
{
    (void)state;
    options o;
    double c = 32, inner = 128, vocab = 59, t = 8, b = 3, rows = b * t, accum = 5;
    parse("--layers 2 --heads 2 --width 32 --context 8 --vocab 59 --batch 3 --accum 5", &o);
    trainer *whole = planned(&o);
    double products = 3 * 2 * rows * (2 * (4 * c * c + 2 * c * inner) + vocab * c),
           attention = 2 * 14 * b * c * t * (t + 1) / 2;
    assert_true(fabs(whole->work.flops - accum * (products + attention)) < 1);
    trainer_destroy(whole);
}

static void test_recomputing_costs(void **state)
{
    (void)state;
    static const char *const levels[] = {"none", "norms", "gelu", "attention", "block", "sqrt"};
    double last = 0;
    for (int i = 0; i < 6; i++) {
        char arguments[200];
        options o;
        snprintf(arguments, sizeof arguments, SMALL_MODEL "--layers 5 --recompute %s", levels[i]);
        parse(arguments, &o);
        trainer *t = planned(&o);
        double seconds = fit_seconds(&t->work, &rates);
        if (!(seconds > last)) fail_msg("%s: %g s, not more than %g s", levels[i], seconds, last);
        last = seconds;
        trainer_destroy(t);
    }
}

static void test_freezing_spares(void **state)
{
    (void)state;
    options all, top;
    parse(SMALL_MODEL, &all);
    parse(SMALL_MODEL "--train-only ln_f.*", &top);
    trainer *a = planned(&all), *b = planned(&top);
    assert_true(b->work.flops < 0.6 * a->work.flops);
    trainer_destroy(a);
    trainer_destroy(b);
}

/* ---- what is chosen ---- */

static void test_choice_fits(void **state)
{
    (void)state;
    static const char *const runs[] = {
        SMALL_MODEL "--layers 5 --batch 12 --optim adamw --memory 1M",
        SMALL_MODEL "--layers 5 --batch 12 --optim adan_r --grad-clip 1 --memory 1M",
        SMALL_VIT "--layers 5 --batch 12 --optim lion_r --memory 1M",
        SMALL_MODEL "--layers 5 --batch 4 --accum 3 --optim adama --memory 1M"};
    for (int i = 0; i < 4; i++) {
        options o, plain;
        parse(runs[i], &o);
        plain = o;
        trainer *t = planned(&plain);
        size_t whole = arena_peak(t->arena);
        double fastest = fit_seconds(&t->work, &rates), last = INFINITY;
        trainer_destroy(t);
        for (double part = 0.6; part <= 1.05; part += 0.05) {
            options chosen = o;
            size_t bytes = (size_t)(part * (double)whole);
            error *e = fit_memory(&chosen, o.task->kind, bytes, &rates, NULL);
            if (e) {
                assert_non_null(strstr(error_text(e), "nothing fits"));
                error_free(e);
                assert_true(isinf(last)); /* what fits in less fits in more */
                continue;
            }
            t = planned(&chosen);
            double seconds = fit_seconds(&t->work, &rates);
            if (arena_peak(t->arena) > bytes || seconds > last)
                fail_msg("%s: %zu bytes in %zu, %g s after %g s", runs[i], arena_peak(t->arena),
                         bytes, seconds, last);
            assert_int_equal(chosen.batch * chosen.accum, o.batch * o.accum);
            last = seconds;
            trainer_destroy(t);
        }
        assert_true(last <= fastest);
    }
}

/* With room enough nothing is made again; with less there is a choice; with too little, a refusal
 * that says what helps. */
static void test_words(void **state)
{
    (void)state;
    options o;
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    parse(SMALL_MODEL "--batch 12 --memory 1G", &o);
    must(fit_memory(&o, &gpt_kind, (size_t)1 << 30, &rates, out));
    fclose(out);
    assert_string_equal(o.recompute, "none");
    assert_int_equal(o.batch, 12);
    assert_non_null(strstr(text, "chosen"));
    assert_non_null(strstr(text, "runner-up"));
    assert_non_null(strstr(text, "+ 1 GiB    would buy nothing"));
    free(text);
    parse(SMALL_MODEL "--batch 12 --memory 1K", &o);
    error *e = fit_memory(&o, &gpt_kind, 1024, &rates, NULL);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "nothing fits"));
    assert_non_null(strstr(error_text(e), "MiB are missing with --recompute"));
    assert_non_null(strstr(error_text(e), "try a smaller model"));
    error_free(e);
}

static void test_sizes(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "8X", "-1G", "0", "8G,", "G", "8GB", "nan", "8G 9G"};
    size_t sizes[MOST_SIZES];
    int n;
    must(fit_parse("1.5K,2M,3G", sizes, &n));
    assert_int_equal(n, 3);
    assert_int_equal(sizes[0], 1536);
    assert_int_equal(sizes[1], 2 << 20);
    assert_int_equal(sizes[2], (size_t)3 << 30);
    must(fit_parse("auto", sizes, &n));
    assert_true(n == 1 && !sizes[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error *e = fit_parse(bad[i], sizes, &n);
        if (!e) fail_msg("--memory '%s' is taken", bad[i]);
        error_free(e);
    }
}

static void test_measured(void **state)
{
    (void)state;
    device dev;
    machine_rates got;
    size_t bytes = 0;
    must(device_open(PLACE_CPU, 2, &dev));
    must(fit_measure(&dev, &got));
    must(fit_available(&dev, &bytes));
    device_close(&dev);
    assert_true(got.gflops > 0 && got.gbs > 0 && bytes > 0);
}

/* ---- presets ---- */

static void test_presets(void **state)
{
    (void)state;
    options o;
    char *text = NULL;
    size_t length, sizes[] = {(size_t)1 << 20, (size_t)80 << 30};
    FILE *out = open_memstream(&text, &length);
    parse("--plan --memory 1M,80G", &o);
    must(fit_presets(&o, sizes, 2, out));
    fclose(out);
    assert_non_null(strstr(text, "\n  adamw "));
    assert_non_null(strstr(text, "\n  lion_r "));
    assert_non_null(strstr(text, "none"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations_are_counted),
        cmocka_unit_test(test_recomputing_costs),
        cmocka_unit_test(test_freezing_spares),
        cmocka_unit_test(test_choice_fits),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_presets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
