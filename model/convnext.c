/* convnext.c - ConvNeXt (Liu et al. 2022), channels last: every pixel is a row, and between two
 * convolutions there are the same norms and products as in a transformer.
 *
 *   images (B,Ch,H,W) -> patches -> linear -> norm
 *        stage 1 | norm, 2 x 2 pixels side by side, linear | stage 2 | ... | stage 4
 *        mean of all pixels -> norm -> head -> softmax, loss
 *
 *   a block     x + drop * gamma * down(gelu(up(norm(depthwise 7 x 7 (x)))))
 *
 * A convolution whose stride is its kernel size is a matrix product of adjacent pixels: the stem
 * cuts patches as the ViT does, downsampling merges pixels (merge_op). Backward cuts both again.
 *
 * What backward reads of a block, and what --recompute recomputes:
 *
 *     tensor   rows of   read by              norms        gelu, attention   block, sqrt
 *     x        C         depthwise's weight   kept         kept              kept
 *     conv     C         norm                 kept         kept              recomputed
 *     norm     C         up's weight          recomputed   recomputed        recomputed
 *     pre      4 C       gelu                 kept         kept              recomputed
 *     act      4 C       down's weight        kept         recomputed        recomputed
 *     out      C         gamma                kept         kept              recomputed
 *
 * and only what a wanted gradient needs is kept at all (--freeze).
 *
 * Names and shapes are timm's:
 *
 *   stem.{0, 1}, stages.S.downsample.{0, 1}, stages.S.blocks.N.{conv_dw, norm, mlp.fc1, mlp.fc2}.{weight, bias},
 *   stages.S.blocks.N.gamma, head.{norm, fc}.{weight, bias}
 *
 * Stochastic depth as in vit.c: a block's branch, with a probability that grows linearly.
 */
#include "model/image_head.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 7, HALVE = 2, FRONT_ROOM = 40, MIDDLE_ROOM = 60 };

#define GAMMA 1e-6

typedef struct {
    weight_ids conv, norm, up, down;
    int gamma;
} conv_block;

/* Between two stages; the stem of the first one. */
typedef struct {
    weight_ids norm, linear;
    int64_t height, width, channels; /* of what it puts out */
} entrance;

typedef struct {
    tensor x, conv, mean, rstd, norm, pre, act, out, drop;
} conv_state;

typedef struct {
    tensor x, mean,
        rstd; /* what the norm reads: the stem's own product, or the stage before's output */
} entrance_state;

struct model {
    model_config config;        /* its norm_eps is that of the head's norm */
    model_config blocks_config; /* all other norms have 1e-6, in any file */
    training_policy training;
    dtype type;
    entrance entrance[CONV_STAGES];
    entrance_state entered[CONV_STAGES];
    conv_block *blocks; /* [layers] */
    conv_state *states; /* [layers] */
};

/* ---- the table ---- */

static error *declare_vector(params *p, const char *front, const char *rest, int layer, int64_t n,
                             init_kind init, double value, int *id)
{
    return declare_named(
        p, front, rest, (param_spec){.layer = layer, .shape = SHAPE(n), .init = init, .std = value},
        id);
}

/* FRONT.weight of this shape, and FRONT.bias. */
static error *declare_pair(params *p, const char *front, int layer, shape s, bool hidden,
                           weight_ids *ids)
{
    param_spec w = {.layer = layer,
                    .shape = s,
                    .decay = true,
                    .init = INIT_NORMAL,
                    .std = 0.02,
                    .hidden = hidden};
    TRY(declare_named(p, front, ".weight", w, &ids->weight));
    return declare_vector(p, front, ".bias", layer, s.dim[0], INIT_ZERO, 0, &ids->bias);
}

static error *declare_layer_norm(params *p, const char *front, int layer, int64_t n,
                                 weight_ids *ids)
{
    TRY(declare_vector(p, front, ".weight", layer, n, INIT_ONE, 0, &ids->weight));
    return declare_vector(p, front, ".bias", layer, n, INIT_ZERO, 0, &ids->bias);
}

static error *declare_block(params *p, const char *front, int layer, int64_t n, conv_block *b)
{
    char name[MIDDLE_ROOM];
#define NAMED(rest) (snprintf(name, sizeof name, "%s.%s", front, rest), name)
    TRY(declare_pair(p, NAMED("conv_dw"), layer, SHAPE(n, 1, SIDE, SIDE), false, &b->conv));
    TRY(declare_layer_norm(p, NAMED("norm"), layer, n, &b->norm));
    TRY(declare_pair(p, NAMED("mlp.fc1"), layer, SHAPE(4 * n, n), true, &b->up));
    TRY(declare_pair(p, NAMED("mlp.fc2"), layer, SHAPE(n, 4 * n), true, &b->down));
    return declare_vector(p, NAMED("gamma"), "", layer, n, INIT_VALUE, GAMMA, &b->gamma);
#undef NAMED
}

static error *declare_stem(model *m, params *p)
{
    const model_config *c = &m->config;
    entrance *e = &m->entrance[0];
    TRY(declare_pair(p, "stem.0", -1, SHAPE(c->width, c->channels, c->patch, c->patch), false,
                     &e->linear));
    return declare_layer_norm(p, "stem.1", -1, c->width, &e->norm);
}

static error *declare_downsample(model *m, params *p, int stage, int64_t n)
{
    char name[MIDDLE_ROOM];
    entrance *e = &m->entrance[stage];
    snprintf(name, sizeof name, "stages.%d.downsample.0", stage);
    TRY(declare_layer_norm(p, name, -1, n / 2, &e->norm));
    snprintf(name, sizeof name, "stages.%d.downsample.1", stage);
    return declare_pair(p, name, -1, SHAPE(n, n / 2, HALVE, HALVE), false, &e->linear);
}

static error *declare_convnext(model *m, params *p, image_head *head)
{
    const model_config *c = &m->config;
    int64_t n = c->width, h = c->image_height / c->patch, w = c->image_width / c->patch;
    TRY(declare_stem(m, p));
    for (int s = 0, layer = 0; s < CONV_STAGES; s++, n *= 2, h /= 2, w /= 2) {
        if (s) TRY(declare_downsample(m, p, s, n));
        m->entrance[s].height = h;
        m->entrance[s].width = w;
        m->entrance[s].channels = n;
        for (int i = 0; i < (int)c->stage[s]; i++, layer++) {
            char front[FRONT_ROOM];
            snprintf(front, sizeof front, "stages.%d.blocks.%d", s, i);
            TRY(declare_block(p, front, layer, n, &m->blocks[layer]));
        }
    }
    n /= 2;
    TRY(declare_layer_norm(p, "head.norm", -1, n, &head->norm));
    return declare_pair(p, "head.fc", -1, SHAPE(c->vocab, n), false, &head->head);
}

static void convnext_destroy(model *m)
{
    if (!m) return;
    free(m->blocks);
    free(m->states);
    free(m);
}

static error *convnext_create(const model_config *c, const training_policy *how, params *p,
                              image_head *head, model **out)
{
    model *m = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    m->config = m->blocks_config = *c;
    m->blocks_config.norm_eps = 1e-6;
    m->training = *how;
    m->type = p->type;
    error *e = alloc_array(&m->blocks, (size_t)c->layers, sizeof *m->blocks);
    if (!e) e = alloc_array(&m->states, (size_t)c->layers, sizeof *m->states);
    if (!e) e = declare_convnext(m, p, head);
    if (e) {
        convnext_destroy(m);
        return e;
    }
    *out = m;
    return NULL;
}

/* ---- shapes ---- */

static tensor take_map(runtime *r, dtype type, shape s, const char *name, int layer)
{
    return arena_take(r->arena, KIND_ACTIVATION, type, s, NAME(name, layer));
}

/* (B,H,W,cols) */
static tensor take_pixels(runtime *r, tensor like, int64_t cols, const char *name, int layer)
{
    return take_map(r, r->params->type, SHAPE(like.dim[0], like.dim[1], like.dim[2], cols), name,
                    layer);
}

static tensor take_stat(runtime *r, tensor like, const char *name, int layer)
{
    return take_map(r, stat_type(r->params->type), SHAPE(tensor_rows(like)), name, layer);
}

static void drop(runtime *r, tensor *t)
{
    arena_drop(r->arena, t);
}

/* ---- a block ---- */

/* What remains after the forward pass. */
typedef struct {
    bool x, conv, norm, pre, act, out;
} keeps;

static bool wanted_in(const runtime *r, const conv_block *b)
{
    return grads_below(r, b->gamma + 1);
}

static keeps keeps_of(const runtime *r, const model *m, int layer, const conv_block *b)
{
    recompute_level level = recompute_of(&m->training.recompute, layer);
    bool all = level >= RECOMPUTE_BLOCK;
    if (!wanted_in(r, b)) return (keeps){0};
    if (all) return (keeps){.x = true};
    return (keeps){.x = grad_wanted(r, b->conv.weight),
                   .conv = grads_through(r, b->norm),
                   .norm = grad_wanted(r, b->up.weight) && level < RECOMPUTE_NORMS,
                   .pre = grads_below(r, b->down.weight) ||
                          (grad_wanted(r, b->down.weight) && level >= RECOMPUTE_GELU),
                   .act = grad_wanted(r, b->down.weight) && level < RECOMPUTE_GELU,
                   .out = grad_wanted(r, b->gamma)};
}

static void make_norm(runtime *r, const model *m, int layer, const conv_block *b, conv_state *s,
                      bool stats)
{
    if (stats && !present(s->rstd)) {
        s->mean = take_stat(r, s->conv, "h%d.mean", layer);
        s->rstd = take_stat(r, s->conv, "h%d.rstd", layer);
    }
    s->norm = take_pixels(r, s->conv, s->conv.dim[3], "h%d.norm", layer);
    apply_norm(r, &m->blocks_config, b->norm, s->norm, s->conv, s->mean, s->rstd);
}

/* From x to the branch's output; what `keep` does not have is dropped when it has been read. */
static void make_branch(runtime *r, const model *m, int layer, const conv_block *b, conv_state *s,
                        keeps keep)
{
    int64_t n = s->x.dim[3];
    s->conv = take_pixels(r, s->x, n, "h%d.conv", layer);
    tensor w = param_use(r, b->conv.weight), bias = param_use(r, b->conv.bias), none = {0};
    OP(depthwise, r->dev, r->stream, .out = s->conv, .x = s->x, .w = as_matrix(w), .bias = bias,
       .side = SIDE);
    param_done(r, b->conv.weight);
    param_done(r, b->conv.bias);
    make_norm(r, m, layer, b, s, keep.conv);
    if (!keep.conv) drop(r, &s->conv);
    if (keep.pre) s->pre = take_pixels(r, s->x, 4 * n, "h%d.pre", layer);
    s->act = take_pixels(r, s->x, 4 * n, "h%d.act", layer);
    apply_linear(r, b->up, s->act, s->norm, none, m->config.act, s->pre);
    if (!keep.norm) drop(r, &s->norm);
    s->out = take_pixels(r, s->x, n, "h%d.branch", layer);
    apply_linear(r, b->down, s->out, s->act, none, ACT_NONE, none);
    if (!keep.act) drop(r, &s->act);
}

/* The block's output, which is the next one's x. */
static tensor block_forward_conv(runtime *r, const model *m, int layer, conv_state *s, bool train)
{
    const conv_block *b = &m->blocks[layer];
    keeps keep = train ? keeps_of(r, m, layer, b) : (keeps){0};
    make_branch(r, m, layer, b, s, keep);
    bool dropped = present(s->drop);
    tensor out = take_pixels(r, s->x, s->x.dim[3], "h%d.out", layer),
           gamma = param_use(r, b->gamma);
    OP(scale_channels, r->dev, r->stream, .out = out, .x = s->out, .scale = gamma,
       .residual = dropped ? (tensor){0} : s->x);
    param_done(r, b->gamma);
    if (dropped)
        OP(scale_samples, r->dev, r->stream, .out = as_positions(out), .x = as_positions(out),
           .scale = s->drop, .residual = as_positions(s->x));
    if (!keep.out) drop(r, &s->out);
    if (!keep.x) drop(r, &s->x);
    return out;
}

/* What backward reads and forward did not keep. */
static void remake(runtime *r, const model *m, int layer, const conv_block *b, conv_state *s)
{
    keeps need = {.x = true,
                  .conv = grads_through(r, b->norm),
                  .norm = grad_wanted(r, b->up.weight),
                  .pre = grads_below(r, b->down.weight),
                  .act = grad_wanted(r, b->down.weight),
                  .out = grad_wanted(r, b->gamma)};
    if (recompute_of(&m->training.recompute, layer) >= RECOMPUTE_BLOCK) {
        make_branch(r, m, layer, b, s, need);
        if (!need.out) drop(r, &s->out);
        return;
    }
    if (need.act && !present(s->act)) {
        s->act = take_pixels(r, s->pre, tensor_cols(s->pre), "h%d.act", layer);
        OP(activate, r->dev, r->stream, .out = s->act, .x = s->pre, .act = m->config.act);
    }
}

/* d (B,H,W,C): the gradient of the block's output.  That of the branch's; absent if none in it is
 * wanted.  All of these drop what has been read for the last time. */
static tensor gamma_backward(runtime *r, const conv_block *b, int layer, conv_state *s, tensor d)
{
    tensor branch = take_pixels(r, d, d.dim[3], "h%d.dbranch", layer), source = d;
    if (present(s->drop)) {
        OP(scale_samples, r->dev, r->stream, .out = as_positions(branch), .x = as_positions(d),
           .scale = s->drop);
        source = branch;
    }
    tensor gamma = param_use(r, b->gamma);
    grad dgamma = grad_begin(r, b->gamma);
    if (present(dgamma.t))
        OP(scale_channels_grad, r->dev, r->stream, .dscale = dgamma, .x = s->out, .dout = source);
    grad_done(r, b->gamma);
    drop(r, &s->out);
    if (grads_through(r, b->down))
        OP(scale_channels, r->dev, r->stream, .out = branch, .x = source, .scale = gamma);
    param_done(r, b->gamma);
    if (!grads_through(r, b->down)) drop(r, &branch);
    return branch;
}

/* dout: the gradient of the branch's output, taken; returns that of the norm's. */
static tensor mlp_backward(runtime *r, const model *m, const conv_block *b, int layer,
                           conv_state *s, tensor dout)
{
    linear_grads g = linear_begin_grad(r, b->down, s->act, NULL, dout, (late_slope){0});
    tensor dpre = {0}, dnorm = {0}, none = {0};
    drop(r, &s->act);
    bool below = grads_below(r, b->down.weight);
    if (below) {
        dpre = take_pixels(r, dout, 4 * dout.dim[3], "h%d.dpre", layer);
        linear_input_grad(r, b->down, &g, dpre, false, dout, s->pre, m->config.act);
    }
    linear_end_grad(r, b->down, &g);
    drop(r, &s->pre);
    int64_t n = dout.dim[3];
    tensor like = dout;
    drop(r, &dout);
    if (!below) return dnorm;
    if (grad_wanted(r, b->up.weight) && !present(s->norm)) make_norm(r, m, layer, b, s, false);
    g = linear_begin_grad(r, b->up, s->norm, NULL, dpre, (late_slope){0});
    drop(r, &s->norm);
    if (grads_below(r, b->up.weight)) {
        dnorm = take_pixels(r, like, n, "h%d.dnorm", layer);
        linear_input_grad(r, b->up, &g, dnorm, false, dpre, none, ACT_NONE);
    }
    linear_end_grad(r, b->up, &g);
    drop(r, &dpre);
    return dnorm;
}

/* dnorm, taken: through norm and convolution; what lies below is added to d. */
static void conv_backward(runtime *r, const model *m, const conv_block *b, int layer, conv_state *s,
                          tensor dnorm, tensor d)
{
    apply_norm_grad(r, &m->blocks_config, b->norm, dnorm, false, dnorm, s->conv, s->mean, s->rstd);
    drop(r, &s->conv);
    drop(r, &s->mean);
    drop(r, &s->rstd);
    bool below = grads_below(r, b->conv.weight);
    tensor w = param_use(r, b->conv.weight);
    grad dw = grad_begin(r, b->conv.weight), db = grad_begin(r, b->conv.bias);
    dw.t = as_matrix(dw.t);
    if (present(dw.t) || present(db.t))
        OP(depthwise_grad, r->dev, r->stream, .dw = dw, .db = db, .x = present(s->x) ? s->x : dnorm,
           .dout = dnorm, .side = SIDE);
    grad_done(r, b->conv.weight);
    grad_done(r, b->conv.bias);
    if (below) {
        tensor dx = take_pixels(r, d, d.dim[3], "h%d.dconv", layer);
        OP(depthwise, r->dev, r->stream, .out = dx, .x = dnorm, .w = as_matrix(w), .side = SIDE,
           .flipped = true);
        OP(add, r->dev, r->stream, .x = d, .y = dx);
        drop(r, &dx);
    }
    param_done(r, b->conv.weight);
    drop(r, &dnorm);
}

/* d: the gradient of the block's output on entry, of its input on return. */
static void block_backward_conv(runtime *r, const model *m, int layer, conv_state *s, tensor d)
{
    const conv_block *b = &m->blocks[layer];
    remake(r, m, layer, b, s);
    tensor branch = gamma_backward(r, b, layer, s, d);
    if (present(branch)) {
        tensor dnorm = mlp_backward(r, m, b, layer, s, branch);
        if (present(dnorm) && grads_through(r, b->norm))
            conv_backward(r, m, b, layer, s, dnorm, d);
        else
            drop(r, &dnorm);
    }
    tensor *left[] = {&s->x, &s->conv, &s->mean, &s->rstd, &s->norm, &s->pre, &s->act, &s->out};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (present(*left[i])) drop(r, left[i]);
}

/* ---- entrances ---- */

/* x, normed, 2 x 2 pixels side by side. */
static tensor take_merged(runtime *r, const model *m, int stage, entrance_state *s, bool stats)
{
    const entrance *e = &m->entrance[stage];
    tensor norm = take_pixels(r, s->x, s->x.dim[3], "s%d.norm", stage);
    if (stats && !present(s->rstd)) {
        s->mean = take_stat(r, s->x, "s%d.mean", stage);
        s->rstd = take_stat(r, s->x, "s%d.rstd", stage);
    }
    apply_norm(r, &m->blocks_config, e->norm, norm, s->x, s->mean, s->rstd);
    tensor merged =
        take_map(r, m->type, SHAPE(s->x.dim[0], e->height, e->width, s->x.dim[3] * HALVE * HALVE),
                 "s%d.merged", stage);
    OP(merge, r->dev, r->stream, .out = merged, .x = norm, .side = HALVE);
    drop(r, &norm);
    return merged;
}

static bool stem_wanted(const runtime *r, const model *m)
{
    return grads_through(r, m->entrance[0].norm);
}

static tensor enter_first(runtime *r, model *m, tensor images, bool train)
{
    const entrance *e = &m->entrance[0];
    entrance_state *s = &m->entered[0];
    tensor cut = take_patches(r, &m->config, images);
    *s = (entrance_state){0};
    shape pixels = SHAPE(images.dim[0], e->height, e->width, e->channels);
    s->x = take_map(r, m->type, pixels, "stem", 0);
    tensor none = {0};
    apply_linear(r, e->linear, s->x, cut, none, ACT_NONE, none);
    drop(r, &cut);
    bool keep = train && stem_wanted(r, m);
    if (keep) {
        s->mean = take_stat(r, s->x, "stem mean", 0);
        s->rstd = take_stat(r, s->x, "stem rstd", 0);
    }
    tensor out = take_map(r, m->type, pixels, "stem norm", 0);
    apply_norm(r, &m->blocks_config, e->norm, out, s->x, s->mean, s->rstd);
    if (!keep) drop(r, &s->x);
    return out;
}

static bool entrance_wanted(const runtime *r, const entrance *e)
{
    return grads_through(r, e->linear);
}

/* x, taken, into stage 1, 2 or 3. */
static tensor enter(runtime *r, model *m, int stage, tensor x, bool train)
{
    const entrance *e = &m->entrance[stage];
    entrance_state *s = &m->entered[stage];
    *s = (entrance_state){.x = x};
    bool keep = train && entrance_wanted(r, e);
    tensor none = {0}, merged = take_merged(r, m, stage, s, keep),
           out = take_map(r, m->type, SHAPE(x.dim[0], e->height, e->width, e->channels), "s%d.in",
                          stage);
    apply_linear(r, e->linear, out, merged, none, ACT_NONE, none);
    drop(r, &merged);
    if (!keep) drop(r, &s->x);
    return out;
}

/* The gradients that are wanted of an entrance's product; the weight stays in use. */
static tensor entrance_weight_grad(runtime *r, const entrance *e, tensor x, tensor d)
{
    tensor w = param_use(r, e->linear.weight);
    grad dw = grad_begin(r, e->linear.weight), db = grad_begin(r, e->linear.bias);
    dw.t = as_matrix(dw.t);
    if (present(dw.t) || present(db.t))
        OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = x, .dout = d);
    grad_done(r, e->linear.weight);
    grad_done(r, e->linear.bias);
    return w;
}

/* d, taken: the gradient of what entered the stage; returns that of the stage before's output,
 * absent if none below is wanted. */
static tensor leave_stage(runtime *r, model *m, int stage, tensor d)
{
    const entrance *e = &m->entrance[stage];
    entrance_state *s = &m->entered[stage];
    tensor merged = {0}, dx = {0};
    if (grad_wanted(r, e->linear.weight)) merged = take_merged(r, m, stage, s, false);
    tensor w = entrance_weight_grad(r, e, merged, d);
    if (present(merged)) drop(r, &merged);
    if (grads_through(r, e->norm)) {
        tensor dmerged = take_map(
            r, m->type, SHAPE(s->x.dim[0], e->height, e->width, s->x.dim[3] * HALVE * HALVE),
            "s%d.dmerged", stage);
        OP(linear_dx, r->dev, r->stream, .dx = dmerged, .dout = d, .w = as_matrix(w));
        dx = take_pixels(r, s->x, s->x.dim[3], "s%d.dx", stage);
        OP(merge_grad, r->dev, r->stream, .dx = dx, .dout = dmerged, .side = HALVE);
        drop(r, &dmerged);
        apply_norm_grad(r, &m->blocks_config, e->norm, dx, false, dx, s->x, s->mean, s->rstd);
    }
    param_done(r, e->linear.weight);
    drop(r, &d);
    drop(r, &s->x);
    drop(r, &s->mean);
    drop(r, &s->rstd);
    return dx;
}

/* d, taken: the gradient of the stem's output. */
static void leave_first(runtime *r, model *m, tensor images, tensor d)
{
    const entrance *e = &m->entrance[0];
    entrance_state *s = &m->entered[0];
    apply_norm_grad(r, &m->blocks_config, e->norm, d, false, d, s->x, s->mean, s->rstd);
    if (entrance_wanted(r, e)) {
        tensor cut = take_patches(r, &m->config, images);
        entrance_weight_grad(r, e, cut, d);
        param_done(r, e->linear.weight);
        drop(r, &cut);
    }
    drop(r, &s->x);
    drop(r, &s->mean);
    drop(r, &s->rstd);
    drop(r, &d);
}

/* ---- the programs ---- */

static tensor convnext_forward(runtime *r, model *m, const batch *in, bool train)
{
    tensor x = enter_first(r, m, in->inputs, train);
    for (int s = 0, layer = 0; s < CONV_STAGES; s++) {
        if (s) x = enter(r, m, s, x, train);
        for (int i = 0; i < (int)m->config.stage[s]; i++, layer++) {
            conv_state *state = &m->states[layer];
            *state = (conv_state){.x = x};
            if (train && present(in->noise)) state->drop = tensor_slice(in->noise, layer, 1);
            x = block_forward_conv(r, m, layer, state, train);
        }
    }
    return as_positions(x);
}

static void convnext_backward(runtime *r, model *m, const batch *in, tensor d)
{
    int layer = (int)m->config.layers;
    for (int s = CONV_STAGES - 1; s >= 0 && present(d); s--) {
        const entrance *e = &m->entrance[s];
        d = tensor_of(d.data, d.type, SHAPE(in->inputs.dim[0], e->height, e->width, e->channels));
        for (int i = (int)m->config.stage[s]; i > 0; i--) {
            layer--;
            if (wanted_in(r, &m->blocks[layer]))
                block_backward_conv(r, m, layer, &m->states[layer], d);
        }
        bool wanted = s ? entrance_wanted(r, e) : stem_wanted(r, m);
        if (wanted && s) {
            d = leave_stage(r, m, s, d);
        } else {
            if (wanted)
                leave_first(r, m, in->inputs, d);
            else
                drop(r, &d);
            d = (tensor){0};
        }
    }
}

const image_architecture convnext_architecture = {.branches = 1,
                                                  .create = convnext_create,
                                                  .destroy = convnext_destroy,
                                                  .forward = convnext_forward,
                                                  .backward = convnext_backward};
