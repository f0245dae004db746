/* gather.c - see whole.h */
#include "run/gather.h"

bool whole_masters(const trainer *t)
{
    return t->params.type == BF16 && t->params.master != MASTER_NONE;
}

/* Of a parameter; a master comes last. */
static int states(const trainer *t, int id)
{
    if (!t->params.row[id].trainable) return 0;
    return optimizer_rule_of(t->optimizer, id)->n_states + whole_masters(t);
}

/* Tensor i of the walk: states go parameter by parameter, as in the file. */
static int64_t count(const trainer *t, whole_what what)
{
    int64_t n = 0;
    if (what == WHOLE_PARAMETERS) return t->params.storage->expand ? t->params.n : 0;
    if (!params_divided(&t->params)) return 0;
    for (int id = 0; id < t->params.n; id++)
        n += states(t, id);
    return n;
}

/* The parameter and the number of the i-th state. */
static int state_at(const trainer *t, int64_t i, int *k)
{
    int id = 0;
    for (; i >= states(t, id); id++)
        i -= states(t, id);
    *k = (int)i;
    return id;
}

whole_walk whole_begin(trainer *t, whole_what what)
{
    whole_walk w = {.t = t, .what = what};
    if (t->params.storage) w.n = count(t, what);
    return w;
}

static tensor gather_state(trainer *t, int64_t i)
{
    int k, id = state_at(t, i, &k);
    const param *row = &t->params.row[id];
    bool master = k == optimizer_rule_of(t->optimizer, id)->n_states;
    tensor part = master ? row->master : t->optimizer->state[id][k],
           whole = arena_take(t->arena, KIND_STATE, F32, row->spec.shape,
                              NAME(row->spec.name, row->spec.layer));
    if (present(part) && present(whole)) {
        char *own = (char *)whole.data + (size_t)row->own_first * dtype_size(F32);
        OP(copy, t->r.dev, t->r.stream, .src = part, .dst = tensor_of(own, F32, SHAPE(row->own)));
    }
    comm_gather(t->r.comm, t->r.dev, t->r.stream, whole, zero_share(t->zero, id));
    return whole;
}

static tensor open_next(void *context, int64_t i)
{
    whole_walk *w = context;
    if (!w->begun)
        arena_begin(w->t->arena, w->what == WHOLE_STATES ? "gather states" : "gather parameters");
    w->begun = w->open = true;
    w->whole = w->what == WHOLE_STATES ? gather_state(w->t, i) : param_use(&w->t->r, (int)i);
    return w->whole;
}

static void close_open(void *context)
{
    whole_walk *w = context;
    if (w->what == WHOLE_STATES)
        arena_drop(w->t->arena, &w->whole);
    else
        param_done(&w->t->r, (int)w->next);
    w->open = false;
    w->next++;
    if (w->next == w->n) arena_end(w->t->arena);
}

const tensor_source *whole_source(whole_walk *w, tensor_source *room)
{
    *room = (tensor_source){.open = open_next, .close = close_open, .context = w};
    return w->n ? room : NULL;
}

void whole_finish(whole_walk *w)
{
    while (w->next < w->n) {
        if (!w->open) open_next(w, w->next);
        close_open(w);
    }
}
