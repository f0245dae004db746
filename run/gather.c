/* gather.c - see gather.h */
#include "run/gather.h"

bool gather_has_masters(const params *p)
{
    return p->type == BF16 && p->master != MASTER_NONE;
}

/* Per parameter; a master comes last. */
static int states(const run_tensors *t, int id)
{
    const params *p = t->r->params;
    if (!p->row[id].trainable) return 0;
    return optimizer_rule_of(t->optimizer, id)->n_states + gather_has_masters(p);
}

/* Tensors to visit: states are grouped by parameter, as in the file. */
static int64_t count(const run_tensors *t, gather_what what)
{
    const params *p = t->r->params;
    int64_t n = 0;
    if (!p->backing) return 0;
    for (int id = 0; id < p->n && what == GATHER_PARAMETERS && p->backing->expand; id++)
        n += param_saved(p, id);
    if (what == GATHER_PARAMETERS) return n;
    if (!params_divided(p)) return 0;
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

static tensor gather_state(gather *g, int64_t i)
{
    const run_tensors *t = &g->of;
    run *r = t->r;
    int k, id = state_at(g, i, &k);
    const param *row = &r->params->row[id];
    bool master = k == optimizer_rule_of(t->optimizer, id)->n_states;
    tensor part = master ? row->master : t->optimizer->state[id][k],
           full = arena_take(r->arena, KIND_STATE, F32, row->spec.shape,
                             NAME(row->spec.name, row->spec.layer));
    if (present(part) && present(full)) {
        char *own = (char *)full.data + (size_t)row->own_first * dtype_size(F32);
        OP(copy, r->dev, r->stream, .src = part, .dst = tensor_of(own, F32, SHAPE(row->own)));
    }
    comm_gather(r->comm, r->dev, r->stream, full, zero_share(t->zero, id));
    return full;
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
    bool states_only = g->what == GATHER_STATES;
    if (!g->begun) arena_begin(g->of.r->arena, states_only ? "gather states" : "gather parameters");
    g->begun = g->open = true;
    g->full =
        states_only ? gather_state(g, i) : param_use(g->of.r, parameter_at(g->of.r->params, i));
    return g->full;
}

static void close_open(void *context)
{
    gather *g = context;
    if (g->what == GATHER_STATES)
        arena_drop(g->of.r->arena, &g->full);
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

void gather_finish(gather *g)
{
    while (g->next < g->n) {
        if (!g->open) open_next(g, g->next);
        close_open(g);
    }
}
