/* block.c - see block.h */
#include "model/block.h"
#include "model/block_keeps.h"

#include <math.h>
#include <string.h>

/* ---- pieces ---- */

void apply_norm(runtime *r, const model_config *c, weight_ids ids, tensor out, tensor x,
                tensor mean, tensor rstd)
{
    tensor w = use_if_any(r, ids.weight), b = use_if_any(r, ids.bias);
    OP(norm, r->dev, r->stream, .out = out, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b,
       .eps = c->norm_eps, .offset = c->norm_plus_one, .rms = c->norm == NORM_RMS);
    done_if_any(r, ids.weight);
    done_if_any(r, ids.bias);
}

void apply_norm_grad(runtime *r, const model_config *c, weight_ids ids, tensor dx, bool accumulate,
                     tensor dout, tensor x, tensor mean, tensor rstd)
{
    tensor scratch = arena_take(r->arena, KIND_WORKSPACE, rstd.type,
                                SHAPE(NORM_GROUPS, 2 * tensor_cols(x)), NAME("norm scratch", 0));
    tensor w = use_if_any(r, ids.weight);
    grad dw = begin_if_any(r, ids.weight), db = begin_if_any(r, ids.bias);
    OP(norm_grad, r->dev, r->stream, .dx = dx, .accumulate = accumulate, .dw = dw, .db = db,
       .dout = dout, .x = x, .mean = mean, .rstd = rstd, .w = w, .scratch = scratch,
       .offset = c->norm_plus_one, .rms = c->norm == NORM_RMS);
    arena_drop(r->arena, &scratch);
    finish_if_any(r, ids.weight);
    finish_if_any(r, ids.bias);
    done_if_any(r, ids.weight);
}

bool block_wanted(const runtime *r, const model_config *c, const block_ids *ids)
{
    return grads_through(r, norms_after(c) ? ids->post2 : ids->down);
}

/* ---- forward ---- */

/* The dimensions and context of a pass over a block. */
typedef struct {
    runtime *r;
    const model_config *c;
    const block_ids *ids;
    block_state *s;
    int layer;
    int attention;         /* method */
    int64_t b, t, room;    /* memory is allocated for room >= t tokens */
    unsigned hold;         /* what is kept after the first read: a set as above */
    const block_cache *kv; /* ? decoding */
    int64_t position;      /* of the first token, when decoding */
    bool backward;
} pass;

/* x (B,T,C): for the sizes */
static pass pass_over(runtime *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                      block_state *s)
{
    int64_t b = x.dim[0], t = x.dim[1];
    return (pass){.r = r, .c = c, .ids = ids, .s = s, .layer = layer, .b = b, .t = t, .room = t};
}

static tensor take_rows(const pass *p, int64_t cols, const char *name)
{
    return take_part(p->r, p->b, p->t, p->room, cols, NAME(name, p->layer));
}

static dtype stat_of(const pass *p)
{
    return stat_type(p->r->params->type);
}

static tensor take_stat(const pass *p, const char *name)
{
    return arena_take(p->r->arena, KIND_ACTIVATION, stat_of(p), SHAPE(p->b, p->t),
                      NAME(name, p->layer));
}

/* Workspace of attention, forward or backward; absent if it needs none. */
static tensor take_attention_workspace(const pass *p, bool backward)
{
    const model_config *c = p->c;
    attention_sizes sizes = {.batch = p->b,
                             .heads = c->heads,
                             .kv_heads = c->kv_heads,
                             .length = p->t,
                             .head_size = c->head_size,
                             .type = p->r->params->type,
                             .alibi = c->positions == POSITIONS_ALIBI};
    int64_t bytes = attention_workspace(p->r->dev->kind, p->attention, &sizes, backward);
    if (!bytes) return (tensor){0};
    return arena_take(p->r->arena, KIND_WORKSPACE, U8, SHAPE(bytes),
                      NAME("attention workspace", 0));
}

static double score_scale(const model_config *c)
{
    return 1.0 / sqrt(c->query_scalar > 0 ? c->query_scalar : (double)c->head_size);
}

/* How many keys a token of this layer sees; 0: all. */
static int64_t window_of(const pass *p)
{
    int64_t skip = p->c->window_skip;
    return skip && (p->layer + 1) % skip == 0 ? 0 : p->c->window;
}

/* The same for whole sequences, which may be shorter than the window. */
static int64_t window_within(const pass *p)
{
    return window_of(p) < p->t ? window_of(p) : 0;
}

static rotary_form rotary_of(const pass *p)
{
    rotary_form f = p->c->rotary;
    if (!window_of(p) || !(f.local_base > 0)) return f;
    f.base = f.local_base;
    f.scaling = (rope_scaling){0};
    return f;
}

/* The factor of each sample's branch (0 or 1); absent if there is none. */
static tensor branch_scale(const block_state *s, int branch)
{
    return present(s->drop) ? tensor_slice(s->drop, branch, 1) : (tensor){0};
}

static uint64_t branch_site(const pass *p, int branch)
{
    return (uint64_t)(SITE_BRANCHES + 2 * p->layer + branch);
}

/* Where the input of a layer is kept in 8 bits: n, or NULL. */
static narrow_input *narrowed(const pass *p, unsigned what, weight_ids ids, narrow_input *n)
{
    return p->hold & what && linear_keeps_narrow(p->r, ids) && !present(n->turned) ? n : NULL;
}

/* What a layer reads: x, or made(x) where that is kept in 8 bits. */
typedef struct {
    tensor x;
    narrow_input *keep; /* ? */
    activation made;
} layer_input;

static void apply_layer(const pass *p, weight_ids ids, tensor out, layer_input in, tensor residual,
                        activation act, tensor pre)
{
    if (in.keep)
        apply_linear_keeping(p->r, ids, out, in.x, in.made, in.keep, residual, act, pre);
    else
        apply_linear_in(p->r, ids, out, in.x, p->room, residual, act, pre);
}

/* out = residual + scale * linear(x), with dropout if there is any */
static void add_branch(const pass *p, weight_ids ids, tensor out, layer_input in, tensor residual,
                       int branch)
{
    tensor none = {0}, scale = branch_scale(p->s, branch);
    bool drops = leaves_out(p->r), later = drops || present(scale);
    apply_layer(p, ids, out, in, later ? none : residual, ACT_NONE, none);
    if (present(scale))
        OP(scale_samples, p->r->dev, p->r->stream, .out = out, .x = out, .scale = scale,
           .residual = drops ? none : residual);
    if (drops) leave_out(p->r, p->r->dropout.rate, branch_site(p, branch), out, out, residual);
}

/* out = residual + norm(raw); backward may want raw and rstd */
static void add_normed(const pass *p, weight_ids ids, tensor out, tensor raw, tensor residual,
                       unsigned what, tensor *rstd, const char *name)
{
    int branch = what == RAW2;
    if (p->hold & what && !present(*rstd)) *rstd = take_stat(p, name);
    apply_norm(p->r, p->c, ids, out, raw, (tensor){0}, *rstd);
    if (leaves_out(p->r))
        leave_out(p->r, p->r->dropout.rate, branch_site(p, branch), out, out, residual);
    else
        OP(add, p->r->dev, p->r->stream, .x = out, .y = residual);
}

/* t has been read: frees it unless it is in the set to keep. */
static void let_go(const pass *p, unsigned what, tensor *t)
{
    if (!(p->hold & what)) arena_drop(p->r->arena, t);
}

/* The same of a layer's input, which is not needed where it was kept in 8 bits. */
static void let_go_input(const pass *p, unsigned what, const narrow_input *keep, tensor *t)
{
    if (keep)
        arena_drop(p->r->arena, t);
    else
        let_go(p, what, t);
}

/* Each of these computes one tensor of the block, if it is missing, from others that it computes
 * first: the last one is the forward pass, and each is how backward gets what was not kept. */

static void make_norm(const pass *p, weight_ids ids, tensor x, unsigned stats, tensor *out,
                      tensor *mean, tensor *rstd, const char *const names[3])
{
    *out = take_rows(p, p->c->width, names[0]);
    if (p->hold & stats && !present(*rstd)) { /* an RMSNorm has no mean */
        if (p->c->norm == NORM_LAYER) *mean = take_stat(p, names[1]);
        *rstd = take_stat(p, names[2]);
    }
    apply_norm(p->r, p->c, ids, *out, x, *mean, *rstd);
}

static void make_norm1(const pass *p)
{
    static const char *const names[] = {"h%d.norm1", "h%d.mean1", "h%d.rstd1"};
    block_state *s = p->s;
    if (present(s->norm1)) return;
    make_norm(p, p->ids->norm1, s->x, STATS1, &s->norm1, &s->mean1, &s->rstd1, names);
}

static bool is_rotated(const pass *p)
{
    int64_t skip = p->c->rotary.skip;
    return p->c->positions == POSITIONS_ROTARY && !(skip && (p->layer + 1) % skip == 0);
}

/* Applies norms and positions to queries and keys. */
static void prepare_heads(const pass *p)
{
    const model_config *c = p->c;
    runtime *r = p->r;
    block_state *s = p->s;
    int64_t heads = c->heads + c->kv_heads;
    bool whole = c->qk_norm == QK_NORM_WHOLE;
    if (c->qk_norm) {
        if (p->hold & QKV) s->heads = take_rows(p, heads * c->head_size, "h%d.heads");
        tensor q = use_if_any(r, p->ids->q_norm), k = use_if_any(r, p->ids->k_norm);
        OP(head_norm, r->dev, r->stream, .x = s->qkv, .saved = s->heads, .w1 = q, .w2 = k,
           .first = whole ? 1 : c->heads, .second = whole ? 1 : c->kv_heads, .eps = c->norm_eps,
           .offset = c->norm_plus_one);
        done_if_any(r, p->ids->q_norm);
        done_if_any(r, p->ids->k_norm);
    }
    rotary_form rotary = rotary_of(p);
    if (is_rotated(p))
        OP(rotary, r->dev, r->stream, .x = s->qkv, .heads = heads, .head = c->head_size,
           .size = rotary.size, .first_position = p->position, .base = rotary.base,
           .scaling = rotary.scaling, .interleaved = rotary.interleaved);
}

static void make_qkv(const pass *p)
{
    const model_config *c = p->c;
    block_state *s = p->s;
    tensor none = {0};
    if (present(s->qkv)) return;
    if (norms_before(c)) make_norm1(p);
    s->qkv = take_rows(p, (c->heads + 2 * c->kv_heads) * c->head_size, "h%d.qkv");
    bool alone = norms_before(c) && !one_norm(c); /* else the MLP reads it, or the residual sum */
    narrow_input *keep = alone ? narrowed(p, NORM1, p->ids->qkv, &s->qkv_in) : NULL;
    layer_input in = {norms_before(c) ? s->norm1 : s->x, keep, ACT_NONE};
    apply_layer(p, p->ids->qkv, s->qkv, in, none, ACT_NONE, none);
    if (!one_norm(c)) let_go_input(p, NORM1, keep, &s->norm1);
    prepare_heads(p);
}

static void make_att(const pass *p)
{
    const model_config *c = p->c;
    runtime *r = p->r;
    block_state *s = p->s;
    if (present(s->att)) return;
    make_qkv(p);
    s->att = take_rows(p, c->heads * c->head_size, "h%d.att");
    if (p->kv) {
        OP(attention_cached, r->dev, r->stream, .out = s->att, .qkv = s->qkv, .keys = p->kv->keys,
           .values = p->kv->values, .heads = c->heads, .position = p->position,
           .alibi = c->positions == POSITIONS_ALIBI, .window = window_of(p),
           .scale = score_scale(c), .cap = c->attention_cap);
    } else {
        s->lse = arena_take(r->arena, KIND_ACTIVATION, stat_of(p), SHAPE(p->b, c->heads, p->t),
                            NAME("h%d.lse", p->layer));
        tensor workspace = take_attention_workspace(p, false);
        OP(attention, r->dev, r->stream, .out = s->att, .lse = s->lse, .qkv = s->qkv,
           .starts = r->starts, .heads = c->heads, .kv_heads = c->kv_heads, .causal = c->causal,
           .alibi = c->positions == POSITIONS_ALIBI, .window = window_within(p),
           .scale = score_scale(c), .cap = c->attention_cap, .method = p->attention,
           .workspace = workspace);
        arena_drop(r->arena, &workspace);
    }
    let_go(p, QKV, &s->qkv);
    let_go(p, QKV, &s->lse);
}

static layer_input project_input(const pass *p)
{
    block_state *s = p->s;
    return (layer_input){s->att, narrowed(p, ATT, p->ids->project, &s->project_in), ACT_NONE};
}

static void make_raw1(const pass *p)
{
    block_state *s = p->s;
    tensor none = {0};
    if (present(s->raw1)) return;
    make_att(p);
    s->raw1 = take_rows(p, p->c->width, "h%d.raw1");
    apply_layer(p, p->ids->project, s->raw1, project_input(p), none, ACT_NONE, none);
    let_go(p, ATT, &s->att);
}

static void make_mid(const pass *p)
{
    block_state *s = p->s;
    if (present(s->mid)) return;
    if (norms_after(p->c)) {
        make_raw1(p);
        s->mid = take_rows(p, p->c->width, "h%d.mid");
        add_normed(p, p->ids->post1, s->mid, s->raw1, s->x, RAW1, &s->raw_rstd1, "h%d.raw rstd1");
        let_go(p, RAW1, &s->raw1);
    } else {
        make_att(p);
        s->mid = take_rows(p, p->c->width, "h%d.mid");
        add_branch(p, p->ids->project, s->mid, project_input(p), s->x, 0);
        let_go(p, ATT, &s->att);
    }
    if (p->c->residual != RESIDUAL_PARALLEL) let_go(p, X, &s->x); /* else norm2 reads it */
}

static void make_norm2(const pass *p)
{
    static const char *const names[] = {"h%d.norm2", "h%d.mean2", "h%d.rstd2"};
    block_state *s = p->s;
    bool after = p->c->residual == RESIDUAL_SEQUENTIAL;
    if (present(s->norm2)) return;
    if (after) make_mid(p);
    make_norm(p, p->ids->norm2, after ? s->mid : s->x, STATS2, &s->norm2, &s->mean2, &s->rstd2,
              names);
    if (!after) let_go(p, X, &s->x);
}

/* The MLP's input, and its bit in the sets. */
static tensor *make_mlp_input(const pass *p, unsigned *what)
{
    if (!norms_before(p->c)) {
        *what = MID;
        make_mid(p);
        return &p->s->mid;
    }
    *what = one_norm(p->c) ? NORM1 : NORM2;
    (one_norm(p->c) ? make_norm1 : make_norm2)(p);
    return one_norm(p->c) ? &p->s->norm1 : &p->s->norm2;
}

/* act(pre), or act(gate) * up of the two halves of pre */
static void activate(const pass *p)
{
    block_state *s = p->s;
    s->act = take_rows(p, p->c->inner, "h%d.act");
    if (p->c->gated)
        OP(gate, p->r->dev, p->r->stream, .out = s->act, .x = s->pre, .act = p->c->act);
    else
        OP(activate, p->r->dev, p->r->stream, .out = s->act, .x = s->pre, .act = p->c->act);
}

/* Is act(pre) made in 8 bits only, by what rounds it for `down`? */
static bool act_is_narrow(const pass *p)
{
    return !p->backward && p->hold & PRE && !p->c->gated &&
           narrowed(p, ACT, p->ids->down, &p->s->down_in);
}

/* With its argument, if that is present; or in that case its argument alone. */
static void make_act(const pass *p)
{
    block_state *s = p->s;
    tensor none = {0};
    unsigned what;
    if (present(s->act)) return;
    if (present(s->pre)) {
        activate(p);
        return;
    }
    tensor *in = make_mlp_input(p, &what);
    narrow_input *keep = what == NORM2 ? narrowed(p, NORM2, p->ids->up, &s->up_in) : NULL;
    layer_input read = {*in, keep, ACT_NONE};
    if (p->c->gated || linear_adapted(p->ids->up) || act_is_narrow(p)) {
        s->pre = take_rows(p, (p->c->gated ? 2 : 1) * p->c->inner, "h%d.pre");
        apply_layer(p, p->ids->up, s->pre, read, none, ACT_NONE, none);
        if (!act_is_narrow(p)) activate(p);
        let_go(p, PRE, &s->pre);
    } else {
        if (p->hold & PRE) s->pre = take_rows(p, p->c->inner, "h%d.pre");
        s->act = take_rows(p, p->c->inner, "h%d.act");
        apply_layer(p, p->ids->up, s->act, read, none, p->c->act, s->pre);
    }
    if (what != MID) let_go_input(p, what, keep, in); /* the residual stream is read once more */
}

static layer_input down_input(const pass *p)
{
    block_state *s = p->s;
    bool made = present(s->act);
    return (layer_input){made ? s->act : s->pre, narrowed(p, ACT, p->ids->down, &s->down_in),
                         made ? ACT_NONE : p->c->act};
}

static void make_raw2(const pass *p)
{
    block_state *s = p->s;
    tensor none = {0};
    if (present(s->raw2)) return;
    make_act(p);
    s->raw2 = take_rows(p, p->c->width, "h%d.raw2");
    layer_input in = down_input(p);
    apply_layer(p, p->ids->down, s->raw2, in, none, ACT_NONE, none);
    let_go_input(p, ACT, in.keep, &s->act);
}

static void make_out(const pass *p)
{
    block_state *s = p->s;
    if (p->c->residual != RESIDUAL_SEQUENTIAL) make_mid(p); /* while norm1 is there */
    if (norms_after(p->c)) {
        make_raw2(p);
        s->out = take_rows(p, p->c->width, "h%d.out");
        add_normed(p, p->ids->post2, s->out, s->raw2, s->mid, RAW2, &s->raw_rstd2, "h%d.raw rstd2");
        let_go(p, RAW2, &s->raw2);
    } else {
        make_act(p);
        s->out = take_rows(p, p->c->width, "h%d.out");
        layer_input in = down_input(p);
        add_branch(p, p->ids->down, s->out, in, s->mid, 1);
        let_go_input(p, ACT, in.keep, &s->act);
    }
    let_go(p, MID, &s->mid);
}

void block_forward(runtime *r, const model_config *c, const training_policy *how, int layer,
                   const block_ids *ids, tensor x, block_purpose why, block_state *s)
{
    *s = (block_state){.x = x, .drop = s->drop};
    pass p = pass_over(r, c, layer, ids, x, s);
    p.attention = how->attention;
    p.hold = why == BLOCK_TRAIN   ? forward_keeps(r, c, &how->recompute, layer, ids)
             : why == BLOCK_AGAIN ? X
                                  : 0;
    make_out(&p);
}

/* ---- decoding ---- */

void block_decode(runtime *r, const model_config *c, int layer, const block_ids *ids, tensor x,
                  const block_cache *kv, int64_t position, int64_t room, block_state *s)
{
    *s = (block_state){.x = x};
    pass p = pass_over(r, c, layer, ids, x, s);
    p.room = room;
    p.kv = kv;
    p.position = position;
    make_out(&p);
}

/* ---- backward ---- */

/* The gradient of a branch, from that of the residual stream: d itself, if nothing was scaled or
 * dropped. */
static tensor begin_branch(const pass *p, tensor d, int branch)
{
    tensor none = {0}, scale = branch_scale(p->s, branch);
    bool drops = leaves_out(p->r);
    if (!drops && !present(scale)) return d;
    tensor of = take_rows(p, tensor_cols(d), "h%d.dbranch");
    if (drops) leave_out(p->r, p->r->dropout.rate, branch_site(p, branch), of, d, none);
    if (present(scale))
        OP(scale_samples, p->r->dev, p->r->stream, .out = of, .x = drops ? of : d, .scale = scale);
    return of;
}

static void end_branch(const pass *p, tensor d, tensor *branch)
{
    if (branch->data != d.data) arena_drop(p->r->arena, branch);
}

/* The same through the norm after a branch, whose input raw is present and is freed.  Without its
 * rstd the norm runs once more, in the place of the gradient. */
static tensor begin_normed(const pass *p, weight_ids ids, tensor d, int which, tensor *raw,
                           tensor *rstd)
{
    tensor none = {0}, branch = take_rows(p, tensor_cols(d), "h%d.dbranch");
    if (!present(*rstd)) {
        *rstd = take_stat(p, "h%d.raw rstd");
        apply_norm(p->r, p->c, ids, branch, *raw, none, *rstd);
    }
    bool drops = leaves_out(p->r);
    if (drops) leave_out(p->r, p->r->dropout.rate, branch_site(p, which), branch, d, none);
    apply_norm_grad(p->r, p->c, ids, branch, false, drops ? branch : d, *raw, none, *rstd);
    arena_drop(p->r->arena, raw);
    arena_drop(p->r->arena, rstd);
    return branch;
}

static tensor begin_mlp(const pass *p, tensor d)
{
    if (!norms_after(p->c)) return begin_branch(p, d, 1);
    make_raw2(p);
    return begin_normed(p, p->ids->post2, d, 1, &p->s->raw2, &p->s->raw_rstd2);
}

static tensor begin_attention(const pass *p, tensor d)
{
    if (!norms_after(p->c)) return begin_branch(p, d, 0);
    make_raw1(p);
    return begin_normed(p, p->ids->post1, d, 0, &p->s->raw1, &p->s->raw_rstd1);
}

static const late_slope on_time; /* none */

/* Must backward have the input x of a layer? */
static bool reads_input(const pass *p, weight_ids ids, const narrow_input *kept)
{
    return linear_wants_input(p->r, ids) && !present(kept->turned);
}

/* The gradient of the output of the MLP's norm; absent if no gradient below is wanted, or if there
 * is no norm: then it is added to d. */
static tensor mlp_backward(const pass *p, tensor d)
{
    runtime *r = p->r;
    arena *a = r->arena;
    const model_config *c = p->c;
    const block_ids *ids = p->ids;
    block_state *s = p->s;
    tensor branch = begin_mlp(p, d), dpre = {0}, dnorm = {0}, none = {0};
    bool below = grads_below(r, ids->down.weight);
    late_slope late = on_time; /* dpre is without act'(pre) until `up` rounds it */
    bool apart = c->gated || linear_keeps_narrow(r, ids->up);
    if (reads_input(p, ids->down, &s->down_in) || (below && !present(s->pre))) make_act(p);
    linear_grads g = linear_begin_grad(r, ids->down, s->act, &s->down_in, branch, late);
    arena_drop(a, &s->act);
    narrow_input_drop(r, &s->down_in);
    if (below) {
        dpre = take_rows(p, c->inner, c->gated ? "h%d.dact" : "h%d.dpre");
        linear_input_grad(r, ids->down, &g, dpre, false, branch, apart ? none : s->pre,
                          apart ? ACT_NONE : c->act);
    }
    end_branch(p, d, &branch);
    if (below && c->gated) { /* pre becomes its own gradient */
        OP(gate_grad, r->dev, r->stream, .x = s->pre, .dout = dpre, .act = c->act);
        arena_drop(a, &dpre);
        dpre = s->pre;
        s->pre = (tensor){0};
    }
    if (apart && !c->gated) late = (late_slope){s->pre, c->act};
    if (!present(late.pre) || !below) arena_drop(a, &s->pre);
    linear_end_grad(r, ids->down, &g);
    if (!below) return dnorm;

    unsigned what = 0;
    tensor *in = reads_input(p, ids->up, &s->up_in) ? make_mlp_input(p, &what) : NULL;
    g = linear_begin_grad(r, ids->up, in ? *in : none, &s->up_in, dpre, late);
    arena_drop(a, &s->pre);
    narrow_input_drop(r, &s->up_in);
    if (in && what == NORM1) let_go(p, NORM1, in); /* attention reads it, too */
    if (in && what == NORM2) arena_drop(a, in);
    if (grads_below(r, ids->up.weight)) {
        bool direct = !norms_before(c);
        if (!direct) dnorm = take_rows(p, c->width, "h%d.dnorm2");
        linear_input_grad(r, ids->up, &g, direct ? d : dnorm, direct, dpre, none, ACT_NONE);
    }
    arena_drop(a, &dpre);
    linear_end_grad(r, ids->up, &g);
    return dnorm;
}

/* Turns dqkv, of heads with norms and positions, into the gradient of the projection's output. */
static void unprepare_heads(const pass *p, tensor dqkv)
{
    runtime *r = p->r;
    const model_config *c = p->c;
    const block_ids *ids = p->ids;
    int64_t heads = c->heads + c->kv_heads;
    bool whole = c->qk_norm == QK_NORM_WHOLE;
    rotary_form rotary = rotary_of(p);
    if (is_rotated(p))
        OP(rotary, r->dev, r->stream, .x = dqkv, .heads = heads, .head = c->head_size,
           .size = rotary.size, .base = rotary.base, .scaling = rotary.scaling,
           .interleaved = rotary.interleaved, .inverse = true);
    if (!c->qk_norm) return;
    tensor scratch =
        arena_take(r->arena, KIND_WORKSPACE, stat_of(p),
                   SHAPE(NORM_GROUPS, (whole ? heads : 2) * c->head_size), NAME("norm scratch", 0));
    tensor q = use_if_any(r, ids->q_norm), k = use_if_any(r, ids->k_norm);
    grad dq = begin_if_any(r, ids->q_norm), dk = begin_if_any(r, ids->k_norm);
    OP(head_norm_grad, r->dev, r->stream, .dx = dqkv, .saved = p->s->heads, .w1 = q, .w2 = k,
       .dw1 = dq, .dw2 = dk, .scratch = scratch, .first = whole ? 1 : c->heads,
       .second = whole ? 1 : c->kv_heads, .eps = c->norm_eps, .offset = c->norm_plus_one);
    arena_drop(r->arena, &scratch);
    arena_drop(r->arena, &p->s->heads);
    finish_if_any(r, ids->q_norm);
    finish_if_any(r, ids->k_norm);
    done_if_any(r, ids->q_norm);
    done_if_any(r, ids->k_norm);
}

/* The gradient of norm1's output, added to `shared` if that is present; absent if no gradient below
 * is wanted, or if there is no norm: then it is added to d. */
static tensor attention_backward(const pass *p, tensor d, tensor shared)
{
    runtime *r = p->r;
    arena *a = r->arena;
    const model_config *c = p->c;
    const block_ids *ids = p->ids;
    block_state *s = p->s;
    tensor branch = begin_attention(p, d), datt = {0}, none = {0};
    bool below = grads_below(r, ids->project.weight);
    if (reads_input(p, ids->project, &s->project_in) || below) make_att(p);
    linear_grads g = linear_begin_grad(r, ids->project, s->att, &s->project_in, branch, on_time);
    narrow_input_drop(r, &s->project_in);
    if (below) {
        datt = take_rows(p, c->heads * c->head_size, "h%d.datt");
        linear_input_grad(r, ids->project, &g, datt, false, branch, none, ACT_NONE);
    }
    end_branch(p, d, &branch);
    linear_end_grad(r, ids->project, &g);
    if (!below) return shared;

    tensor dqkv = take_rows(p, (c->heads + 2 * c->kv_heads) * c->head_size, "h%d.dqkv");
    tensor scratch = arena_take(a, KIND_WORKSPACE, stat_of(p), SHAPE(p->b, c->heads, p->t),
                                NAME("attention scratch", 0)),
           workspace = take_attention_workspace(p, true);
    OP(attention_grad, r->dev, r->stream, .dqkv = dqkv, .dout = datt, .out = s->att, .qkv = s->qkv,
       .lse = s->lse, .starts = r->starts, .scratch = scratch, .heads = c->heads,
       .kv_heads = c->kv_heads, .causal = c->causal, .alibi = c->positions == POSITIONS_ALIBI,
       .window = window_within(p), .scale = score_scale(c), .cap = c->attention_cap,
       .method = p->attention, .workspace = workspace);
    arena_drop(a, &workspace);
    arena_drop(a, &scratch);
    arena_drop(a, &datt);
    arena_drop(a, &s->att);
    arena_drop(a, &s->lse);
    arena_drop(a, &s->qkv);
    unprepare_heads(p, dqkv);

    bool direct = !norms_before(c);
    if (reads_input(p, ids->qkv, &s->qkv_in) && !direct) make_norm1(p);
    g = linear_begin_grad(r, ids->qkv, direct ? s->x : s->norm1, &s->qkv_in, dqkv, on_time);
    arena_drop(a, &s->norm1);
    narrow_input_drop(r, &s->qkv_in);
    tensor dnorm = shared;
    if (grads_below(r, ids->qkv.weight) && direct) {
        linear_input_grad(r, ids->qkv, &g, d, true, dqkv, none, ACT_NONE);
    } else if (grads_below(r, ids->qkv.weight)) {
        if (!present(shared)) dnorm = take_rows(p, c->width, "h%d.dnorm1");
        linear_input_grad(r, ids->qkv, &g, dnorm, present(shared), dqkv, none, ACT_NONE);
    }
    arena_drop(a, &dqkv);
    linear_end_grad(r, ids->qkv, &g);
    return dnorm;
}

/* d += the gradient of x through norm 1 or 2, if one is wanted at the norm or below */
static void norm_backward(const pass *p, weight_ids ids, tensor d, tensor *dnorm, tensor x,
                          tensor *mean, tensor *rstd)
{
    arena *a = p->r->arena;
    if (grads_through(p->r, ids))
        apply_norm_grad(p->r, p->c, ids, d, true, *dnorm, x, *mean, *rstd);
    arena_drop(a, dnorm);
    arena_drop(a, mean);
    arena_drop(a, rstd);
}

void block_kept(block_state *s, tensor *all[BLOCK_KEPT])
{
    tensor *const list[BLOCK_KEPT] = {&s->norm1,
                                      &s->mean1,
                                      &s->rstd1,
                                      &s->qkv,
                                      &s->heads,
                                      &s->att,
                                      &s->lse,
                                      &s->raw1,
                                      &s->mid,
                                      &s->norm2,
                                      &s->mean2,
                                      &s->rstd2,
                                      &s->raw_rstd1,
                                      &s->pre,
                                      &s->act,
                                      &s->raw2,
                                      &s->x,
                                      &s->raw_rstd2,
                                      &s->qkv_in.turned,
                                      &s->qkv_in.scale,
                                      &s->project_in.turned,
                                      &s->project_in.scale,
                                      &s->up_in.turned,
                                      &s->up_in.scale,
                                      &s->down_in.turned,
                                      &s->down_in.scale};
    memcpy(all, list, sizeof list);
}

static void drop_all(runtime *r, block_state *s)
{
    tensor *all[BLOCK_KEPT];
    block_kept(s, all);
    for (int i = 0; i < BLOCK_KEPT; i++)
        arena_drop(r->arena, all[i]);
}

/* Sequential: the MLP's branch follows the attention's, so its part must be in d first.  Parallel:
 * both branches read the same d, which changes after both. */
void block_backward(runtime *r, const model_config *c, const training_policy *how, int layer,
                    const block_ids *ids, tensor d, block_state *s)
{
    pass p = pass_over(r, c, layer, ids, d, s);
    p.attention = how->attention;
    p.backward = true;
    p.hold = backward_keeps(r, c, &how->recompute, layer, ids);
    bool after = c->residual == RESIDUAL_SEQUENTIAL, before = norms_before(c);
    tensor dnorm2 = mlp_backward(&p, d), shared = {0};
    if (after && before) norm_backward(&p, ids->norm2, d, &dnorm2, s->mid, &s->mean2, &s->rstd2);
    if (after) arena_drop(r->arena, &s->mid);
    if (one_norm(c)) shared = dnorm2;
    if (grads_below(r, after && before ? ids->norm2.weight : ids->up.weight)) {
        tensor dnorm1 = attention_backward(&p, d, shared);
        if (c->residual == RESIDUAL_PARALLEL)
            norm_backward(&p, ids->norm2, d, &dnorm2, s->x, &s->mean2, &s->rstd2);
        if (before) norm_backward(&p, ids->norm1, d, &dnorm1, s->x, &s->mean1, &s->rstd1);
    }
    drop_all(r, s);
}
