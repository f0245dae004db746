/* option_conflicts.c - see conflicts.h
 *
 * One row per conflict: refused if all of its conditions hold.  What an optimizer cannot do on its
 * own is in optim/optim_conflicts.c.
 */
#include "train/conflicts.h"
#include "base/fill.h"
#include "core/narrow.h"
#include "train/task.h"

#include <string.h>

typedef bool (*condition)(const options *o);

#define CONDITION(name, is)                                                                        \
    static bool name(const options *o)                                                             \
    {                                                                                              \
        return is;                                                                                 \
    }

static bool recomputes_some_inputs(const options *o)
{
    bool some = false;
    for (int64_t l = 0; l < o->model.layers; l++)
        some = some || recompute_of(&o->training.recompute, l) == RECOMPUTE_SQRT;
    return some;
}

/* as given */
CONDITION(splits, o->images.how.split > 0)
CONDITION(names_validation, o->val_data.n)
CONDITION(is_sparse, o->sparsity > 0)
CONDITION(evaluates, o->eval_only)
CONDITION(evaluates_not, !o->eval_only)
CONDITION(resumes_not, !o->resume)
CONDITION(averages_weights, o->ema > 0)
CONDITION(averages_not, !(o->ema > 0))
CONDITION(warms_average, o->ema_warmup)
CONDITION(decays_layers, o->layer_decay < 1)
CONDITION(loads, o->load)
CONDITION(loads_not, !o->load)
CONDITION(widens, o->widen)
CONDITION(tunes, o->lora > 0 || o->adapter)
CONDITION(tunes_not, !o->lora && !o->adapter)
CONDITION(adapts, o->adapter)
CONDITION(codes, o->base)
CONDITION(names_alpha, o->lora_alpha > 0)
CONDITION(names_layers, o->lora_on.n)
CONDITION(drops_inputs, o->lora_dropout > 0)
CONDITION(plans, o->plan)
CONDITION(trains, !o->plan)
CONDITION(as_json, o->json)
CONDITION(has_memory, o->memory)
CONDITION(has_no_memory, !o->memory)
CONDITION(allows, o->allow)
CONDITION(recomputes, strcmp(o->recompute, "none"))
CONDITION(places_offload, o->offload_to)
CONDITION(names_no_offload, !o->offload_name || !strcmp(o->offload_name, "none"))
CONDITION(rates_disk, o->disk_rate > 0)
CONDITION(rates_host, o->host_rate > 0)
CONDITION(limits_host, o->host_memory)
CONDITION(limits_no_host, !o->host_memory)
CONDITION(plans_beside, o->plan_beside)
CONDITION(keeps_beside, o->checkpoint_async)
CONDITION(keeps_never, !o->checkpoint_every)
CONDITION(has_no_out, !o->out)
CONDITION(plans_ranks, o->ranks > 1)
CONDITION(starts_ranks, o->gpus > 1)
CONDITION(names_master, o->master_name)
CONDITION(by_steps, o->steps > 0)
CONDITION(by_epochs, o->epochs > 0)
CONDITION(saves_best, o->save_best)
CONDITION(stops_early, o->stop_after > 0)
CONDITION(evaluates_never, !o->eval_every)
/* resolved */
CONDITION(on_cuda, o->device == DEVICE_CUDA)
CONDITION(on_cpu, o->device == DEVICE_CPU)
CONDITION(several_sizes, o->n_sizes > 1)
CONDITION(in_fp32, o->type == F32)
CONDITION(in_bf16, o->type == BF16)
CONDITION(multiplies_narrow, products_narrow(o->products))
CONDITION(attention_elsewhere, o->device != DEVICE_AUTO &&
                                   o->training.attention >= device_kind_at(o->device)->n_attention)
CONDITION(offloads, o->offload != OFFLOAD_NONE)
CONDITION(offloads_activations, o->offload_activations)
CONDITION(convolves, o->model.stage[0] > 0)
CONDITION(recomputes_inputs, recomputes_some_inputs(o))
CONDITION(offloads_values, o->offload == OFFLOAD_PARAMS)
CONDITION(has_images, o->model.image_height > 0)
CONDITION(folds, rule_folds(o->optim.rule))
CONDITION(narrow_states, o->optim.state != STATE_F32)
CONDITION(narrow_masters, o->type == BF16 && o->master != MASTER_F32)
CONDITION(sharded, o->zero > 0)
CONDITION(keeps_parameters, o->zero < 3)
CONDITION(keeps_all, o->zero == 0)
CONDITION(shards_in_groups, o->shard_group > 0)
CONDITION(groups_of_one, o->shard_group == 1)
CONDITION(fetches_ahead, o->prefetch > 0)
CONDITION(ranked, comm_size(o->comm) > 1)

typedef struct {
    condition when[4];
    const char *says[2]; /* the message; ? a short note: worth a line in a table of variants */
} conflict;

#define BESIDE "--plan-beside {plan-beside}: only with --plan and --out, which writes the picture"

static const conflict given[] = {
    {{splits, names_validation},
     {"--split {split} with --val-data: each says what to evaluate on; leave one out"}},
    {{is_sparse, loads},
     {"--sparsity {sparsity} with --load: which of a trained model's weights to keep is not known; "
      "leave one out"}},
    {{widens, loads_not}, {"--widen: only with --load"}},
    {{tunes, loads_not, trains},
     {"--lora and --adapter: only with --load, whose model they adapt"}},
    {{adapts, loads_not}, {"--adapter {adapter}: only with --load"}},
    {{names_alpha, tunes_not}, {"--lora-alpha {lora-alpha}: only with --lora"}},
    {{codes, tunes_not}, {"--base {base}: only with --lora, with which nothing else is trained"}},
    {{names_layers, tunes_not}, {"--lora-on: only with --lora"}},
    {{drops_inputs, tunes_not}, {"--lora-dropout {lora-dropout}: only with --lora"}},
    {{names_layers, adapts},
     {"--lora-on with --adapter, whose files say which matrices have an adapter: leave it out"}},
    {{averages_weights, is_sparse},
     {"--ema {ema} with --sparsity: non-zeros change position, and an average does not; leave one "
      "out"}},
    {{warms_average, averages_not}, {"--ema-warmup: only with --ema"}},
    {{decays_layers, is_sparse},
     {"--layer-decay {layer-decay} with --sparsity: the non-zeros of all blocks are updated as "
      "one; leave one out"}},
    {{tunes, is_sparse},
     {"--sparsity {sparsity} with --lora: the matrices are not trained; leave it out"}},
    {{allows, has_no_memory},
     {"--allow {allow}: only with --memory; to use such a format, give --dtype bf16 --master FORM, "
      "--state FORM"}},
    {{has_memory, recomputes},
     {"--recompute {recompute} with --memory, which chooses it: leave one out"}},
    {{plans_ranks, trains},
     {"--ranks {ranks}: only with --plan; start that many with mpirun -np {ranks}"}},
    {{starts_ranks, plans},
     {"--gpus {gpus} with --plan: give --ranks {gpus}, which plans one of them"}},
    {{places_offload, names_no_offload},
     {"--offload-to {offload-to}: only with --offload, which says what lies there"}},
    {{rates_disk, names_no_offload},
     {"--disk-rate {disk-rate}: only with --offload, whose time it predicts"}},
    {{limits_host, names_no_offload, has_no_memory},
     {"--host-memory {host-memory}: only with --offload, or with --memory, which then chooses what "
      "lies there"}},
    {{rates_host, names_no_offload, limits_no_host},
     {"--host-rate {host-rate}: only with --offload or --host-memory, whose time it predicts"}},
    {{keeps_beside, keeps_never},
     {"--checkpoint-async: only with --checkpoint-every, whose checkpoints it writes"}},
    {{plans_beside, trains}, {BESIDE}},
    {{plans_beside, has_no_out}, {BESIDE}},
    {{by_steps, by_epochs},
     {"--epochs {epochs} with --steps {steps}: each says how long to train; leave one out"}},
    {{saves_best, evaluates_never},
     {"--save-best with --eval-every 0: what is best is known by evaluations"}},
    {{stops_early, evaluates_never},
     {"--stop-after {stop-after} with --eval-every 0: it counts evaluations"}},
    {{as_json, trains, evaluates_not},
     {"--json: only with --plan or --eval-only; a run writes log.jsonl by itself"}},
    {{evaluates, loads_not, resumes_not, trains},
     {"--eval-only: give --load or --resume, which says what to evaluate"}},
};

#define SEVERAL                                                                                    \
    "--memory {memory}: several sizes only with --plan, which prints what trains in each; give "   \
    "one"

static const conflict resolved[] = {
    {{multiplies_narrow, in_fp32},
     {"--products {products} with --dtype fp32: operands of bf16 are rounded to 8 bits; give "
      "--dtype bf16"}},
    {{names_master, in_fp32},
     {"--master {master}: only with --dtype bf16; weights in fp32 are their own masters"}},
    {{attention_elsewhere, plans},
     {"--attention {attention} is for --device cuda (which can be planned without a GPU): leave it "
      "out"}},
    {{attention_elsewhere}, {"--attention {attention} is for --device cuda: leave it out"}},
    {{several_sizes, trains}, {SEVERAL}},
    {{several_sizes, as_json}, {SEVERAL}},
    {{places_offload, on_cuda},
     {"--offload-to {offload-to} with --device cuda: there the second place is the host's memory; "
      "leave it out"}},
    {{rates_disk, on_cuda},
     {"--disk-rate {disk-rate} with --device cuda: its second place is the host's memory; give "
      "--host-rate"}},
    {{limits_host, on_cpu},
     {"--host-memory {host-memory} with --device cpu: there the second place is a disk; give "
      "--offload states --offload-to DIR"}},
    {{rates_host, on_cpu},
     {"--host-rate {host-rate} with --device cpu: there the second place is a disk; give "
      "--disk-rate"}},
    {{offloads, is_sparse},
     {"--offload {offload} with --sparsity: which weights there are changes in place, over all of "
      "them at once; leave one out"}},
    {{keeps_beside, offloads, on_cpu},
     {"--checkpoint-async with --offload {offload}: its copy would take the memory that this "
      "frees; leave one out"}},
    {{offloads_activations, convolves},
     {"--offload {offload} with a convolutional model: activations of transformer blocks alone are "
      "offloaded; give --offload states or params",
      "--offload activations"}},
    {{offloads_activations, recomputes_inputs},
     {"--offload {offload} with --recompute {recompute}: sqrt makes inputs of blocks again from "
      "those that are kept here; give --recompute block",
      "--offload activations"}},
    {{ranked, offloads_values, sharded},
     {"--offload params with --zero {zero}: ranks would gather what is not there; use --zero 0, or "
      "--zero 3 --offload states"}},
    {{ranked, offloads, folds},
     {"--offload {offload} with --optim {optim} and several ranks: they add up its states, so each "
      "has them whole; use --optim adamw"}},
    {{offloads_values, loads, has_images},
     {"--offload params with --load of a model of images: its files are not read in parts; use "
      "--offload states"}},
    /* A rule that folds sums its states over the ranks, so every rank must have them complete, in
     * fp32. */
    {{ranked, sharded, folds},
     {"--zero {zero} with --optim {optim}: the ranks add up its states, so each has them whole; "
      "use --zero 0, or --optim adamw",
      "--zero"}},
    {{ranked, has_memory, trains},
     {"--memory with several ranks: each rank would choose by itself; choose with --plan --ranks N "
      "--memory, and use what it prints"}},
    {{ranked, folds, narrow_states},
     {"several ranks with --optim {optim} and --state {state}: they add its states up in fp32; use "
      "--state fp32, or --optim adamw",
      "narrow states among ranks"}},
    /* At stage 0 each rank has everything, and all do the same.  If each updates a part, a tensor's
     * result must not depend on where it is cut: blocks of 8-bit states and stochastic rounding do,
     * and no engine gathers the halves of split masters. */
    {{ranked, sharded, narrow_states},
     {"--zero {zero} with --state {state}: states are sharded in fp32 only; use --zero 0, or "
      "--state fp32"}},
    {{ranked, sharded, narrow_masters},
     {"--zero {zero} with --dtype bf16 --master {master}: masters are sharded in fp32 only; use "
      "--zero 0, or --master fp32"}},
    {{ranked, fetches_ahead, keeps_parameters},
     {"--prefetch {prefetch} with --zero {zero}: each rank has all parameters, and none is "
      "gathered; give --zero 3, or --prefetch 0"}},
    {{ranked, shards_in_groups, keeps_all},
     {"--shard-group {shard-group} with --zero 0: each rank has everything, and nothing is "
      "sharded; give --zero 1, 2 or 3, or leave it out"}},
    {{ranked, groups_of_one},
     {"--shard-group 1: a rank by itself shards nothing; give --zero 0, or the ranks of a "
      "machine"}},
    {{evaluates, ranked}, {"--eval-only with several ranks: one process evaluates; start one"}},
    {{averages_weights, offloads_values},
     {"--ema {ema} with --offload params: weights and averages change places in memory; use "
      "--offload states"}},
    {{averages_weights, sharded, in_bf16},
     {"--ema {ema} with --dtype bf16 and --zero {zero}: averages are sharded in fp32 only; use "
      "--zero 0, or --dtype fp32"}},
    {{ranked, is_sparse},
     {"--sparsity with several ranks: each rank has all non-zeros; leave it out, or use one rank"}},
};

enum { GIVEN = sizeof given / sizeof *given, RESOLVED = sizeof resolved / sizeof *resolved };

static bool holds(const conflict *row, const options *o)
{
    for (int k = 0; k < 4 && row->when[k]; k++)
        if (!row->when[k](o)) return false;
    return true;
}

/* The first row that holds, NULL if none does. */
static const conflict *find_in(const conflict *rows, int n, const options *o)
{
    int i = 0;
    while (i < n && !holds(&rows[i], o))
        i++;
    return i < n ? &rows[i] : NULL;
}

/* An option's value, by name. */
static bool value_of(const void *context, const char *name, char *out, size_t room)
{
    options o = *(const options *)context;
    for (int i = 0; i < option_count(o.task); i++) {
        const option_row *row = option_row_at(o.task, i);
        if (!strcmp(row->name, name)) return option_print(&o, row, out, room);
    }
    return false;
}

static error *refuse(const conflict *row, const options *o)
{
    return row ? fill_error(row->says[0], value_of, o) : NULL;
}

error *options_refuse_given(const options *o)
{
    return refuse(find_in(given, GIVEN, o), o);
}

/* The device checks the rest (lengths, head sizes) when it is open. */
const char *options_attention_lacks(const options *o)
{
    const model_config *c = &o->model;
    const device_kind *whose;
    int method;
    attention_sizes sizes = {.heads = c->heads,
                             .kv_heads = c->kv_heads,
                             .head_size = c->head_size,
                             .type = o->type,
                             .alibi = c->positions == POSITIONS_ALIBI,
                             .windowed = has_windows(c),
                             .capped = c->attention_cap > 0};
    error *e = device_attention(o->attention, &method, &whose);
    bool unknown = e;
    error_free(e); /* reported where the name is looked up */
    if (!unknown && method != ATTENTION_OWN && o->training.packed)
        return "does not support packed documents";
    return unknown || !whose->attention_lacks ? NULL : whose->attention_lacks(method, &sizes);
}

error *options_refuse(const options *o)
{
    const char *wrong = options_attention_lacks(o);
    if (wrong) return user_error("--attention %s %s: leave it out", o->attention, wrong);
    return refuse(find_in(resolved, RESOLVED, o), o);
}

bool options_conflict(const options *o, const char **with)
{
    if (optim_conflicts(&o->optim, o->accum, with)) return true;
    const conflict *row = find_in(resolved, RESOLVED, o);
    *with = row ? row->says[1] : NULL;
    return row || options_attention_lacks(o);
}
