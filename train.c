/* train.c - main(): options -> plan -> loop.
 *
 * Wiring only.  This one object file is train_gpt or train_vit, by the task that is linked with it
 * (train/task.h).  It is the only place, with the tools, that prints errors and exits.
 *
 *   options_parse    what was asked for             train/options.c
 *   ranks_start      --gpus: one process for each    train/join.c, ranks/launch.c
 *   ranks_open       who shares the run              train/join.c
 *   device_open      where it runs                  train/choose_device.c, cpu/, cuda/
 *                    (--plan opens nothing)
 *   trainer_plan     the whole of it, over the      train/trainer.c, core/arena.c
 *                    null device; --plan stops here
 *   train_loop       data, steps, log, result       train/loop.c
 */
#include "base/command_line.h"
#include "base/descriptors.h"
#include "base/files.h"
#include "base/kept_heap.h"
#include "base/process_memory.h"
#include "train/choose_attention.h"
#include "train/choose_device.h"
#include "train/epochs.h"
#include "train/evaluate.h"
#include "plan/memory_search.h"
#include "train/loop.h"
#include "plan/plan_report.h"
#include "train/join.h"
#include "train/freeze.h"
#include "train/task.h"
#include "train/tuning.h"
#include "train/who.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

static error *print_json(const trainer *t)
{
    char *text;
    TRY(plan_json(t, &text));
    printf("%s\n", text);
    free(text);
    return NULL;
}

static void tell_vocab(const options *o)
{
    if (o->vocab_taken && !o->json)
        printf("--vocab %lld, as the tokenizer of --train-data has\n", (long long)o->model.vocab);
}

static error *show_plan(const trainer *t)
{
    tuning_tell(t->o);
    tell_vocab(t->o);
    TRY(t->o->json ? print_json(t) : plan_print(t, stdout));
    const char *out = t->o->out, *beside = t->o->plan_beside;
    if (out) TRY(plan_write(t));
    if (out && !t->o->json)
        printf("\nwrote %s/plan.txt and %s/plan.svg%s%s\n", out, out, beside ? ", beside " : "",
               beside ? beside : "");
    fflush(stdout);
    return stdout_check();
}

/* What of the model is trained, and how a loaded one is where nothing was said. */
static void tell_trained(const trainer *t)
{
    int64_t trained = trained_count(&t->params), all = params_count(&t->params);
    if (trained < all)
        printf("trained: %lld parameters%s\n", (long long)trained,
               t->params.adapted ? ", of adapters" : "");
    tell_vocab(t->o);
    tuning_tell(t->o);
}

/* Do the plan, and what data takes beside it, fit into the memory that is left? */
static error *check_room(const trainer *t, device *dev)
{
    size_t left = memory_left(), data = 0;
    if (the_task->held) TRY(the_task->held(t->o, &data));
    if (left && data >= left)
        return user_error(
            "the data takes %.1f MiB in memory, of which %.1f MiB are free: give fewer "
            "files, or a directory of pictures, which are read as they are needed",
            (double)data / 1048576.0, (double)left / 1048576.0);
    TRY(fit_second_place(t, dev->async && left ? left - data : 0));
    size_t available = dev->async ? device_free_memory(dev) : left ? left - data : 0;
    TRY(device_status(dev));
    return available ? fit_check(t, available) : NULL;
}

static error *train_on(trainer *t, device *dev)
{
    char text[320], place[PATH_LENGTH + 40];
    printf("%s: %lld parameters, %s (%s), gradients %s\n", t->o->model.name,
           (long long)params_count(&t->params), t->o->optim_name,
           t->o->optim.fused ? "fused" : "passes", grad_policy_name(t->o->optim.gradients));
    if (t->params.far)
        printf("offloaded: %.1f MiB planned %s\n", (double)far_bytes(t->params.far) / 1048576.0,
               options_second_place(t->o, place, sizeof place));
    printf("device: %s; memory: %.1f MiB planned%s\n", device_describe(dev, text, sizeof text),
           (double)arena_peak(t->arena) / 1048576.0,
           !op_has_graphs(dev)          ? ""
           : trainer_has_graphs(t, dev) ? "; the step is one CUDA graph"
                                        : "; operations are launched one by one");
    TRY(ranks_tell(t, dev));
    tell_trained(t);
    if (t->o->ema > 0)
        printf(
            "averaged: weights, with a decay of %.9g%s; evaluations and the model that is written "
            "have the averages\n",
            t->o->ema, t->o->ema_warmup ? " after a warm-up" : "");
    int method = t->o->training.attention;
    if (method != ATTENTION_OWN)
        printf("attention: %s%s\n", options_attention(t->o),
               dev->kind->attention_varies && dev->kind->attention_varies(method)
                   ? "; not the same bits from run to run"
                   : "");
    TRY(check_room(t, dev));
    return train_loop(t, dev, plan_files);
}

/* --eval-only */
static error *evaluate_on(trainer *t, device *dev)
{
    char text[320];
    if (!t->o->json)
        printf("%s: %lld parameters\ndevice: %s; memory: %.1f MiB planned\n", t->o->model.name,
               (long long)params_count(&t->params), device_describe(dev, text, sizeof text),
               (double)arena_peak(t->arena) / 1048576.0);
    TRY(check_room(t, dev));
    return evaluate_only(t, dev);
}

/* The two rates that are not given, and the memory that is free, from the device. */
static error *ask_device(device *dev, size_t *bytes, machine_rates *rates)
{
    machine_rates measured;
    if (!*bytes) TRY(fit_available(dev, bytes));
    TRY(fit_measure(dev, *bytes, &measured));
    if (!(rates->gflops > 0)) rates->gflops = measured.gflops;
    if (!(rates->gflops_bf16 > 0)) rates->gflops_bf16 = measured.gflops_bf16;
    if (!(rates->gbs > 0)) rates->gbs = measured.gbs;
    if (!(rates->gbs_bf16 > 0)) rates->gbs_bf16 = measured.gbs_bf16;
    if (!(rates->host_gbs > 0)) rates->host_gbs = measured.host_gbs;
    return NULL;
}

/* Of --memory auto: which limit it took, and what is taken of it; on a GPU the host's is beside the
 * device's. */
static void tell_limit(const device *dev, size_t bytes)
{
    const double mib = 1048576.0;
    memory_room room = memory_room_now();
    bool apart = dev->async;
    if (apart) printf("device memory: %.1f MiB are free\n", (double)bytes / mib);
    if (room.left)
        printf("%s memory: %.1f MiB are free: %s has %.1f MiB, of which %.1f are taken\n",
               apart ? "host" : "the process's", (double)room.left / mib, room.by,
               (double)room.limit / mib, (double)room.used / mib);
}

/* What the task's data takes beside the plan, and what a process does. */
static error *beside_plan(const options *o, size_t *bytes)
{
    *bytes = process_overhead(o->threads ? (int)o->threads : omp_get_max_threads());
    size_t data = 0;
    if (the_task->held && o->train_data.n) TRY(the_task->held(o, &data));
    if (o->sizes[0] && data >= o->sizes[0] - (*bytes < o->sizes[0] ? *bytes : o->sizes[0]))
        return user_error("--memory %s: nothing fits: %.1f MiB are missing: the process takes %.1f "
                          "MiB and its data %.1f MiB",
                          o->memory,
                          ((double)*bytes + (double)data - (double)o->sizes[0]) / 1048576.0,
                          (double)*bytes / 1048576.0, (double)data / 1048576.0);
    *bytes = data > SIZE_MAX - *bytes ? SIZE_MAX : *bytes + data;
    return NULL;
}

/* On the device of the run, or (NULL: a plan) on one that is opened to be asked. */
static error *fit(options *o, device *dev)
{
    machine_rates rates = {.gflops = o->product_rate,
                           .gbs = o->stream_rate,
                           .gflops_bf16 = o->product_rate,
                           .gbs_bf16 = o->stream_rate,
                           .host_gbs = o->host_rate};
    size_t bytes = o->sizes[0], overhead = 0;
    device own;
    if (o->device == DEVICE_CPU) /* there a size means the process */
        TRY(beside_plan(o, &overhead));
    if (bytes) bytes = bytes > overhead ? bytes - overhead : 1;
    if (!bytes || !(rates.gflops > 0) || !(rates.gbs > 0)) {
        if (!dev) TRY(device_open(o->device, (int)o->threads, stdout, &own));
        error *e = ask_device(dev ? dev : &own, &bytes, &rates);
        if (!e && !o->sizes[0] && !o->json) tell_limit(dev ? dev : &own, bytes);
        if (!dev) device_close(&own);
        TRY(e);
        if (!o->sizes[0]) bytes = bytes > overhead ? bytes - overhead : 1;
    }
    return fit_memory(o, the_task->kind, bytes, &rates, o->json ? NULL : stdout);
}

static error *plan_with(options *o)
{
    trainer *t = NULL;
    o->device = device_likely(o->device);
    bool several = o->n_sizes > 1 || (o->n_sizes && o->model_name && strpbrk(o->model_name, "*?["));
    if (several) return fit_presets(o, o->sizes, o->n_sizes, stdout);
    TRY(choose_attention(o, NULL, NULL));
    if (o->memory) TRY(fit(o, NULL));
    error *e = comm_agree(o->comm, trainer_plan(o, the_task->kind, &t));
    if (!e) e = fit_second_place(t, 0);
    if (!e) e = show_plan(t);
    trainer_destroy(t);
    return e;
}

/* The device comes first: what it must be lent is planned, too. */
static error *run_on(options *o, device *dev)
{
    trainer *t = NULL;
    o->device = device_choice_of(dev);
    FILE *to = o->json ? stderr : stdout; /* where JSON is the result */
    bool has_data = o->eval_only ? o->val_data.n || o->images.how.split > 0 : o->train_data.n;
    error *e = choose_attention(o, dev, to);
    if (!e && !has_data) e = the_task->default_data(o);
    if (!e && o->memory) e = fit(o, dev);
    if (!e) e = epochs_take(o);
    e = comm_agree(o->comm, e ? e : trainer_plan(o, the_task->kind, &t));
    if (!e) e = comm_agree(o->comm, choose_attention_by_room(o, dev, to, &t));
    if (!e) e = comm_agree(o->comm, device_prepare(dev, o->training.attention));
    if (!e) e = ranks_join(o->comm, dev);
    if (!e) e = o->eval_only ? evaluate_on(t, dev) : train_on(t, dev);
    if (e) comm_abandon(o->comm);
    trainer_destroy(t);
    return e;
}

static error *run_with(options *o)
{
    device dev;
    if (o->plan) return plan_with(o);
    error *mine = device_open(o->device, (int)o->threads, o->json ? stderr : stdout, &dev);
    bool open = !mine;
    if (open) mine = device_use(&dev, o->cpu_kernel, o->products);
    error *e = comm_agree(o->comm, mine);
    if (!e) e = run_on(o, &dev);
    if (open) device_close(&dev);
    return e;
}

/* One line for a failure of all; each rank's own carries its number. */
static int report(const comm *ranks, error *e)
{
    if (!e) return 0;
    int status = error_kind_of(e);
    if (ranks->told) {
        error_free(e);
        return status;
    }
    if (ranks->ops && comm_size(ranks) > 1 && !ranks->agreed)
        e = error_context(e, "rank %d", ranks->rank);
    return error_report(the_task->kind->program, e);
}

int main(int argc, char **argv)
{
    options o;
    comm ranks = {.size = 1};
    bool parent = false;
    int theirs = 0;
    char *room[3], **words = command_line_words(&argc, argv, room);
    error *e = descriptors_fill(true); /* a plan is the result; what a run prints may be lost */
    if (e) return error_report(the_task->kind->program, e);
    heap_keep();
    e = options_parse(the_task, argc, words, &o);
    if (!e) e = ranks_start(&o, &parent, &theirs);
    if (!e && parent) {
        options_free(&o);
        return theirs;
    }
    if (!e) e = ranks_open(&o, &ranks);
    if (!e) e = run_with(&o);
    int status = report(&ranks, e);
    comm_close(&ranks, status);
    options_free(&o);
    return status;
}
