/* tuning.c - see tuning.h */
#include "train/tuning.h"

#include "base/command_line.h"
#include "train/task.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- defaults ---- */

enum { FIRST_WARMUP = 20 };

static bool is_tuning(const options *o)
{
    return o->load && o->task == &text_task;
}

double tuning_lr(const options *o)
{
    double lr = rule_at(o->optim.rule)->lr;
    if (!is_tuning(o)) return lr;
    return lr / (o->training.lora.rank ? 5 : 50);
}

double tuning_clip(const options *o)
{
    bool cannot = rule_folds(o->optim.rule) || o->optim.gradients == GRADS_RELEASE;
    return is_tuning(o) && !cannot ? 1 : 0;
}

int64_t tuning_warmup(const options *o)
{
    return is_tuning(o) ? (o->steps * 3 + 99) / 100 : FIRST_WARMUP;
}

const char *tuning_help(const task *t, const char *option)
{
    static const char *const all[][2] = {
        {"lr", "; with --load a fiftieth, of adapters a fifth of it"},
        {"grad-clip", "; with --load 1"},
        {"warmup", "; with --load 3 % of the steps"}};
    for (size_t i = 0; t == &text_task && i < sizeof all / sizeof *all; i++)
        if (!strcmp(option, all[i][0])) return all[i][1];
    return "";
}

void tuning_tell(const options *o)
{
    if (!is_tuning(o) || o->json) return;
    const struct {
        bool chosen;
        const char *name;
        double is;
    } all[] = {{isnan(o->lr), "lr", o->schedule.lr},
               {isnan(o->grad_clip), "grad-clip", o->optim.clip},
               {o->warmup < 0, "warmup", (double)o->schedule.warmup}};
    const char *before = "fine-tuning, as --load says:";
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i].chosen) continue;
        printf("%s --%s %g", before, all[i].name, all[i].is);
        before = ",";
    }
    if (*before == ',') printf(" (options override these)\n");
}

/* ---- adapters ---- */

/* What the files say; options that were given must not contradict it. */
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

static error *resolve_base(options *o)
{
    static const char *const names[] = {"bf16", "int8", "nf4", "nf4-double"};
    static const code_form forms[] = {CODES_BF16, CODES_INT8, CODES_NF4, CODES_NF4};
    if (!o->base) return NULL;
    int i;
    TRY(command_line_word("base", o->base, names, 4, &i));
    o->base_form = forms[i];
    o->base_packs = i == 3;
    if (o->base_form == CODES_BF16 && !strcmp(o->dtype_name, "bf16"))
        o->base_form = CODES_NONE; /* it is already the case */
    return NULL;
}

error *tuning_resolve(options *o)
{
    TRY(resolve_base(o));
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
                "--adapter %s has an adapter of '%s', which the model does not have: it is of "
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
    if (o->adapter_file) return adapter_read(o->adapter_file, p, cast_widening(o->widen), dev);
    for (int i = 0; i < p->n; i++)
        if (p->row[i].spec.adapter_scale != 0) TRY(param_initialize(p, dev, (uint64_t)o->seed, i));
    return NULL;
}

adapter_about tuning_about(const options *o)
{
    return (adapter_about){
        .model = &o->model, .plan = &o->training.lora, .base = o->load ? o->load : ""};
}
