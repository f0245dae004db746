/* trainer.c - see trainer.h */
#include "train/trainer.h"
#include "train/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static bool samples(const trainer *t)
{
    return t->o->sample_every > 0 && t->kind->decode;
}

static void place(trainer *t)
{
    const options *o = t->o;
    params_place(&t->params, t->arena);
    optimizer_place(t->optimizer);
    t->batch = t->kind->place_batch(t->model, t->arena, o->batch, o->seq);
    t->loss = arena_keep(t->arena, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
    if (samples(t)) decoder_place(&t->decoder, o->model.vocab);
}

/* ---- programs: recorded once, then run ---- */

/* Copies samples [first, first + batch) to the device; nothing while recording. */
static void feed(trainer *t, const batches *data, int64_t first)
{
    if (arena_recording(t->arena) || t->r.dev->failure) return;
    error *e = batches_read(data, first, t->o->batch, t->host_inputs, t->host_targets);
    if (e) {
        device_fail(t->r.dev, e);
        return;
    }
    op_put(t->r.dev, t->r.stream, t->batch.inputs, t->host_inputs);
    op_put(t->r.dev, t->r.stream, t->batch.targets, t->host_targets);
}

/* How many iterations of a loop run: a recording needs the first and a later one. */
static int iterations(const trainer *t, int64_t n)
{
    return (int)(arena_recording(t->arena) && n > 2 ? 2 : n);
}

static double mean_over(const trainer *t, int64_t micro_batches)
{
    return 1.0 / ((double)t->o->batch * (double)t->o->seq * (double)micro_batches);
}

static void train_program(trainer *t, const batches *data, int64_t step)
{
    const options *o = t->o;
    loss_sink loss = {
        .sum = t->loss, .hyper = t->optimizer->hyper, .scale = mean_over(t, o->accum)};
    int n = iterations(t, o->accum);
    arena_begin(t->arena, "train");
    params_begin_step(&t->r, n);
    for (int k = 0; k < n; k++) {
        arena_iteration(t->arena, k);
        params_begin_micro(&t->r, k);
        feed(t, data, ((step - 1) * o->accum + k) * o->batch);
        loss.accumulate = k > 0;
        t->kind->train(&t->r, t->model, &t->batch, &loss);
    }
    optimizer_end_step(t->optimizer);
    params_end_step(&t->r);
    arena_end(t->arena);
}

static void eval_program(trainer *t, const batches *data)
{
    loss_sink loss = {.sum = t->loss, .scale = mean_over(t, t->o->eval_batches)};
    int n = iterations(t, t->o->eval_batches);
    arena_begin(t->arena, "eval");
    for (int k = 0; k < n; k++) {
        arena_iteration(t->arena, k);
        feed(t, data, k * t->o->batch);
        loss.accumulate = k > 0;
        t->kind->evaluate(&t->r, t->model, &t->batch, &loss);
    }
    arena_end(t->arena);
}

/* ---- life ---- */

error *trainer_plan(const options *o, const model_kind *kind, trainer **out)
{
    trainer *t = NULL;
    TRY(alloc_array(&t, 1, sizeof *t));
    t->o = o;
    t->kind = kind;
    t->null = device_null();
    t->params.type = F32;
    error *e = arena_create(&t->arena);
    if (!e) {
        arena_attach(t->arena, &t->null);
        t->r = (run){
            .dev = &t->null, .arena = t->arena, .params = &t->params, .stream = STREAM_COMPUTE};
        e = kind->create(&o->model, &t->params, &t->model);
    }
    if (!e) e = optimizer_create(&o->optim, &t->r, &t->optimizer);
    if (!e && samples(t)) e = decoder_open(kind, &t->r, t->model, o->seq, &t->decoder);
    if (!e) {
        place(t);
        train_program(t, NULL, 1);
        if (o->eval_every > 0) eval_program(t, NULL);
        if (samples(t)) decoder_record(&t->decoder);
        e = arena_plan(t->arena);
    }
    if (e) {
        trainer_destroy(t);
        return e;
    }
    *out = t;
    return NULL;
}

static error *load_values(trainer *t, device *dev)
{
    weights *w;
    TRY(weights_open(t->o->load, &w));
    error *e = weights_read(w, &t->params, t->o->widen, dev);
    weights_close(w);
    return e;
}

error *trainer_commit(trainer *t, device *dev, bool fill_fresh)
{
    size_t n = (size_t)(t->o->batch * t->o->seq);
    TRY(alloc_array(&t->host_inputs, n, sizeof *t->host_inputs));
    TRY(alloc_array(&t->host_targets, n, sizeof *t->host_targets));
    TRY(arena_commit(t->arena, dev, fill_fresh));
    t->r.dev = dev;
    place(t);
    TRY(device_status(dev));
    optimizer_clear(t->optimizer);
    if (t->o->load) return load_values(t, dev);
    return params_initialize(&t->params, dev, (uint64_t)t->o->seed);
}

void trainer_destroy(trainer *t)
{
    if (!t) return;
    optimizer_destroy(t->optimizer);
    if (t->model) t->kind->destroy(t->model);
    params_free(&t->params);
    arena_destroy(t->arena);
    decoder_close(&t->decoder);
    free(t->host_inputs);
    free(t->host_targets);
    free(t);
}

/* ---- steps ---- */

static double fetch_loss(trainer *t)
{
    double loss = 0;
    op_get(t->r.dev, t->r.stream, &loss, t->loss);
    op_sync(t->r.dev, t->r.stream);
    return loss;
}

error *trainer_step(trainer *t, const batches *data, int64_t step, double lr, step_result *out)
{
    optimizer_begin_step(t->optimizer, step, lr);
    train_program(t, data, step);
    hyper h = optimizer_results(t->optimizer);
    *out = (step_result){.loss = fetch_loss(t), .grad_norm = (double)h.grad_norm, .finite = h.ok};
    return device_status(t->r.dev);
}

error *trainer_evaluate(trainer *t, const batches *data, double *loss)
{
    t->params.training = false;
    eval_program(t, data);
    *loss = fetch_loss(t);
    return device_status(t->r.dev);
}

/* ---- faults ---- */

typedef struct {
    trainer *t;
    char where[160];
    int64_t bad, of;
} fault;

static void look(fault *f, device *dev, const char *op, tensor x)
{
    int64_t bad = 0;
    if (f->bad || x.type == U8 || x.type == I32) return;
    OP(nonfinite, dev, STREAM_COMPUTE, .count = &bad, .x = x);
    if (!bad) return;
    char name[100] = "a tensor without a name";
    arena_find(f->t->arena, x.data, name, sizeof name);
    snprintf(f->where, sizeof f->where, "%s%s%s", name,
             op ? ", written by " : ", before the step began", op ? op : "");
    f->bad = bad;
    f->of = tensor_count(x);
}

static void on_written(void *context, device *dev, const char *op, tensor x)
{
    look(context, dev, op, x);
}

error *trainer_find_fault(trainer *t, const batches *data, int64_t step, double loss)
{
    fault f = {.t = t, .where = "no tensor: only the sum of the losses"};
    device *dev = t->r.dev;
    for (int i = 0; i < t->params.n; i++)
        look(&f, dev, NULL, t->params.row[i].value);
    dev->watch = on_written;
    dev->watch_context = &f;
    train_program(t, data, step); /* hyper.ok is 0 still: nothing is updated */
    dev->watch = NULL;
    TRY(device_status(dev));
    return user_error("step %lld: the loss is %s; first seen in %s (%lld of %lld elements); "
                      "try a lower --lr, a longer --warmup or --grad-clip 1",
                      (long long)step, isnan(loss) ? "nan" : "infinite", f.where, (long long)f.bad,
                      (long long)f.of);
}
