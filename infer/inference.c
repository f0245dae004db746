/* inference.c - see inference.h */
#include "infer/inference.h"
#include "io/vit_file.h"

#include <stdlib.h>

/* Of images. */
static void place_images(generator *g)
{
    int64_t n = g->job.images;
    g->images = g->kind->place_batch(g->model, g->arena, n, g->config.context);
    g->classes =
        arena_keep(g->arena, KIND_BATCH, F32, SHAPE(n, g->config.vocab), NAME("predictions", 0));
}

static void classify(generator *g)
{
    arena_begin(g->arena, "predict");
    g->kind->predict(&g->r, g->model, &g->images, g->classes);
    arena_end(g->arena);
}

static void place_blocks(generator *g)
{
    int64_t room = g->null.kind ? (int64_t)g->null.kind->room : 0;
    if (room)
        g->room =
            arena_keep(g->arena, KIND_WORKSPACE, U8, SHAPE(room), NAME("room of the device", 0));
    if (room && !arena_recording(g->arena)) op_lend(g->r.dev, g->room);
    params_place(&g->params, g->arena);
    if (g->job.images)
        place_images(g);
    else if (g->job.stride)
        scorer_place(&g->scorer);
    else if (g->job.texts)
        text_batch_place(&g->batch, g->config.vocab);
    else
        decoder_place(&g->decoder, g->config.vocab);
}

static void record(generator *g)
{
    if (g->job.images)
        classify(g);
    else if (g->job.stride)
        scorer_record(&g->scorer);
    else if (g->job.texts)
        text_batch_record(&g->batch);
    else
        decoder_record(&g->decoder);
}

static error *build(generator *g)
{
    const generator_job *job = &g->job;
    TRY(arena_create(&block_kinds, &g->arena));
    arena_attach(g->arena, &g->null);
    g->r = (runtime){.dev = &g->null, .arena = g->arena, .params = &g->params};
    training_policy how = plain_training;
    if (job->adapters) how.lora = *adapter_plan(job->adapters);
    TRY(g->kind->create(&g->config, &how, &g->params, &g->model));
    params_freeze(&g->params);
    int64_t length = g->config.context;
    if (job->stride)
        g->scorer = scorer_make(g->kind, &g->r, g->model, length, job->stride);
    else if (job->texts)
        g->batch = text_batch_make(g->kind, &g->r, g->model, job->texts, length);
    else if (!job->images)
        TRY(decoder_open(g->kind, &g->r, g->model, length, &g->decoder));
    place_blocks(g);
    record(g);
    TRY(device_status(&g->null));
    return arena_plan(g->arena);
}

error *generator_plan(const model_kind *kind, const model_config *c, generator_job job,
                      generator **out)
{
    generator *g = NULL;
    TRY(alloc_array(&g, 1, sizeof *g));
    g->kind = kind;
    g->config = *c;
    g->job = job;
    g->null = device_null();
    g->null.kind = job.on;
    g->params.type = job.type == DT_NONE ? F32 : job.type;
    g->params.master = MASTER_NONE;
    error *e = build(g);
    if (e)
        generator_destroy(g);
    else
        *out = g;
    return e;
}

static error *commit_memory(generator *g, device *dev)
{
    TRY(arena_commit(g->arena, dev, false));
    g->r.dev = dev;
    place_blocks(g);
    return device_status(dev);
}

error *generator_commit(generator *g, device *dev, const weights *w, float_cast cast)
{
    TRY(commit_memory(g, dev));
    TRY(weights_read(w, &g->params, cast, dev));
    return g->job.adapters ? adapter_read(g->job.adapters, &g->params, cast, dev) : NULL;
}

error *generator_commit_images(generator *g, device *dev, const char *path, bool widen)
{
    bool head;
    TRY(commit_memory(g, dev));
    TRY(vit_read(path, &g->config, &g->params, widen, dev, &head));
    if (head) return NULL;
    return user_error("%s has no head for %lld classes: there is nothing to tell", path,
                      (long long)g->config.vocab);
}

error *generator_classify(generator *g, const float *pixels, float *logits)
{
    op_put(g->r.dev, g->r.stream, g->images.inputs, pixels);
    classify(g);
    op_get_floats(g->r.dev, g->r.stream, logits, g->classes);
    op_sync(g->r.dev, g->r.stream);
    return device_status(g->r.dev);
}

void generator_destroy(generator *g)
{
    if (!g) return;
    if (present(g->room) && !arena_recording(g->arena)) op_lend(g->r.dev, (tensor){0});
    decoder_close(&g->decoder);
    if (g->model) g->kind->destroy(g->model);
    params_free(&g->params);
    arena_destroy(g->arena);
    free(g);
}
