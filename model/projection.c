/* projection.c - see projection.h */
#include "model/projection.h"

/* ---- memory ---- */

tensor as_matrix(tensor w)
{
    if (!present(w)) return w;
    return tensor_of(w.data, w.type, SHAPE(w.dim[0], tensor_count(w) / w.dim[0]));
}

tensor take_part(runtime *r, int64_t b, int64_t t, int64_t room, int64_t cols, block_name name)
{
    tensor full =
        arena_take(r->arena, KIND_ACTIVATION, r->params->type, SHAPE(b, room, cols), name);
    return present(full) ? tensor_of(full.data, full.type, SHAPE(b, t, cols)) : full;
}

/* ---- dropout ---- */

void leave_out(runtime *r, double rate, uint64_t site, tensor out, tensor x, tensor residual)
{
    OP(dropout, r->dev, r->stream, .out = out, .x = x, .residual = residual,
       .start = r->dropout.start, .rate = rate, .seed = r->dropout.seed, .site = site);
}

/* The input of adapter a, from x (b,t,cols), in memory for room >= t: x itself without dropout. */
static tensor adapter_input(runtime *r, int a, tensor x, int64_t room)
{
    tensor none = {0};
    if (!adapters_leave_out(r) || !present(x)) return x;
    int64_t b = x.rank == 3 ? x.dim[0] : 1, t = x.rank == 3 ? x.dim[1] : tensor_rows(x);
    tensor rest = take_part(r, b, t, room, tensor_cols(x), NAME("adapter's input", 0));
    leave_out(r, r->dropout.adapter_rate, (uint64_t)(SITE_ADAPTERS + a), rest, x, none);
    return rest;
}

static void adapter_input_done(runtime *r, tensor *x)
{
    if (adapters_leave_out(r)) arena_drop(r->arena, x);
}

/* ---- optional parameters ---- */

tensor use_if_any(runtime *r, int id)
{
    return id < 0 ? (tensor){0} : param_use(r, id);
}

void done_if_any(runtime *r, int id)
{
    if (id >= 0) param_done(r, id);
}

grad begin_if_any(runtime *r, int id)
{
    return id < 0 ? (grad){0} : grad_begin(r, id);
}

void finish_if_any(runtime *r, int id)
{
    if (id >= 0) grad_done(r, id);
}

/* ---- which exist ---- */

bool linear_adapted(weight_ids ids)
{
    bool any = false;
    for (int k = 0; k < LORA_PARTS; k++)
        any = any || ids.adapter[k];
    return any;
}

bool linear_wants_input(const runtime *r, weight_ids ids)
{
    bool any = grad_wanted(r, ids.weight);
    for (int k = 0; k < LORA_PARTS; k++)
        if (ids.adapter[k])
            any = any || grad_wanted(r, ids.adapter[k]) || grad_wanted(r, ids.adapter[k] + 1);
    return any;
}

bool grads_through(const runtime *r, weight_ids ids)
{
    int last = ids.bias < 0 ? ids.weight : ids.bias;
    for (int k = 0; k < LORA_PARTS; k++)
        if (ids.adapter[k]) last = ids.adapter[k] + 1;
    return grads_below(r, last + 1);
}

/* ---- adapters ---- */

/* The columns of t (rows of W) of part k. */
static tensor part_columns(const runtime *r, weight_ids ids, int k, tensor t)
{
    const param_spec *w = &r->params->row[ids.weight].spec;
    int64_t n = r->params->row[ids.adapter[k] + 1].spec.shape.dim[1], first = 0;
    for (int i = 0; i < k; i++)
        first += w->part_rows[i];
    if (!present(t)) return t;
    t.dim[t.rank - 1] = n;
    t.data = (char *)t.data + (size_t)first * dtype_size(t.type);
    return t;
}

/* t of (b,t,cols); rows without sample structure count as one sample */
static int64_t positions_of(tensor x)
{
    return x.rank == 3 ? x.dim[1] : tensor_rows(x);
}

/* (b,t,rank) for x (b,t,cols), as take_part. */
static tensor take_low(runtime *r, tensor x, int64_t room, int64_t rank, const char *name)
{
    if (!present(x)) return x;
    return take_part(r, x.rank == 3 ? x.dim[0] : 1, positions_of(x), room, rank, NAME(name, 0));
}

/* t (b,t,rank) *= scale.  Uses the operation for a factor per sample; in f32 if the working type is
 * bf16. */
static void scale_low(runtime *r, tensor t, double scale)
{
    if (scale == 1 || !present(t)) return;
    tensor all = arena_take(r->arena, KIND_WORKSPACE, stat_type(t.type), SHAPE(t.dim[0]),
                            NAME("adapter's scale", 0));
    OP(fill, r->dev, r->stream, .x = all, .value = scale);
    OP(scale_samples, r->dev, r->stream, .out = t, .x = t, .scale = all);
    arena_drop(r->arena, &all);
}

/* h = s x A' */
static tensor make_low(runtime *r, int a, tensor x, int64_t room)
{
    const param_spec *spec = &r->params->row[a].spec;
    tensor h = take_low(r, x, room, spec->shape.dim[0], "adapter's x A'"), w = param_use(r, a);
    tensor read = adapter_input(r, a, x, room);
    OP(linear, r->dev, r->stream, .out = h, .x = read, .w = w);
    adapter_input_done(r, &read);
    param_done(r, a);
    scale_low(r, h, spec->adapter_scale);
    return h;
}

static void add_adapter(runtime *r, weight_ids ids, int k, tensor out, tensor x, int64_t room)
{
    int a = ids.adapter[k], b = a + 1;
    tensor h = make_low(r, a, x, room), w = param_use(r, b);
    OP(linear_dx, r->dev, r->stream, .dx = part_columns(r, ids, k, out), .accumulate = true,
       .dout = h, .w = w);
    param_done(r, b);
    arena_drop(r->arena, &h);
}

/* dB, which the table stores transposed (r,out): h' dout */
static void grad_of_b(runtime *r, int a, tensor x, tensor dout)
{
    int b = a + 1;
    if (!grad_wanted(r, b)) return;
    tensor h = make_low(r, a, x, positions_of(x));
    grad db = grad_begin(r, b);
    OP(linear_dw, r->dev, r->stream, .dw = db, .x = dout, .dout = h);
    arena_drop(r->arena, &h);
    grad_done(r, b);
}

/* The gradients of both; leaves g = s dout B, if it is needed: A stays in use then. */
static tensor adapter_begin_grad(runtime *r, weight_ids ids, int k, tensor x, tensor dout,
                                 bool below)
{
    int a = ids.adapter[k], b = a + 1;
    tensor columns = part_columns(r, ids, k, dout), g = {0}, bt = param_use(r, b);
    if (grad_wanted(r, a) || below) {
        const param_spec *spec = &r->params->row[a].spec;
        g = take_low(r, dout, positions_of(dout), spec->shape.dim[0],
                     "gradient of an adapter's x A'");
        OP(linear, r->dev, r->stream, .out = g, .x = columns, .w = bt);
        scale_low(r, g, spec->adapter_scale);
    }
    grad_of_b(r, a, x, columns);
    param_done(r, b);
    param_use(r, a); /* until linear_end_grad */
    if (grad_wanted(r, a)) {
        grad da = grad_begin(r, a);
        tensor read = adapter_input(r, a, x, positions_of(x));
        OP(linear_dw, r->dev, r->stream, .dw = da, .x = read, .dout = g);
        adapter_input_done(r, &read);
        grad_done(r, a);
    }
    if (!below) arena_drop(r->arena, &g);
    return g;
}

/* ---- layers ---- */

static bool is_narrow(const runtime *r, weight_ids ids)
{
    return ids.weight >= 0 && param_narrow(r->params, ids.weight);
}

bool linear_keeps_narrow(const runtime *r, weight_ids ids)
{
    return r->narrow && is_narrow(r, ids) && grad_wanted(r, ids.weight) && !linear_adapted(ids);
}

/* What becomes of o->x (R,C) in 8 bits: both forms of it and the scale, in memory of that kind;
 * without codes only the transpose. */
static void make_narrow(runtime *r, narrow_op *o, int kind, bool codes)
{
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x);
    o->scale = arena_take(r->arena, kind, F32, SHAPE(NARROW_SCALE), NAME("scale of 8 bits", 0));
    o->turned = arena_take(r->arena, kind, U8, SHAPE(cols, narrow_side(rows)),
                           NAME("transposed codes of 8 bits", 0));
    if (codes)
        o->codes =
            arena_take(r->arena, KIND_WORKSPACE, U8, SHAPE(rows, cols), NAME("codes of 8 bits", 0));
    if (present(o->sums.t))
        o->parts = arena_take(r->arena, KIND_WORKSPACE, F32, SHAPE(narrow_tiles(rows), cols),
                              NAME("column sums of tiles", 0));
    o->scratch = arena_take(r->arena, KIND_WORKSPACE, I32, SHAPE(NARROW_GROUPS),
                            NAME("scratch for 8 bits", 0));
    op_narrow(r->dev, r->stream, o);
    arena_drop(r->arena, &o->scratch);
    arena_drop(r->arena, &o->parts);
}

void narrow_input_drop(runtime *r, narrow_input *n)
{
    arena_drop(r->arena, &n->turned);
    arena_drop(r->arena, &n->scale);
}

/* The layer without adapters; codes: of x, or absent. */
static void apply_weight(runtime *r, weight_ids ids, tensor out, tensor x, tensor codes,
                         tensor scale, tensor residual, activation act, tensor pre)
{
    tensor w = use_if_any(r, ids.weight), b = use_if_any(r, ids.bias);
    OP(linear, r->dev, r->stream, .out = out, .x = x, .w = as_matrix(w), .bias = b,
       .residual = residual, .act = act, .pre = pre, .narrow = is_narrow(r, ids), .codes = codes,
       .scale = scale);
    done_if_any(r, ids.weight);
    done_if_any(r, ids.bias);
}

void apply_linear_keeping(runtime *r, weight_ids ids, tensor out, tensor x, activation made,
                          narrow_input *keep, tensor residual, activation act, tensor pre)
{
    tensor none = {0};
    narrow_op in = {.x = x, .act = made, .format = E4M3};
    make_narrow(r, &in, KIND_ACTIVATION, true);
    *keep = (narrow_input){in.turned, in.scale};
    apply_weight(r, ids, out, none, in.codes, in.scale, residual, act, pre);
    arena_drop(r->arena, &in.codes);
}

void apply_linear_in(runtime *r, weight_ids ids, tensor out, tensor x, int64_t room,
                     tensor residual, activation act, tensor pre)
{
    tensor none = {0};
    apply_weight(r, ids, out, x, none, none, residual, act, pre);
    if (act != ACT_NONE && linear_adapted(ids))
        device_fail(r->dev, internal_error("the activation comes before the adapters"));
    for (int k = 0; k < LORA_PARTS; k++)
        if (ids.adapter[k]) add_adapter(r, ids, k, out, x, room);
}

void apply_linear(runtime *r, weight_ids ids, tensor out, tensor x, tensor residual, activation act,
                  tensor pre)
{
    apply_linear_in(r, ids, out, x, positions_of(x), residual, act, pre);
}

linear_grads linear_begin_grad(runtime *r, weight_ids ids, tensor x, const narrow_input *kept,
                               tensor dout, late_slope slope)
{
    linear_grads all = {0};
    tensor none = {0};
    narrow_op in = {.x = dout, .pre = slope.pre, .act = slope.act, .format = E5M2};
    bool below = grads_below(r, ids.weight), narrow = linear_keeps_narrow(r, ids);
    /* otherwise when it is read */
    if (grad_wanted(r, ids.weight)) all.w = param_use(r, ids.weight);
    grad dw = begin_if_any(r, ids.weight), db = begin_if_any(r, ids.bias);
    if (narrow) {
        in.sums = db, db = (grad){0};
        make_narrow(r, &in, KIND_WORKSPACE, below);
        all.codes = in.codes, all.scale = in.scale;
    }
    if (present(dw.t) || present(db.t))
        OP(linear_dw, r->dev, r->stream, .dw = dw, .db = db, .x = x, .dout = dout,
           .narrow = is_narrow(r, ids), .turned_x = kept ? kept->turned : none,
           .scale_x = kept ? kept->scale : none, .turned_dout = in.turned, .scale_dout = in.scale);
    arena_drop(r->arena, &in.turned);
    finish_if_any(r, ids.weight);
    finish_if_any(r, ids.bias);
    for (int k = 0; k < LORA_PARTS; k++)
        if (ids.adapter[k]) all.g[k] = adapter_begin_grad(r, ids, k, x, dout, below);
    return all;
}

/* dx (+)= g A, where the adapter's input had no dropout. */
static void add_adapter_dx(runtime *r, int a, tensor g, tensor w, tensor dx, bool accumulate)
{
    if (!adapters_leave_out(r)) {
        OP(linear_dx, r->dev, r->stream, .dx = dx, .accumulate = accumulate, .dout = g, .w = w);
        return;
    }
    tensor none = {0},
           part = take_part(r, dx.rank == 3 ? dx.dim[0] : 1, positions_of(dx), positions_of(dx),
                            tensor_cols(dx), NAME("gradient of an adapter's input", 0));
    OP(linear_dx, r->dev, r->stream, .dx = part, .dout = g, .w = w);
    leave_out(r, r->dropout.adapter_rate, (uint64_t)(SITE_ADAPTERS + a), dx, part,
              accumulate ? dx : none);
    arena_drop(r->arena, &part);
}

/* The adapters' parts first: the slope of act is that of the whole sum. */
void linear_input_grad(runtime *r, weight_ids ids, linear_grads *g, tensor dx, bool accumulate,
                       tensor dout, tensor pre, activation act)
{
    if (!present(g->w)) g->w = param_use(r, ids.weight);
    for (int k = 0; k < LORA_PARTS; k++) {
        if (!ids.adapter[k]) continue;
        tensor a = param_use(r, ids.adapter[k]);
        add_adapter_dx(r, ids.adapter[k], g->g[k], a, dx, accumulate);
        param_done(r, ids.adapter[k]);
        arena_drop(r->arena, &g->g[k]);
        accumulate = true;
    }
    OP(linear_dx, r->dev, r->stream, .dx = dx, .accumulate = accumulate, .dout = dout, .w = g->w,
       .pre = pre, .act = act, .narrow = is_narrow(r, ids), .codes = g->codes, .scale = g->scale);
    arena_drop(r->arena, &g->codes);
    arena_drop(r->arena, &g->scale);
}

void linear_end_grad(runtime *r, weight_ids ids, linear_grads *g)
{
    arena_drop(r->arena, &g->codes);
    arena_drop(r->arena, &g->scale);
    if (present(g->w)) param_done(r, ids.weight);
    for (int k = 0; k < LORA_PARTS; k++)
        if (ids.adapter[k]) {
            arena_drop(r->arena, &g->g[k]);
            param_done(r, ids.adapter[k]);
        }
}
