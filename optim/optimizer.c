/* optimizer.c - see optimizer.h */
#include "optim/optimizer.h"
#include "core/stored_numbers.h"
#include "optim/newton_schulz.h"
#include "params/offload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

error *optim_defaults(const char *name, optim_config *out)
{
    *out = (optim_config){.fused = true};
    TRY(rule_find(name, &out->rule, &out->reduced));
    const rule_info *info = rule_at(out->rule);
    memcpy(out->beta, info->beta, sizeof out->beta);
    out->eps = info->eps;
    out->weight_decay = info->weight_decay;
    if (info->others) {
        const rule_info *others = rule_at(rule_named(info->others));
        out->newton_schulz_steps = 5;
        out->others.lr_ratio = others->lr / info->lr;
        memcpy(out->others.beta, others->beta, sizeof out->others.beta);
        out->others.eps = others->eps;
    }
    out->gradients = out->reduced || rule_folds(out->rule) ? GRADS_AUTO : GRADS_OWN;
    return NULL;
}

error *optim_another(const char *name, const optim_config *like, optim_config *out)
{
    optim_config c;
    TRY(optim_defaults(name, &c));
    c.type = like->type;
    c.state = like->state;
    c.state_all = like->state_all;
    c.sparse = like->sparse;
    c.layer_decay = like->layer_decay;
    c.ema = like->ema;
    c.ema_warmup = like->ema_warmup;
    *out = c;
    return NULL;
}

bool optim_has_passes(const optim_config *c)
{
    return c->type != BF16 && c->state == STATE_F32;
}

error *optim_resolve(optim_config *c, int64_t micro_batches, const char **reason)
{
    TRY(optim_refuse(c, micro_batches));
    if (rule_folds(c->rule)) {
        c->gradients = GRADS_FOLD;
        *reason = "the optimizer accumulates each tensor's gradient as soon as it is complete, in "
                  "every micro-batch";
        return NULL;
    }
    *reason = "asked for by --gradients";
    if (!c->reduced && c->gradients == GRADS_OWN)
        *reason = "the optimizer's default: gradients have their own space";
    if (c->gradients != GRADS_AUTO) return NULL;
    c->gradients = GRADS_OVERLAY;
    if (micro_batches > 1)
        *reason = "auto: gradients must live until the last micro-batch, so they are where "
                  "activations have died";
    else if (c->clip > 0)
        *reason =
            "auto: clipping needs all gradients at once, so they are where activations have died";
    else if (!c->fused)
        *reason = "auto: passes over all tensors need all gradients at once, so they are where "
                  "activations have died";
    else {
        c->gradients = GRADS_RELEASE;
        *reason = "auto: one micro-batch and no clipping, so each tensor is updated as soon as its "
                  "gradient is complete";
    }
    return NULL;
}

static void update_complete(void *context, const int *ids, int n, fold_part part);

error *optimizer_create(const optim_config *c, runtime *r, optimizer **out)
{
    optimizer *o = NULL;
    TRY(alloc_array(&o, 1, sizeof *o));
    o->c = *c;
    o->info = rule_at(c->rule);
    o->r = r;
    error *e = alloc_array(&o->state, (size_t)r->params->n, sizeof *o->state);
    if (!e) e = alloc_array(&o->scale, (size_t)r->params->n, sizeof *o->scale);
    if (!e) e = alloc_array(&o->items, (size_t)r->params->n, sizeof *o->items);
    if (!e) e = alloc_array(&o->norms, (size_t)r->params->n, sizeof *o->norms);
    if (!e && c->layer_decay > 0 && c->layer_decay < 1) {
        e = alloc_array(&o->rate, (size_t)r->params->n, sizeof *o->rate);
        if (!e) e = layer_rates(r->params, c->layer_decay, o->rate);
    }
    if (!e && c->ema > 0) e = averages_create(r->params, &o->averages);
    if (!e && r->params->states_far)
        e = alloc_array(&o->far, 2 * (size_t)r->params->n, sizeof *o->far);
    if (e) {
        optimizer_destroy(o);
        return e;
    }
    o->far_items = o->far ? o->far + r->params->n : NULL;
    r->params->policy = c->gradients;
    r->params->complete = update_complete;
    r->params->context = o;
    *out = o;
    return NULL;
}

void optimizer_destroy(optimizer *o)
{
    if (!o) return;
    free(o->state);
    free(o->scale);
    free(o->items);
    free(o->norms);
    free(o->rate);
    averages_destroy(o->averages);
    free(o->far);
    free(o);
}

/* Is there anything of it to update here? */
static bool owned(const param *row)
{
    return row->trainable && row->own;
}

/* Does it have the rule that sees whole matrices? */
static bool by_matrix(const optimizer *o, int id)
{
    return o->info->sees == BY_MATRIX && o->r->params->row[id].spec.hidden;
}

/* Among all parameters but those. */
static rule_id element_rule(const optimizer *o)
{
    return o->info->sees == BY_MATRIX ? rule_named(o->info->others) : o->c.rule;
}

static rule_id rule_of(const optimizer *o, int id)
{
    return by_matrix(o, id) ? o->c.rule : element_rule(o);
}

const rule_info *optimizer_rule_of(const optimizer *o, int i)
{
    return rule_at(rule_of(o, i));
}

enum { SMALL = 4096 }; /* elements: below this compression saves nothing */

static dtype state_type(const optimizer *o, int i, int k)
{
    const param *row = &o->r->params->row[i];
    const rule_info *info = optimizer_rule_of(o, i);
    bool vector = row->spec.shape.rank < 2, small = row->count < SMALL;
    unsigned member = (unsigned)LANE_S0 << k;
    if (o->c.state == STATE_F32) return F32;
    if (!o->c.state_all && (vector || small || row->spec.embedding)) return F32;
    if (o->c.state == STATE_BF16 || info->copies & member) return BF16;
    return info->squares & member ? U8 : I8;
}

static void place_state(optimizer *o, int i, int k)
{
    const param *row = &o->r->params->row[i];
    arena *a = o->r->arena;
    block_name name = NAME(row->spec.name, row->spec.layer);
    dtype type = state_type(o, i, k);
    if (offload_takes(o->r->params, i))
        o->far[i].lane[2 + k] = far_keep(o->r->params->far, KIND_STATE, type, row->own);
    else
        o->state[i][k] = arena_keep(a, KIND_STATE, type, param_own_shape(o->r->params, i), name);
    if (type == I8 || type == U8)
        o->scale[i][k] =
            arena_keep(a, KIND_STATE, F32, SHAPE((row->own + STATE_BLOCK - 1) / STATE_BLOCK), name);
}

/* After all else has been placed. */
static void place_far(optimizer *o)
{
    params *p = o->r->params;
    for (int i = 0; i < p->n; i++) {
        far_item *f = &o->far[i];
        f->count = p->row[i].own;
        if (!owned(&p->row[i])) continue;
        f->lane[0] = p->row[i].far_value;
        f->lane[1] = p->row[i].far_master;
    }
    update_window_place(&o->window, o->r->arena, o->far, p->n);
}

void optimizer_place(optimizer *o)
{
    params *p = o->r->params;
    arena *a = o->r->arena;
    o->hyper = arena_keep(a, KIND_BATCH, U8, SHAPE(sizeof(hyper)), NAME("hyper", 0));
    o->slots = arena_keep(a, KIND_BATCH, F64, SHAPE(p->n), NAME("gradient norms", 0));
    if (o->c.gradients == GRADS_FOLD)
        o->sums = arena_keep(a, KIND_BATCH, F64, SHAPE(p->n), NAME("sums of gradient norms", 0));
    if (o->info->sees == BY_MATRIX)
        o->squares = arena_keep(a, KIND_BATCH, F64, SHAPE(1), NAME("norm of a matrix", 0));
    for (int k = 0; k < MAX_STATES; k++)
        for (int i = 0; i < p->n; i++)
            if (owned(&p->row[i]) && k < optimizer_rule_of(o, i)->n_states) place_state(o, i, k);
    if (o->averages) averages_place(o->averages, o->r);
    if (o->far) place_far(o);
}

void optimizer_clear(optimizer *o)
{
    for (int i = 0; i < o->r->params->n; i++)
        for (int k = 0; k < MAX_STATES; k++) {
            if (present(o->state[i][k])) op_clear(o->r->dev, o->r->stream, o->state[i][k]);
            if (present(o->scale[i][k])) op_clear(o->r->dev, o->r->stream, o->scale[i][k]);
        }
    op_clear(o->r->dev, o->r->stream, o->slots);
    if (present(o->sums)) op_clear(o->r->dev, o->r->stream, o->sums);
}

/* ---- one update ---- */

/* The value that applies to parameter id. */
static tensor element(tensor list, int id)
{
    return tensor_part(list, id, 1);
}

/* Which rule's passes run: some rules have variants for micro-batches or for the _r form. */
static rule_id passes_of(const optimizer *o, rule_id rule, fold_part part)
{
    const rule_info *info = rule_at(rule);
    if (part < FOLD_PARTS) return rule_named(info->fold[part]);
    if (!o->c.fused && o->c.reduced && info->r_passes) return rule_named(info->r_passes);
    return rule;
}

/* Where the _r form puts the intermediate, so that it needs no space of its own. */
static tensor reused(const rule_info *info, const optim_item *it)
{
    if (info->r_temp == LANE_G) return it->g;
    for (int k = 0; k < info->n_states; k++)
        if (info->r_temp == (unsigned)LANE_S0 << k) return it->state[k];
    return (tensor){0};
}

static bool has_temp(const optimizer *o, const rule_info *info)
{
    return info->needs_temp && (!o->c.fused || info->sees == BY_MATRIX);
}

/* Does something of it lie far? */
static bool lies_far(const optimizer *o, int id)
{
    return o->far && far_item_width(&o->far[id]) > 0;
}

/* Its norm is an operation of its own: pieces would be added up in another order than the whole. */
static bool norm_apart(const optimizer *o, int id)
{
    return !o->c.fused || (lies_far(o, id) && !(o->c.clip > 0));
}

static void prepare(optimizer *o, int id, optim_item *it)
{
    const params *p = o->r->params;
    const param *row = &p->row[id];
    const rule_info *info = optimizer_rule_of(o, id);
    *it = (optim_item){.p = param_own_value(p, id),
                       .g = param_own_gradient(p, id),
                       .decay = row->spec.decay,
                       .master = row->master,
                       .lr_scale = o->rate ? o->rate[id] : 0,
                       .id = (uint32_t)id};
    memcpy(it->state, o->state[id], sizeof it->state);
    memcpy(it->scale, o->scale[id], sizeof it->scale);
    if (!norm_apart(o, id) && !(o->c.clip > 0)) it->slot = element(o->slots, id);
    if (!has_temp(o, info)) return;
    it->temp = o->c.reduced
                   ? reused(info, it)
                   : arena_take(o->r->arena, KIND_INTERMEDIATE, F32, param_own_shape(p, id),
                                NAME(row->spec.name, row->spec.layer));
}

/* What of this item lies far, as far as the rule sees it. */
static far_item far_of(const optimizer *o, const rule_info *rule, const optim_item *it)
{
    far_item f = {.count = 0};
    if (o->far) f = o->far[it->id];
    for (int k = rule->n_states; k < MAX_STATES; k++)
        f.lane[2 + k] = (far_block){0};
    return f;
}

/* n of o->items; those of which something lies far come last then, by way of the windows. */
static void run_rule(optimizer *o, rule_id rule, int64_t n)
{
    const rule_info *info = rule_at(rule);
    int64_t near = 0, apart = 0;
    for (int64_t i = 0; i < n && o->far; i++) {
        optim_item it = o->items[i];
        far_item f = far_of(o, info, &it);
        if (far_item_width(&f) > 0) continue;
        o->items[i] = o->items[near];
        o->items[near++] = it;
    }
    if (!o->far) near = n;
    for (int64_t i = near; i < n; i++)
        o->far_items[apart++] = far_of(o, info, &o->items[i]);
    optim_op op = {
        .rule = info, .fused = o->c.fused, .hyper = o->hyper, .items = o->items, .n = near};
    if (near) op_optim(o->r->dev, o->r->stream, &op);
    op.items = o->items + near;
    op.n = n - near;
    if (op.n) update_window_run(&o->window, o->r, &op, o->far_items);
}

/* n items with one rule. */
static void apply(optimizer *o, rule_id rule, int64_t n, fold_part part)
{
    run_rule(o, passes_of(o, rule, part), n);
    for (int64_t i = 0; i < n && has_temp(o, rule_at(rule)) && !o->c.reduced; i++)
        arena_drop(o->r->arena, &o->items[i].temp);
}

/* A convolution's weight (out, in, K, K) is a matrix of `out` rows. */
static tensor flat_matrix(tensor t)
{
    return t.rank > 2 ? tensor_of(t.data, t.type, SHAPE(t.dim[0], tensor_count(t) / t.dim[0])) : t;
}

/* One parameter with a rule that sees whole matrices. */
static void apply_by_matrix(optimizer *o, int id)
{
    const param_spec *spec = &o->r->params->row[id].spec;
    optim_item *it = &o->items[0];
    prepare(o, id, it);
    run_rule(o, o->c.rule, 1);
    tensor all = flat_matrix(it->temp);
    int64_t rows = tensor_rows(all), first = 0;
    for (int k = 0; first < rows && !o->r->dev->failure; k++) {
        bool several = spec->part_rows[0] && spec->adapter_scale == 0;
        int64_t n = several ? spec->part_rows[k] : rows;
        newton_schulz(o->r, tensor_slice(all, first, n), o->squares, o->c.eps,
                      o->c.newton_schulz_steps, NAME(spec->name, spec->layer));
        first += n;
    }
    optim_item step = {.p = it->p,
                       .g = it->temp,
                       .decay = it->decay,
                       .lr_scale = it->lr_scale,
                       .id = it->id},
               saved = *it;
    *it = step;
    run_rule(o, rule_named(o->info->apply), 1);
    if (!o->c.reduced) arena_drop(o->r->arena, &saved.temp);
}

/* The squared norms of parameters [first, end), in one operation. */
static void norms_of(optimizer *o, int first, int end)
{
    const params *p = o->r->params;
    int64_t n = 0;
    for (int i = first; i < end; i++)
        if (owned(&p->row[i]))
            o->norms[n++] = (sumsq_item){element(o->slots, i), param_own_gradient(p, i)};
    OP(sumsq, o->r->dev, o->r->stream, .items = o->norms, .n = n);
}

/* Adds them to those of the earlier micro-batches. */
static void add_norm(optimizer *o, int id, fold_part part)
{
    OP(sum, o->r->dev, o->r->stream, .sum = element(o->sums, id),
       .accumulate = part == FOLD_LATER || part == FOLD_LAST, .x = element(o->slots, id),
       .scale = 1);
}

/* Fold over ranks: gradients are not sent.  Each rank accumulates its own in states that begin,
 * except on the first rank, at zero; their sum over the ranks is the state of one process that has
 * seen all micro-batches.  Then the parameter is updated, by the rule's last part without a
 * gradient. */
static void fold_over_ranks(optimizer *o, int id, fold_part part)
{
    runtime *r = o->r;
    bool first = part == FOLD_FIRST || part == FOLD_ALL,
         last = part == FOLD_LAST || part == FOLD_ALL;
    for (int k = 0; k < o->info->n_states && first && comm_rank(r->comm); k++)
        op_clear(r->dev, r->stream, o->state[id][k]);
    part = first ? FOLD_FIRST : FOLD_LATER;
    prepare(o, id, &o->items[0]);
    apply(o, o->c.rule, 1, part);
    add_norm(o, id, part);
    if (!last) return;
    for (int k = 0; k < o->info->n_states; k++)
        comm_sum(r->comm, r->dev, r->stream, o->state[id][k]);
    op_clear(r->dev, r->stream, r->params->row[id].gradient);
    prepare(o, id, &o->items[0]);
    o->items[0].slot = (tensor){0};
    apply(o, o->c.rule, 1, FOLD_LAST);
}

static void update_one(optimizer *o, int id, fold_part part)
{
    bool fold = o->c.gradients == GRADS_FOLD;
    if (!o->r->params->row[id].own) return;
    if (norm_apart(o, id)) norms_of(o, id, id + 1);
    if (fold && comm_size(o->r->comm) > 1) {
        fold_over_ranks(o, id, part);
        return;
    }
    if (by_matrix(o, id)) {
        apply_by_matrix(o, id);
    } else {
        prepare(o, id, &o->items[0]);
        apply(o, rule_of(o, id), 1, part);
    }
    if (fold) add_norm(o, id, part);
}

/* Several parameters in one operation, except those whose rule sees whole matrices. */
static void update_some(optimizer *o, const int *ids, int n)
{
    int64_t items = 0;
    for (int i = 0; i < n; i++) {
        if (!o->r->params->row[ids[i]].own) continue;
        if (norm_apart(o, ids[i])) norms_of(o, ids[i], ids[i] + 1);
        if (!by_matrix(o, ids[i])) prepare(o, ids[i], &o->items[items++]);
    }
    if (items) apply(o, element_rule(o), items, FOLD_ALL);
    for (int i = 0; i < n; i++)
        if (o->r->params->row[ids[i]].own && by_matrix(o, ids[i])) apply_by_matrix(o, ids[i]);
}

/* Release and fold: called by the hooks when these parameters' gradients are complete. */
static void update_complete(void *context, const int *ids, int n, fold_part part)
{
    optimizer *o = context;
    if (n > 1 && part == FOLD_ALL)
        update_some(o, ids, n);
    else
        for (int i = 0; i < n; i++)
            update_one(o, ids[i], part);
}

/* hyper's gradient norm and clip; summed over ranks if each has a part.  Groups of ranks that have
 * the same parts count once. */
static void clip(optimizer *o, tensor slots, bool parts)
{
    runtime *r = o->r;
    if (parts && params_divided(r->params) && comm_repeats(r->comm))
        op_clear(r->dev, r->stream, slots);
    if (parts) comm_sum(r->comm, r->dev, r->stream, slots);
    OP(clip, r->dev, r->stream, .slots = slots, .hyper = o->hyper, .max_norm = o->c.clip);
}

/* After its update, under overlay: a rule that sees whole matrices needs the room now. */
static void give_back(optimizer *o, int id)
{
    if (o->info->sees == BY_MATRIX && o->c.gradients == GRADS_OVERLAY)
        arena_drop(o->r->arena, &o->r->params->row[id].gradient);
}

static void update_all(optimizer *o)
{
    params *p = o->r->params;
    bool norm_first = o->c.clip > 0 || !o->c.fused; /* otherwise the fused update computes it */
    int64_t n = 0;
    if (norm_first) norms_of(o, 0, p->n);
    for (int i = 0; i < p->n && !norm_first && o->far; i++)
        if (owned(&p->row[i]) && norm_apart(o, i)) norms_of(o, i, i + 1);
    if (o->c.clip > 0) clip(o, o->slots, params_divided(p));
    for (int i = 0; i < p->n; i++)
        if (owned(&p->row[i]) && !by_matrix(o, i)) prepare(o, i, &o->items[n++]);
    apply(o, element_rule(o), n, FOLD_ALL);
    for (int i = 0; i < p->n; i++)
        if (!by_matrix(o, i)) give_back(o, i);
    for (int i = 0; i < p->n; i++) {
        if (!owned(&p->row[i]) || !by_matrix(o, i)) continue;
        apply_by_matrix(o, i);
        give_back(o, i);
    }
}

void optimizer_end_step(optimizer *o)
{
    bool fold = o->c.gradients == GRADS_FOLD;
    if (o->c.gradients != GRADS_RELEASE && !fold) update_all(o);
    if (o->c.clip > 0) return;
    clip(o, fold ? o->sums : o->slots, fold || params_divided(o->r->params));
}

void optimizer_average(optimizer *o)
{
    if (o->averages) averages_update(o->averages, o->r, o->hyper);
}

/* ---- the step's numbers ---- */

/* The hyperparameters for parameters that are left to another rule. */
static void set_others(const optimizer *o, hyper *h, int64_t step, double lr)
{
    lr *= o->c.others.lr_ratio;
    others_numbers n = {
        .lr = (float)lr, .lr_wd = (float)(lr * o->c.weight_decay), .eps = (float)o->c.others.eps};
    for (int i = 0; i < 2; i++) {
        double beta = o->c.others.beta[i];
        n.beta[i] = (float)beta;
        n.rest[i] = (float)(1 - beta);
        n.debias[i] = (float)(1 - pow(beta, (double)step));
    }
    h->others = n;
}

void optimizer_begin_step(optimizer *o, int64_t step, double lr)
{
    hyper h = {.lr = (float)lr,
               .lr_wd = (float)(lr * o->c.weight_decay),
               .eps = (float)o->c.eps,
               .average_rest = (float)(1 - average_decay(o->c.ema, o->c.ema_warmup, step)),
               .clip = 1,
               .first = step == 1,
               .ok = 1,
               /* the upper bit: no other use of the seed has this key */
               .seed = {(uint32_t)o->c.seed, (uint32_t)(o->c.seed >> 32) | 0x80000000u},
               .step = (uint32_t)step};
    for (int i = 0; i < MAX_BETAS; i++) {
        h.beta[i] = (float)o->c.beta[i];
        h.rest[i] = (float)(1 - o->c.beta[i]);
        h.debias[i] = (float)(1 - pow(o->c.beta[i], (double)step));
    }
    if (o->info->others) set_others(o, &h, step, lr);
    o->host = h;
    op_put(o->r->dev, o->r->stream, o->hyper, &o->host);
    if (params_divided(o->r->params)) /* what others own has no norm here */
        op_clear(o->r->dev, o->r->stream, o->slots);
}

hyper optimizer_results(optimizer *o)
{
    hyper h = o->host;
    op_get(o->r->dev, o->r->stream, &h, o->hyper);
    op_sync(o->r->dev, o->r->stream);
    return h;
}
