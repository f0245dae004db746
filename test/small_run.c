/* small_run.c - see small_run.h */
#include "test/small_run.h"
#include "test/small_images.h"
#include "run/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rng.h"
#include "core/far.h"
#include "data/tokens.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHARD_TOKENS = 5000, IMAGES = 50 };

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

static void write_text(small_run *s)
{
    snprintf(s->shard, sizeof s->shard, "%s/x_train.bin", s->directory);
    write_shard(s->shard, s->o.model.vocab);
}

static void write_images(small_run *s)
{
    const model_config *c = &s->o.model;
    snprintf(s->shard, sizeof s->shard, "%s/x-images-idx3-ubyte", s->directory);
    snprintf(s->labels, sizeof s->labels, "%s/x-labels-idx1-ubyte", s->directory);
    small_images_write(s->directory, "x", IMAGES, c->channels, c->image_height, c->image_width,
                       c->vocab);
}

/* Tests plan and throw away; what options hold lasts as long as the program, and is to be found
 * by a search for leaks. */
static void keep_words(const options *o)
{
    static struct saved {
        const void *words, *files;
        struct saved *next;
    } * all;
    struct saved *k = malloc(sizeof *k);
    assert_non_null(k);
    *k = (struct saved){o->words, o->files, all};
    all = k;
}

error *small_parse(const char *arguments, char text[SMALL_TEXT], options *o)
{
    char *argv[SMALL_ARGS] = {(char *)(size_t) "test"}, *rest = NULL;
    int argc = 1;
    assert_true(strlen(arguments) < SMALL_TEXT);
    strcpy(text, arguments);
    bool images = strstr(text, "--patch ") || strstr(text, "--image-size ") ||
                  strstr(text, "--model vit") || strstr(text, "--model convnext") ||
                  strstr(text, "--model wrn");
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < SMALL_ARGS - 1);
        argv[argc++] = word;
    }
    error *e = options_parse(images ? &image_task : &text_task, argc, argv, o);
    if (!e) keep_words(o);
    return e;
}

arena_summary small_plan(const char *arguments, int64_t *parameters)
{
    options o;
    trainer *t;
    char text[SMALL_TEXT];
    must(small_parse(arguments, text, &o));
    must(trainer_plan(&o, o.task->kind, &t));
    arena_summary s = arena_summarize(t->arena);
    *parameters = params_count(&t->params);
    trainer_destroy(t);
    options_free(&o);
    return s;
}

void small_open(small_run *s, const char *arguments)
{
    memset(s, 0, sizeof *s);
    must(small_parse(arguments, s->text, &s->o));
    const task *t = s->o.task;
    bool given = s->o.train_data.n;
    strcpy(s->directory, "/tmp/regrad-test-XXXXXX");
    assert_non_null(mkdtemp(s->directory));
    if (t == &image_task)
        write_images(s);
    else
        write_text(s);
    s->shards[0] = s->shard;
    if (!given) s->o.train_data = (pattern_list){s->shards, 1};
    must(t->open(&s->o, true, &s->data));
    must(trainer_plan(&s->o, t->kind, &s->t));
    must(device_open(s->o.device == DEVICE_AUTO ? DEVICE_CPU : s->o.device, (int)s->o.threads,
                     stdout, &s->dev));
    must(device_use(&s->dev, s->o.cpu_kernel, s->o.products));
    must(trainer_commit(s->t, &s->dev, true));
}

void small_close(small_run *s)
{
    assert_true(arena_canary_intact(s->t->arena));
    trainer_destroy(s->t);
    device_close(&s->dev);
    source_close(s->data);
    options_free(&s->o);
    unlink(s->shard);
    unlink(s->labels);
    rmdir(s->directory);
}

void small_parameters(small_run *s, float *out)
{
    const run_tensors all = trainer_tensors(s->t);
    gather walk = gather_begin(&all, GATHER_PARAMETERS);
    tensor_source room;
    const tensor_source *from = gather_source(&walk, &room);
    for (int i = 0; i < s->t->params.n; i++) {
        const param *row = &s->t->params.row[i];
        if (param_is_pool(&s->t->params, i)) continue;
        tensor value = from ? from->open(from->context, i) : row->value;
        if (present(value))
            op_get_floats(&s->dev, STREAM_COMPUTE, out, value); /* else it is codes */
        if (from) from->close(from->context);
        out += row->count;
    }
    gather_finish(&walk);
    op_sync(&s->dev, STREAM_COMPUTE);
    must(device_status(&s->dev));
}

/* Elements of all that files have: states, too. */
static int64_t written_count(const params *p)
{
    int64_t sum = 0;
    for (int i = 0; i < p->n; i++)
        if (!param_is_pool(p, i)) sum += p->row[i].count;
    return sum;
}

static size_t lent(tensor t)
{
    return present(t) ? tensor_bytes(t) : 0;
}

small_result small_train(const char *arguments)
{
    small_run s;
    small_open(&s, arguments);
    small_result r = {.n = written_count(&s.t->params),
                      .steps = s.o.steps,
                      .policy = s.o.optim.gradients,
                      .peak = arena_peak(s.t->arena),
                      .room = lent(s.t->room) + lent(s.t->narrow)};
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
    small_parameters(&s, r.parameters);
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

void small_step_moves(small_run *s, int64_t step)
{
    step_result result;
    far_moved before = far_so_far(s->t->params.far), after;
    must(trainer_step(s->t, s->data, step, 1e-3, &result));
    after = far_so_far(s->t->params.far);
    assert_int_equal(after.read - before.read, s->t->step_moved.read);
    assert_int_equal(after.written - before.written, s->t->step_moved.written);
}

static small_result train_with(const char *common, const char *more)
{
    char arguments[900];
    snprintf(arguments, sizeof arguments, "%s %s", common, more);
    return small_train(arguments);
}

void small_same_runs(const char *common, const char *const (*pairs)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        small_result a = train_with(common, pairs[i][0]), b = train_with(common, pairs[i][1]);
        assert_int_equal(a.steps, b.steps);
        if (first_difference(&a, &b) >= 0 ||
            memcmp(a.loss, b.loss, (size_t)a.steps * sizeof *a.loss))
            fail_msg("%s and %s differ", pairs[i][0], pairs[i][1]);
        small_free(&a);
        small_free(&b);
    }
}
