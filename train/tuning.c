/* tuning.c - see tuning.h */
#include "train/tuning.h"

#include <stdio.h>
#include <string.h>

/* What the files say, which what was given must not contradict. */
static error *take_adapter(options *o)
{
    TRY(adapter_open(o->adapter, &o->adapter_file));
    const lora_plan *plan = adapter_plan(o->adapter_file);
    if (o->lora && o->lora != plan->rank)
        return user_error(
            "--lora %lld: the adapter of --adapter %s has the rank %lld; leave --lora "
            "out",
            (long long)o->lora, o->adapter, (long long)plan->rank);
    if (o->lora_alpha > 0 && o->lora_alpha != plan->alpha)
        return user_error("--lora-alpha %g: the adapter of --adapter %s has %g; leave --lora-alpha "
                          "out",
                          o->lora_alpha, o->adapter, plan->alpha);
    o->training.lora = *plan;
    return NULL;
}

error *tuning_resolve(options *o)
{
    if (o->adapter) TRY(take_adapter(o));
    if (!o->adapter && o->lora)
        o->training.lora =
            (lora_plan){.rank = o->lora,
                        .alpha = o->lora_alpha > 0 ? o->lora_alpha : 2 * (double)o->lora,
                        .on = o->lora_on.pattern,
                        .n_on = o->lora_on.n};
    o->lora = o->training.lora.rank;
    o->lora_alpha = o->training.lora.alpha;
    return NULL;
}

static bool fits_any(const char *pattern, const params *p)
{
    char name[160], layer[160];
    for (int i = 0; i < p->n; i++)
        if (lora_is_a(&p->row[i]) &&
            lora_layer(param_text(&p->row[i], name, sizeof name), layer, sizeof layer) &&
            lora_fits(pattern, layer))
            return true;
    return false;
}

error *tuning_check(const options *o, const params *p)
{
    const lora_plan *plan = &o->training.lora;
    for (int i = 0; i < plan->n_on; i++) {
        if (fits_any(plan->on[i], p)) continue;
        if (o->adapter)
            return user_error(
                "--adapter %s has an adapter of '%s', which the model has not: it is of "
                "another model",
                o->adapter, plan->on[i]);
        return user_error(
            "--lora-on '%s' fits no matrix of the model's blocks: names are like those of "
            "its files, h.0.attn.c_attn or model.layers.0.self_attn.q_proj, or their "
            "ends, q_proj, and * stands for any part",
            plan->on[i]);
    }
    return NULL;
}

error *tuning_load(const options *o, params *p, device *dev)
{
    if (o->adapter_file) return adapter_read(o->adapter_file, p, o->widen, dev);
    for (int i = 0; i < p->n; i++)
        if (p->row[i].spec.adapter_scale != 0) TRY(param_initialize(p, dev, (uint64_t)o->seed, i));
    return NULL;
}

adapter_about tuning_about(const options *o)
{
    return (adapter_about){
        .model = &o->model, .plan = &o->training.lora, .base = o->load ? o->load : ""};
}
