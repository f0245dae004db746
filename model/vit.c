/* vit.c - a vision transformer (Dosovitskiy et al. 2021): the GPT's blocks with another input and
 * output.
 *
 *   images (B,Ch,H,W) -> patches -> linear -> [class token] + positions
 *                                                   |
 *                              block 0 .. L-1, attention in both directions
 *                                                   |
 *             class token, or mean of all positions -> norm -> head -> softmax, loss
 *
 * A convolution with stride = kernel is a product of patches with a matrix: images are cut into
 * rows (patches_op) for the same linear as everywhere, on every device.  The patches are as large
 * as the images, which stay in memory anyway; so backward cuts them again instead of keeping them.
 *
 * Pooling precedes the norm: with a class token that gives the same numbers as normalizing all
 * positions and then reading one (timm's `norm`), and the mean is what timm calls `fc_norm`.
 *
 * Names and shapes are timm's (VisionTransformer with num_classes; class_token=False,
 * global_pool='avg' for the mean), so that its state_dict and our files are the same:
 *
 *   cls_token (1,1,C)  pos_embed (1,T,C)  patch_embed.proj.{weight (C,Ch,p,p), bias}
 *   blocks.N.{norm1, attn.qkv, attn.proj, norm2, mlp.fc1, mlp.fc2}.{weight, bias}
 *   norm.{weight, bias} or fc_norm.{weight, bias}     head.{weight, bias}
 *
 * Stochastic depth (Huang et al. 2016; timm's drop_path): in training a sample's branch is dropped
 * with a probability that grows linearly from 0 in the first block to drop_path in the last, and
 * otherwise divided by the probability of staying.
 */
#include "model/block.h"
#include "model/image_head.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>

struct model {
    model_config config;
    training_policy training;
    dtype type;
    int cls, positions; /* cls: -1 with mean pooling */
    weight_ids patch;
    block_ids *blocks;   /* [layers] */
    block_state *states; /* [layers] */
};

static error *declare_embedding(model *m, params *p)
{
    const model_config *c = &m->config;
    param_spec cls = {.name = "cls_token",
                      .layer = -1,
                      .shape = SHAPE(1, 1, c->width),
                      .init = INIT_NORMAL,
                      .std = 1e-6,
                      .embedding = true};
    param_spec positions = {.name = "pos_embed",
                            .layer = -1,
                            .shape = SHAPE(1, c->context, c->width),
                            .init = INIT_NORMAL,
                            .std = 0.02,
                            .embedding = true};
    int64_t size = c->channels * c->patch * c->patch;
    param_spec patch = {.name = "patch_embed.proj.weight",
                        .layer = -1,
                        .shape = SHAPE(c->width, c->channels, c->patch, c->patch),
                        .decay = true,
                        .init = INIT_NORMAL,
                        .std = 1 / sqrt((double)size)};
    m->cls = -1;
    if (!c->mean_pool) TRY(declare(p, cls, &m->cls));
    TRY(declare(p, positions, &m->positions));
    TRY(declare(p, patch, &m->patch.weight));
    return declare(
        p, (param_spec){.name = "patch_embed.proj.bias", .layer = -1, .shape = SHAPE(c->width)},
        &m->patch.bias);
}

static error *declare_all(model *m, params *p, image_head *h)
{
    const model_config *c = &m->config;
    TRY(declare_embedding(m, p));
    for (int l = 0; l < (int)c->layers; l++)
        TRY(block_declare(c, &m->training.lora, l, p, &m->blocks[l]));
    tensor_names cls_norm = {"norm.weight", "norm.bias"},
                 mean_norm = {"fc_norm.weight", "fc_norm.bias"};
    TRY(declare_norm(c, p, c->mean_pool ? mean_norm : cls_norm, -1, &h->norm));
    param_spec head = {.name = "head.weight",
                       .layer = -1,
                       .shape = SHAPE(c->vocab, c->width),
                       .decay = true,
                       .init = INIT_NORMAL,
                       .std = 0.02};
    TRY(declare(p, head, &h->head.weight));
    return declare(p, (param_spec){.name = "head.bias", .layer = -1, .shape = SHAPE(c->vocab)},
                   &h->head.bias);
}

static void vit_destroy(model *m)
{
    if (!m) return;
    free(m->blocks);
    free(m->states);
    free(m);
}

static error *vit_create(const model_config *c, const training_policy *how, params *p,
                         image_head *head, model **out)
{
    model *m = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    m->config = *c;
    m->training = *how;
    m->type = p->type;
    error *e = alloc_array(&m->blocks, (size_t)c->layers, sizeof *m->blocks);
    if (!e) e = alloc_array(&m->states, (size_t)c->layers, sizeof *m->states);
    if (!e) e = declare_all(m, p, head);
    if (e) {
        vit_destroy(m);
        return e;
    }
    *out = m;
    return NULL;
}

/* ---- the ends ---- */

static tensor take(runtime *r, dtype type, shape s, const char *name)
{
    return arena_take(r->arena, KIND_ACTIVATION, type, s, NAME(name, 0));
}

static tensor embed(runtime *r, model *m, tensor images)
{
    const model_config *c = &m->config;
    int64_t b = images.dim[0];
    tensor cut = take_patches(r, &m->config, images);
    tensor x = take(r, m->type, SHAPE(b, patch_count(c), c->width), "embedded patches");
    tensor none = {0};
    apply_linear(r, m->patch, x, cut, none, ACT_NONE, none);
    arena_drop(r->arena, &cut);

    tensor cls = m->cls < 0 ? (tensor){0} : param_use(r, m->cls);
    tensor positions = param_use(r, m->positions);
    tensor out = x; /* without a class token there is nothing to move */
    if (m->cls >= 0) out = take(r, m->type, SHAPE(b, c->context, c->width), "embedded");
    OP(positions, r->dev, r->stream, .out = out, .x = x, .first = cls, .positions = positions);
    if (m->cls >= 0) {
        param_done(r, m->cls);
        arena_drop(r->arena, &x);
    }
    param_done(r, m->positions);
    return out;
}

/* d (B,N,C): the gradient of the embedded patches. */
static void patch_grad(runtime *r, model *m, tensor images, tensor d)
{
    tensor cut = take_patches(r, &m->config, images);
    grad dw = grad_begin(r, m->patch.weight), db = grad_begin(r, m->patch.bias);
    dw.t = as_matrix(dw.t);
    OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = cut, .dout = d);
    grad_done(r, m->patch.weight);
    grad_done(r, m->patch.bias);
    arena_drop(r->arena, &cut);
}

/* d (B,T,C): the gradient of what embed made. */
static void embed_grad(runtime *r, model *m, tensor images, tensor d)
{
    const model_config *c = &m->config;
    grad dcls = m->cls < 0 ? (grad){0} : grad_begin(r, m->cls);
    grad dpositions = grad_begin(r, m->positions);
    tensor dx = d;
    if (m->cls >= 0) dx = take(r, m->type, SHAPE(d.dim[0], patch_count(c), c->width), "dpatches");
    OP(positions_grad, r->dev, r->stream, .dx = dx, .dfirst = dcls, .dpositions = dpositions,
       .dout = d);
    if (m->cls >= 0) grad_done(r, m->cls);
    grad_done(r, m->positions);
    if (grad_wanted(r, m->patch.weight) || grad_wanted(r, m->patch.bias))
        patch_grad(r, m, images, dx);
    if (m->cls >= 0) arena_drop(r->arena, &dx);
}

static tensor vit_forward(runtime *r, model *m, const batch *in, bool train)
{
    tensor none = {0};
    return blocks_forward(r, &m->config, &m->training, m->blocks, embed(r, m, in->inputs),
                          train ? in->noise : none, train ? BLOCK_TRAIN : BLOCK_INFER, m->states);
}

static void vit_backward(runtime *r, model *m, const batch *in, tensor d)
{
    blocks_backward(r, &m->config, &m->training, m->blocks, d, m->states);
    if (grads_below(r, m->blocks[0].norm1.weight)) embed_grad(r, m, in->inputs, d);
    arena_drop(r->arena, &d);
}

const image_architecture vit_architecture = {.branches = 2, /* a layer */
                                             .create = vit_create,
                                             .destroy = vit_destroy,
                                             .forward = vit_forward,
                                             .backward = vit_backward};
