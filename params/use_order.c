/* use_order.c - see use_order.h */
#include "params/use_order.h"

#include <stdlib.h>

void use_order_free(use_order *o)
{
    free(o->id);
    *o = (use_order){0};
}

bool params_ordered(const params *p)
{
    return p->values_far || (p->ahead && p->backing && p->backing->fetch);
}

void pass_begin(runtime *r, use_order *o)
{
    params *p = r->params;
    p->order = params_ordered(p) ? o : NULL;
    o->at = o->asked = 0;
    if (!o->noted) o->n = 0;
}

void pass_end(runtime *r)
{
    r->params->order = NULL;
}

/* Appends to the order that is noted. */
static void note_use(runtime *r, use_order *o, int id)
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

bool order_step(runtime *r, int id)
{
    use_order *o = r->params->order;
    if (o && !o->noted) note_use(r, o, id);
    if (!o || !o->noted || r->dev->failure) return false;
    if (o->at >= o->n || o->id[o->at] != id) {
        char name[80];
        device_fail(r->dev, internal_error("%s is used out of the order that was noted",
                                           param_text(&r->params->row[id], name, sizeof name)));
        return false;
    }
    o->at++;
    if (o->asked < o->at) o->asked = o->at;
    return true;
}

bool order_keeps(const params *p, int id)
{
    const use_order *o = p->order;
    for (int k = o && o->noted ? o->at : 0; o && o->noted && k < o->asked; k++)
        if (o->id[k] == id) return true;
    return false;
}

int order_ahead(const params *p, int layers)
{
    const use_order *o = p->order;
    int k = o->at;
    for (int layer = p->row[o->id[k - 1]].spec.layer; k < o->n; k++) {
        int next = p->row[o->id[k]].spec.layer;
        if (next != layer && layers-- == 0) break;
        layer = next;
    }
    return k;
}
