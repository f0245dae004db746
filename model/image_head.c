/* image_head.c - see image_head.h */
#include "model/image_head.h"

tensor as_positions(tensor map)
{
    if (!present(map)) return map;
    return tensor_of(map.data, map.type, SHAPE(map.dim[0], map.dim[1] * map.dim[2], map.dim[3]));
}

tensor take_patches(runtime *r, const model_config *c, tensor images)
{
    tensor cut = arena_take(r->arena, KIND_ACTIVATION, r->params->type,
                            SHAPE(images.dim[0], patch_count(c), c->channels * c->patch * c->patch),
                            NAME("patches", 0));
    OP(patches, r->dev, r->stream, .out = cut, .images = images, .height = c->patch,
       .width = c->patch);
    return cut;
}

/* The pooled images through norm and head: what the classifier keeps between its two passes. */
typedef struct {
    tensor pooled, mean, rstd; /* (B,C), (B) */
    tensor d;                  /* (B,C): the norm's output, then gradients */
    tensor logits;             /* (B,classes) */
    int64_t positions;
} top;

static tensor take_head(runtime *r, dtype type, shape s, const char *name)
{
    return arena_take(r->arena, KIND_ACTIVATION, type, s, NAME(name, 0));
}

static bool has_norm(const image_head *h)
{
    return h->norm.weight >= 0;
}

/* Pooled and normed, into t.d. */
static top pool(runtime *r, const image_head *h, const model_config *c, tensor x)
{
    dtype type = r->params->type;
    int64_t b = x.dim[0], width = x.dim[2];
    top t = {.d = take_head(r, type, SHAPE(b, width), "final norm"), .positions = x.dim[1]};
    tensor pooled = t.d;
    if (has_norm(h)) {
        pooled = t.pooled = take_head(r, type, SHAPE(b, width), "pooled");
        t.mean = take_head(r, stat_type(type), SHAPE(b), "final mean");
        t.rstd = take_head(r, stat_type(type), SHAPE(b), "final rstd");
    }
    OP(pool, r->dev, r->stream, .out = pooled, .x = x, .first = !c->mean_pool);
    if (has_norm(h)) apply_norm(r, c, h->norm, t.d, t.pooled, t.mean, t.rstd);
    return t;
}

/* logits ?: where they go. */
static top forward(runtime *r, const image_head *h, const model_config *c, tensor x, tensor logits)
{
    dtype type = r->params->type;
    int64_t b = x.dim[0], ld;
    top t = pool(r, h, c, x);
    t.logits = logits;
    if (!present(logits)) {
        classifier_rows(c, DEFAULT_LOGITS_MIB, b > 0 ? b : 1, type,
                        &ld); /* 0: the arena has failed */
        t.logits = take_head(r, type, SHAPE(b, ld), "logits");
        t.logits.dim[1] = c->vocab; /* the rest is padding */
    }
    tensor none = {0};
    apply_linear(r, h->head, t.logits, t.d, none, ACT_NONE, none);
    return t;
}

static void classify(runtime *r, top *t, tensor targets, const loss_sink *sink, bool backward)
{
    dtype stat = stat_type(t->logits.type);
    tensor losses = take_head(r, stat, SHAPE(t->logits.dim[0]), "losses"), hits = {0};
    if (present(sink->hits)) hits = take_head(r, stat, SHAPE(t->logits.dim[0]), "hits");
    OP(classify_soft, r->dev, r->stream, .logits = t->logits, .targets = targets, .losses = losses,
       .hits = hits, .backward = backward, .scale = sink->scale);
    OP(sum, r->dev, r->stream, .sum = sink->sum, .accumulate = sink->accumulate, .x = losses,
       .hyper = sink->hyper, .scale = sink->scale);
    if (present(sink->hits))
        OP(sum, r->dev, r->stream, .sum = sink->hits, .accumulate = sink->accumulate, .x = hits,
           .scale = 1);
    if (backward) loss_agree(r, sink);
    arena_drop(r->arena, &hits);
    arena_drop(r->arena, &losses);
}

static void drop(runtime *r, top *t)
{
    tensor *all[] = {&t->logits, &t->d, &t->pooled, &t->mean, &t->rstd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        arena_drop(r->arena, all[i]);
}

/* logits hold their gradient; returns that of the last block's output (B,T,C), absent if no
 * gradient is wanted below the norm. */
static tensor backward(runtime *r, const image_head *h, const model_config *c, top *t)
{
    bool normed = has_norm(h),
         below = normed ? grads_through(r, h->norm) : grads_below(r, h->head.weight);
    tensor d = {0};
    grad dw = grad_begin(r, h->head.weight), db = grad_begin(r, h->head.bias);
    tensor w = param_use(r, h->head.weight);
    if (present(dw.t) || present(db.t))
        OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = t->d, .dout = t->logits);
    if (below) OP(linear_dx, r->dev, r->stream, .dx = t->d, .dout = t->logits, .w = w);
    grad_done(r, h->head.weight);
    grad_done(r, h->head.bias);
    param_done(r, h->head.weight);
    if (below && normed)
        apply_norm_grad(r, c, h->norm, t->d, false, t->d, t->pooled, t->mean, t->rstd);
    if (!grads_below(r, normed ? h->norm.weight : h->head.weight)) return d;
    d = take_head(r, r->params->type, SHAPE(t->d.dim[0], t->positions, t->d.dim[1]),
                  "residual gradient");
    OP(pool_grad, r->dev, r->stream, .dx = d, .dout = t->d, .first = !c->mean_pool);
    return d;
}

tensor image_head_train(runtime *r, const image_head *h, const model_config *c, tensor last,
                        tensor targets, const loss_sink *loss)
{
    top t = forward(r, h, c, last, (tensor){0});
    arena_drop(r->arena, &last);
    classify(r, &t, targets, loss, true);
    tensor d = backward(r, h, c, &t);
    drop(r, &t);
    return d;
}

void image_head_evaluate(runtime *r, const image_head *h, const model_config *c, tensor last,
                         tensor targets, const loss_sink *loss)
{
    top t = forward(r, h, c, last, (tensor){0});
    arena_drop(r->arena, &last);
    classify(r, &t, targets, loss, false);
    drop(r, &t);
}

void image_head_predict(runtime *r, const image_head *h, const model_config *c, tensor last,
                        tensor logits)
{
    top t = forward(r, h, c, last, logits);
    arena_drop(r->arena, &last);
    t.logits = (tensor){0}; /* not ours */
    drop(r, &t);
}
