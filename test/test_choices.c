/* test_choices.c - multiple choice is what transformers and lm-evaluation-harness's rules make of
 * it (golden/choices.py), and what is no question is refused by what is wrong with it. */
#include "base/json_lines.h"
#include "cpu/cpu.h"
#include "infer/choices.h"
#include "infer/inference.h"
#include "io/safetensors.h"
#include "test/made_tensor.h"
#include "test/scratch.h"

#include <math.h>

enum { MOST_TENSORS = 64 };

/* ---- the golden's models ---- */

static const cJSON *get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void write_model(const char *dir, const cJSON *made, device *dev)
{
    char path[300], *config = cJSON_Print(get(made, "config"));
    named_tensor list[MOST_TENSORS] = {0};
    int n = 0;
    const cJSON *item;
    write_file(dir, "config.json", config);
    free(config);
    cJSON_ArrayForEach(item, get(made, "tensors"))
    {
        assert_true(n < MOST_TENSORS);
        list[n++] = (named_tensor){.name = item->string, .value = make_tensor(item, false)};
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    ok(safetensors_write(path, list, n, dev, NULL));
    while (n--)
        free(list[n].value.data);
}

static inference *open_model(const char *dir, dtype type, device *dev)
{
    weights *w;
    inference *inf;
    ok(weights_open(dir, NULL, &w));
    inference_job job = {.type = type, .on = &cpu_kind};
    job.stride = weights_model(w)->context;
    ok(inference_plan(&gpt_kind, weights_model(w), job, &inf));
    ok(inference_commit(inf, dev, w, type == BF16 ? CAST_ROUND : CAST_NONE));
    weights_close(w);
    return inf;
}

/* ---- likelihoods ---- */

/* Of one choice, with as much of the query as there is room for. */
static double likelihood_of(inference *inf, const question_tokens *t, int i)
{
    int64_t room = inf->config.context + 1 - (int64_t)t->sizes[i];
    int64_t kept = (int64_t)t->n < room ? (int64_t)t->n : room;
    scorer_ending e = {t->choice[i], (int64_t)t->sizes[i]};
    double nats;
    ok(scorer_run_endings(&inf->scorer, t->query + t->n - kept, kept, &e, 1, &nats));
    return -nats;
}

/* All of them at once are the same as each alone, and as the whole text with its end learned. */
static void check_ways(inference *inf, const question *q, const question_tokens *t,
                       const double *each)
{
    scorer_ending endings[MOST_CHOICES];
    double nats[MOST_CHOICES];
    int32_t ids[100];
    uint8_t learned[100];
    for (int i = 0; i < q->n; i++) {
        if ((int64_t)(t->n + t->sizes[i]) > inf->config.context + 1) return;
        endings[i] = (scorer_ending){t->choice[i], (int64_t)t->sizes[i]};
    }
    ok(scorer_run_endings(&inf->scorer, t->query, (int64_t)t->n, endings, q->n, nats));
    for (int i = 0; i < q->n; i++) {
        size_t n = t->n + t->sizes[i];
        double alone;
        assert_true(-nats[i] == each[i] && n <= 100);
        memcpy(ids, t->query, t->n * sizeof *ids);
        memcpy(ids + t->n, t->choice[i], t->sizes[i] * sizeof *ids);
        for (size_t k = 0; k < n; k++)
            learned[k] = k >= t->n;
        ok(scorer_run_learned(&inf->scorer, ids, learned, (int64_t)n, &alone));
        assert_true(fabs(alone - nats[i]) <= 1e-6 * nats[i]);
    }
}

/* Floats against doubles: what test_family_files.c allows a logit, for each token. */
static void check_question(inference *inf, const bpe *v, const cJSON *want, double allowed)
{
    question q;
    question_tokens t;
    double likelihood[MOST_CHOICES];
    int plain, normed;
    ok(question_read(get(want, "line"), &q));
    ok(question_encode(v, &q, &t));
    assert_int_equal(q.n, cJSON_GetArraySize(get(want, "likelihoods")));
    for (int i = 0; i < q.n; i++) {
        double golden = cJSON_GetArrayItem(get(want, "likelihoods"), i)->valuedouble;
        likelihood[i] = likelihood_of(inf, &t, i);
        if (!(fabs(likelihood[i] - golden) < allowed * (double)t.sizes[i]))
            fail_msg("'%s' '%s': %.8g, transformers has %.8g", q.query, q.choice[i], likelihood[i],
                     golden);
    }
    check_ways(inf, &q, &t, likelihood);
    question_choose(&q, likelihood, &plain, &normed);
    if (allowed < 1e-3) {
        assert_int_equal(plain, get(want, "choice")->valueint);
        assert_int_equal(normed, get(want, "choice_norm")->valueint);
    }
    question_tokens_free(&t);
    question_free(&q);
}

static void check_model(const char *dir, const cJSON *made, dtype type, device *dev)
{
    char path[300];
    bpe *v;
    const cJSON *want;
    snprintf(path, sizeof path, "test/golden/%s", get(made, "tokenizer")->valuestring);
    ok(bpe_open(path, &v));
    inference *inf = open_model(dir, type, dev);
    /* bf16: 2^-9 of each of some 20 roundings that follow each other, of logits of a few units */
    cJSON_ArrayForEach(want, get(made, "questions"))
        check_question(inf, v, want, type == BF16 ? 0.2 : 3e-5);
    inference_destroy(inf);
    bpe_close(v);
}

static void test_golden(void **state)
{
    cJSON *golden;
    const cJSON *made;
    device dev;
    ok(json_read("test/golden/choices.json", 1 << 20, &golden));
    ok(cpu_device(2, &dev));
    cJSON_ArrayForEach(made, get(golden, "models"))
    {
        write_model(*state, made, &dev);
        check_model(*state, made, F32, &dev);
        check_model(*state, made, BF16, &dev);
    }
    cpu_close(&dev);
    cJSON_Delete(golden);
}

/* ---- what is refused ---- */

static error *read_line(const char *line)
{
    question q;
    cJSON *object;
    ok(json_parse("it", line, (int64_t)strlen(line), &object));
    error *e = question_read(object, &q);
    question_free(&q);
    cJSON_Delete(object);
    return e;
}

static void test_refused(void **state)
{
    (void)state;
    fails(read_line("{\"choices\":[\"a\",\"b\"],\"gold\":0}"), "query", "missing");
    fails(read_line("{\"query\":[],\"choices\":[\"a\",\"b\"],\"gold\":0}"), "query", "no text");
    fails(read_line("{\"query\":\"x\",\"gold\":0}"), "choices", "missing");
    fails(read_line("{\"query\":\"x\",\"choices\":\"ab\",\"gold\":0}"), "choices", "no list");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\"],\"gold\":0}"), "choices has 1", "2");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\",7],\"gold\":0}"), "number 1", "no text");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\",\"b\"]}"), "gold", "missing");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\",\"b\"],\"gold\":2}"), "gold", "0 to 1");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\",\"b\"],\"label\":\"1x\"}"), "label",
          "0 to 1");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\",\"b\"],\"answer\":\"\"}"), "answer",
          "0 to 1");
    fails(read_line("{\"query\":\"x\",\"choices\":[\"a\",\"b\"],\"answer\":0.5}"), "answer",
          "0 to 1");
    fails(read_line("{\"endings\":[\"a\",\"b\"],\"label\":0}"), "ctx", "missing");
    fails(read_line("{\"ctx_a\":\"x\",\"ctx_b\":\"y\",\"endings\":[\"a\",\"b\"],\"label\":0}"),
          "activity_label", "missing");
    ok(read_line("{\"ctx\":\"x\",\"endings\":[\"a\",\"b\"],\"label\":\"1\"}"));
}

/* A choice that is nothing is not likely, nor does it divide by nothing. */
static void test_nothing(void **state)
{
    (void)state;
    question q = {.n = 2, .choice = {"", "ab"}};
    int plain, normed;
    question_choose(&q, (const double[]){-1, -4}, &plain, &normed);
    assert_int_equal(plain, 0);
    assert_int_equal(normed, 1);
    assert_int_equal(question_length(&q, 0), 0);
    question_choose(&q, (const double[]){-4, -4}, &plain, &normed);
    assert_int_equal(plain, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden, scratch_make, scratch_remove),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
