/* resnet.c - wide residual networks (Zagoruyko, Komodakis 2016), with BatchNorm or GroupNorm;
 * channels last, every pixel is a row.
 *
 *   images (B,Ch,H,W) -> pixels -> conv 3 x 3, 16 channels
 *        stage 1 | stage 2, half as high and wide | stage 3, again
 *        norm, relu -> mean of all pixels -> fc -> softmax, loss
 *
 *   a block     n = relu(norm(x)),  out = conv(relu(norm(conv(n)))) + x
 *
 * and where x has other channels or another size, the first of a stage, + shortcut(n), a 1 x 1
 * convolution, is in its place.
 *
 * A convolution is a product of windows (core/ops.def) with its weight, some lines at a time, so
 * that the windows, nine times the pixels, never exist all at once:
 *
 *     x  --windows-->  rows of a band  --linear-->  the band's lines of out
 *
 * Backward fills each band once more for the gradient of the weight, and goes the same way back.
 *
 * What backward reads of a block, and what --recompute recomputes:
 *
 *     tensor   read by                                   norms, gelu, attention   block, sqrt
 *     x        norm 1                                    kept                     kept
 *     norm 1   the weights of conv 1 and the shortcut    again                    again
 *     conv 1   norm 2                                    kept                     again
 *     norm 2   the weight of conv 2                      again                    again
 *
 * and only what a wanted gradient needs is kept at all (--freeze).  Batch statistics are always
 * kept, so recomputing does not update the running statistics twice.  These are states in the
 * parameter table (params/params.h): saved with the model, trained by nobody.
 *
 * Names and shapes are those of the usual PyTorch models, with BatchNorm's running_mean and
 * running_var:
 *
 *   conv1.weight, block{1,2,3}.layer.N.{bn1, conv1, bn2, conv2}, block{1,2,3}.layer.0.convShortcut.weight,
 *   bn1, fc.{weight, bias}
 */
#include "model/image_head.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SIDE = 3,
    STAGES = CONV_STAGES - 1,
    GROUPS = 8,
    MOST_BANDS = 16,
    LEAST_BAND = 1 << 18, /* bytes */
    FRONT_ROOM = 40,
    MIDDLE_ROOM = 60
};

#define MOMENTUM 0.1 /* of a step: PyTorch's */

/* A convolution: its weight, and what of it is not in that. */
typedef struct {
    int weight; /* (out, in, K, K); -1: there is none */
    int64_t side, stride;
} convolution;

typedef struct {
    int weight, bias, mean, var; /* mean, var: running; -1 without */
} norm_ids;

typedef struct {
    norm_ids norm1, norm2;
    convolution conv1, conv2, shortcut;
    int64_t in, height, width; /* of what it reads */
} res_block;

typedef struct {
    tensor mean, rstd;
} moments;

/* Maps (B,H,W,C). */
typedef struct {
    tensor x, norm1, conv, norm2;
    moments m1, m2;
} res_state;

struct model {
    model_config config;
    training_policy training;
    convolution stem;
    res_block *blocks; /* [layers] */
    res_state *states; /* [layers] */
    norm_ids last;
    res_state top; /* x, norm1 and m1: of the last norm */
};

/* ---- the table ---- */

/* Initialized as in He et al. 2015, by fan-out; its output has that many pixels. */
static error *declare_conv(params *p, const char *front, const char *rest, int layer, int64_t out,
                           int64_t in, int64_t side, int64_t stride, int64_t pixels,
                           convolution *conv)
{
    *conv = (convolution){.side = side, .stride = stride};
    param_spec w = {.layer = layer,
                    .shape = SHAPE(out, in, side, side),
                    .decay = true,
                    .init = INIT_NORMAL,
                    .std = sqrt(2.0 / (double)(side * side * out)),
                    .rows = pixels,
                    .hidden = layer >= 0};
    return declare_named(p, front, rest, w, &conv->weight);
}

static error *declare_channels(params *p, const char *front, const char *rest, int layer, int64_t n,
                               init_kind init, bool state, int *id)
{
    return declare_named(
        p, front, rest,
        (param_spec){.layer = layer, .shape = SHAPE(n), .init = init, .state = state}, id);
}

/* FRONT.weight and the others. */
static error *declare_channel_norm(model *m, params *p, const char *front, int layer, int64_t n,
                                   norm_ids *ids)
{
    *ids = (norm_ids){.mean = -1, .var = -1};
    TRY(declare_channels(p, front, ".weight", layer, n, INIT_ONE, false, &ids->weight));
    TRY(declare_channels(p, front, ".bias", layer, n, INIT_ZERO, false, &ids->bias));
    if (m->config.norm == NORM_GROUP) return NULL;
    TRY(declare_channels(p, front, ".running_mean", layer, n, INIT_ZERO, true, &ids->mean));
    return declare_channels(p, front, ".running_var", layer, n, INIT_ONE, true, &ids->var);
}

static error *declare_res_block(model *m, params *p, const char *front, int layer, int64_t in,
                                int64_t out, int64_t stride, res_block *b)
{
    char name[MIDDLE_ROOM];
#define NAMED(rest) (snprintf(name, sizeof name, "%s.%s", front, rest), name)
    b->in = in;
    b->shortcut.weight = -1;
    TRY(declare_channel_norm(m, p, NAMED("bn1"), layer, in, &b->norm1));
    int64_t pixels = ((b->height - 1) / stride + 1) * ((b->width - 1) / stride + 1);
    TRY(declare_conv(p, NAMED("conv1"), ".weight", layer, out, in, SIDE, stride, pixels,
                     &b->conv1));
    TRY(declare_channel_norm(m, p, NAMED("bn2"), layer, out, &b->norm2));
    TRY(declare_conv(p, NAMED("conv2"), ".weight", layer, out, out, SIDE, 1, pixels, &b->conv2));
    if (in == out && stride == 1) return NULL;
    return declare_conv(p, NAMED("convShortcut"), ".weight", layer, out, in, 1, stride, pixels,
                        &b->shortcut);
#undef NAMED
}

static error *declare_head(model *m, params *p, int64_t n, image_head *head)
{
    param_spec w = {.name = "fc.weight",
                    .layer = -1,
                    .shape = SHAPE(m->config.vocab, n),
                    .decay = true,
                    .init = INIT_UNIFORM,
                    .std = 1 / sqrt((double)n),
                    .rows = 1};
    TRY(declare_channel_norm(m, p, "bn1", -1, n, &m->last));
    head->norm.weight = head->norm.bias = -1;
    TRY(declare(p, w, &head->head.weight));
    return declare_channels(p, "fc.bias", "", -1, m->config.vocab, INIT_ZERO, false,
                            &head->head.bias);
}

static error *declare_resnet(model *m, params *p, image_head *head)
{
    const model_config *c = &m->config;
    int64_t in = RESNET_STEM, n = c->width, h = c->image_height, w = c->image_width;
    TRY(declare_conv(p, "conv1", ".weight", -1, in, c->channels, SIDE, 1, h * w, &m->stem));
    for (int s = 0, layer = 0; s < STAGES; s++, n *= 2)
        for (int i = 0; i < (int)c->stage[s]; i++, layer++, in = n) {
            char front[FRONT_ROOM];
            snprintf(front, sizeof front, "block%d.layer.%d", s + 1, i);
            int64_t stride = s && !i ? 2 : 1;
            m->blocks[layer] = (res_block){.height = h, .width = w};
            TRY(declare_res_block(m, p, front, layer, in, n, stride, &m->blocks[layer]));
            h = (h - 1) / stride + 1, w = (w - 1) / stride + 1;
        }
    return declare_head(m, p, in, head);
}

static void resnet_destroy(model *m)
{
    if (!m) return;
    free(m->blocks);
    free(m->states);
    free(m);
}

static error *resnet_create(const model_config *c, const training_policy *how, params *p,
                            image_head *head, model **out)
{
    model *m = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    m->config = *c;
    m->training = *how;
    error *e = alloc_array(&m->blocks, (size_t)c->layers, sizeof *m->blocks);
    if (!e) e = alloc_array(&m->states, (size_t)c->layers, sizeof *m->states);
    if (!e) e = declare_resnet(m, p, head);
    if (e) {
        resnet_destroy(m);
        return e;
    }
    *out = m;
    return NULL;
}

/* ---- shapes ---- */

static tensor take_map(runtime *r, shape s, const char *name, int layer)
{
    return arena_take(r->arena, KIND_ACTIVATION, r->params->type, s, NAME(name, layer));
}

static tensor take_like(runtime *r, tensor like, const char *name, int layer)
{
    return take_map(r, SHAPE(like.dim[0], like.dim[1], like.dim[2], like.dim[3]), name, layer);
}

/* What a convolution makes of x. */
static tensor take_convolved(runtime *r, const convolution *k, tensor x, const char *name,
                             int layer)
{
    int64_t out = r->params->row[k->weight].spec.shape.dim[0], s = k->stride;
    return take_map(r, SHAPE(x.dim[0], (x.dim[1] - 1) / s + 1, (x.dim[2] - 1) / s + 1, out), name,
                    layer);
}

/* n of all images' lines as rows of pixels. */
static tensor lines(tensor map, int64_t first, int64_t n)
{
    return present(map) ? tensor_slice(map, first * map.dim[2], n * map.dim[2]) : map;
}

static void release(runtime *r, tensor *t)
{
    if (present(*t)) arena_drop(r->arena, t);
}

/* ---- convolutions ---- */

/* The rows that a convolution reads, a band at a time. */
typedef struct {
    tensor rows; /* of the largest band: (lines, w, C K K); absent: the pixels themselves */
    int64_t all, at_once; /* lines of the output */
    int64_t side, stride;
} bands;

/* For out (B,h,w,O) of x's C channels. */
static bands open_bands(runtime *r, const convolution *k, tensor out, int64_t channels)
{
    dtype type = r->params->type;
    bands b = {.all = out.dim[0] * out.dim[1], .side = k->side, .stride = k->stride};
    int64_t cols = channels * k->side * k->side,
            line = out.dim[2] * cols * (int64_t)dtype_size(type),
            most = LEAST_BAND / line > 1 ? LEAST_BAND / line : 1;
    if (most < b.all / MOST_BANDS) most = b.all / MOST_BANDS;
    int64_t n = (b.all + most - 1) / most;
    b.at_once = n > 0 ? (b.all + n - 1) / n : 1;
    if (k->side == 1 && k->stride == 1)
        b.at_once = b.all;
    else
        b.rows = arena_take(r->arena, KIND_WORKSPACE, type, SHAPE(b.at_once, out.dim[2], cols),
                            NAME("windows", 0));
    return b;
}

static int64_t band_lines(const bands *b, int64_t first)
{
    return b->all - first < b->at_once ? b->all - first : b->at_once;
}

/* Room for the windows of n lines. */
static tensor band_room(const bands *b, int64_t n)
{
    tensor t = b->rows;
    t.dim[0] = n;
    return t;
}

/* The rows of lines first, first + 1, ... of the output. */
static tensor fill_band(runtime *r, const bands *b, tensor x, int64_t first, int64_t n)
{
    if (!present(b->rows)) return lines(x, first, n);
    tensor rows = band_room(b, n);
    OP(windows, r->dev, r->stream, .out = rows, .x = x, .side = b->side, .stride = b->stride,
       .first = first);
    return rows;
}

static void close_bands(runtime *r, bands *b)
{
    release(r, &b->rows);
}

/* out = convolution of x, plus residual if there is one. */
static void convolve(runtime *r, const convolution *k, tensor out, tensor x, tensor residual)
{
    bands b = open_bands(r, k, out, x.dim[3]);
    tensor w = param_use(r, k->weight);
    for (int64_t first = 0; first < b.all; first += b.at_once) {
        int64_t n = band_lines(&b, first);
        tensor rows = fill_band(r, &b, x, first, n);
        OP(linear, r->dev, r->stream, .out = lines(out, first, n), .x = rows, .w = as_matrix(w),
           .residual = lines(residual, first, n));
    }
    param_done(r, k->weight);
    close_bands(r, &b);
}

/* dx += what a band's gradient is of x. */
static void band_input_grad(runtime *r, const bands *b, tensor dx, tensor d, tensor w,
                            int64_t first, int64_t n)
{
    if (!present(b->rows)) {
        OP(linear_dx, r->dev, r->stream, .dx = lines(dx, first, n), .accumulate = true, .dout = d,
           .w = as_matrix(w));
        return;
    }
    tensor rows = band_room(b, n);
    OP(linear_dx, r->dev, r->stream, .dx = rows, .dout = d, .w = as_matrix(w));
    OP(windows_grad, r->dev, r->stream, .dx = dx, .dout = rows, .side = b->side,
       .stride = b->stride, .first = first);
}

/* The weight's gradient, if it is wanted, from x, and that of x added to dx, if that is there. */
static void convolve_grad(runtime *r, const convolution *k, tensor x, tensor dout, tensor dx)
{
    int64_t channels = r->params->row[k->weight].spec.shape.dim[1];
    bands b = open_bands(r, k, dout, channels);
    tensor w = param_use(r, k->weight);
    grad dw = grad_begin(r, k->weight);
    dw.t = as_matrix(dw.t);
    for (int64_t first = 0; first < b.all; first += b.at_once) {
        int64_t n = band_lines(&b, first);
        tensor d = lines(dout, first, n);
        if (present(dw.t))
            OP(linear_dw, r->dev, r->stream, .dw = dw, .x = fill_band(r, &b, x, first, n),
               .dout = d);
        dw.accumulate = true;
        if (present(dx)) band_input_grad(r, &b, dx, d, w, first, n);
    }
    close_bands(r, &b);
    grad_done(r, k->weight);
    param_done(r, k->weight);
}

/* ---- norms, each followed by ReLU ---- */

static int64_t norm_groups(const model *m)
{
    return m->config.norm == NORM_GROUP ? GROUPS : 0;
}

/* Sums of the channels of images, a row each: of this process's, or of those of all ranks, in their
 * order.
 *
 *     rank 0   rank 1                   what BatchNorm's means are of is the same wherever an image
 *     s0 s1 |   .  .     each its own   is: N ranks normalize as one process does with the whole
 *      .  . |  s2 s3                    batch, to the bit (but what a rank adds to a gradient is
 *     s0 s1 |  s0 s1     gathered       of its own images, as everywhere else) */
typedef struct {
    tensor all, own;
    int64_t first; /* row of `all` */
} channel_sums;

/* Has the network means over several images, which lie in several ranks? */
static bool shares_means(const runtime *r, const model *m)
{
    return comm_size(r->comm) > 1 && m->config.norm == NORM_BATCH;
}

static channel_sums take_sums(runtime *r, const model *m, tensor x)
{
    bool shared = shares_means(r, m);
    int64_t n = x.dim[0], images = shared ? n * comm_size(r->comm) : n;
    channel_sums s = {.first = shared ? n * comm_rank(r->comm) : 0};
    s.all = arena_take(r->arena, KIND_WORKSPACE, stat_type(r->params->type),
                       SHAPE(images, 2 * x.dim[3]), NAME("channels' sums", 0));
    s.own = tensor_slice(s.all, s.first, n);
    return s;
}

static void gather_sums(runtime *r, const model *m, const channel_sums *s)
{
    if (!shares_means(r, m)) return;
    share parts = share_evenly(tensor_count(s->all), comm_size(r->comm), 1);
    r->comm->doing = "gathering the sums of a norm";
    comm_gather(r->comm, r->dev, r->stream, s->all, &parts);
}

/* Of a micro-batch, so that a step's micro-batches together move the running statistics as far as
 * one does alone: what these are the mean of does not depend on how a step is cut. */
static double momentum_of(const runtime *r)
{
    int n = r->params->micro_batches;
    return n > 1 ? 1 - pow(1 - MOMENTUM, 1.0 / n) : MOMENTUM;
}

/* In training the batch's, which also update the running statistics; in evaluation BatchNorm uses
 * those. */
static void make_moments(runtime *r, const model *m, const norm_ids *ids, tensor x, moments *to,
                         int layer, bool train)
{
    int64_t groups = norm_groups(m);
    shape s = groups ? SHAPE(x.dim[0], groups) : SHAPE(x.dim[3]);
    dtype stat = stat_type(r->params->type);
    tensor mean = use_if_any(r, ids->mean), var = use_if_any(r, ids->var);
    channel_sums sums = {0};
    to->mean = arena_take(r->arena, KIND_ACTIVATION, stat, s, NAME("h%d.mean", layer));
    to->rstd = arena_take(r->arena, KIND_ACTIVATION, stat, s, NAME("h%d.rstd", layer));
    if (train || groups) {
        sums = take_sums(r, m, x);
        OP(channel_sums, r->dev, r->stream, .sums = sums.own, .x = as_positions(x));
        gather_sums(r, m, &sums);
    }
    OP(channel_stats, r->dev, r->stream, .mean = to->mean, .rstd = to->rstd, .sums = sums.all,
       .running_mean = mean, .running_var = var, .pixels = x.dim[1] * x.dim[2], .groups = groups,
       .momentum = momentum_of(r), .eps = m->config.norm_eps);
    release(r, &sums.all);
    done_if_any(r, ids->mean);
    done_if_any(r, ids->var);
}

static void drop_moments(runtime *r, moments *s)
{
    release(r, &s->mean);
    release(r, &s->rstd);
}

/* relu(norm(x)) by moments that are there. */
static tensor make_channel_norm(runtime *r, const model *m, const norm_ids *ids, tensor x,
                                const moments *s, const char *name, int layer)
{
    tensor out = take_like(r, x, name, layer), w = param_use(r, ids->weight),
           b = param_use(r, ids->bias);
    OP(channel_norm, r->dev, r->stream, .out = as_positions(out), .x = as_positions(x),
       .mean = s->mean, .rstd = s->rstd, .w = w, .b = b, .groups = norm_groups(m), .relu = true);
    param_done(r, ids->weight);
    param_done(r, ids->bias);
    return out;
}

/* d: of relu(norm(x)) on entry, of x on return, if a gradient below is wanted. */
static void norm_backward(runtime *r, const model *m, const norm_ids *ids, tensor x,
                          const moments *s, tensor d)
{
    bool below = grads_below(r, ids->weight);
    int64_t groups = norm_groups(m);
    tensor w = param_use(r, ids->weight), b = param_use(r, ids->bias), dout = as_positions(d);
    channel_sums sums = take_sums(r, m, x);
    grad dw = grad_begin(r, ids->weight), db = grad_begin(r, ids->bias);
    OP(channel_grad_sums, r->dev, r->stream, .sums = sums.own, .dout = dout, .x = as_positions(x),
       .mean = s->mean, .rstd = s->rstd, .w = w, .b = b, .groups = groups, .relu = true);
    gather_sums(r, m, &sums);
    OP(channel_norm_grad, r->dev, r->stream, .dw = dw, .db = db, .dx = below ? dout : (tensor){0},
       .dout = dout, .x = as_positions(x), .mean = s->mean, .rstd = s->rstd, .w = w, .b = b,
       .sums = sums.all, .first = sums.first, .groups = groups, .relu = true);
    release(r, &sums.all);
    grad_done(r, ids->weight);
    grad_done(r, ids->bias);
    param_done(r, ids->weight);
    param_done(r, ids->bias);
}

/* Is a gradient wanted of a norm or of anything before it? */
static bool norm_wanted(const runtime *r, const norm_ids *ids)
{
    return grads_below(r, ids->bias + 1);
}

/* ---- a block ---- */

/* What remains after the forward pass. */
typedef struct {
    bool x, norm1, conv, norm2;
} keeps;

static bool has_shortcut(const res_block *b)
{
    return b->shortcut.weight >= 0;
}

static bool block_wants(const runtime *r, const res_block *b)
{
    return grads_below(r, (has_shortcut(b) ? b->shortcut.weight : b->conv2.weight) + 1);
}

/* What backward reads. */
static keeps needs_of(const runtime *r, const res_block *b)
{
    return (keeps){.x = norm_wanted(r, &b->norm1),
                   .norm1 = grad_wanted(r, b->conv1.weight) || grad_wanted(r, b->shortcut.weight),
                   .conv = norm_wanted(r, &b->norm2),
                   .norm2 = grad_wanted(r, b->conv2.weight)};
}

static recompute_level level_of(const model *m, int layer)
{
    return recompute_of(&m->training.recompute, layer);
}

static keeps keeps_of(const runtime *r, const model *m, int layer, const res_block *b)
{
    keeps k = needs_of(r, b);
    bool all = level_of(m, layer) >= RECOMPUTE_BLOCK;
    if (level_of(m, layer) < RECOMPUTE_NORMS || !block_wants(r, b)) return k;
    /* what is made again is made of these */
    return (keeps){.x = k.x || k.norm1 || (all && (k.conv || k.norm2)),
                   .conv = !all && (k.conv || k.norm2)};
}

/* conv 1 of the block, from x. */
static void make_conv(runtime *r, const model *m, int layer, const res_block *b, res_state *s)
{
    if (!present(s->norm1))
        s->norm1 = make_channel_norm(r, m, &b->norm1, s->x, &s->m1, "h%d.norm1", layer);
    s->conv = take_convolved(r, &b->conv1, s->norm1, "h%d.conv", layer);
    convolve(r, &b->conv1, s->conv, s->norm1, (tensor){0});
}

static tensor last_conv(runtime *r, const res_block *b, int layer, tensor norm2, tensor residual)
{
    tensor out = take_convolved(r, &b->conv2, norm2, "h%d.out", layer);
    convolve(r, &b->conv2, out, norm2, residual);
    return out;
}

/* The block's output, which is the next one's x. */
static tensor block_forward_res(runtime *r, const model *m, int layer, res_state *s, bool train)
{
    const res_block *b = &m->blocks[layer];
    keeps keep = train ? keeps_of(r, m, layer, b) : (keeps){0};
    bool again = has_shortcut(b); /* norm1 is read twice, and x is no residual */
    make_moments(r, m, &b->norm1, s->x, &s->m1, layer, train);
    make_conv(r, m, layer, b, s);
    if (!keep.norm1 && !again) release(r, &s->norm1);
    if (!keep.x && again) release(r, &s->x);
    make_moments(r, m, &b->norm2, s->conv, &s->m2, layer, train);
    s->norm2 = make_channel_norm(r, m, &b->norm2, s->conv, &s->m2, "h%d.norm2", layer);
    if (!keep.conv) release(r, &s->conv);
    tensor out = last_conv(r, b, layer, s->norm2, again ? (tensor){0} : s->x);
    if (!keep.norm2) release(r, &s->norm2);
    if (again) {
        tensor sum = take_like(r, out, "h%d.sum", layer);
        convolve(r, &b->shortcut, sum, s->norm1, out);
        release(r, &out);
        out = sum;
    }
    if (!keep.norm1) release(r, &s->norm1);
    if (!keep.x) release(r, &s->x);
    if (!train || !block_wants(r, b)) {
        drop_moments(r, &s->m1);
        drop_moments(r, &s->m2);
    }
    return out;
}

/* Zero, so that gradients are added to it. */
static tensor take_zeros(runtime *r, tensor like, const char *name, int layer)
{
    tensor t = take_like(r, like, name, layer);
    OP(fill, r->dev, r->stream, .x = t, .value = 0);
    return t;
}

/* Through conv 2 and norm 2: the gradient of conv 1's output, absent if none of it or below is
 * wanted. */
static tensor upper_backward(runtime *r, const model *m, int layer, const res_block *b,
                             res_state *s, tensor d)
{
    keeps need = needs_of(r, b);
    tensor dconv = {0};
    if (!present(s->conv) && (need.conv || (need.norm2 && !present(s->norm2)))) {
        make_conv(r, m, layer, b, s);
        release(r, &s->norm1);
    }
    if (need.norm2 && !present(s->norm2))
        s->norm2 = make_channel_norm(r, m, &b->norm2, s->conv, &s->m2, "h%d.norm2", layer);
    if (need.conv) dconv = take_zeros(r, d, "h%d.dconv", layer);
    if (need.conv || need.norm2) convolve_grad(r, &b->conv2, s->norm2, d, dconv);
    release(r, &s->norm2);
    if (need.conv) norm_backward(r, m, &b->norm2, s->conv, &s->m2, dconv);
    release(r, &s->conv);
    drop_moments(r, &s->m2);
    return dconv;
}

/* Through conv 1 and the shortcut: the gradient of norm 1's output, absent likewise.  dconv is
 * taken. */
static tensor lower_backward(runtime *r, const model *m, int layer, const res_block *b,
                             res_state *s, tensor d, tensor dconv)
{
    tensor dnorm = {0}, like = d;
    like.dim[1] = b->height, like.dim[2] = b->width, like.dim[3] = like.ld = b->in;
    if (needs_of(r, b).norm1 && !present(s->norm1))
        s->norm1 = make_channel_norm(r, m, &b->norm1, s->x, &s->m1, "h%d.norm1", layer);
    if (norm_wanted(r, &b->norm1)) dnorm = take_zeros(r, like, "h%d.dnorm", layer);
    if (present(dnorm) || grad_wanted(r, b->conv1.weight))
        convolve_grad(r, &b->conv1, s->norm1, dconv, dnorm);
    release(r, &dconv);
    if (has_shortcut(b) && (present(dnorm) || grad_wanted(r, b->shortcut.weight)))
        convolve_grad(r, &b->shortcut, s->norm1, d, dnorm);
    release(r, &s->norm1);
    return dnorm;
}

/* d, taken: the gradient of the block's output; returns that of its input (anything, if none below
 * is wanted). */
static tensor block_backward_res(runtime *r, const model *m, int layer, res_state *s, tensor d)
{
    const res_block *b = &m->blocks[layer];
    tensor dconv = upper_backward(r, m, layer, b, s, d),
           dnorm = lower_backward(r, m, layer, b, s, d, dconv);
    if (present(dnorm)) norm_backward(r, m, &b->norm1, s->x, &s->m1, dnorm);
    release(r, &s->x);
    drop_moments(r, &s->m1);
    if (present(dnorm) && has_shortcut(b)) {
        release(r, &d);
        return dnorm;
    }
    if (present(dnorm)) OP(add, r->dev, r->stream, .x = d, .y = dnorm);
    release(r, &dnorm);
    return d;
}

/* ---- the programs ---- */

/* Images (B,Ch,H,W) as (B,H,W,Ch). */
static tensor take_images(runtime *r, const model *m, tensor images)
{
    const model_config *c = &m->config;
    tensor out = take_map(r, SHAPE(images.dim[0], c->image_height, c->image_width, c->channels),
                          "pixels", 0);
    OP(patches, r->dev, r->stream, .out = as_positions(out), .images = images, .height = 1,
       .width = 1);
    return out;
}

/* Images through all blocks and the last norm. */
static tensor resnet_forward(runtime *r, model *m, const batch *in, bool train)
{
    tensor pixels = take_images(r, m, in->inputs),
           x = take_convolved(r, &m->stem, pixels, "stem", 0);
    convolve(r, &m->stem, x, pixels, (tensor){0});
    release(r, &pixels);
    for (int i = 0; i < (int)m->config.layers; i++) {
        m->states[i] = (res_state){.x = x};
        x = block_forward_res(r, m, i, &m->states[i], train);
    }
    res_state *top = &m->top;
    *top = (res_state){.x = x};
    make_moments(r, m, &m->last, x, &top->m1, (int)m->config.layers, train);
    tensor out = make_channel_norm(r, m, &m->last, x, &top->m1, "last norm", 0);
    if (!train || !norm_wanted(r, &m->last)) {
        release(r, &top->x);
        drop_moments(r, &top->m1);
    }
    return as_positions(out);
}

/* d, taken: the gradient of the last norm's output. */
static tensor leave_top(runtime *r, model *m, tensor d)
{
    res_state *top = &m->top;
    norm_backward(r, m, &m->last, top->x, &top->m1, d);
    release(r, &top->x);
    drop_moments(r, &top->m1);
    return d;
}

static void resnet_backward(runtime *r, model *m, const batch *in, tensor d)
{
    if (!present(d)) return;
    tensor map = m->top.x; /* of this shape */
    map.data = d.data;
    d = leave_top(r, m, map);
    for (int i = (int)m->config.layers - 1; i >= 0; i--)
        if (block_wants(r, &m->blocks[i])) d = block_backward_res(r, m, i, &m->states[i], d);
    if (grad_wanted(r, m->stem.weight)) {
        tensor pixels = take_images(r, m, in->inputs);
        convolve_grad(r, &m->stem, pixels, d, (tensor){0});
        release(r, &pixels);
    }
    release(r, &d);
}

const image_architecture resnet_architecture = {.create = resnet_create,
                                                .destroy = resnet_destroy,
                                                .forward = resnet_forward,
                                                .backward = resnet_backward};
