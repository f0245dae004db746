/* test_trainer.c - what a training run does besides training: stop at a loss that is not a number
 * and say where it comes from, evaluate, predict, report bad data.
 *
 * Short: one parameter is spoiled under a few optimizers.  LONG=1: every parameter under every
 * optimizer, form and policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/text_source.h"
#include "test/long.h"
#include "test/small_run.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *parameter(small_run *s, const char *name, int64_t *n)
{
    for (int i = 0; i < s->t->params.n; i++) {
        char text[100];
        if (strcmp(param_text(&s->t->params.row[i], text, sizeof text), name)) continue;
        *n = s->t->params.row[i].count;
        return s->t->params.row[i].value.data;
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

static void expect_words(error *e, const char *const *words)
{
    assert_non_null(e);
    assert_int_equal(error_kind_of(e), ERR_USER);
    for (; *words; words++)
        if (!strstr(error_text(e), *words))
            fail_msg("\"%s\" does not say \"%s\"", error_text(e), *words);
    error_free(e);
}

/* Spoils one value after two good steps; the third must change nothing and name the culprit. */
static void spoil(const char *arguments, const char *name, float value, const char *const *words)
{
    small_run s;
    step_result r;
    int64_t n, other = 0;
    small_open(&s, arguments);
    for (int64_t step = 1; step <= 2; step++) {
        must(trainer_step(s.t, s.data, step, 1e-3, &r));
        assert_true(r.finite);
    }
    parameter(&s, name, &n)[3] = value;
    float *watched = parameter(&s, "wpe.weight", &other),
          *before = malloc((size_t)other * sizeof *before);
    assert_non_null(before);
    memcpy(before, watched, (size_t)other * sizeof *before);
    must(trainer_step(s.t, s.data, 3, 1e-3, &r));
    assert_false(r.finite);
    assert_memory_equal(before, watched, (size_t)other * sizeof *before);
    expect_words(trainer_find_fault(s.t, s.data, 3, r.loss), words);
    assert_memory_equal(before, watched, (size_t)other * sizeof *before);
    free(before);
    small_close(&s);
}

static void test_nan_in_a_parameter(void **state)
{
    (void)state;
    const char *const words[] = {"step 3",          "nan",  "h.1.mlp.c_fc.weight",
                                 "before the step", "1 of", NULL};
    spoil(SMALL_MODEL "--optim adamw", "h.1.mlp.c_fc.weight", NAN, words);
    spoil(SMALL_MODEL "--optim adamw_r", "h.1.mlp.c_fc.weight", NAN, words);
    spoil(SMALL_MODEL "--optim adama --accum 3", "h.1.mlp.c_fc.weight", NAN, words);
    spoil(SMALL_MODEL "--optim adan_r --accum 3", "h.1.mlp.c_fc.weight", NAN, words);
    spoil(SMALL_MODEL "--optim lion --optim-impl passes --grad-clip 1", "h.1.mlp.c_fc.weight", NAN,
          words);
}

/* Every parameter under every optimizer, form and policy. */
static void test_nan_anywhere(void **state)
{
    (void)state;
    static const char *const optims[] = {"adamw", "adan_r", "lion", "sgd_r"};
    static const char *const more[] = {"", "--accum 2", "--optim-impl passes --grad-clip 1",
                                       "--gradients overlay"};
    options o;
    trainer *t;
    char *argv[] = {(char *)(size_t) "test", (char *)(size_t) "--layers=2",
                    (char *)(size_t) "--heads=3", (char *)(size_t) "--width=33"};
    if (!long_run()) return;
    must(options_parse(&text_task, 4, argv, &o));
    must(trainer_plan(&o, text_task.kind, &t));
    for (int i = 0; i < t->params.n; i++)
        for (int k = 0; k < 16; k++) {
            char name[100], arguments[400];
            snprintf(arguments, sizeof arguments, SMALL_MODEL "--optim %s %s", optims[k / 4],
                     more[k % 4]);
            const char *const words[] = {
                "step 3",          "nan",  param_text(&t->params.row[i], name, sizeof name),
                "before the step", "1 of", NULL};
            spoil(arguments, name, NAN, words);
        }
    trainer_destroy(t);
}

static void test_overflow_in_an_activation(void **state)
{
    (void)state;
    const char *const words[] = {"step 3", "h0.norm1", "written by norm", "--lr", NULL};
    spoil(SMALL_MODEL "--optim adamw_r", "h.0.ln_1.weight", 3e38f, words);
}

static void test_evaluation_is_repeatable(void **state)
{
    (void)state;
    small_run s;
    eval_result a, b;
    step_result r;
    small_open(&s, SMALL_MODEL "--eval-batches 3");
    must(trainer_evaluate(s.t, s.data, &a));
    must(trainer_evaluate(s.t, s.data, &b));
    assert_true(a.loss == b.loss);
    assert_true(fabs(a.loss - log(59)) < 0.1); /* untrained: every token alike */
    must(trainer_step(s.t, s.data, 1, 1e-2, &r));
    must(trainer_evaluate(s.t, s.data, &b));
    assert_true(a.loss != b.loss);
    small_close(&s);
}

/* Windows that are less than two batches are evaluated once each, whole batches of them. */
static void test_evaluation_counts_none_twice(void **state)
{
    (void)state;
    small_run s;
    eval_result one, all;
    small_open(&s, SMALL_MODEL "--eval-batches 1");
    must(trainer_evaluate(s.t, s.data, &one));
    small_close(&s);
    small_open(&s, SMALL_MODEL "--eval-batches 8");
    for (s.data->count = 3; s.data->count < 6; s.data->count++) {
        assert_int_equal(trainer_eval_samples(s.t, s.data), 3);
        must(trainer_evaluate(s.t, s.data, &all));
        assert_true(all.loss == one.loss);
    }
    assert_int_equal(trainer_eval_samples(s.t, s.data), 6);
    must(trainer_evaluate(s.t, s.data, &all));
    assert_true(all.loss != one.loss);
    small_close(&s);
}

/* The loss that training reports is what the logits of the decoder say. */
static void test_decoder_agrees_with_the_loss(void **state)
{
    (void)state;
    enum { V = 59, T = 11 };
    small_run s;
    eval_result eval;
    double sum = 0;
    int32_t inputs[3 * T], targets[3 * T];
    float logits[V];
    small_open(&s, SMALL_MODEL "--eval-batches 1 --sample-every 1");
    must(trainer_evaluate(s.t, s.data, &eval));
    must(source_read(s.data, 0, 3, inputs, targets));
    for (int b = 0; b < 3; b++) {
        decoder_begin(&s.t->decoder);
        for (int t = 0; t < T; t++) {
            decoder_push(&s.t->decoder, inputs + b * T + t, 1);
            must(decoder_next(&s.t->decoder, logits));
            double z = 0;
            for (int i = 0; i < V; i++)
                z += exp((double)logits[i]);
            sum += log(z) - (double)logits[targets[b * T + t]];
        }
        decoder_end(&s.t->decoder);
    }
    assert_true(fabs(sum / (3 * T) - eval.loss) < 1e-5);
    small_close(&s);
}

static void test_token_outside_the_vocabulary(void **state)
{
    (void)state;
    small_run s;
    step_result r;
    small_open(&s, SMALL_MODEL);
    source *data;
    const char *pattern = s.shard;
    must(text_source_open(&pattern, 1, 10, 11, 3, BATCHES_SEQUENTIAL, 1, &data)); /* ids: to 58 */
    const char *const words[] = {"x_train.bin", "10", NULL};
    expect_words(trainer_step(s.t, data, 1, 1e-3, &r), words);
    source_close(data);
    small_close(&s);
}

/* What cuDNN's attention has not, and that a CPU has none of it. */
static void test_attention_by_cudnn(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        const char *says[3]; /* NULL: it is taken */
    } cases[] = {
        {"--attention cudnn --dtype bf16", {NULL}},
        {"--attention cudnn-repeatable --dtype bf16 --model qwen-nano", {NULL}},
        {"--attention torch", {"--attention torch", "flash, cudnn, cudnn-repeatable"}},
        {"--attention cudnn", {"--attention cudnn", "--dtype bf16"}},
        {"--attention cudnn --dtype bf16 --model bloom-nano", {"--attention cudnn", "ALiBi"}},
        {"--attention cudnn --dtype bf16 --model falcon-nano", {"--attention cudnn", "shared"}},
        {"--attention cudnn --dtype bf16 --width 36 --heads 3", {"--attention cudnn", "8, 16, 24"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static options o;
        char text[SMALL_TEXT];
        trainer *t;
        error *e = small_parse(cases[i].arguments, text, &o);
        if (!cases[i].says[0] && !e) {
            const char *const words[] = {o.attention, "--device cuda", NULL};
            o.device = DEVICE_CPU;
            e = trainer_plan(&o, text_task.kind, &t);
            expect_words(e, words);
        } else {
            expect_words(e, cases[i].says);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nan_in_a_parameter),
        cmocka_unit_test(test_nan_anywhere),
        cmocka_unit_test(test_overflow_in_an_activation),
        cmocka_unit_test(test_evaluation_is_repeatable),
        cmocka_unit_test(test_evaluation_counts_none_twice),
        cmocka_unit_test(test_decoder_agrees_with_the_loss),
        cmocka_unit_test(test_token_outside_the_vocabulary),
        cmocka_unit_test(test_attention_by_cudnn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
