/* block.c - see block.h */
#include "model/block.h"

#include <math.h>

/* ---- the table ---- */

error *declare(params *p, param_spec spec, int *id)
{
    *id = params_add(p, spec);
    return *id < 0 ? user_error("out of memory for the parameter table") : NULL;
}

error *declare_norm(const model_config *c, params *p, tensor_names names, int layer,
                    weight_ids *ids)
{
    ids->bias = -1;
    init_kind init = c->norm_plus_one ? INIT_ZERO : INIT_ONE;
    TRY(declare(
        p,
        (param_spec){.name = names.weight, .layer = layer, .shape = SHAPE(c->width), .init = init},
        &ids->weight));
    if (c->bias.norms)
        TRY(declare(p, (param_spec){.name = names.bias, .layer = layer, .shape = SHAPE(c->width)},
                    &ids->bias));
    return NULL;
}

/* A projection: w says its shape, how it begins, and its layout in files. */
static error *declare_linear(const model_config *c, params *p, tensor_names names, bool bias,
                             param_spec w, weight_ids *ids)
{
    param_spec b = w;
    w.name = names.weight;
    w.decay = true;
    w.init = INIT_NORMAL;
    w.hidden = true;
    w.file_transposed = c->names->transposed;
    ids->bias = -1;
    TRY(declare(p, w, &ids->weight));
    b.name = names.bias;
    b.shape = SHAPE(w.shape.dim[0]);
    return bias ? declare(p, b, &ids->bias) : NULL;
}

error *block_declare(const model_config *c, int layer, params *p, block_ids *ids)
{
    int64_t width = c->width, q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    int64_t up = c->gated ? 2 * c->inner : c->inner;
    const __typeof__(c->names->block) *n = &c->names->block;
    /* GPT: what is added to the residual stream starts smaller, as there are 2 L additions. */
    double std = 0.02, residual = c->patch ? std : 0.02 / sqrt(2.0 * (double)c->layers);
    param_spec qkv = {.layer = layer,
                      .shape = SHAPE(q + 2 * kv, width),
                      .std = std,
                      .part_rows = {q, kv, kv},
                      .file_groups = c->names->qkv_by_group ? c->kv_heads : 0},
               project = {.layer = layer, .shape = SHAPE(width, q), .std = residual},
               into = {.layer = layer,
                       .shape = SHAPE(up, width),
                       .std = std,
                       .part_rows = {c->inner, c->inner}},
               down = {.layer = layer, .shape = SHAPE(width, c->inner), .std = residual};
    ids->q_norm = ids->k_norm = -1;
    TRY(declare_norm(c, p, n->norm1, layer, &ids->norm1));
    TRY(declare_linear(c, p, n->qkv, c->bias.qkv, qkv, &ids->qkv));
    TRY(declare_linear(c, p, n->project, c->bias.project, project, &ids->project));
    TRY(declare_norm(c, p, n->norm2, layer, &ids->norm2));
    TRY(declare_linear(c, p, n->up, c->bias.up, into, &ids->up));
    return declare_linear(c, p, n->down, c->bias.down, down, &ids->down);
}

/* ---- pieces ---- */

static tensor use(run *r, int id)
{
    return id < 0 ? (tensor){0} : param_use(r, id);
}

static void done(run *r, int id)
{
    if (id >= 0) param_done(r, id);
}

static grad begin(run *r, int id)
{
    return id < 0 ? (grad){0} : grad_begin(r, id);
}

static void finish(run *r, int id)
{
    if (id >= 0) grad_done(r, id);
}

void apply_norm(run *r, const model_config *c, weight_ids ids, tensor out, tensor x, tensor mean,
                tensor rstd)
{
    tensor w = use(r, ids.weight), b = use(r, ids.bias);
    OP(norm, r->dev, r->stream, .out = out, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b,
       .eps = c->norm_eps);
    done(r, ids.weight);
    done(r, ids.bias);
}

void apply_norm_grad(run *r, weight_ids ids, tensor dx, bool accumulate, tensor dout, tensor x,
                     tensor mean, tensor rstd)
{
    tensor scratch = arena_take(r->arena, KIND_WORKSPACE, mean.type,
                                SHAPE(NORM_GROUPS, 2 * tensor_cols(x)), NAME("norm scratch", 0));
    tensor w = use(r, ids.weight);
    grad dw = begin(r, ids.weight), db = begin(r, ids.bias);
    OP(norm_grad, r->dev, r->stream, .dx = dx, .accumulate = accumulate, .dw = dw, .db = db,
       .dout = dout, .x = x, .mean = mean, .rstd = rstd, .w = w, .scratch = scratch);
    arena_drop(r->arena, &scratch);
    finish(r, ids.weight);
    finish(r, ids.bias);
    done(r, ids.weight);
}

static void apply_linear(run *r, weight_ids ids, tensor out, tensor x, tensor residual,
                         activation act, tensor pre)
{
    tensor w = use(r, ids.weight), b = use(r, ids.bias);
    OP(linear, r->dev, r->stream, .out = out, .x = x, .w = w, .bias = b, .residual = residual,
       .act = act, .pre = pre);
    done(r, ids.weight);
    done(r, ids.bias);
}

/* The weight's gradient; x is read for the last time.  The weight stays in use:
 * its dx comes next. */
static tensor linear_weight_grad(run *r, weight_ids ids, tensor x, tensor dout)
{
    tensor w = use(r, ids.weight);
    grad dw = begin(r, ids.weight), db = begin(r, ids.bias);
    OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = x, .dout = dout);
    finish(r, ids.weight);
    finish(r, ids.bias);
    return w;
}

/* ---- forward ---- */

typedef struct {
    run *r;
    int64_t b, t, room; /* memory is taken for room >= t tokens */
    dtype stat;
    int layer;
} sizes;

static sizes sizes_of(run *r, tensor x, int layer)
{
    return (sizes){r, x.dim[0], x.dim[1], x.dim[1], stat_type(x.type), layer};
}

tensor take_part(run *r, int64_t b, int64_t t, int64_t room, int64_t cols, block_name name)
{
    tensor whole =
        arena_take(r->arena, KIND_ACTIVATION, r->params->type, SHAPE(b, room, cols), name);
    return present(whole) ? tensor_of(whole.data, whole.type, SHAPE(b, t, cols)) : whole;
}

static tensor take_rows(const sizes *z, int64_t cols, const char *name)
{
    return take_part(z->r, z->b, z->t, z->room, cols, NAME(name, z->layer));
}

static tensor take_stat(const sizes *z, const char *name)
{
    return arena_take(z->r->arena, KIND_ACTIVATION, z->stat, SHAPE(z->b, z->t),
                      NAME(name, z->layer));
}

/* What the samples' branch (0 or 1) is multiplied by; absent when by nothing. */
static tensor branch_scale(const block_state *s, int branch)
{
    return present(s->drop) ? tensor_slice(s->drop, branch, 1) : (tensor){0};
}

/* out = residual + scale * linear(x) */
static void add_branch(run *r, weight_ids ids, tensor out, tensor x, tensor residual, tensor scale)
{
    tensor none = {0};
    apply_linear(r, ids, out, x, present(scale) ? none : residual, ACT_NONE, none);
    if (present(scale))
        OP(scale_samples, r->dev, r->stream, .out = out, .x = out, .scale = scale,
           .residual = residual);
}

/* What a forward pass is for. */
typedef struct {
    bool keep;             /* training: everything stays */
    const block_cache *kv; /* ? decoding */
    int64_t position;      /* of the first token, when decoding */
} purpose;

static void attention_forward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                              tensor x, const purpose *why, block_state *s)
{
    arena *a = r->arena;
    tensor none = {0};
    s->norm1 = take_rows(z, c->width, "h%d.norm1");
    if (why->keep) {
        s->mean1 = take_stat(z, "h%d.mean1");
        s->rstd1 = take_stat(z, "h%d.rstd1");
    }
    apply_norm(r, c, ids->norm1, s->norm1, x, s->mean1, s->rstd1);
    s->qkv = take_rows(z, (c->heads + 2 * c->kv_heads) * c->head_size, "h%d.qkv");
    apply_linear(r, ids->qkv, s->qkv, s->norm1, none, ACT_NONE, none);
    if (!why->keep) arena_drop(a, &s->norm1);

    s->att = take_rows(z, c->heads * c->head_size, "h%d.att");
    double scale = 1.0 / sqrt((double)c->head_size);
    if (why->kv) {
        OP(attention_cached, r->dev, r->stream, .out = s->att, .qkv = s->qkv, .keys = why->kv->keys,
           .values = why->kv->values, .heads = c->heads, .position = why->position, .scale = scale);
    } else {
        s->lse = arena_take(a, KIND_ACTIVATION, z->stat, SHAPE(z->b, c->heads, z->t),
                            NAME("h%d.lse", z->layer));
        OP(attention, r->dev, r->stream, .out = s->att, .lse = s->lse, .qkv = s->qkv,
           .heads = c->heads, .kv_heads = c->kv_heads, .causal = c->causal, .scale = scale);
    }
    if (!why->keep) {
        arena_drop(a, &s->qkv);
        arena_drop(a, &s->lse);
    }
    s->mid = take_rows(z, c->width, "h%d.mid");
    add_branch(r, ids->project, s->mid, s->att, x, branch_scale(s, 0));
    if (!why->keep) arena_drop(a, &s->att);
}

static void mlp_forward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                        bool keep, block_state *s)
{
    arena *a = r->arena;
    s->norm2 = take_rows(z, c->width, "h%d.norm2");
    if (keep) {
        s->mean2 = take_stat(z, "h%d.mean2");
        s->rstd2 = take_stat(z, "h%d.rstd2");
        s->pre = take_rows(z, c->inner, "h%d.pre");
    }
    apply_norm(r, c, ids->norm2, s->norm2, s->mid, s->mean2, s->rstd2);
    s->act = take_rows(z, c->inner, "h%d.act");
    apply_linear(r, ids->up, s->act, s->norm2, (tensor){0}, c->act, s->pre);
    if (!keep) arena_drop(a, &s->norm2);
    s->out = take_rows(z, c->width, "h%d.out");
    add_branch(r, ids->down, s->out, s->act, s->mid, branch_scale(s, 1));
    if (!keep) {
        arena_drop(a, &s->act);
        arena_drop(a, &s->mid);
    }
}

void block_forward(run *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                   bool keep, block_state *s)
{
    sizes z = sizes_of(r, x, layer);
    *s = (block_state){.drop = s->drop};
    attention_forward(r, c, &z, ids, x, &(purpose){.keep = keep}, s);
    mlp_forward(r, c, &z, ids, keep, s);
}

/* ---- decoding ---- */

block_cache block_cache_take(run *r, const model_config *c, int layer, int64_t b, int64_t p)
{
    shape s = SHAPE(b, c->kv_heads, p, c->head_size);
    dtype type = r->params->type;
    return (block_cache){.keys = arena_take(r->arena, KIND_CACHE, type, s, NAME("h%d.keys", layer)),
                         .values =
                             arena_take(r->arena, KIND_CACHE, type, s, NAME("h%d.values", layer))};
}

void block_cache_drop(run *r, block_cache *kv)
{
    arena_drop(r->arena, &kv->keys);
    arena_drop(r->arena, &kv->values);
}

void block_decode(run *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                  const block_cache *kv, int64_t position, int64_t room, block_state *s)
{
    sizes z = sizes_of(r, x, layer);
    z.room = room;
    *s = (block_state){0};
    attention_forward(r, c, &z, ids, x, &(purpose){.kv = kv, .position = position}, s);
    mlp_forward(r, c, &z, ids, false, s);
}

/* ---- backward ---- */

/* The gradient of a branch, from that of the residual stream: d itself, if nothing was scaled. */
static tensor begin_branch(run *r, const sizes *z, tensor d, tensor scale)
{
    if (!present(scale)) return d;
    tensor branch = take_rows(z, tensor_cols(d), "h%d.dbranch");
    OP(scale_samples, r->dev, r->stream, .out = branch, .x = d, .scale = scale);
    return branch;
}

static void end_branch(run *r, tensor *branch, tensor scale)
{
    if (present(scale)) arena_drop(r->arena, branch);
}

static void mlp_backward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                         tensor d, block_state *s)
{
    arena *a = r->arena;
    tensor scale = branch_scale(s, 1), branch = begin_branch(r, z, d, scale);
    tensor w = linear_weight_grad(r, ids->down, s->act, branch);
    arena_drop(a, &s->act);
    tensor dpre = take_rows(z, c->inner, "h%d.dpre");
    OP(linear_dx, r->dev, r->stream, .dx = dpre, .dout = branch, .w = w, .pre = s->pre,
       .act = c->act);
    end_branch(r, &branch, scale);
    arena_drop(a, &s->pre);
    param_done(r, ids->down.weight);

    w = linear_weight_grad(r, ids->up, s->norm2, dpre);
    arena_drop(a, &s->norm2);
    tensor dnorm = take_rows(z, c->width, "h%d.dnorm2");
    OP(linear_dx, r->dev, r->stream, .dx = dnorm, .dout = dpre, .w = w);
    arena_drop(a, &dpre);
    param_done(r, ids->up.weight);

    apply_norm_grad(r, ids->norm2, d, true, dnorm, s->mid, s->mean2, s->rstd2);
    arena_drop(a, &dnorm);
    arena_drop(a, &s->mid);
    arena_drop(a, &s->mean2);
    arena_drop(a, &s->rstd2);
}

static void attention_backward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                               tensor d, tensor x, block_state *s)
{
    arena *a = r->arena;
    tensor scale = branch_scale(s, 0), branch = begin_branch(r, z, d, scale);
    tensor w = linear_weight_grad(r, ids->project, s->att, branch);
    tensor datt = take_rows(z, c->heads * c->head_size, "h%d.datt");
    OP(linear_dx, r->dev, r->stream, .dx = datt, .dout = branch, .w = w);
    end_branch(r, &branch, scale);
    param_done(r, ids->project.weight);

    tensor dqkv = take_rows(z, (c->heads + 2 * c->kv_heads) * c->head_size, "h%d.dqkv");
    tensor scratch = arena_take(a, KIND_WORKSPACE, z->stat, SHAPE(z->b, c->heads, z->t),
                                NAME("attention scratch", 0));
    OP(attention_grad, r->dev, r->stream, .dqkv = dqkv, .dout = datt, .out = s->att, .qkv = s->qkv,
       .lse = s->lse, .scratch = scratch, .heads = c->heads, .kv_heads = c->kv_heads,
       .causal = c->causal, .scale = 1.0 / sqrt((double)c->head_size));
    arena_drop(a, &scratch);
    arena_drop(a, &datt);
    arena_drop(a, &s->att);
    arena_drop(a, &s->lse);
    arena_drop(a, &s->qkv);

    w = linear_weight_grad(r, ids->qkv, s->norm1, dqkv);
    arena_drop(a, &s->norm1);
    tensor dnorm = take_rows(z, c->width, "h%d.dnorm1");
    OP(linear_dx, r->dev, r->stream, .dx = dnorm, .dout = dqkv, .w = w);
    arena_drop(a, &dqkv);
    param_done(r, ids->qkv.weight);

    apply_norm_grad(r, ids->norm1, d, true, dnorm, x, s->mean1, s->rstd1);
    arena_drop(a, &dnorm);
    arena_drop(a, &s->mean1);
    arena_drop(a, &s->rstd1);
}

void block_backward(run *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                    tensor d, block_state *s)
{
    sizes z = sizes_of(r, x, layer);
    mlp_backward(r, c, &z, ids, d, s);
    attention_backward(r, c, &z, ids, d, x, s);
}
