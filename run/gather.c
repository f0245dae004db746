/* gather.c - see gather.h */
#include "run/gather.h"
#include "params/offload.h"

enum { UNIT = 16 }; /* where pieces of a state that every rank has may end, in elements */

bool gather_has_masters(const params *p)
{
    return p->type == BF16 && p->master != MASTER_NONE;
}

/* Tensors in the file per parameter: each state, its scales after it; a master; the average comes
 * last. */
static int states(const run_tensors *t, int id)
{
    const params *p = t->r->params;
    const averages *a = t->optimizer->averages;
    int n = a && param_averaged(p, id) ? 1 + present(a->of[id].low) : 0;
    if (!p->row[id].trainable) return n;
    n += gather_has_masters(p);
    for (int k = 0; k < optimizer_rule_of(t->optimizer, id)->n_states; k++)
        n += 1 + present(t->optimizer->scale[id][k]);
    return n;
}

/* One of them: where it is, far or near. */
static far_block place_of_state(const run_tensors *t, int id, int which, tensor *near)
{
    const optimizer *o = t->optimizer;
    const param *row = &t->r->params->row[id];
    int n = row->trainable ? optimizer_rule_of(o, id)->n_states : 0;
    for (int k = 0; k < n; k++) {
        bool scaled = present(o->scale[id][k]);
        *near = o->state[id][k];
        if (!which) return o->far ? o->far[id].lane[2 + k] : (far_block){0};
        *near = o->scale[id][k];
        if (scaled && which == 1) return (far_block){0};
        which -= 1 + scaled;
    }
    *near = row->master;
    if (!which && gather_has_masters(t->r->params) && row->trainable) return row->far_master;
    which -= gather_has_masters(t->r->params) && row->trainable;
    *near = which ? o->averages->of[id].low : o->averages->of[id].value;
    return (far_block){0};
}

/* Tensors to visit: states are grouped by parameter, as in the file. */
static int64_t count(const run_tensors *t, gather_what what)
{
    const params *p = t->r->params;
    int64_t n = 0;
    bool expands = p->values_far || (p->backing && p->backing->expand);
    for (int id = 0; id < p->n && what == GATHER_PARAMETERS && expands; id++)
        n += param_saved(p, id);
    if (what == GATHER_PARAMETERS) return n;
    if (!p->states_far && (what == FILL_STATES || !params_divided(p) || t->in_parts)) return 0;
    for (int id = 0; id < p->n; id++)
        n += states(t, id);
    return n;
}

/* The parameter and the number of the i-th state; in order. */
static int state_at(gather *g, int64_t i, int *k)
{
    for (; i - g->first >= states(&g->of, g->id); g->id++)
        g->first += states(&g->of, g->id);
    *k = (int)(i - g->first);
    return g->id;
}

gather gather_begin(const run_tensors *t, gather_what what)
{
    return (gather){.of = *t, .what = what, .n = count(t, what)};
}

/* Of a state of so many elements: what is which rank's in a checkpoint in parts.  *cut: a rank has
 * nothing else of it. */
static share share_of_state(const run_tensors *t, int id, int64_t count, bool *cut)
{
    const params *p = t->r->params;
    *cut = params_divided(p) && !p->row[id].spec.state;
    if (*cut) return *zero_share(t->zero, id);
    return share_evenly(count, comm_size(t->r->comm), UNIT);
}

tensor gather_piece(gather *g, int64_t i, tensor whole, int rank, int64_t *first)
{
    const run_tensors *t = &g->of;
    tensor here = whole;
    int id = 0, which;
    bool cut;
    if (params_divided(t->r->params)) {
        id = state_at(g, i, &which);
        place_of_state(t, id, which, &here);
    }
    share s = share_of_state(t, id, tensor_count(whole), &cut);
    *first = share_begin(&s, rank);
    int64_t n = share_begin(&s, rank + 1) - *first;
    char *data = here.data;
    if (data && !cut) data += (size_t)*first * dtype_size(whole.type);
    return tensor_of(data, whole.type, SHAPE(n));
}

/* Room for a state that is far, or that other ranks have parts of. */
static tensor take_room(gather *g, int id, dtype type, shape s)
{
    const param *row = &g->of.r->params->row[id];
    g->taken = true;
    return arena_take(g->of.r->arena, KIND_STATE, type, s, NAME(row->spec.name, row->spec.layer));
}

/* What is far of a state to where it belongs. */
static void bring_far(runtime *r, far_block away, int64_t first, int64_t n, void *to)
{
    offload_wait(r, far_read(r->params->far, away, first, n, to));
}

/* This rank's piece, which no other one waits for. */
static tensor open_piece(gather *g, int id, far_block away, tensor near)
{
    bool cut;
    runtime *r = g->of.r;
    int rank = comm_rank(r->comm);
    share s = share_of_state(&g->of, id, is_far(away) ? away.count : tensor_count(near), &cut);
    int64_t first = share_begin(&s, rank), n = share_begin(&s, rank + 1) - first;
    if (n <= 0) return (tensor){0};
    if (!is_far(away)) return tensor_part(near, cut ? 0 : first, n);
    tensor room = take_room(g, id, away.type, SHAPE(n));
    if (present(room)) bring_far(r, away, cut ? 0 : first, n, room.data);
    return room;
}

static tensor gather_state(gather *g, int64_t i)
{
    const run_tensors *t = &g->of;
    runtime *r = t->r;
    int which, id = state_at(g, i, &which);
    const param *row = &r->params->row[id];
    tensor part, full;
    far_block away = place_of_state(t, id, which, &part);
    g->taken = false;
    g->away = away;
    if (t->in_parts && g->what == GATHER_STATES) return open_piece(g, id, away, part);
    if (!params_divided(r->params) || g->what == FILL_STATES) {
        if (!is_far(away)) return part;
        full = take_room(g, id, away.type, param_own_shape(r->params, id));
        if (present(full) && g->what == GATHER_STATES) bring_far(r, away, 0, away.count, full.data);
        return full;
    }
    full = take_room(g, id, F32, row->spec.shape);
    char *own = (char *)full.data + (size_t)row->own_first * dtype_size(F32);
    if (present(full) && is_far(away))
        bring_far(r, away, 0, away.count, own);
    else if (present(full) && present(part))
        OP(copy, r->dev, r->stream, .src = part, .dst = tensor_of(own, F32, SHAPE(row->own)));
    comm_gather(r->comm, r->dev, r->stream, full, zero_share(t->zero, id));
    return full;
}

/* The state that was opened is done with. */
static void close_state(gather *g)
{
    runtime *r = g->of.r;
    if (g->what == FILL_STATES && g->taken && present(g->full))
        offload_wait(r, far_write(r->params->far, g->away, 0, g->away.count, g->full.data));
    if (g->taken) arena_drop(r->arena, &g->full);
}

/* The i-th parameter that is saved. */
static int parameter_at(const params *p, int64_t i)
{
    int id = 0;
    while (!param_saved(p, id) || i-- > 0)
        id++;
    return id;
}

static tensor open_next(void *context, int64_t i)
{
    gather *g = context;
    static const char *const programs[] = {"gather parameters", "gather states", "fill states"};
    runtime *r = g->of.r;
    if (!g->begun) arena_begin(r->arena, programs[g->what]);
    g->begun = g->open = true;
    g->full = g->what == GATHER_PARAMETERS ? param_use(r, parameter_at(r->params, i))
                                           : gather_state(g, i);
    return g->full;
}

static void close_open(void *context)
{
    gather *g = context;
    if (g->what != GATHER_PARAMETERS)
        close_state(g);
    else
        param_done(g->of.r, parameter_at(g->of.r->params, g->next));
    g->open = false;
    g->next++;
    if (g->next == g->n) arena_end(g->of.r->arena);
}

const tensor_source *gather_source(gather *g, tensor_source *room)
{
    *room = (tensor_source){.open = open_next, .close = close_open, .context = g};
    return g->n ? room : NULL;
}

static tensor open_at(void *context, int64_t i)
{
    gather *g = context;
    while (g->next < i) {
        open_next(g, g->next);
        close_open(g);
    }
    return open_next(g, i);
}

const tensor_source *gather_source_at(gather *g, tensor_source *room)
{
    *room = (tensor_source){.open = open_at, .close = close_open, .context = g};
    return g->n ? room : NULL;
}

void gather_finish(gather *g)
{
    while (g->next < g->n) {
        if (!g->open) open_next(g, g->next);
        close_open(g);
    }
}

/* ---- parameters to be filled ---- */

static tensor open_parameter(void *context, int64_t i)
{
    parameter_fill *f = context;
    f->id = (int)i;
    return param_fill_begin(f->r, f->id);
}

/* A master that is far is there with its value alone. */
static void close_parameter(void *context)
{
    parameter_fill *f = context;
    runtime *r = f->r;
    if (is_far(r->params->row[f->id].far_master) && !arena_recording(r->arena)) {
        error *e = param_adopt(r->params, r->dev, f->id);
        if (e) device_fail(r->dev, e);
    }
    param_fill_end(r, f->id);
}

tensor_source parameter_fill_begin(parameter_fill *f, runtime *r)
{
    *f = (parameter_fill){r, 0};
    arena_begin(r->arena, "load");
    return (tensor_source){open_parameter, close_parameter, f};
}

void parameter_fill_end(parameter_fill *f)
{
    arena_end(f->r->arena);
}
