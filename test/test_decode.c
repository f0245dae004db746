/* test_decode.c - text generation: the logits of the decoder are those of training, at every
 * position; the window moves on; the choose of a token follows its rule.
 *
 * Logits.  Decoder and training forward are the same formula in float, in sums of other orders.  An
 * operation that sums n terms is off by about eps sqrt(n) of its result, in a random direction;
 * some 7 of them follow each other in a block, and 3 outside.  So with N the longest sum (the MLP's
 * width or the text's length) two such passes through L blocks differ by about
 *
 *     c eps sqrt(2 (7 L + 3) N)     of the size (rms) of a position's logits;  c = 4 as in op_case.h
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "test/long.h"
#include "test/small_run.h"
#include "infer/choose_token.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- logits ---- */

enum { L = 3, T = 150, V = 59, BATCH = 2 };

#define REST                                                                                       \
    "--layers 3 --context 150 --vocab 59 --batch 2 --threads 2 --eval-batches 1 "                  \
    "--sample-every 1 --weight-decay 0 --lr 0.02 --warmup 0 "
#define MODEL "--heads 3 --width 36 " REST

typedef struct {
    float logits[BATCH * T * V];
    int64_t rows;
} capture;

/* The classifier's products are the only ones with V columns; a cap may follow. */
static void on_written(void *context, device *dev, const char *op, tensor x)
{
    capture *c = context;
    (void)dev;
    bool capped = !strcmp(op, "soft_cap");
    if ((strcmp(op, "linear") && !capped) || tensor_cols(x) != V) return;
    if (capped) c->rows -= tensor_rows(x); /* of the same rows */
    for (int64_t r = 0; r < tensor_rows(x); r++, c->rows++) {
        assert_true(c->rows < BATCH * T);
        memcpy(c->logits + c->rows * V, (float *)x.data + r * x.ld, V * sizeof(float));
    }
}

/* A step of training with a learning rate of zero: its forward, and no change. */
static void training_forward(small_run *s, int64_t step, capture *c)
{
    step_result r;
    c->rows = 0;
    s->dev.watch = on_written;
    s->dev.watch_context = c;
    must(trainer_step(s->t, s->data, step, 0, &r));
    s->dev.watch = NULL;
    assert_int_equal(c->rows, BATCH * T);
}

static void compare(const small_run *s, const float *got, const float *want, int64_t position)
{
    double n = fmax(T, (double)s->o.model.inner), squares = 0;
    double tolerance = 4 * (double)FLT_EPSILON * sqrt(2.0 * (7 * L + 3) * n);
    for (int i = 0; i < V; i++)
        squares += (double)(want[i] * want[i]) / V;
    for (int i = 0; i < V; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * sqrt(squares)))
            fail_msg("%s position %lld, token %d: got %.9g, training has %.9g, rms %.3g",
                     s->o.model.name, (long long)position, i, (double)got[i], (double)want[i],
                     sqrt(squares));
}

static void check_logits_of_training(const char *words)
{
    static capture forward;
    static int32_t inputs[BATCH * T], targets[BATCH * T];
    static const int64_t pieces[] = {1, 2, 64, 149, 150};
    small_run s;
    step_result r;
    float logits[V];
    small_open(&s, words);
    for (int64_t step = 1; step <= 3; step++) /* away from the initial values */
        must(trainer_step(s.t, s.data, step, 0.02, &r));
    training_forward(&s, 4, &forward);
    must(source_read(s.data, 3 * BATCH, BATCH, inputs, targets));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i += thin_run() ? 2 : 1)
        for (int64_t b = 0; b < (thin_run() ? 1 : BATCH); b++) {
            decoder *d = &s.t->decoder;
            decoder_begin(d);
            for (int64_t t = 0, n; t < T; t += n) {
                n = t == 0 ? pieces[i] : 1; /* a prompt, then token after token */
                decoder_push(d, inputs + b * T + t, n);
                must(decoder_next(d, logits));
                compare(&s, logits, forward.logits + (b * T + t + n - 1) * V, t + n - 1);
            }
            decoder_end(d);
        }
    small_close(&s);
}

static void test_logits_of_training(void **state)
{
    (void)state;
    static const char *const models[] = {
        MODEL,
        "--model llama-nano " REST,
        "--model qwen-nano " REST,
        "--model qwen2.5-nano " REST,
        "--model qwen3-nano " REST,
        "--model gemma-nano " REST,
        "--model bloom-nano " REST,
        "--model phi-nano " REST,
        "--model falcon-nano " REST,
        "--model chatglm-nano " REST,
        "--model olmo2-nano " REST,
        "--model gemma2-nano " REST,
        "--model gemma3-nano " REST,
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_logits_of_training(models[i]);
}

/* ---- the window ---- */

/* After the context is full, the logits are those of the newer half and what came since. */
static void test_window_moves_by_half(void **state)
{
    (void)state;
    enum { LENGTH = 11, VOCAB = 59, MANY = 40 };
    static const int64_t lengths[] = {LENGTH, 1, 2};
    for (int k = 0; k < 3; k++) {
        int64_t length = lengths[k], used = 0;
        char arguments[200];
        small_run s;
        float got[VOCAB], want[VOCAB];
        int32_t ids[MANY];
        snprintf(arguments, sizeof arguments,
                 "--layers 2 --heads 3 --width 24 --context 13 --vocab 59 --batch 3 --threads 2 "
                 "--seq %lld --sample-every 1",
                 (long long)length);
        small_open(&s, arguments);
        for (int i = 0; i < MANY; i++) {
            ids[i] = (i * i + 3 * i) % VOCAB;
            if (used == length) used = length / 2;
            used++;
            decoder *d = &s.t->decoder;
            decoder_begin(d); /* all so far, one by one */
            for (int j = 0; j <= i; j++) {
                decoder_push(d, &ids[j], 1);
                if (j % 3 || j == i) must(decoder_next(d, got));
            }
            decoder_end(d);
            decoder_begin(d); /* only what should be left */
            decoder_push(d, ids + i + 1 - used, used);
            must(decoder_next(d, want));
            decoder_end(d);
            for (int v = 0; v < VOCAB; v++)
                assert_true(fabs((double)got[v] - (double)want[v]) < 1e-6);
        }
        small_close(&s);
    }
}

/* The caches lie in the memory of a training step: sampling adds only tokens and logits. */
static void test_samples_cost_no_memory(void **state)
{
    (void)state;
    small_run with, without;
    small_open(&with, MODEL);
    small_open(&without, MODEL "--sample-every 0");
    size_t more = arena_peak(with.t->arena) - arena_peak(without.t->arena);
    if (more > 4096) fail_msg("%zu bytes more", more);
    small_close(&with);
    small_close(&without);
}

/* ---- picking ---- */

enum { WORDS = 200, DRAWS = 4000 };

static void make_logits(float *logits)
{
    for (int i = 0; i < WORDS; i++)
        logits[i] = (float)(3 * sin(1.3 * i) + cos(0.7 * i * i));
    logits[17] = logits[3]; /* equals */
    logits[90] = -INFINITY;
}

/* How often each token is drawn. */
static void count_picks(const choice_rule *rule, const float *logits, int *count)
{
    chooser p;
    must(chooser_open(rule, WORDS, &p));
    memset(count, 0, WORDS * sizeof *count);
    for (uint64_t i = 0; i < DRAWS; i++) {
        int32_t id, again;
        must(choose_token(&p, logits, i, &id));
        must(choose_token(&p, logits, i, &again));
        assert_int_equal(id, again);
        assert_true(id >= 0 && id < WORDS);
        count[id]++;
    }
    chooser_close(&p);
}

/* The rule again, by sorting and nothing else: probabilities (WORDS). */
static void expected(const choice_rule *rule, const float *logits, double *probability)
{
    double sum = 0, mass = 0, saved = 0;
    bool in[WORDS] = {0};
    float most_likely = logits[0];
    for (int i = 1; i < WORDS; i++)
        most_likely = fmaxf(most_likely, logits[i]);
    for (int i = 0; i < WORDS; i++)
        probability[i] = exp(((double)logits[i] - (double)most_likely) / rule->temperature);
    int most = rule->top_k ? (int)rule->top_k : WORDS;
    for (int pass = 0; pass < 2; pass++) { /* the sum of the top k; then what top_p keeps of them */
        memset(in, 0, sizeof in);
        for (int k = 0; k < most && (pass == 0 || mass < rule->top_p * sum); k++) {
            int best = -1;
            for (int i = 0; i < WORDS; i++)
                if (!in[i] && (best < 0 || probability[i] > probability[best])) best = i;
            in[best] = true;
            *(pass ? &mass : &sum) += probability[best];
        }
    }
    for (int i = 0; i < WORDS; i++)
        saved += in[i] ? probability[i] : 0;
    for (int i = 0; i < WORDS; i++)
        probability[i] = in[i] ? probability[i] / saved : 0;
}

static void test_pick_follows_its_rule(void **state)
{
    (void)state;
    static const choice_rule rules[] = {
        {1, 1, 0, 1},         {0.5, 1, 0, 2},     {2, 1, 0, 3},     {1, 1, 1, 4},
        {1, 1, 7, 5},         {1, 1, 199, 6},     {1, 1, 1000, 7},  {1, 0.9, 0, 8},
        {1, 0.3, 0, 9},       {1.5, 0.8, 40, 10}, {1, 1e-9, 0, 11}, {0.001, 1, 0, 12},
        {1, 0.999999, 0, 13},
    };
    float logits[WORDS];
    double probability[WORDS];
    int count[WORDS];
    make_logits(logits);
    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
        choice_rule rule = rules[k];
        rule.top_k = rule.top_k > WORDS ? 0 : rule.top_k;
        count_picks(&rules[k], logits, count);
        expected(&rule, logits, probability);
        for (int i = 0; i < WORDS; i++) { /* binomial: five standard deviations */
            double mean = DRAWS * probability[i], deviation = sqrt(mean * (1 - probability[i]));
            if (fabs(count[i] - mean) > 5 * deviation + 1e-9 + (mean > 0 ? 1 : 0))
                fail_msg("rule %zu: token %d drawn %d times, want %.1f +- %.1f", k, i, count[i],
                         mean, deviation);
        }
    }
}

static void test_greedy(void **state)
{
    (void)state;
    choice_rule rule = {.temperature = 0, .top_p = 1};
    float logits[WORDS];
    chooser p;
    int32_t id;
    make_logits(logits);
    logits[40] = logits[160] = 9;
    must(chooser_open(&rule, WORDS, &p));
    for (uint64_t i = 0; i < 5; i++) {
        must(choose_token(&p, logits, i, &id));
        assert_int_equal(id, 40);
    }
    chooser_close(&p);
}

static void test_seeds_differ(void **state)
{
    (void)state;
    float logits[WORDS];
    chooser a, b;
    int same = 0;
    choice_rule rule = {1, 1, 0, 1}, other = {1, 1, 0, 2};
    make_logits(logits);
    must(chooser_open(&rule, WORDS, &a));
    must(chooser_open(&other, WORDS, &b));
    for (uint64_t i = 0; i < 100; i++) {
        int32_t x, y;
        must(choose_token(&a, logits, i, &x));
        must(choose_token(&b, logits, i, &y));
        same += x == y;
    }
    assert_true(same < 30);
    chooser_close(&a);
    chooser_close(&b);
}

static void test_logits_that_are_no_numbers(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    choice_rule rule = {1, 1, 0, 1};
    float logits[WORDS];
    chooser p;
    int32_t id;
    must(chooser_open(&rule, WORDS, &p));
    for (int k = 0; k < 3; k++) {
        make_logits(logits);
        for (int i = 0; i < WORDS && k == 2; i++)
            logits[i] = -INFINITY;
        if (k < 2) logits[150] = bad[k];
        error *e = choose_token(&p, logits, 0, &id);
        assert_non_null(e);
        assert_int_equal(error_kind_of(e), ERR_USER);
        error_free(e);
    }
    chooser_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_of_training),
        cmocka_unit_test(test_window_moves_by_half),
        cmocka_unit_test(test_samples_cost_no_memory),
        cmocka_unit_test(test_pick_follows_its_rule),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_seeds_differ),
        cmocka_unit_test(test_logits_that_are_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
