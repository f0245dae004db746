/* classifier.c - see classifier.h */
#include "infer/classifier.h"
#include "io/vit_file.h"

#include <stdlib.h>

struct classifier {
    const model_kind *kind;
    model_config config;
    int64_t images; /* at a time */
    arena *arena;
    params params;
    device null;
    runtime r;
    model *model;
    batch in;
    tensor logits; /* (batch, classes) */
};

static void place_classifier(classifier *k)
{
    params_place(&k->params, k->arena);
    k->in = k->kind->place_batch(k->model, k->arena, k->images, k->config.context);
    k->logits = arena_keep(k->arena, KIND_BATCH, F32, SHAPE(k->images, k->config.vocab),
                           NAME("predictions", 0));
}

static void program(classifier *k)
{
    arena_begin(k->arena, "predict");
    k->kind->predict(&k->r, k->model, &k->in, k->logits);
    arena_end(k->arena);
}

static error *build_classifier(classifier *k)
{
    TRY(arena_create(&block_kinds, &k->arena));
    arena_attach(k->arena, &k->null);
    k->r = (runtime){.dev = &k->null, .arena = k->arena, .params = &k->params};
    TRY(k->kind->create(&k->config, &plain_training, &k->params, &k->model));
    for (int i = 0; i < k->params.n; i++)
        k->params.row[i].trainable = false; /* so no gradients are placed */
    place_classifier(k);
    program(k);
    TRY(device_status(&k->null));
    return arena_plan(k->arena);
}

error *classifier_plan(const model_kind *kind, const model_config *c, int64_t images,
                       classifier **out)
{
    classifier *k = NULL;
    TRY(alloc_array(&k, 1, sizeof *k));
    k->kind = kind;
    k->config = *c;
    k->images = images;
    k->null = device_null();
    k->params.type = F32;
    error *e = build_classifier(k);
    if (e)
        classifier_destroy(k);
    else
        *out = k;
    return e;
}

error *classifier_commit(classifier *k, device *dev, const char *path, bool widen)
{
    bool head;
    TRY(arena_commit(k->arena, dev, false));
    k->r.dev = dev;
    place_classifier(k);
    TRY(device_status(dev));
    TRY(vit_read(path, &k->config, &k->params, widen, dev, &head));
    if (!head)
        return user_error("%s has no head for %lld classes: there is nothing to tell", path,
                          (long long)k->config.vocab);
    return NULL;
}

error *classifier_run(classifier *k, const float *pixels, float *logits)
{
    op_put(k->r.dev, k->r.stream, k->in.inputs, pixels);
    program(k);
    op_get_floats(k->r.dev, k->r.stream, logits, k->logits);
    op_sync(k->r.dev, k->r.stream);
    return device_status(k->r.dev);
}

void classifier_destroy(classifier *k)
{
    if (!k) return;
    if (k->model) k->kind->destroy(k->model);
    params_free(&k->params);
    arena_destroy(k->arena);
    free(k);
}
