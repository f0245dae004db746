/* plan_report.c - see plan_report.h */
#include "plan/plan_report.h"
#include "plan/memory_search.h"
#include "plan/plan_picture.h"
#include "base/json.h"
#include "base/files.h"
#include "train/conflicts.h"
#include "train/freeze.h"
#include "train/who.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

/* ---- variants: the same run with another optimizer, policy or form ---- */

static options variant_options(const trainer *t, const optim_config *c)
{
    options o = *t->o;
    o.optim = *c;
    return o;
}

static error *plan_variant(const trainer *t, const optim_config *c, arena_summary *out)
{
    options o = variant_options(t, c);
    trainer *v = NULL;
    TRY(trainer_plan(&o, t->kind, &v));
    *out = arena_summarize(v->arena);
    trainer_destroy(v);
    return NULL;
}

static error *peak_with(const trainer *t, grad_policy gradients, bool fused, bool reduced,
                        size_t *peak)
{
    optim_config c = t->o->optim;
    arena_summary s;
    c.gradients = gradients;
    c.fused = fused;
    c.reduced = reduced;
    TRY(plan_variant(t, &c, &s));
    *peak = s.peak;
    return NULL;
}

static error *print_savings(const trainer *t, FILE *out)
{
    size_t passes, passes_r, own, overlay, at_once;
    bool has_passes = optim_has_passes(&t->o->optim);
    grad_policy last = rule_folds(t->o->optim.rule) ? GRADS_FOLD : GRADS_RELEASE;
    passes = passes_r = 0;
    if (has_passes) {
        TRY(peak_with(t, GRADS_OWN, false, false, &passes));
        TRY(peak_with(t, GRADS_OWN, false, true, &passes_r));
    }
    TRY(peak_with(t, GRADS_OWN, true, false, &own));
    TRY(peak_with(t, GRADS_OVERLAY, true, false, &overlay));
    fprintf(out, "\nwhat each reuse saves here (MiB of peak)\n");
    if (has_passes)
        fprintf(out, "  intermediates  %9.1f   passes, own gradients: %.1f -> %.1f\n",
                mib(passes) - mib(passes_r), mib(passes), mib(passes_r));
    fprintf(out, "  overlay        %9.1f   fused, own -> overlay: %.1f -> %.1f\n",
            mib(own) - mib(overlay), mib(own), mib(overlay));
    if (last == GRADS_RELEASE && (t->o->accum > 1 || t->o->optim.clip > 0)) {
        fprintf(out, "  release                0   not with %s: all gradients are needed at once\n",
                t->o->accum > 1 ? "several micro-batches" : "clipping");
        return NULL;
    }
    TRY(peak_with(t, last, true, false, &at_once));
    fprintf(out, "  %-14s %9.1f   fused, overlay -> %s: %.1f -> %.1f\n", grad_policy_name(last),
            mib(overlay) - mib(at_once), grad_policy_name(last), mib(overlay), mib(at_once));
    return NULL;
}

static error *print_row(const trainer *t, FILE *out, const char *name, bool fused)
{
    optim_config c;
    arena_summary s;
    const char *reason, *with;
    TRY(optim_another(name, &t->o->optim, &c));
    c.fused = fused;
    c.clip = t->o->optim.clip;
    options o = variant_options(t, &c);
    if (options_conflict(&o, &with)) {
        if (with)
            fprintf(out, "  %-10s %-7s not with %s\n", name, fused ? "fused" : "passes", with);
        return NULL;
    }
    TRY(optim_resolve(&c, t->o->accum, &reason));
    TRY(plan_variant(t, &c, &s));
    double n = (double)params_count(&t->params) * 4.0;
    double copies[] = {(double)(s.most[KIND_PARAMETER] + s.most[KIND_MASTER]) / n,
                       (double)s.most[KIND_STATE] / n, (double)s.most[KIND_GRADIENT] / n,
                       (double)s.most[KIND_INTERMEDIATE] / n};
    fprintf(out, "  %-10s %-7s %-8s %8.1f %8.1f   %5.2f = %.2f + %.2f + %.2f + %.2f\n", name,
            fused ? "fused" : "passes", grad_policy_name(c.gradients), mib(s.peak), mib(s.load),
            copies[0] + copies[1] + copies[2] + copies[3], copies[0], copies[1], copies[2],
            copies[3]);
    return NULL;
}

static error *print_side_by_side(const trainer *t, FILE *out)
{
    fprintf(out, "\nall optimizers, this model and batch\n");
    fprintf(out, "  optimizer  form    gradients peak MiB lower b.  copies of N = parameters + "
                 "states + live gradients + intermediates\n");
    for (int id = 0; id < RULE_COUNT; id++)
        for (int fused = 0; rule_is_public((rule_id)id) && fused < 2; fused++) {
            char name[40];
            TRY(print_row(t, out, rule_at((rule_id)id)->name, fused));
            snprintf(name, sizeof name, "%s_r", rule_at((rule_id)id)->name);
            TRY(print_row(t, out, name, fused));
        }
    return NULL;
}

/* ", parameters 2 layers before they are used" */
static const char *prefetch_text(const trainer *t, char *buffer, size_t size)
{
    int n = params_ordered(&t->params) ? t->params.ahead : 0;
    *buffer = 0;
    if (n)
        snprintf(buffer, size, ", parameters %d layer%s before they are used", n, n > 1 ? "s" : "");
    return buffer;
}

static const char *bucket_text(const options *o, char *buffer, size_t size)
{
    if (o->bucket)
        snprintf(buffer, size, "in buckets of %lld MiB", (long long)o->bucket);
    else
        snprintf(buffer, size, "one by one");
    return buffer;
}

/* What is frozen, recomputed, or otherwise unusual. */
static void print_reductions(const trainer *t, FILE *out)
{
    int64_t all = params_count(&t->params), trained = trained_count(&t->params);
    if (trained < all)
        fprintf(out, "  trained: %lld parameters, the others are frozen\n", (long long)trained);
    if (strcmp(t->o->recompute, "none")) fprintf(out, "  recompute: %s\n", t->o->recompute);
    if (t->sparse)
        fprintf(out, "  sparsity %g: %lld weights of the blocks' %lld are stored\n", t->o->sparsity,
                (long long)t->params.row[sparse_pool(t->sparse)].count,
                (long long)sparse_elements(t->sparse));
    bool flash = t->o->training.attention == ATTENTION_OWN;
    if (!flash) fprintf(out, "  attention: %s\n", options_attention(t->o));
    if (trained < all || t->sparse || strcmp(t->o->recompute, "none") || !flash) fputc('\n', out);
}

/* The rates that were given; 0: not known. */
static machine_rates rates_given(const options *o)
{
    return (machine_rates){o->product_rate, o->stream_rate, o->product_rate, o->stream_rate,
                           o->host_rate};
}

/* What lies in the second place, and what of it a step moves. */
static void print_offloaded(const trainer *t, FILE *out)
{
    const far *f = t->params.far;
    const options *o = t->o;
    machine_rates rates = rates_given(o);
    double rate = o->device == DEVICE_CUDA ? o->host_rate : o->disk_rate;
    char place[PATH_LENGTH + 40];
    if (!f) return;
    fprintf(out, "\noffloaded: %.1f MiB = %zu bytes %s\n", mib(far_bytes(f)), far_bytes(f),
            options_second_place(o, place, sizeof place));
    for (int k = 0; k < KIND_COUNT; k++)
        if (far_bytes_of(f, k))
            fprintf(out, "  %-14s %9.1f MiB\n", block_kind_name((block_kind)k),
                    mib(far_bytes_of(f, k)));
    fprintf(out, "  a step reads %.1f MiB of it and writes %.1f MiB",
            mib((size_t)t->step_moved.read), mib((size_t)t->step_moved.written));
    if (rate > 0) fprintf(out, ": at %g GB/s in %.3g s", rate, fit_offload_seconds(t, &rates));
    if (rate > 0 && o->product_rate > 0 && o->stream_rate > 0)
        fprintf(out, ", beside %.3g s of computation: %.3g s a step",
                fit_seconds(&t->work, o->type, &rates), fit_step_seconds(t, &rates));
    fputc('\n', out);
}

error *plan_summary(const trainer *t, FILE *out)
{
    const options *o = t->o;
    char bucket[60], ahead[60], groups[48];
    arena_summary s = arena_summarize(t->arena);
    fprintf(out, "plan: %s, %lld parameters, batch %lld x %lld, %lld micro-batch%s, %s (%s)\n\n",
            o->model.name, (long long)params_count(&t->params), (long long)o->batch,
            (long long)o->seq, (long long)o->accum, o->accum > 1 ? "es" : "", o->optim_name,
            o->optim.fused ? "fused" : "passes");
    if (comm_size(o->comm) > 1)
        fprintf(
            out,
            "  as rank %d of %d, --zero %lld%s; gradients travel %s%s; a rank is missed after %lld "
            "s\n\n",
            comm_rank(o->comm), comm_size(o->comm), (long long)o->zero,
            ranks_groups(o->comm, groups, sizeof groups), bucket_text(o, bucket, sizeof bucket),
            prefetch_text(t, ahead, sizeof ahead), (long long)o->watchdog);
    print_reductions(t, out);
    for (int k = 0; k < KIND_COUNT; k++) {
        if (k == KIND_COPY && !s.by_kind[k]) continue;
        fprintf(out, "  %-14s %9.1f MiB  %5.1f %%\n", block_kind_name((block_kind)k),
                mib(s.by_kind[k]), 100.0 * (double)s.by_kind[k] / (double)s.peak);
    }
    fprintf(out, "  %-14s %9.1f MiB  %5.1f %%\n", "gaps", mib(s.gaps),
            100.0 * (double)s.gaps / (double)s.peak);
    fprintf(out, "  %-14s %9.1f MiB  = %zu bytes; lower bound %zu (+%.2f %%)\n", "peak",
            mib(s.peak), s.peak, s.load, 100.0 * ((double)s.peak / (double)s.load - 1));
    fprintf(out, "  the peak is in program %s, when %s is taken (event %lld of %lld)\n", s.program,
            *s.peak_name ? s.peak_name : "nothing", (long long)s.peak_clock, (long long)s.clocks);
    if (t->copies_to_host)
        fprintf(out, "  in the host's memory, for checkpoints: %.1f MiB = %zu bytes\n",
                mib(t->copy_bytes), t->copy_bytes);
    print_offloaded(t, out);
    double n = (double)params_count(&t->params);
    fprintf(out,
            "\nbytes for each parameter: %.2f = parameters %.2f + master weights %.2f + states "
            "%.2f; live gradients %.2f\n",
            (double)(s.most[KIND_PARAMETER] + s.most[KIND_MASTER] + s.most[KIND_STATE]) / n,
            (double)s.most[KIND_PARAMETER] / n, (double)s.most[KIND_MASTER] / n,
            (double)s.most[KIND_STATE] / n, (double)s.most[KIND_GRADIENT] / n);
    fprintf(out, "gradients: %s (%s)\n", grad_policy_name(o->optim.gradients), o->policy_reason);
    return NULL;
}

error *plan_print(const trainer *t, FILE *out)
{
    TRY(plan_summary(t, out));
    if (t->o->eval_only) return NULL; /* nothing of the rest is there */
    TRY(print_savings(t, out));
    return print_side_by_side(t, out);
}

static bool add_offloaded(cJSON *object, const trainer *t)
{
    const far *f = t->params.far;
    cJSON *kinds = cJSON_AddObjectToObject(object, "offloaded_by_kind");
    bool ok = kinds && cJSON_AddNumberToObject(object, "offloaded_bytes", (double)far_bytes(f)) &&
              cJSON_AddNumberToObject(object, "step_disk_read", (double)t->step_moved.read) &&
              cJSON_AddNumberToObject(object, "step_disk_written", (double)t->step_moved.written);
    for (int k = 0; ok && k < KIND_COUNT; k++)
        ok = !far_bytes_of(f, k) || cJSON_AddNumberToObject(kinds, block_kind_name((block_kind)k),
                                                            (double)far_bytes_of(f, k));
    return ok;
}

/* The prediction, where --product-rate and --stream-rate are given. */
static bool add_seconds(cJSON *object, const trainer *t)
{
    machine_rates rates = rates_given(t->o);
    double moved = fit_offload_seconds(t, &rates);
    bool known = rates.gflops > 0 && rates.gbs > 0;
    return (!known ||
            cJSON_AddNumberToObject(object, "step_seconds", fit_step_seconds(t, &rates))) &&
           (!(moved > 0) || cJSON_AddNumberToObject(object, "step_moving_seconds", moved));
}

error *plan_json(const trainer *t, char **out)
{
    arena_summary s = arena_summarize(t->arena);
    cJSON *object = cJSON_CreateObject();
    bool ok =
        cJSON_AddNumberToObject(object, "peak_bytes", (double)s.peak) &&
        cJSON_AddNumberToObject(object, "load_bytes", (double)s.load) &&
        cJSON_AddNumberToObject(object, "persistent_bytes", (double)s.persistent) &&
        cJSON_AddStringToObject(object, "gradient_policy",
                                grad_policy_name(t->o->optim.gradients)) &&
        cJSON_AddStringToObject(object, "gradient_policy_reason", t->o->policy_reason) &&
        cJSON_AddNumberToObject(object, "parameters", (double)params_count(&t->params)) &&
        cJSON_AddNumberToObject(object, "trained", (double)trained_count(&t->params)) &&
        json_add(object, "model", config_json(&t->o->model)) &&
        cJSON_AddNumberToObject(object, "ranks", comm_size(t->o->comm)) &&
        cJSON_AddNumberToObject(object, "zero", (double)t->o->zero) &&
        cJSON_AddNumberToObject(object, "shard_group", t->o->comm ? t->o->comm->group : 0) &&
        cJSON_AddNumberToObject(object, "step_flops", t->work.flops) &&
        cJSON_AddNumberToObject(object, "step_bytes", t->work.bytes) &&
        cJSON_AddNumberToObject(object, "checkpoint_host_bytes", (double)trainer_host_bytes(t));
    cJSON *kinds = cJSON_AddObjectToObject(object, "by_kind"),
          *most = cJSON_AddObjectToObject(object, "most_by_kind");
    for (int k = 0; k < KIND_COUNT; k++) {
        const char *name = block_kind_name((block_kind)k);
        ok = ok && cJSON_AddNumberToObject(kinds, name, (double)s.by_kind[k]) &&
             cJSON_AddNumberToObject(most, name, (double)s.most[k]);
    }
    ok = ok && cJSON_AddNumberToObject(kinds, "gaps", (double)s.gaps);
    if (ok && t->params.far) ok = add_offloaded(object, t);
    ok = ok && add_seconds(object, t);
    *out = ok ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    return *out ? NULL : user_error("out of memory for the plan's JSON");
}

static error *draw_plan(const trainer *t, FILE *out)
{
    return plan_picture(&t, 1, out);
}

/* "adamw" or "adamw/passes" in place of the optimizer. */
static error *other_optimizer(const char *text, options *o, char name[40])
{
    const char *form = strchr(text, '/');
    snprintf(name, 40, "%.*s", form ? (int)(form - text) : 39, text);
    bool passes = form && !strcmp(form, "/passes"), fused = form && !strcmp(form, "/fused");
    if (form && !passes && !fused)
        return user_error("--plan-beside %s: must be NAME, NAME/passes or NAME/fused", text);
    optim_config c;
    TRY(error_context(optim_another(name, &o->optim, &c), "--plan-beside"));
    if (form) c.fused = fused;
    c.clip = o->optim.clip;
    TRY(optim_resolve(&c, o->accum, &o->policy_reason));
    o->optim = c;
    o->optim_name = name;
    return NULL;
}

static error *draw_beside(const trainer *t, FILE *out)
{
    options o = *t->o;
    char name[40];
    trainer *other = NULL;
    if (!o.plan_beside) return draw_plan(t, out);
    TRY(other_optimizer(o.plan_beside, &o, name));
    TRY(trainer_plan(&o, t->kind, &other));
    const trainer *both[] = {other, t};
    error *e = plan_picture(both, 2, out);
    trainer_destroy(other);
    return e;
}

error *plan_write(const trainer *t)
{
    TRY(make_directory(t->o->out, "--out"));
    TRY(run_report_write(t, &(run_report){"plan.txt", plan_print}));
    return run_report_write(t, &(run_report){"plan.svg", draw_beside});
}

const run_report plan_files[] = {{"plan.txt", plan_summary}, {"plan.svg", draw_plan}, {NULL, NULL}};
