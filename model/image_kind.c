/* image_kind.c - all image models as one kind: each call goes to vit_kind, convnext_kind or
 * resnet_kind, as the configuration says. */
#include "model/image_head.h"

#include <stdlib.h>

struct model {
    const model_kind *kind;
    model *own;
};

static void image_destroy(model *m)
{
    if (!m) return;
    if (m->own) m->kind->destroy(m->own);
    free(m);
}

static error *image_create(const model_config *c, const training_policy *how, params *p,
                           model **out)
{
    model *m = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    m->kind = is_residual_network(c) ? &resnet_kind : c->stage[0] ? &convnext_kind : &vit_kind;
    error *e = m->kind->create(c, how, p, &m->own);
    if (e)
        image_destroy(m);
    else
        *out = m;
    return e;
}

static batch image_place_batch(const model *m, arena *a, int64_t b, int64_t t)
{
    return m->kind->place_batch(m->own, a, b, t);
}

static void image_train(runtime *r, model *m, const batch *in, const loss_sink *loss)
{
    m->kind->train(r, m->own, in, loss);
}

static void image_draw(const model *m, uint64_t seed, int64_t first, int64_t b, float *noise)
{
    m->kind->draw(m->own, seed, first, b, noise);
}

static void image_evaluate(runtime *r, model *m, const batch *in, const loss_sink *loss)
{
    m->kind->evaluate(r, m->own, in, loss);
}

static void image_predict(runtime *r, model *m, const batch *in, tensor logits)
{
    m->kind->predict(r, m->own, in, logits);
}

const model_kind image_kind = {
    .program = "train_vit",
    .default_model = "vit-nano/4",
    .presets = &image_presets,
    .hits = true,
    .create = image_create,
    .destroy = image_destroy,
    .place_batch = image_place_batch,
    .targets = image_targets,
    .train = image_train,
    .draw = image_draw,
    .evaluate = image_evaluate,
    .predict = image_predict,
};
