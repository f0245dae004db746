/* gpt.c - a GPT: embedding of tokens and positions, blocks, a norm, the classifier.
 *
 *   tokens -> wte (+ wpe) (-> norm) -> block 0 .. L-1 -> norm -> head (or wte) -> softmax, loss
 *
 * The classifier is where a small model's memory goes: logits are (B T, V).  Softmax, loss and
 * gradient are one operation, in place, and rows are processed in chunks (classifier_rows: at most
 * 64 MiB of logits, or what --logits-mib says), so the logits of many rows never exist at once.  A
 * chunk's gradient replaces the rows of the norm's output that it was computed from:
 *
 *   for each chunk of rows:   logits = x W'  ->  dlogits (in place)  ->  dW += dlogits' x
 *                                                                   ->  x <- dlogits W
 *
 * Where gradients are consumed as they are complete, dW would wait for the embedding's part of it
 * through all of backward, the largest of all gradients beside the largest activations.  If the
 * logits are one chunk, smaller than dW and than what the blocks keep, they wait in its place:
 *
 *   forward      | head: logits, x <- dlogits W | backward of all blocks | dW = dlogits' x, embedding
 *   activations  ################################### ... #
 *   in between                                 [dlogits, x               ] [dW    ]
 *
 * The products are the same, and so are the bits.
 *
 * The chunk size depends on model, batch and device only, never on the available memory, so that no
 * memory setting changes the bits.
 */
#include "base/bf16.h"
#include "model/block.h"
#include "model/model.h"

#include <stdlib.h>

struct model {
    model_config config;
    training_policy training;
    int wte, wpe;           /* wpe: -1 without */
    weight_ids first, head; /* first: the embedding's norm */
    weight_ids final;
    tensor raw, mean, rstd; /* input of the embedding's norm in a training step, (B,T) */
    tensor hidden, logits;  /* ? (BT,C), (BT,V): while the head's gradient waits for its turn */
    block_ids *blocks;      /* [layers] */
    block_state *states;    /* [layers] */
    block_cache *caches;    /* [layers], between open_caches and close_caches */
};

static error *declare_all(model *m, params *p)
{
    const model_config *c = &m->config;
    param_spec embedding = {.name = c->names->tokens,
                            .layer = -1,
                            .shape = SHAPE(c->vocab, c->width),
                            .decay = true,
                            .init = INIT_NORMAL,
                            .std = 0.02,
                            .writers = c->tied ? 2 : 1,
                            .embedding = true};
    TRY(declare(p, embedding, &m->wte));
    embedding.name = c->names->positions;
    embedding.shape = SHAPE(c->context, c->width);
    embedding.writers = 1;
    m->wpe = -1;
    if (c->positions == POSITIONS_LEARNED) TRY(declare(p, embedding, &m->wpe));
    if (c->embedding_norm) TRY(declare_norm(c, p, c->names->embedding_norm, -1, &m->first));
    for (int l = 0; l < (int)c->layers; l++)
        TRY(block_declare(c, &m->training.lora, l, p, &m->blocks[l]));
    TRY(declare_norm(c, p, c->names->final_norm, -1, &m->final));
    m->head = (weight_ids){.weight = m->wte, .bias = -1};
    if (c->tied) return NULL;
    param_spec head = {.name = c->names->head.weight,
                       .layer = -1,
                       .shape = SHAPE(c->vocab, c->width),
                       .decay = true,
                       .init = INIT_NORMAL,
                       .std = 0.02};
    TRY(declare(p, head, &m->head.weight));
    param_spec bias = {.name = c->names->head.bias, .layer = -1, .shape = SHAPE(c->vocab)};
    return c->bias.head ? declare(p, bias, &m->head.bias) : NULL;
}

static void gpt_destroy(model *m)
{
    if (!m) return;
    free(m->blocks);
    free(m->states);
    free(m->caches);
    free(m);
}

static error *gpt_create(const model_config *c, const training_policy *how, params *p, model **out)
{
    TRY(config_check(c));
    model *m = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    m->config = *c;
    m->training = *how;
    error *e = alloc_array(&m->blocks, (size_t)c->layers, sizeof *m->blocks);
    if (!e) e = alloc_array(&m->states, (size_t)c->layers, sizeof *m->states);
    if (!e) e = alloc_array(&m->caches, (size_t)c->layers, sizeof *m->caches);
    if (!e) e = declare_all(m, p);
    if (e) {
        gpt_destroy(m);
        return e;
    }
    *out = m;
    return NULL;
}

static batch gpt_place_batch(const model *m, arena *a, int64_t b, int64_t t)
{
    batch out = {0};
    out.inputs = arena_keep(a, KIND_BATCH, I32, SHAPE(b, t), NAME("tokens", 0));
    out.targets = arena_keep(a, KIND_BATCH, I32, SHAPE(b, t), NAME("targets", 0));
    if (m->training.dropout > 0 || m->training.adapter_dropout > 0)
        out.start = arena_keep(a, KIND_BATCH, I32, SHAPE(2), NAME("first row", 0));
    if (!m->training.packed) return out;
    out.starts = arena_keep(a, KIND_BATCH, I32, SHAPE(b, t), NAME("document starts", 0));
    out.rows = arena_keep(a, KIND_BATCH, I32, SHAPE(1, b * t), NAME("learned rows", 0));
    out.n_learned = b * t;
    return out;
}

static int64_t gpt_targets(const model *m, int64_t t)
{
    (void)m;
    return t;
}

/* ---- forward ---- */

/* Normalizes the embedding x, if the model does.  With keep, what backward needs is kept, if a
 * gradient is wanted there. */
static tensor norm_embedding(runtime *r, model *m, tensor x, int64_t room, bool keep)
{
    const model_config *c = &m->config;
    if (!c->embedding_norm || r->dev->failure) return x;
    int64_t b = x.dim[0], t = x.dim[1];
    keep = keep && grads_through(r, m->first);
    if (keep) {
        dtype stat = stat_type(x.type);
        if (c->norm == NORM_LAYER)
            m->mean = arena_take(r->arena, KIND_ACTIVATION, stat, SHAPE(b, t), NAME("mean", 0));
        m->rstd = arena_take(r->arena, KIND_ACTIVATION, stat, SHAPE(b, t), NAME("rstd", 0));
    }
    tensor norm = take_part(r, b, t, room, c->width, NAME("embedding norm", 0));
    apply_norm(r, c, m->first, norm, x, m->mean, m->rstd);
    if (keep)
        m->raw = x;
    else
        arena_drop(r->arena, &x);
    return norm;
}

/* Rounded to the type of the embedding, as transformers does: those that are scaled were trained
 * so. */
static double embedding_scale(const runtime *r, const model *m)
{
    double scale = m->config.embedding_scale;
    if (r->params->type != BF16) return scale;
    return (double)float_of_bf16(bf16_of_float((float)scale));
}

/* Tokens (B,T), the first at `position`; memory for room >= T. */
static tensor embed(runtime *r, model *m, tensor tokens, int64_t position, int64_t room, bool keep)
{
    tensor x =
        take_part(r, tokens.dim[0], tokens.dim[1], room, m->config.width, NAME("embedded", 0));
    tensor wte = param_use(r, m->wte), wpe = use_if_any(r, m->wpe);
    OP(embedding, r->dev, r->stream, .out = x, .tokens = tokens, .wte = wte, .wpe = wpe,
       .starts = r->starts, .first_position = position, .scale = embedding_scale(r, m));
    param_done(r, m->wte);
    done_if_any(r, m->wpe);
    return norm_embedding(r, m, x, room, keep);
}

static bool wanted(const runtime *r, int id)
{
    return id >= 0 && grad_wanted(r, id);
}

/* d: gradient of embed's output. */
static void embed_grad(runtime *r, model *m, tensor tokens, tensor d)
{
    bool below = present(m->raw) || wanted(r, m->wte) || wanted(r, m->wpe);
    if (below && leaves_out(r)) leave_out(r, r->dropout.rate, SITE_EMBEDDING, d, d, (tensor){0});
    if (present(m->raw))
        apply_norm_grad(r, &m->config, m->first, d, false, d, m->raw, m->mean, m->rstd);
    arena_drop(r->arena, &m->raw);
    arena_drop(r->arena, &m->mean);
    arena_drop(r->arena, &m->rstd);
    if (!wanted(r, m->wte) && !wanted(r, m->wpe)) return;
    tensor scratch = {0};
    if (wanted(r, m->wte))
        scratch = arena_take(r->arena, KIND_WORKSPACE, I32, SHAPE(2, tensor_count(tokens)),
                             NAME("embedding scratch", 0));
    grad dwte = grad_begin(r, m->wte), dwpe = m->wpe < 0 ? (grad){0} : grad_begin(r, m->wpe);
    OP(embedding_grad, r->dev, r->stream, .dwte = dwte, .dwpe = dwpe, .dout = d, .tokens = tokens,
       .starts = r->starts, .scratch = scratch, .scale = embedding_scale(r, m));
    arena_drop(r->arena, &scratch);
    grad_done(r, m->wte);
    if (m->wpe >= 0) grad_done(r, m->wpe);
}

/* ---- the classifier ---- */

static tensor rows_of(tensor vector, int64_t first, int64_t n)
{
    tensor column = vector;
    column.rank = 2;
    column.dim[0] = tensor_count(vector);
    column.dim[1] = column.ld = 1;
    tensor s = tensor_slice(column, first, n);
    return tensor_of(s.data, s.type, SHAPE(n));
}

/* The rows of a chunk of logits, for a batch of `rows`. */
static int64_t chunk_rows(const model *m, int64_t rows, dtype type, int64_t *ld)
{
    int64_t mib = m->training.logits_mib ? m->training.logits_mib : DEFAULT_LOGITS_MIB;
    return classifier_rows(&m->config, mib, rows, type, ld);
}

/* Whether the head's gradient is made last: at this point all that the blocks keep is there. */
static bool head_waits(const runtime *r, model *m, tensor x)
{
    if (r->dev->failure || !grad_wanted(r, m->head.weight) || !params_at_once(r->params))
        return false;
    int64_t rows = tensor_rows(x), ld;
    if (chunk_rows(m, rows, x.type, &ld) < rows) return false;
    size_t kept = 0, logits = (size_t)(rows * ld) * dtype_size(x.type);
    for (int l = 0; l < (int)m->config.layers; l++) {
        tensor *all[BLOCK_KEPT];
        block_kept(&m->states[l], all);
        for (int i = 0; i < BLOCK_KEPT; i++)
            kept += present(*all[i]) ? tensor_bytes(*all[i]) : 0;
    }
    int64_t weight = r->params->row[m->head.weight].count;
    return logits < kept && logits < (size_t)weight * dtype_size(r->params->type);
}

/* dW and db of all rows, if they waited. */
static void head_grad(runtime *r, model *m)
{
    if (!present(m->hidden)) return;
    grad dw = begin_if_any(r, m->head.weight), db = begin_if_any(r, m->head.bias);
    OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = m->hidden, .dout = m->logits);
    arena_drop(r->arena, &m->logits);
    arena_drop(r->arena, &m->hidden);
    finish_if_any(r, m->head.weight);
    finish_if_any(r, m->head.bias);
}

/* Losses of x (B,T,C) against targets, in memory for `room` rows; with backward, dx becomes its
 * gradient, if one is wanted: dx is x, unless the head's gradient waits (m->hidden is x then).
 * Without targets only allocates the memory. */
static void classify_rows(runtime *r, model *m, tensor x, tensor dx, tensor targets, int64_t room,
                          const loss_sink *loss, bool backward)
{
    if (r->dev->failure) return; /* x has no shape then */
    int64_t rows = present(targets) ? tensor_rows(x) : 0;
    bool waits = present(m->hidden), now = backward && !waits;
    tensor losses =
        arena_take(r->arena, KIND_ACTIVATION, stat_type(x.type), SHAPE(room), NAME("losses", 0));
    int64_t ld, chunk = chunk_rows(m, room, x.type, &ld);
    tensor logits =
        arena_take(r->arena, KIND_ACTIVATION, x.type, SHAPE(chunk, ld), NAME("logits", 0));
    logits.dim[1] = m->config.vocab; /* the rest is padding */
    tensor w = param_use(r, m->head.weight), bias = use_if_any(r, m->head.bias);
    grad dw = now ? grad_begin(r, m->head.weight) : (grad){0};
    grad db = now ? begin_if_any(r, m->head.bias) : (grad){0};
    for (int64_t first = 0, times; first < rows && !r->dev->failure; first += times * chunk) {
        int64_t n = rows - first < chunk ? rows - first : chunk;
        times = op_alike(r->dev, first && n == chunk ? (rows - first) / chunk : 1);
        tensor part = tensor_slice(logits, 0, n), xs = tensor_slice(x, first, n);
        OP(linear, r->dev, r->stream, .out = part, .x = xs, .w = w, .bias = bias);
        if (m->config.logit_cap > 0)
            OP(soft_cap, r->dev, r->stream, .x = part, .cap = m->config.logit_cap);
        OP(classify, r->dev, r->stream, .logits = part, .targets = rows_of(targets, first, n),
           .losses = rows_of(losses, first, n), .backward = backward, .scale = loss->scale,
           .z = backward ? m->training.z_loss : 0, .cap = m->config.logit_cap);
        if (!backward) continue;
        if (present(dw.t) || present(db.t))
            OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = xs, .dout = part);
        if (grads_through(r, m->final))
            OP(linear_dx, r->dev, r->stream, .dx = tensor_slice(dx, first, n), .dout = part,
               .w = w);
        dw.accumulate = db.accumulate = true;
    }
    op_alike(r->dev, 1);
    /* Before the head's gradient is done: an infinite or NaN loss stops all updates. */
    if (rows)
        OP(sum, r->dev, r->stream, .sum = loss->sum, .accumulate = loss->accumulate,
           .x = rows_of(losses, 0, rows), .hyper = loss->hyper, .scale = loss->scale);
    if (backward) loss_agree(r, loss);
    if (now) grad_done(r, m->head.weight);
    if (now) finish_if_any(r, m->head.bias);
    param_done(r, m->head.weight);
    done_if_any(r, m->head.bias);
    if (waits)
        m->logits = logits;
    else
        arena_drop(r->arena, &logits);
    arena_drop(r->arena, &losses);
}

/* The first n learned rows of a batch. */
static tensor rows_taken(tensor rows, int64_t n)
{
    return tensor_of(rows.data, I32, SHAPE(1, n));
}

/* x (B,T,C) as a matrix of rows */
static tensor as_table(tensor x)
{
    return tensor_of(x.data, x.type, SHAPE(tensor_rows(x), tensor_cols(x)));
}

/* The same for a batch in which only some rows are learned: gathers them, and scatters their
 * gradient back; that of the others is 0.  Rows of x are looked up by number as an embedding's are
 * by token. */
static void classify_learned(runtime *r, model *m, tensor x, const batch *in, const loss_sink *loss,
                             bool backward)
{
    if (r->dev->failure) return;
    int64_t room = tensor_rows(x), n = in->n_learned, c = tensor_cols(x);
    if (n < 1 || n > room) {
        device_fail(r->dev,
                    internal_error("%lld of %lld rows are learned", (long long)n, (long long)room));
        return;
    }
    tensor all =
        arena_take(r->arena, KIND_ACTIVATION, x.type, SHAPE(1, room, c), NAME("learned", 0));
    tensor some = present(all) ? tensor_of(all.data, x.type, SHAPE(1, n, c)) : all;
    OP(embedding, r->dev, r->stream, .out = some, .tokens = rows_taken(in->rows, n),
       .wte = as_table(x));
    classify_rows(r, m, some, some, in->targets, room, loss, backward);
    if (backward && grads_through(r, m->final)) {
        tensor scratch = arena_take(r->arena, KIND_WORKSPACE, I32, SHAPE(2, room),
                                    NAME("learned rows scratch", 0));
        tensor part = present(scratch) ? tensor_of(scratch.data, I32, SHAPE(2, n)) : scratch;
        OP(embedding_grad, r->dev, r->stream, .dwte = {as_table(x), false}, .dout = some,
           .tokens = rows_taken(in->rows, n), .scratch = part);
        arena_drop(r->arena, &scratch);
    }
    arena_drop(r->arena, &all);
}

/* ---- the programs ---- */

static void gpt_train(runtime *r, model *m, const batch *in, const loss_sink *loss)
{
    arena *a = r->arena;
    const model_config *c = &m->config;
    r->starts = in->starts;
    r->dropout = (runtime_dropout){.rate = m->training.dropout,
                                   .adapter_rate = m->training.adapter_dropout,
                                   .seed = m->training.dropout_seed,
                                   .start = in->start};
    tensor embedded = embed(r, m, in->inputs, 0, in->inputs.dim[1], true);
    if (leaves_out(r))
        leave_out(r, r->dropout.rate, SITE_EMBEDDING, embedded, embedded, (tensor){0});
    tensor none = {0}, last = blocks_forward(r, c, &m->training, m->blocks, embedded, none,
                                             BLOCK_TRAIN, m->states);
    bool below = grads_through(r, m->final);

    tensor mean = {0}, rstd = {0};
    if (below) {
        shape per_row = SHAPE(last.dim[0], last.dim[1]);
        if (c->norm == NORM_LAYER)
            mean = arena_take(a, KIND_ACTIVATION, stat_type(last.type), per_row,
                              NAME("final mean", 0));
        rstd = arena_take(a, KIND_ACTIVATION, stat_type(last.type), per_row, NAME("final rstd", 0));
    }
    /* d is the final norm's output, then its gradient, then the residual stream's: all in one
     * place, unless the head's gradient still wants the output. */
    shape all = SHAPE(last.dim[0], last.dim[1], c->width);
    tensor d = arena_take(a, KIND_ACTIVATION, last.type, all, NAME("final norm", 0));
    apply_norm(r, c, m->final, d, last, mean, rstd);
    if (below && !present(in->rows) && head_waits(r, m, d)) {
        m->hidden = d;
        d = arena_take(a, KIND_ACTIVATION, d.type, all, NAME("gradient of the final norm", 0));
    }
    if (!below) arena_drop(a, &last);
    if (present(in->rows))
        classify_learned(r, m, d, in, loss, true);
    else
        classify_rows(r, m, present(m->hidden) ? m->hidden : d, d, in->targets, tensor_rows(d),
                      loss, true);
    if (below) apply_norm_grad(r, c, m->final, d, false, d, last, mean, rstd);
    arena_drop(a, &mean);
    arena_drop(a, &rstd);
    arena_drop(a, &last);

    blocks_backward(r, c, &m->training, m->blocks, d, m->states);
    head_grad(r, m);
    embed_grad(r, m, in->inputs, d);
    arena_drop(a, &d);
    r->starts = (tensor){0};
    r->dropout = (runtime_dropout){0};
}

static void gpt_evaluate(runtime *r, model *m, const batch *in, const loss_sink *loss)
{
    int64_t b = in->inputs.dim[0], t = in->inputs.dim[1];
    r->starts = in->starts;
    tensor last =
        blocks_forward(r, &m->config, &m->training, m->blocks, embed(r, m, in->inputs, 0, t, false),
                       (tensor){0}, BLOCK_INFER, m->states);
    tensor x = take_part(r, b, t, t, m->config.width, NAME("final norm", 0));
    apply_norm(r, &m->config, m->final, x, last, (tensor){0}, (tensor){0});
    arena_drop(r->arena, &last);
    if (present(in->rows))
        classify_learned(r, m, x, in, loss, false);
    else
        classify_rows(r, m, x, x, in->targets, b * t, loss, false);
    arena_drop(r->arena, &x);
    r->starts = (tensor){0};
}

/* ---- generation ---- */

static void gpt_open_caches(runtime *r, model *m, int64_t b, int64_t length)
{
    for (int l = 0; l < (int)m->config.layers; l++)
        m->caches[l] = block_cache_take(r, &m->config, l, b, length);
}

static void gpt_close_caches(runtime *r, model *m)
{
    for (int l = 0; l < (int)m->config.layers; l++)
        block_cache_drop(r, &m->caches[l]);
}

/* logits (B,V) of the last of each sequence's T rows in x (B,T,C) */
static void last_logits(runtime *r, model *m, tensor x, tensor logits)
{
    if (r->dev->failure) return; /* x has no memory then */
    int64_t b = x.dim[0], t = x.dim[1], c = x.dim[2];
    tensor last =
        tensor_of((char *)x.data + (size_t)((t - 1) * c) * dtype_size(x.type), x.type, SHAPE(b, c));
    last.ld = t * c;
    tensor w = param_use(r, m->head.weight), bias = use_if_any(r, m->head.bias);
    OP(linear, r->dev, r->stream, .out = logits, .x = last, .w = w, .bias = bias);
    if (m->config.logit_cap > 0)
        OP(soft_cap, r->dev, r->stream, .x = logits, .cap = m->config.logit_cap);
    param_done(r, m->head.weight);
    done_if_any(r, m->head.bias);
}

static void gpt_decode(runtime *r, model *m, const decode_step *s)
{
    int64_t b = s->tokens.dim[0], t = s->tokens.dim[1];
    tensor x = embed(r, m, s->tokens, s->position, s->room, false);
    for (int l = 0; l < (int)m->config.layers; l++) {
        block_decode(r, &m->config, l, &m->blocks[l], x, &m->caches[l], s->position, s->room,
                     &m->states[l]);
        x = m->states[l].out;
    }
    tensor norm = take_part(r, b, t, s->room, m->config.width, NAME("final norm", 0));
    apply_norm(r, &m->config, m->final, norm, x, (tensor){0}, (tensor){0});
    arena_drop(r->arena, &x);
    if (s->loss) classify_rows(r, m, norm, norm, s->targets, b * s->room, s->loss, false);
    if (present(s->logits)) last_logits(r, m, norm, s->logits);
    arena_drop(r->arena, &norm);
}

const model_kind gpt_kind = {
    .program = "train_gpt",
    .default_model = "gpt-mini",
    .presets = &text_presets,
    .create = gpt_create,
    .destroy = gpt_destroy,
    .place_batch = gpt_place_batch,
    .targets = gpt_targets,
    .train = gpt_train,
    .evaluate = gpt_evaluate,
    .open_caches = gpt_open_caches,
    .decode = gpt_decode,
    .close_caches = gpt_close_caches,
};
