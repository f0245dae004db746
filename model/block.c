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
    w.file_transposed = c->names->transposed;
    ids->bias = -1;
    TRY(declare(p, w, &ids->weight));
    b.name = names.bias;
    b.shape = SHAPE(w.shape.dim[0]);
    return bias ? declare(p, b, &ids->bias) : NULL;
}

static error *declare_head_norms(const model_config *c, params *p, int layer, block_ids *ids)
{
    param_spec w = {.layer = layer, .shape = SHAPE(c->head_size), .init = INIT_ONE};
    w.name = c->names->block.q_norm;
    TRY(declare(p, w, &ids->q_norm));
    w.name = c->names->block.k_norm;
    return declare(p, w, &ids->k_norm);
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
    if (c->qk_norm) TRY(declare_head_norms(c, p, layer, ids));
    TRY(declare_linear(c, p, n->project, c->bias.project, project, &ids->project));
    if (c->residual != RESIDUAL_PARALLEL_ONE_NORM)
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
       .eps = c->norm_eps, .offset = c->norm_plus_one, .rms = c->norm == NORM_RMS);
    done(r, ids.weight);
    done(r, ids.bias);
}

void apply_norm_grad(run *r, const model_config *c, weight_ids ids, tensor dx, bool accumulate,
                     tensor dout, tensor x, tensor mean, tensor rstd)
{
    tensor scratch = arena_take(r->arena, KIND_WORKSPACE, rstd.type,
                                SHAPE(NORM_GROUPS, 2 * tensor_cols(x)), NAME("norm scratch", 0));
    tensor w = use(r, ids.weight);
    grad dw = begin(r, ids.weight), db = begin(r, ids.bias);
    OP(norm_grad, r->dev, r->stream, .dx = dx, .accumulate = accumulate, .dw = dw, .db = db,
       .dout = dout, .x = x, .mean = mean, .rstd = rstd, .w = w, .scratch = scratch,
       .offset = c->norm_plus_one, .rms = c->norm == NORM_RMS);
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

/* A norm's statistics for backward; an RMSNorm has no mean. */
static void take_stats(const sizes *z, const model_config *c, tensor *mean, tensor *rstd,
                       const char *mean_name, const char *rstd_name)
{
    arena *a = z->r->arena;
    shape s = SHAPE(z->b, z->t);
    if (c->norm == NORM_LAYER)
        *mean = arena_take(a, KIND_ACTIVATION, z->stat, s, NAME(mean_name, z->layer));
    *rstd = arena_take(a, KIND_ACTIVATION, z->stat, s, NAME(rstd_name, z->layer));
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

/* Queries and keys get their norms and their positions. */
static void prepare_heads(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                          const purpose *why, block_state *s)
{
    int64_t heads = c->heads + c->kv_heads;
    if (c->qk_norm) {
        if (why->keep) s->heads = take_rows(z, heads * c->head_size, "h%d.heads");
        tensor q = use(r, ids->q_norm), k = use(r, ids->k_norm);
        OP(head_norm, r->dev, r->stream, .x = s->qkv, .kept = s->heads, .w1 = q, .w2 = k,
           .first = c->heads, .second = c->kv_heads, .eps = c->norm_eps);
        done(r, ids->q_norm);
        done(r, ids->k_norm);
    }
    if (c->positions == POSITIONS_ROTARY)
        OP(rotary, r->dev, r->stream, .x = s->qkv, .heads = heads, .head = c->head_size,
           .size = c->rotary.size, .first_position = why->position, .base = c->rotary.base,
           .interleaved = c->rotary.interleaved);
}

static void attention_forward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                              tensor x, const purpose *why, block_state *s)
{
    arena *a = r->arena;
    tensor none = {0};
    bool alibi = c->positions == POSITIONS_ALIBI;
    s->norm1 = take_rows(z, c->width, "h%d.norm1");
    if (why->keep) take_stats(z, c, &s->mean1, &s->rstd1, "h%d.mean1", "h%d.rstd1");
    apply_norm(r, c, ids->norm1, s->norm1, x, s->mean1, s->rstd1);
    s->qkv = take_rows(z, (c->heads + 2 * c->kv_heads) * c->head_size, "h%d.qkv");
    apply_linear(r, ids->qkv, s->qkv, s->norm1, none, ACT_NONE, none);
    if (!why->keep && c->residual != RESIDUAL_PARALLEL_ONE_NORM) arena_drop(a, &s->norm1);
    prepare_heads(r, c, z, ids, why, s);

    s->att = take_rows(z, c->heads * c->head_size, "h%d.att");
    double scale = 1.0 / sqrt((double)c->head_size);
    if (why->kv) {
        OP(attention_cached, r->dev, r->stream, .out = s->att, .qkv = s->qkv, .keys = why->kv->keys,
           .values = why->kv->values, .heads = c->heads, .position = why->position, .alibi = alibi,
           .scale = scale);
    } else {
        s->lse = arena_take(a, KIND_ACTIVATION, z->stat, SHAPE(z->b, c->heads, z->t),
                            NAME("h%d.lse", z->layer));
        OP(attention, r->dev, r->stream, .out = s->att, .lse = s->lse, .qkv = s->qkv,
           .heads = c->heads, .kv_heads = c->kv_heads, .causal = c->causal, .alibi = alibi,
           .scale = scale);
    }
    if (!why->keep) {
        arena_drop(a, &s->qkv);
        arena_drop(a, &s->lse);
    }
    s->mid = take_rows(z, c->width, "h%d.mid");
    add_branch(r, ids->project, s->mid, s->att, x, branch_scale(s, 0));
    if (!why->keep) arena_drop(a, &s->att);
}

/* act(up x), or act(gate x) * up x */
static void activated(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                      tensor norm, bool keep, block_state *s)
{
    if (c->gated) {
        s->pre = take_rows(z, 2 * c->inner, "h%d.pre");
        apply_linear(r, ids->up, s->pre, norm, (tensor){0}, ACT_NONE, (tensor){0});
        s->act = take_rows(z, c->inner, "h%d.act");
        OP(gate, r->dev, r->stream, .out = s->act, .x = s->pre, .act = c->act);
        if (!keep) arena_drop(r->arena, &s->pre);
    } else {
        if (keep) s->pre = take_rows(z, c->inner, "h%d.pre");
        s->act = take_rows(z, c->inner, "h%d.act");
        apply_linear(r, ids->up, s->act, norm, (tensor){0}, c->act, s->pre);
    }
}

static void mlp_forward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                        tensor x, bool keep, block_state *s)
{
    arena *a = r->arena;
    bool after = c->residual == RESIDUAL_SEQUENTIAL;
    tensor *norm = &s->norm1;
    if (c->residual != RESIDUAL_PARALLEL_ONE_NORM) {
        norm = &s->norm2;
        s->norm2 = take_rows(z, c->width, "h%d.norm2");
        if (keep) take_stats(z, c, &s->mean2, &s->rstd2, "h%d.mean2", "h%d.rstd2");
        apply_norm(r, c, ids->norm2, s->norm2, after ? s->mid : x, s->mean2, s->rstd2);
    }
    activated(r, c, z, ids, *norm, keep, s);
    if (!keep) arena_drop(a, norm);
    s->out = take_rows(z, c->width, "h%d.out");
    add_branch(r, ids->down, s->out, s->act, s->mid, branch_scale(s, 1));
    if (!keep) arena_drop(a, &s->act);
    if (!keep || !after) arena_drop(a, &s->mid);
}

void block_forward(run *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                   bool keep, block_state *s)
{
    sizes z = sizes_of(r, x, layer);
    *s = (block_state){.drop = s->drop};
    attention_forward(r, c, &z, ids, x, &(purpose){.keep = keep}, s);
    mlp_forward(r, c, &z, ids, x, keep, s);
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
    mlp_forward(r, c, &z, ids, x, false, s);
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

/* The gradient of what the MLP's norm has put out. */
static tensor mlp_backward(run *r, const model_config *c, const sizes *z, const block_ids *ids,
                           tensor d, block_state *s)
{
    arena *a = r->arena;
    tensor scale = branch_scale(s, 1), branch = begin_branch(r, z, d, scale);
    tensor *norm = c->residual == RESIDUAL_PARALLEL_ONE_NORM ? &s->norm1 : &s->norm2;
    tensor w = linear_weight_grad(r, ids->down, s->act, branch);
    arena_drop(a, &s->act);
    tensor dpre = take_rows(z, c->inner, c->gated ? "h%d.dact" : "h%d.dpre"), *dup = &dpre;
    if (c->gated)
        OP(linear_dx, r->dev, r->stream, .dx = dpre, .dout = branch, .w = w);
    else
        OP(linear_dx, r->dev, r->stream, .dx = dpre, .dout = branch, .w = w, .pre = s->pre,
           .act = c->act);
    param_done(r, ids->down.weight);
    end_branch(r, &branch, scale);
    if (c->gated) {
        dup = &s->pre; /* becomes its own gradient */
        OP(gate_grad, r->dev, r->stream, .x = s->pre, .dout = dpre, .act = c->act);
        arena_drop(a, &dpre);
    } else {
        arena_drop(a, &s->pre);
    }
    w = linear_weight_grad(r, ids->up, *norm, *dup);
    if (norm == &s->norm2) arena_drop(a, norm);
    tensor dnorm = take_rows(z, c->width, "h%d.dnorm2");
    OP(linear_dx, r->dev, r->stream, .dx = dnorm, .dout = *dup, .w = w);
    param_done(r, ids->up.weight);
    arena_drop(a, dup);
    return dnorm;
}

/* dqkv, of heads with norms and positions, becomes that of what the projection has put out. */
static void unprepare_heads(run *r, const model_config *c, const block_ids *ids, tensor dqkv,
                            block_state *s)
{
    int64_t heads = c->heads + c->kv_heads;
    if (c->positions == POSITIONS_ROTARY)
        OP(rotary, r->dev, r->stream, .x = dqkv, .heads = heads, .head = c->head_size,
           .size = c->rotary.size, .base = c->rotary.base, .interleaved = c->rotary.interleaved,
           .inverse = true);
    if (!c->qk_norm) return;
    tensor scratch = arena_take(r->arena, KIND_WORKSPACE, stat_type(dqkv.type),
                                SHAPE(NORM_GROUPS, 2 * c->head_size), NAME("norm scratch", 0));
    tensor q = use(r, ids->q_norm), k = use(r, ids->k_norm);
    grad dq = begin(r, ids->q_norm), dk = begin(r, ids->k_norm);
    OP(head_norm_grad, r->dev, r->stream, .dx = dqkv, .kept = s->heads, .w1 = q, .w2 = k, .dw1 = dq,
       .dw2 = dk, .scratch = scratch, .first = c->heads, .second = c->kv_heads, .eps = c->norm_eps);
    arena_drop(r->arena, &scratch);
    arena_drop(r->arena, &s->heads);
    finish(r, ids->q_norm);
    finish(r, ids->k_norm);
    done(r, ids->q_norm);
    done(r, ids->k_norm);
}

/* Adds to dnorm, or (shared is absent) takes it: the gradient of what norm1 has put out. */
static tensor attention_backward(run *r, const model_config *c, const sizes *z,
                                 const block_ids *ids, tensor d, tensor shared, block_state *s)
{
    arena *a = r->arena;
    tensor scale = branch_scale(s, 0), branch = begin_branch(r, z, d, scale);
    tensor w = linear_weight_grad(r, ids->project, s->att, branch);
    tensor datt = take_rows(z, c->heads * c->head_size, "h%d.datt");
    OP(linear_dx, r->dev, r->stream, .dx = datt, .dout = branch, .w = w);
    param_done(r, ids->project.weight);
    end_branch(r, &branch, scale);

    tensor dqkv = take_rows(z, (c->heads + 2 * c->kv_heads) * c->head_size, "h%d.dqkv");
    tensor scratch = arena_take(a, KIND_WORKSPACE, z->stat, SHAPE(z->b, c->heads, z->t),
                                NAME("attention scratch", 0));
    OP(attention_grad, r->dev, r->stream, .dqkv = dqkv, .dout = datt, .out = s->att, .qkv = s->qkv,
       .lse = s->lse, .scratch = scratch, .heads = c->heads, .kv_heads = c->kv_heads,
       .causal = c->causal, .alibi = c->positions == POSITIONS_ALIBI,
       .scale = 1.0 / sqrt((double)c->head_size));
    arena_drop(a, &scratch);
    arena_drop(a, &datt);
    arena_drop(a, &s->att);
    arena_drop(a, &s->lse);
    arena_drop(a, &s->qkv);
    unprepare_heads(r, c, ids, dqkv, s);

    w = linear_weight_grad(r, ids->qkv, s->norm1, dqkv);
    arena_drop(a, &s->norm1);
    tensor dnorm = present(shared) ? shared : take_rows(z, c->width, "h%d.dnorm1");
    OP(linear_dx, r->dev, r->stream, .dx = dnorm, .accumulate = present(shared), .dout = dqkv,
       .w = w);
    param_done(r, ids->qkv.weight);
    arena_drop(a, &dqkv);
    return dnorm;
}

/* d += the gradient of x through norm 1 or 2 */
static void norm_backward(run *r, const model_config *c, weight_ids ids, tensor d, tensor *dnorm,
                          tensor x, tensor *mean, tensor *rstd)
{
    apply_norm_grad(r, c, ids, d, true, *dnorm, x, *mean, *rstd);
    arena_drop(r->arena, dnorm);
    arena_drop(r->arena, mean);
    arena_drop(r->arena, rstd);
}

/* Sequential: the MLP's branch is behind the attention's, whose d must have its part.  Parallel: both
 * branches read the same d, which changes after both. */
void block_backward(run *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                    tensor d, block_state *s)
{
    sizes z = sizes_of(r, x, layer);
    tensor dnorm2 = mlp_backward(r, c, &z, ids, d, s), shared = {0};
    if (c->residual == RESIDUAL_SEQUENTIAL) {
        norm_backward(r, c, ids->norm2, d, &dnorm2, s->mid, &s->mean2, &s->rstd2);
        arena_drop(r->arena, &s->mid);
    }
    if (c->residual == RESIDUAL_PARALLEL_ONE_NORM) shared = dnorm2;
    tensor dnorm1 = attention_backward(r, c, &z, ids, d, shared, s);
    if (c->residual == RESIDUAL_PARALLEL)
        norm_backward(r, c, ids->norm2, d, &dnorm2, x, &s->mean2, &s->rstd2);
    norm_backward(r, c, ids->norm1, d, &dnorm1, x, &s->mean1, &s->rstd1);
}
