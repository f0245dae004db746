/* offload.c - see offload.h */
#include "params/offload.h"

#include <stdlib.h>

_Static_assert(KIND_COUNT <= (int)FAR_KINDS, "the file counts bytes of each kind of block");

void use_order_free(use_order *o)
{
    free(o->id);
    *o = (use_order){0};
}

bool offload_takes(const params *p, int id)
{
    const param *row = &p->row[id];
    return p->states_far && row->spec.shape.rank != 1 && row->own >= FAR_LEAST;
}

bool offload_takes_value(const params *p, int id)
{
    const param *row = &p->row[id];
    return p->values_far && offload_takes(p, id) && !row->coded && row->spec.adapter_scale == 0;
}

bool offload_place_master(params *p, int id, dtype type)
{
    param *row = &p->row[id];
    if (!offload_takes(p, id) || row->spec.adapter_scale != 0) return false;
    row->far_master = far_keep(p->far, KIND_MASTER, type, row->own);
    return true;
}

void offload_wait(run *r, int64_t request)
{
    error *e = far_wait(r->params->far, request);
    if (e) device_fail(r->dev, e);
}

/* ---- a pass ---- */

void offload_begin_pass(run *r, use_order *o)
{
    params *p = r->params;
    p->order = p->values_far ? o : NULL;
    o->at = 0;
    if (!o->noted) o->n = 0;
}

void offload_end_pass(run *r)
{
    r->params->order = NULL;
}

/* Asks for a value, in memory taken for it. */
static void ask_for(run *r, int id)
{
    param *row = &r->params->row[id];
    row->value = arena_take(r->arena, KIND_PARAMETER, r->params->type, row->spec.shape,
                            NAME(row->spec.name, row->spec.layer));
    if (present(row->value)) /* else the device has failed */
        row->coming = far_read(r->params->far, row->far_value, 0, row->count, row->value.data);
}

/* Appends to the order that is noted. */
static void note_use(run *r, use_order *o, int id)
{
    if (o->n == o->room) {
        int room = o->room ? 2 * o->room : 64;
        int *more = realloc(o->id, (size_t)room * sizeof *more);
        if (!more) {
            device_fail(r->dev, user_error("out of memory while planning: close other programs"));
            return;
        }
        o->id = more;
        o->room = room;
    }
    o->id[o->n++] = id;
}

void offload_bring(run *r, int id)
{
    params *p = r->params;
    use_order *o = p->order;
    if (!present(p->row[id].value)) ask_for(r, id);
    offload_wait(r, p->row[id].coming);
    if (o && !o->noted) note_use(r, o, id);
    if (!o || !o->noted || r->dev->failure) return;
    if (!offload_needs_next(p, id)) {
        char name[80];
        device_fail(r->dev, internal_error("%s is used out of the order that was noted",
                                           param_text(&p->row[id], name, sizeof name)));
        return;
    }
    if (++o->at < o->n && !present(p->row[o->id[o->at]].value)) ask_for(r, o->id[o->at]);
}

bool offload_needs_next(const params *p, int id)
{
    const use_order *o = p->order;
    return o && o->noted && o->at < o->n && o->id[o->at] == id;
}

void offload_filled(run *r, int id)
{
    param *row = &r->params->row[id];
    far *f = r->params->far;
    bool value = is_far(row->far_value) && present(row->value),
         master = is_far(row->far_master) && present(row->master);
    int64_t request = 0;
    if (value) request = far_write(f, row->far_value, 0, row->count, row->value.data);
    if (master) request = far_write(f, row->far_master, 0, row->own, row->master.data);
    if (value || master) offload_wait(r, request);
    if (value) arena_drop(r->arena, &row->value);
    if (master) arena_drop(r->arena, &row->master);
}
