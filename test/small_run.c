/* small_run.c - see small_run.h */
#include "test/small_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/rng.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHARD_TOKENS = 5000 };

void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

static void write_shard(const char *path, int64_t vocab)
{
    token_writer *w;
    must(tokens_create(path, vocab, &w));
    for (uint64_t i = 0; i < SHARD_TOKENS; i++) {
        uint32_t bits[4];
        rng_bits(3, RNG_TEST, i, bits);
        /* half of the tokens follow from the one before, so that there is something to learn */
        int32_t id = (int32_t)(i % 2 ? (bits[0] % 7) : (i / 2) % (uint64_t)vocab);
        must(tokens_append(w, &id, 1));
    }
    must(tokens_finish(w));
}

void small_open(small_run *s, const char *arguments)
{
    memset(s, 0, sizeof *s);
    snprintf(s->text, sizeof s->text, "%s", arguments);
    char *argv[SMALL_ARGS] = {(char *)(size_t) "test"}, *rest = NULL;
    int argc = 1;
    for (char *word = strtok_r(s->text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < SMALL_ARGS - 1);
        argv[argc++] = word;
    }
    must(options_parse(&the_model_kind, argc, argv, &s->o));
    strcpy(s->directory, "/tmp/regrad-test-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    snprintf(s->shard, sizeof s->shard, "%s/x_train.bin", s->directory);
    write_shard(s->shard, s->o.model.vocab);
    const char *pattern = s->shard;
    must(tokens_open(&pattern, 1, s->o.model.vocab, &s->set));
    must(batches_open(s->set, s->o.seq, s->o.batch, BATCHES_SHUFFLED, (uint64_t)s->o.seed,
                      &s->data));
    must(trainer_plan(&s->o, &the_model_kind, &s->t));
    must(
        device_open(s->o.place == PLACE_AUTO ? PLACE_CPU : s->o.place, (int)s->o.threads, &s->dev));
    must(trainer_commit(s->t, &s->dev, true));
}

void small_close(small_run *s)
{
    assert_true(arena_canary_intact(s->t->arena));
    trainer_destroy(s->t);
    device_close(&s->dev);
    batches_close(s->data);
    tokens_close(s->set);
    unlink(s->shard);
    rmdir(s->directory);
}

small_result small_train(const char *arguments)
{
    small_run s;
    small_open(&s, arguments);
    small_result r = {.n = params_count(&s.t->params),
                      .steps = s.o.steps,
                      .policy = s.o.optim.gradients,
                      .peak = arena_peak(s.t->arena)};
    must(alloc_array(&r.parameters, (size_t)r.n, sizeof(float)));
    must(alloc_array(&r.loss, (size_t)r.steps, sizeof(double)));
    must(alloc_array(&r.grad_norm, (size_t)r.steps, sizeof(double)));
    for (int64_t step = 1; step <= r.steps; step++) {
        step_result result;
        must(trainer_step(s.t, s.data, step, schedule_lr(&s.o.schedule, step - 1), &result));
        assert_true(result.finite);
        r.loss[step - 1] = result.loss;
        r.grad_norm[step - 1] = result.grad_norm;
    }
    float *at = r.parameters;
    for (int i = 0; i < s.t->params.n; i++) {
        const param *row = &s.t->params.row[i];
        op_get(&s.dev, STREAM_COMPUTE, at, row->value);
        at += row->count;
    }
    op_sync(&s.dev, STREAM_COMPUTE);
    must(device_status(&s.dev));
    small_close(&s);
    return r;
}

void small_free(small_result *r)
{
    free(r->parameters);
    free(r->loss);
    free(r->grad_norm);
}

int64_t first_difference(const small_result *a, const small_result *b)
{
    assert_int_equal(a->n, b->n);
    for (int64_t i = 0; i < a->n; i++)
        if (memcmp(&a->parameters[i], &b->parameters[i], sizeof(float))) return i;
    return -1;
}
