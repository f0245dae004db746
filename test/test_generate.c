/* test_generate.c - a trained model at work: loaded from disk it says what it said in training, the
 * scorer's sum is that of the decoder's logits token by token, and text ends between characters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "test/small_run.h"
#include "infer/inference.h"
#include "infer/utf8_shown.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { L = 2, C = 24, CONTEXT = 13, V = 59, LETTERS = 60 };

#define MODEL                                                                                      \
    "--layers 2 --heads 3 --width 24 --context 13 --vocab 59 --batch 3 --threads 2 --seed 5 "      \
    "--sample-every 1 --lr 0.02 --warmup 0 "

static int32_t ids[LETTERS];

/* A few steps of training, and the model on disk. */
static void train_and_write(small_run *s)
{
    step_result r;
    small_open(s, MODEL);
    for (int64_t step = 1; step <= 4; step++)
        must(trainer_step(s->t, s->data, step, 0.02, &r));
    must(weights_write(s->directory, &s->o.model, &s->t->params, &s->dev, NULL));
    for (int i = 0; i < LETTERS; i++)
        ids[i] = (i * i + 3 * i) % V;
}

static void close_all(small_run *s)
{
    char path[100];
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", s->directory, names[i]);
        unlink(path);
    }
    small_close(s);
}

static inference *load(const small_run *s, int64_t stride, device *dev)
{
    inference *inf;
    weights *w;
    must(weights_open(s->directory, NULL, &w));
    must(inference_plan(&gpt_kind, weights_model(w),
                        (inference_job){.stride = stride, .on = &cpu_kind}, &inf));
    must(cpu_device(2, dev));
    must(inference_commit(inf, dev, w, CAST_NONE));
    weights_close(w);
    return inf;
}

static void unload(inference *inf, device *dev)
{
    assert_true(arena_canary_intact(inf->arena));
    inference_destroy(inf);
    cpu_close(dev);
}

static void logits_after(decoder *d, const int32_t *tokens, int64_t n, float *logits)
{
    decoder_begin(d);
    decoder_push(d, tokens, n);
    must(decoder_next(d, logits));
    decoder_end(d);
}

static void test_loaded_is_trained(void **state)
{
    (void)state;
    small_run s;
    device dev;
    train_and_write(&s);
    inference *inf = load(&s, 0, &dev);
    for (int64_t n = 1; n <= CONTEXT; n++) {
        float want[V], got[V];
        logits_after(&s.t->decoder, ids, n, want);
        logits_after(&inf->decoder, ids, n, got);
        assert_memory_equal(got, want, sizeof want);
    }
    unload(inf, &dev);
    close_all(&s);
}

/* Parameters and caches, and nothing of training. */
static void test_plan(void **state)
{
    (void)state;
    small_run s;
    device dev;
    train_and_write(&s);
    inference *inf = load(&s, 0, &dev);
    arena_summary sum = arena_summarize(inf->arena);
    size_t cache = 2 * L * CONTEXT * C * sizeof(float), slack = 2 * L * 512;
    assert_true(sum.most[KIND_CACHE] >= cache && sum.most[KIND_CACHE] <= cache + slack);
    assert_true(sum.by_kind[KIND_CACHE] == sum.most[KIND_CACHE]);
    assert_int_equal(sum.most[KIND_GRADIENT], 0);
    assert_int_equal(sum.most[KIND_STATE], 0);
    unload(inf, &dev);
    close_all(&s);
}

/* -ln p of token i, given the tokens first .. i - 1. */
static double nats_of(decoder *d, int64_t first, int64_t i)
{
    float logits[V];
    double sum = 0;
    logits_after(d, ids + first, i - first, logits);
    for (int v = 0; v < V; v++)
        sum += exp((double)logits[v]);
    return log(sum) - (double)logits[ids[i]];
}

/* Float: each loss is off by about eps times the logits' size (some 10), and at most 60 add up. */
static void test_scores(void **state)
{
    (void)state;
    static const int64_t strides[] = {1, 4, 6, CONTEXT},
                         lengths[] = {2, 3, 13, 14, 15, 27, LETTERS};
    small_run s;
    device dev;
    train_and_write(&s);
    for (int k = 0; k < 4; k++) {
        inference *inf = load(&s, strides[k], &dev);
        for (int j = 0; j < 7; j++) {
            double got, want = 0;
            must(scorer_run(&inf->scorer, ids, lengths[j], &got));
            for (int64_t i = 1; i < lengths[j]; i++) {
                int64_t behind = i - CONTEXT; /* the first window scores up to token CONTEXT */
                int64_t cut = behind > 0 ? (behind + strides[k] - 1) / strides[k] : 0;
                want += nats_of(&s.t->decoder, cut * strides[k], i);
            }
            if (!(fabs(got - want) < 1e-4))
                fail_msg("stride %lld, %lld tokens: %.8f, want %.8f", (long long)strides[k],
                         (long long)lengths[j], got, want);
        }
        unload(inf, &dev);
    }
    close_all(&s);
}

/* ---- characters ---- */

static void test_whole_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t full;
    } cases[] = {
        {"", 0},
        {"a", 1},
        {"a\xc3", 1},
        {"a\xc3\xa4", 3},
        {"\xe2\x82", 0},
        {"\xe2\x82\xac", 3},
        {"x\xf0\x9f\x98", 1},
        {"x\xf0\x9f\x98\x80", 5},
        {"\xe2\x82\xac\xe2", 3},
        {"\xf0\x9f\x98\x80z", 5},
        /* no characters: shown, not waited for */
        {"a\xff", 2},
        {"a\xc0", 2},
        {"a\xf5\x80", 3},
        {"\x80\x80\x80\x80", 4},
        {"\xc3\xa4\xa4", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        assert_int_equal(utf8_complete((const uint8_t *)text, strlen(text)), cases[i].full);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loaded_is_trained),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_whole_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
