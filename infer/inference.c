/* inference.c - see inference.h */
#include "infer/inference.h"
#include "io/vit_file.h"

#include <stdlib.h>

/* Of images. */
static void place_images(inference *inf)
{
    int64_t n = inf->job.images;
    inf->images = inf->kind->place_batch(inf->model, inf->arena, n, inf->config.context);
    inf->classes = arena_keep(inf->arena, KIND_BATCH, F32, SHAPE(n, inf->config.vocab),
                              NAME("predictions", 0));
}

static void classify(inference *inf)
{
    arena_begin(inf->arena, "predict");
    inf->kind->predict(&inf->r, inf->model, &inf->images, inf->classes);
    arena_end(inf->arena);
}

static void place_blocks(inference *inf)
{
    int64_t room = inf->null.kind ? (int64_t)inf->null.kind->room : 0;
    if (room)
        inf->room =
            arena_keep(inf->arena, KIND_WORKSPACE, U8, SHAPE(room), NAME("room of the device", 0));
    if (room && !arena_recording(inf->arena)) op_lend(inf->r.dev, inf->room);
    params_place(&inf->params, inf->arena);
    if (inf->job.images)
        place_images(inf);
    else if (inf->job.stride)
        scorer_place(&inf->scorer);
    else if (inf->job.texts)
        text_batch_place(&inf->batch, inf->config.vocab);
    else
        decoder_place(&inf->decoder, inf->config.vocab);
}

static void record(inference *inf)
{
    if (inf->job.images)
        classify(inf);
    else if (inf->job.stride)
        scorer_record(&inf->scorer);
    else if (inf->job.texts)
        text_batch_record(&inf->batch);
    else
        decoder_record(&inf->decoder);
}

static error *build(inference *inf)
{
    const inference_job *job = &inf->job;
    TRY(arena_create(&block_kinds, &inf->arena));
    arena_attach(inf->arena, &inf->null);
    inf->r = (runtime){.dev = &inf->null, .arena = inf->arena, .params = &inf->params};
    training_policy how = plain_training;
    if (job->adapters) how.lora = *adapter_plan(job->adapters);
    TRY(inf->kind->create(&inf->config, &how, &inf->params, &inf->model));
    params_freeze(&inf->params);
    int64_t length = inf->config.context;
    if (job->stride)
        inf->scorer = scorer_make(inf->kind, &inf->r, inf->model, length, job->stride);
    else if (job->texts)
        inf->batch = text_batch_make(inf->kind, &inf->r, inf->model, job->texts, length);
    else if (!job->images)
        TRY(decoder_open(inf->kind, &inf->r, inf->model, length, &inf->decoder));
    place_blocks(inf);
    record(inf);
    TRY(device_status(&inf->null));
    return arena_plan(inf->arena);
}

error *inference_plan(const model_kind *kind, const model_config *c, inference_job job,
                      inference **out)
{
    inference *inf = NULL;
    TRY(alloc_array(&inf, 1, sizeof *inf));
    inf->kind = kind;
    inf->config = *c;
    inf->job = job;
    inf->null = device_null();
    inf->null.kind = job.on;
    inf->params.type = job.type == DT_NONE ? F32 : job.type;
    inf->params.master = MASTER_NONE;
    error *e = build(inf);
    if (e)
        inference_destroy(inf);
    else
        *out = inf;
    return e;
}

static error *commit_memory(inference *inf, device *dev)
{
    TRY(arena_commit(inf->arena, dev, false));
    inf->r.dev = dev;
    place_blocks(inf);
    return device_status(dev);
}

error *inference_commit(inference *inf, device *dev, const weights *w, float_cast cast)
{
    TRY(commit_memory(inf, dev));
    TRY(weights_read(w, &inf->params, cast, dev));
    return inf->job.adapters ? adapter_read(inf->job.adapters, &inf->params, cast, dev) : NULL;
}

error *inference_commit_images(inference *inf, device *dev, const char *path, bool widen)
{
    bool head;
    TRY(commit_memory(inf, dev));
    TRY(vit_read(path, &inf->config, &inf->params, widen, dev, &head));
    if (head) return NULL;
    return user_error("%s has no head for %lld classes: there is nothing to tell", path,
                      (long long)inf->config.vocab);
}

error *inference_classify(inference *inf, const float *pixels, float *logits)
{
    op_put(inf->r.dev, inf->r.stream, inf->images.inputs, pixels);
    classify(inf);
    op_get_floats(inf->r.dev, inf->r.stream, logits, inf->classes);
    op_sync(inf->r.dev, inf->r.stream);
    return device_status(inf->r.dev);
}

void inference_destroy(inference *inf)
{
    if (!inf) return;
    if (present(inf->room) && !arena_recording(inf->arena)) op_lend(inf->r.dev, (tensor){0});
    decoder_close(&inf->decoder);
    if (inf->model) inf->kind->destroy(inf->model);
    params_free(&inf->params);
    arena_destroy(inf->arena);
    free(inf);
}
