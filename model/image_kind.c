/* image_kind.c - all image models as one kind: an architecture, as the configuration says, between
 * a batch and the head. */
#include "base/rng.h"
#include "model/image_head.h"

#include <stdlib.h>

struct model {
    model_config config;
    training_policy training;
    dtype type;
    const image_architecture *is;
    model *own; /* the architecture's */
    image_head head;
};

static void image_destroy(model *m)
{
    if (!m) return;
    if (m->own) m->is->destroy(m->own);
    free(m);
}

static error *image_create(const model_config *c, const training_policy *how, params *p,
                           model **out)
{
    TRY(config_check(c));
    model *m = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    *m = (model){.config = *c, .training = *how, .type = p->type};
    m->is = is_residual_network(c) ? &resnet_architecture
            : c->stage[0]          ? &convnext_architecture
                                   : &vit_architecture;
    error *e = m->is->create(c, how, p, &m->head, &m->own);
    if (e)
        image_destroy(m);
    else
        *out = m;
    return e;
}

/* Images (b,Ch,H,W), targets (b,classes), and with stochastic depth its factors. */
static batch image_place_batch(const model *m, arena *a, int64_t b, int64_t t)
{
    (void)t;
    const model_config *c = &m->config;
    dtype stat = stat_type(m->type);
    int64_t noise = m->training.drop_path > 0 ? m->is->branches * c->layers : 0;
    batch out = {0};
    out.inputs =
        arena_keep(a, KIND_BATCH, stat, SHAPE(b, c->channels, c->image_height, c->image_width),
                   NAME("images", 0));
    out.targets = arena_keep(a, KIND_BATCH, stat, SHAPE(b, c->vocab), NAME("targets", 0));
    if (noise > 0)
        out.noise = arena_keep(a, KIND_BATCH, stat, SHAPE(noise, b), NAME("drop path", 0));
    return out;
}

/* The factors (branches of all layers, b): 0 with a probability that grows over the layers from 0
 * to the rate (Huang et al. 2016), else 1 / (1 - probability). */
static void image_draw(const model *m, uint64_t seed, int64_t first, int64_t b, float *noise)
{
    int64_t branches = m->is->branches, layers = m->config.layers, n = layers * branches;
    double most = (double)(layers > 1 ? layers - 1 : 1);
    for (int64_t k = 0; k < n; k++) {
        double drop = m->training.drop_path * (double)(k / branches) / most;
        for (int64_t i = 0; i < b; i++) {
            double u = rng_uniform(seed, RNG_DROP, (uint64_t)((first + i) * n + k));
            noise[k * b + i] = u < drop ? 0 : (float)(1 / (1 - drop));
        }
    }
}

static int64_t image_targets(const model *m, int64_t t)
{
    (void)m, (void)t;
    return 1;
}

static void image_train(runtime *r, model *m, const batch *in, const loss_sink *loss)
{
    tensor last = m->is->forward(r, m->own, in, true);
    tensor d = image_head_train(r, &m->head, &m->config, last, in->targets, loss);
    m->is->backward(r, m->own, in, d);
}

static void image_evaluate(runtime *r, model *m, const batch *in, const loss_sink *loss)
{
    tensor last = m->is->forward(r, m->own, in, false);
    image_head_evaluate(r, &m->head, &m->config, last, in->targets, loss);
}

static void image_predict(runtime *r, model *m, const batch *in, tensor logits)
{
    tensor last = m->is->forward(r, m->own, in, false);
    image_head_predict(r, &m->head, &m->config, last, logits);
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
