/* test_averages.c - the exponential moving average of the weights: timm's own numbers
 * (golden/average.py), the same bits however the run is divided or stopped, the plan to the byte,
 * and what is evaluated, written and refused.
 */
#include "test/shell.h"
#include "test/formula.h"
#include "test/golden.h"
#include "optim/averages.h"
#include "test/small_run.h"

#include <math.h>
#include <stdbool.h>

/* Decays by step, and the average of weights that are formula numbers. */
static void test_as_timm(void **state)
{
    (void)state;
    golden *g;
    const double *want, *settings;
    int64_t n;
    must(golden_open("test/golden/average.txt", &g));
    for (int warm = 0; warm < 2; warm++) {
        double decay, x[3] = {0};
        must(golden_get(g, "decay", &settings, &n));
        decay = settings[0];
        must(golden_get(g, warm ? "decays.warmup" : "decays", &want, &n));
        for (int64_t step = 1; step <= n; step++)
            if (fabs(average_decay(decay, warm, step) - want[step - 1]) > 1e-9)
                fail_msg("step %lld: decay %.10g, not %.10g", (long long)step,
                         average_decay(decay, warm, step), want[step - 1]);
        must(golden_get(g, warm ? "averages.warmup" : "averages", &want, &n));
        for (uint32_t step = 1; step <= n / 3; step++)
            for (uint32_t k = 0; k < 3; k++) {
                hyper h = {.average_rest = (float)(1 - average_decay(decay, warm, step))};
                lane l = {.p = (float)x[k], .g = formula_value(step, k, 1, 0)};
                average_pass(0, &l, &h);
                x[k] = (double)l.p;
                if (fabs(x[k] - want[3 * (step - 1) + k]) > 2e-6)
                    fail_msg("step %u: %.9g, not %.9g", step, x[k], want[3 * (step - 1) + k]);
            }
    }
    golden_free(g);
}

/* ---- a run ---- */

#define STEPS 6

/* Weights after each step, and the averages in the end, of the run that these arguments give. */
static void follow(const char *arguments, double decay)
{
    small_run s;
    step_result r;
    eval_result before, after;
    small_open(&s, arguments);
    int64_t n = params_count(&s.t->params);
    float *weights, *means, *want;
    must(alloc_array(&weights, (size_t)n, sizeof *weights));
    must(alloc_array(&means, (size_t)n, sizeof *means));
    must(alloc_array(&want, (size_t)n, sizeof *want));
    small_parameters(&s, weights);
    trainer_exchange(s.t);
    small_parameters(&s, means); /* of no step: the weights */
    assert_memory_equal(means, weights, (size_t)n * sizeof *means);
    trainer_exchange(s.t);
    for (int step = 1; step <= STEPS; step++) {
        must(trainer_step(s.t, s.data, step, 0.01, &r));
        small_parameters(&s, weights);
        for (int64_t i = 0; i < n; i++)
            want[i] =
                step == 1 ? weights[i] : want[i] + (float)(1 - decay) * (weights[i] - want[i]);
    }
    must(trainer_evaluate(s.t, s.data, &before));
    trainer_exchange(s.t);
    small_parameters(&s, means);
    must(trainer_evaluate(s.t, s.data, &after)); /* which exchanges them: the weights */
    trainer_exchange(s.t);
    bool bf16 = s.t->params.type == BF16;
    for (int64_t i = 0; i < n; i++) {
        double slack = bf16 ? fabs((double)want[i]) / 256 : 1e-6 * fabs((double)want[i]) + 1e-9;
        if (fabs((double)means[i] - (double)want[i]) > slack)
            fail_msg("%s: average %lld is %.9g, not %.9g", arguments, (long long)i,
                     (double)means[i], (double)want[i]);
    }
    small_parameters(&s, want); /* where they were, to the bit */
    assert_memory_equal(want, weights, (size_t)n * sizeof *want);
    assert_true(before.loss != after.loss);
    assert_true(arena_canary_intact(s.t->arena));
    assert_true(arena_high_water(s.t->arena) <= arena_peak(s.t->arena));
    free(weights);
    free(means);
    free(want);
    small_close(&s);
}

static void test_runs(void **state)
{
    (void)state;
    follow(SMALL_MODEL "--ema 0.75 --steps 6", 0.75);
    follow(SMALL_MODEL "--ema 0.75 --steps 6 --optim adan_r --accum 2", 0.75);
    follow(SMALL_MODEL "--ema 0.75 --steps 6 --optim adama", 0.75);
    follow(SMALL_MODEL "--ema 0.75 --steps 6 --dtype bf16 --master split16", 0.75);
    follow(SMALL_VIT "--ema 0.75 --steps 6 --optim lion_r", 0.75);
}

enum { ROUND = 512 }; /* a block begins on 256 bytes; the sanitizers keep 256 after it */

/* One block of the trained parameters' bytes; nothing else changes but the workspace of an
 * exchange. */
static void test_plan(void **state)
{
    (void)state;
    static const char *const kinds[] = {"", "--optim adamw_r ", "--dtype bf16 "};
    for (int i = 0; i < 3; i++) {
        char text[SMALL_TEXT];
        int64_t n;
        snprintf(text, sizeof text, SMALL_MODEL "%s", kinds[i]);
        arena_summary without = small_plan(text, &n);
        snprintf(text, sizeof text, SMALL_MODEL "%s--ema 0.9", kinds[i]);
        arena_summary with = small_plan(text, &n);
        assert_int_equal(without.most[KIND_AVERAGE], 0);
        size_t per = i == 2 ? sizeof(uint16_t) + sizeof(int16_t) : sizeof(float);
        size_t bytes = (size_t)n * per, most = with.most[KIND_AVERAGE];
        if (most < bytes || most > bytes + ROUND * 2 * 40)
            fail_msg("%s: averages take %zu bytes of %zu", text, most, bytes);
        size_t grown = with.persistent - without.persistent;
        if (grown < most || grown > most + ROUND * 2 * 40)
            fail_msg("%s: the plan grows by %zu bytes for %zu", text, grown, most);
    }
    small_run s; /* frozen weights have none */
    small_open(&s, SMALL_MODEL "--ema 0.9 --train-only ln_f*");
    assert_true(arena_summarize(s.t->arena).most[KIND_AVERAGE] <= 2 * ROUND);
    small_close(&s);
}

/* ---- programs ---- */

#define RUN                                                                                        \
    "train_gpt --device cpu --threads 1 --layers 1 --heads 2 --width 16 --context 16 --vocab 256 " \
    "--seq 8 --batch 2 --eval-batches 2 --eval-every 3 --train-data t_train.bin --val-data "       \
    "t_train.bin --warmup 0 --ema 0.8 --ema-warmup "

/* Stopped and resumed: the same bits of weights, averages and the model that is written; what is
 * written is what was evaluated. */
static void test_resumed(void **state)
{
    (void)state;
    static const char *const kinds[] = {"", "--dtype bf16 --master split8", "--offload states",
                                        "--optim lion_r"};
    shell("seq 1 3000 >t.txt && tokenize --vocab bytes -o t t.txt");
    for (int i = 0; i < 4; i++) {
        char text[3000];
        snprintf(
            text, sizeof text,
            "rm -rf a b; " RUN "%s --steps 6 --checkpoint-every 3 --keep 9 --out a && mkdir b && "
            "cp -r a/step_00000003 b/ && " RUN
            "%s --steps 6 --checkpoint-every 3 --keep 9 --out b --resume auto && "
            "cmp a/model.safetensors b/model.safetensors && "
            "cmp a/step_00000006/optimizer.safetensors b/step_00000006/optimizer.safetensors && "
            "cmp a/step_00000006/model.safetensors b/step_00000006/model.safetensors && "
            "! cmp -s a/model.safetensors a/step_00000006/model.safetensors",
            kinds[i], kinds[i]);
        shell(text);
    }
    /* the checkpoint with its averages, and the model: the loss that the run has told */
    shell("grep -o 'val_loss\":[0-9.]*' a/log.jsonl | tail -n 1 | cut -d: -f2 >want && "
          "train_gpt --device cpu --threads 1 --eval-only --resume auto --out a --json >one && "
          "train_gpt --device cpu --threads 1 --eval-only --load a --val-data t_train.bin --seq 8 "
          "--batch 2 --eval-batches 2 --json >two && "
          "grep -q '\"averaged\":true' one && python3 -c \"import json; w = "
          "float(open('want').read()); "
          "assert all(abs(json.load(open(f))['loss'] - w) < 2e-5 * w for f in ('one', 'two'))\"");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words, *says;
    } cases[] = {{"--ema 0.9 --sparsity 0.5", "--ema 0.9 with --sparsity"},
                 {"--ema-warmup", "--ema-warmup: only with --ema"},
                 {"--ema 0.9 --offload params", "--ema 0.9 with --offload params"},
                 {"--ema 1", "--ema 1: must be between"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options o;
        char text[SMALL_TEXT], words[SMALL_TEXT];
        snprintf(words, sizeof words, SMALL_MODEL "%s", cases[i].words);
        fails(small_parse(words, text, &o), cases[i].says, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_timm), cmocka_unit_test(test_runs), cmocka_unit_test(test_plan),
        cmocka_unit_test(test_refused),
        cmocka_unit_test_setup_teardown(test_resumed, scratch_enter, scratch_leave)};
    put_programs_on_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
