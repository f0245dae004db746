/* evaluate.c - see evaluate.h */
#include "train/evaluate.h"
#include "base/files.h"
#include "base/json.h"
#include "run/checkpoint.h"
#include "run/run_state.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 5 };

typedef struct {
    int64_t n, left_out;
    double loss, accuracy, top_5; /* NAN: not a classifier */
    int64_t step;                 /* of the checkpoint; -1: it is none */
    bool averaged;
} measured;

void evaluate_options(options *o)
{
    o->offload_name = o->offload_to = o->memory = o->allow = o->host_memory = NULL;
    o->disk_rate = o->host_rate = 0;
    o->zero = o->sample_every = o->images.predict = o->stop_after = 0;
    o->epochs = o->sparsity = o->ema = 0;
    o->layer_decay = 1;
    o->ema_warmup = o->save_best = false;
}

/* ---- the checkpoint ---- */

static error *newest_checkpoint(const char *directory, char *path, int64_t *step)
{
    *step = INT64_MAX;
    while ((*step = checkpoint_below(directory, *step, path)) >= 0) {
        error *e = manifest_check(path, *step);
        if (!e) return NULL;
        error_warn(error_context(e, "not that one"));
    }
    return user_error(
        "--resume auto: %s has no complete checkpoint; to evaluate the model that a run has "
        "written, give --load %s",
        directory, directory);
}

/* The one of --resume; *step is -1 without. */
static error *find_checkpoint(const options *o, char *path, int64_t *step)
{
    *step = -1;
    if (!o->resume) return NULL;
    if (!strcmp(o->resume, "auto")) return newest_checkpoint(o->out, path, step);
    if (strlen(o->resume) >= PATH_LENGTH) return user_error("--resume: the path is too long");
    strcpy(path, o->resume);
    *step = checkpoint_step(path);
    return manifest_check(path, *step);
}

/* ---- images: from the logits, in one pass ---- */

typedef struct {
    double loss;
    int64_t n, right, in_five;
} tally;

static void count_image(tally *t, const float *target, const float *logits, int64_t classes)
{
    int64_t label = 0, above = 0;
    double most = -INFINITY, sum = 0, weight = 0, wanted = 0;
    for (int64_t k = 0; k < classes; k++) {
        if (target[k] > target[label]) label = k;
        most = fmax(most, (double)logits[k]);
    }
    for (int64_t k = 0; k < classes; k++) {
        sum += exp((double)logits[k] - most);
        weight += (double)target[k];
        wanted += (double)target[k] * (double)logits[k];
        above += logits[k] > logits[label] || (logits[k] == logits[label] && k < label);
    }
    if (!(weight > 0)) return; /* it could not be read */
    t->n++;
    t->loss += weight * (most + log(sum)) - wanted;
    t->right += !above;
    t->in_five += above < FEW;
}

static error *measure_images(trainer *t, source *val, measured *out)
{
    const options *o = t->o;
    int64_t all = trainer_eval_samples(t, val), classes = o->model.vocab;
    tally sum = {0};
    float *logits;
    TRY(alloc_array(&logits, (size_t)(o->batch * classes), sizeof *logits));
    error *e = NULL;
    for (int64_t first = 0; first < all && !e; first += o->batch) {
        e = trainer_predict(t, val, first, logits);
        for (int64_t i = 0; i < o->batch && first + i < all && !e; i++)
            count_image(&sum, (const float *)t->host_targets + i * classes, logits + i * classes,
                        classes);
    }
    free(logits);
    double n = (double)sum.n;
    out->n = sum.n;
    out->left_out = all - sum.n;
    out->loss = sum.loss / n;
    out->accuracy = (double)sum.right / n;
    out->top_5 = (double)sum.in_five / n;
    return e;
}

static error *measure_text(trainer *t, source *val, measured *out)
{
    eval_result r;
    TRY(trainer_evaluate(t, val, &r));
    out->n = trainer_eval_samples(t, val);
    out->loss = r.loss;
    out->accuracy = out->top_5 = NAN;
    return NULL;
}

/* ---- the result ---- */

static error *print_result_json(const trainer *t, const measured *m)
{
    cJSON *json = cJSON_CreateObject();
    bool images = t->kind->predict, ok = json;
    ok = ok && cJSON_AddStringToObject(json, "model", t->o->model.name) &&
         cJSON_AddNumberToObject(json, t->o->task->samples, (double)m->n) &&
         cJSON_AddNumberToObject(json, "loss", m->loss);
    if (ok && images)
        ok = cJSON_AddNumberToObject(json, "accuracy", m->accuracy) &&
             cJSON_AddNumberToObject(json, "top_5", m->top_5) &&
             cJSON_AddNumberToObject(json, "left_out", (double)m->left_out);
    if (ok && !images) ok = cJSON_AddNumberToObject(json, "perplexity", exp(m->loss));
    if (ok && m->step >= 0)
        ok = cJSON_AddNumberToObject(json, "step", (double)m->step) &&
             cJSON_AddBoolToObject(json, "averaged", m->averaged);
    return json_print_line(json, ok, "JSON");
}

static error *print_result_text(const trainer *t, source *val, const measured *m)
{
    char why[400];
    if (m->step >= 0)
        printf("checkpoint of step %lld%s\n", (long long)m->step,
               m->averaged ? ", its averaged weights" : "");
    if (*val->about) printf("validation: %s\n", val->about);
    if (m->left_out && source_bad(val, why, sizeof why))
        printf("%lld bad samples were left out; the last: %s\n", (long long)m->left_out, why);
    printf("%lld %s: loss %.4f", (long long)m->n, t->o->task->samples, m->loss);
    if (t->kind->predict)
        printf("  accuracy %.2f %%  top-5 %.2f %%\n", 100 * m->accuracy, 100 * m->top_5);
    else
        printf("  perplexity %.3f\n", exp(m->loss));
    return NULL;
}

static error *measure_model(trainer *t, device *dev, const char *checkpoint, source *val,
                            measured *m)
{
    const run_tensors all = trainer_tensors(t);
    TRY(trainer_commit(t, dev, false));
    if (m->step >= 0) TRY(run_state_model(checkpoint, &all, &m->averaged));
    TRY(t->kind->predict ? measure_images(t, val, m) : measure_text(t, val, m));
    if (!m->n) return user_error("--val-data: none of its %s can be read", t->o->task->samples);
    return t->o->json ? print_result_json(t, m) : print_result_text(t, val, m);
}

error *evaluate_only(trainer *t, device *dev)
{
    char checkpoint[PATH_LENGTH];
    measured m = {0};
    source *val;
    TRY(find_checkpoint(t->o, checkpoint, &m.step));
    TRY(t->o->task->open(t->o, false, &val));
    error *e = measure_model(t, dev, checkpoint, val, &m);
    source_close(val);
    return e;
}
