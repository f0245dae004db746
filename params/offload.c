/* offload.c - see offload.h */
#include "params/offload.h"

_Static_assert(KIND_COUNT <= (int)FAR_KINDS, "the file counts bytes of each kind of block");

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

void offload_wait(runtime *r, int64_t request)
{
    error *e = far_wait(r->params->far, request);
    if (e) device_fail(r->dev, e);
}

/* ---- a pass ---- */

/* Asks for a value, in memory taken for it. */
static void ask_for(runtime *r, int id)
{
    param *row = &r->params->row[id];
    row->value = arena_take(r->arena, KIND_PARAMETER, r->params->type, row->spec.shape,
                            NAME(row->spec.name, row->spec.layer));
    if (present(row->value)) /* else the device has failed */
        row->coming = far_read(r->params->far, row->far_value, 0, row->count, row->value.data);
}

void offload_bring(runtime *r, int id)
{
    params *p = r->params;
    if (!present(p->row[id].value)) ask_for(r, id);
    offload_wait(r, p->row[id].coming);
    if (!order_step(r, id)) return;
    use_order *o = p->order;
    if (o->at == o->n) return;
    o->asked = o->at + 1;
    if (!present(p->row[o->id[o->at]].value)) ask_for(r, o->id[o->at]);
}

void offload_filled(runtime *r, int id)
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
