/* block_params.c - a block's rows in the parameter table, and its caches; see block.h */
#include "model/block.h"

#include <math.h>
#include <stdio.h>

/* ---- the table ---- */

error *declare(params *p, param_spec spec, int *id)
{
    *id = params_add(p, spec);
    return *id < 0 ? user_error("out of memory for the parameter table") : NULL;
}

error *declare_named(params *p, const char *front, const char *rest, param_spec spec, int *id)
{
    char name[DECLARED_NAME];
    snprintf(name, sizeof name, "%s%s", front, rest);
    spec.name = name;
    return declare(p, spec, id);
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

/* A projection: w gives its shape, initial values and layout in files. */
static error *declare_linear(const model_config *c, const lora_plan *lora, params *p,
                             tensor_names names, bool bias, param_spec w, weight_ids *ids)
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
    if (bias) TRY(declare(p, b, &ids->bias));
    return lora_declare(lora, p, ids->weight, ids->adapter);
}

static error *declare_head_norms(const model_config *c, params *p, int layer, block_ids *ids)
{
    bool whole = c->qk_norm == QK_NORM_WHOLE;
    param_spec w = {.layer = layer, .init = c->norm_plus_one ? INIT_ZERO : INIT_ONE};
    w.name = c->names->block.q_norm;
    w.shape = SHAPE((whole ? c->heads : 1) * c->head_size);
    TRY(declare(p, w, &ids->q_norm));
    w.name = c->names->block.k_norm;
    w.shape = SHAPE((whole ? c->kv_heads : 1) * c->head_size);
    return declare(p, w, &ids->k_norm);
}

error *block_declare(const model_config *c, const lora_plan *lora, int layer, params *p,
                     block_ids *ids)
{
    int64_t width = c->width, q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    int64_t up = c->gated ? 2 * c->inner : c->inner;
    const __typeof__(c->names->block) *n = &c->names->block;
    /* GPT: projections into the residual stream start smaller, since there are 2 L additions. */
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
    if (norms_before(c)) TRY(declare_norm(c, p, n->norm1, layer, &ids->norm1));
    TRY(declare_linear(c, lora, p, n->qkv, c->bias.qkv, qkv, &ids->qkv));
    if (c->qk_norm) TRY(declare_head_norms(c, p, layer, ids));
    TRY(declare_linear(c, lora, p, n->project, c->bias.project, project, &ids->project));
    if (norms_after(c)) TRY(declare_norm(c, p, n->post1, layer, &ids->post1));
    if (norms_before(c) && c->residual != RESIDUAL_PARALLEL_ONE_NORM)
        TRY(declare_norm(c, p, n->norm2, layer, &ids->norm2));
    TRY(declare_linear(c, lora, p, n->up, c->bias.up, into, &ids->up));
    TRY(declare_linear(c, lora, p, n->down, c->bias.down, down, &ids->down));
    return norms_after(c) ? declare_norm(c, p, n->post2, layer, &ids->post2) : NULL;
}

/* ---- caches ---- */

block_cache block_cache_take(runtime *r, const model_config *c, int layer, int64_t b, int64_t p)
{
    shape s = SHAPE(b, c->kv_heads, p, c->head_size);
    dtype type = r->params->type;
    return (block_cache){.keys = arena_take(r->arena, KIND_CACHE, type, s, NAME("h%d.keys", layer)),
                         .values =
                             arena_take(r->arena, KIND_CACHE, type, s, NAME("h%d.values", layer))};
}

void block_cache_drop(runtime *r, block_cache *kv)
{
    arena_drop(r->arena, &kv->keys);
    arena_drop(r->arena, &kv->values);
}
