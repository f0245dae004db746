/* averages.c - see averages.h */
#include "optim/averages.h"
#include "optim/registry.h"

#include <math.h>
#include <stdlib.h>

double average_decay(double decay, bool warmup, int64_t step)
{
    if (step <= 1) return 0;
    double rising = 1 - pow((double)step, -2.0 / 3);
    return warmup && rising < decay ? rising : decay;
}

error *averages_create(const params *p, averages **out)
{
    averages *a;
    TRY(alloc_array(&a, 1, sizeof *a));
    error *e = alloc_array(&a->of, (size_t)p->n, sizeof *a->of);
    if (!e) e = alloc_array(&a->items, (size_t)p->n, sizeof *a->items);
    if (e)
        averages_destroy(a);
    else
        *out = a;
    return e;
}

void averages_destroy(averages *a)
{
    if (!a) return;
    free(a->of);
    free(a->items);
    free(a);
}

bool param_averaged(const params *p, int id)
{
    return p->row[id].trainable || p->row[id].spec.state;
}

/* The weight, or the part of it that is updated here; absent: it has no average. */
static tensor weight_of(const params *p, int id)
{
    const param *row = &p->row[id];
    if (!param_averaged(p, id)) return (tensor){0};
    if (row->spec.state) return row->value;
    return row->own ? param_own_value(p, id) : (tensor){0};
}

void averages_place(averages *a, runtime *r)
{
    const params *p = r->params;
    for (int id = 0; id < p->n; id++) {
        const param_spec *spec = &p->row[id].spec;
        block_name name = NAME(spec->name, spec->layer);
        tensor weight = weight_of(p, id);
        a->of[id] = (average){0};
        if (!present(weight)) continue;
        shape s = spec->state ? spec->shape : param_own_shape(p, id);
        a->of[id].value = arena_keep(r->arena, KIND_AVERAGE, weight.type, s, name);
        if (weight.type == BF16) a->of[id].low = arena_keep(r->arena, KIND_AVERAGE, I16, s, name);
    }
}

void averages_begin(averages *a, runtime *r)
{
    for (int id = 0; id < r->params->n; id++) {
        const average *of = &a->of[id];
        if (present(of->value))
            OP(copy, r->dev, r->stream, .dst = of->value, .src = weight_of(r->params, id));
        if (present(of->low)) op_clear(r->dev, r->stream, of->low);
    }
}

void averages_update(averages *a, runtime *r, tensor numbers)
{
    int64_t n = 0;
    for (int id = 0; id < r->params->n; id++)
        if (present(a->of[id].value))
            a->items[n++] = (optim_item){.p = a->of[id].value,
                                         .g = weight_of(r->params, id),
                                         .master = a->of[id].low,
                                         .id = (uint32_t)id};
    optim_op op = {
        .rule = rule_at(RULE_average), .fused = true, .hyper = numbers, .items = a->items, .n = n};
    if (n) op_optim(r->dev, r->stream, &op);
}

void averages_exchange(averages *a, runtime *r)
{
    params *p = r->params;
    for (int id = 0; id < p->n; id++) {
        tensor value = a->of[id].value, weight = weight_of(p, id);
        if (!present(value)) continue;
        tensor kept = arena_take(r->arena, KIND_WORKSPACE, value.type, SHAPE(tensor_count(value)),
                                 NAME(p->row[id].spec.name, p->row[id].spec.layer));
        OP(copy, r->dev, r->stream, .dst = kept, .src = weight);
        OP(copy, r->dev, r->stream, .dst = weight, .src = value);
        OP(copy, r->dev, r->stream, .dst = value, .src = kept);
        arena_drop(r->arena, &kept);
    }
    if (p->backing && p->backing->spread) p->backing->spread(p->backing->own, r);
}
