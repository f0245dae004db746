/* regrad.c - see regrad.h: what train.c does, without its files and its terminal.
 *
 *     options (copied) -> trainer_plan -> device_open -> open data -> trainer_commit -> steps
 */
#include "lib/regrad.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "io/model_file.h"
#include "params/params.h"
#include "plan/plan_report.h"
#include "run/gather.h"
#include "train/choose_attention.h"
#include "train/choose_device.h"
#include "train/epochs.h"
#include "train/task.h"
#include "train/tuning.h"

#define API __attribute__((visibility("default")))

struct regrad_run {
    char **words; /* (n_words) copies, which the options point into */
    int n_words;
    options o;
    trainer *t;
    device dev;
    bool open;
    source *train, *val;
    int64_t step;
};

API const char *regrad_version(void)
{
    return REGRAD_VERSION;
}

API void regrad_free(char *text)
{
    free(text);
}

/* Copies the error's text. */
static char *told(error *e)
{
    if (!e) return NULL;
    char *text = strdup(error_text(e));
    error_free(e);
    return text ? text : strdup("out of memory");
}

static error *find_task(const char *kind, const task **out)
{
    *out = !strcmp(kind, "gpt") ? &text_task : !strcmp(kind, "vit") ? &image_task : NULL;
    return *out ? NULL : user_error("kind \"%s\": must be \"gpt\" or \"vit\"", kind);
}

/* Refuses what would end the process, print, or need more processes. */
static error *check_word(const char *word)
{
    static const char *const refused[] = {"--help", "-?",       "--version", "--usage",
                                          "--gpus", "--resume", "--memory",  "--plan",
                                          "--json", "--predict"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        size_t n = strlen(refused[i]);
        if (!strncmp(word, refused[i], n) && (!word[n] || word[n] == '='))
            return user_error("%s: not in the library; the program train_gpt has it", word);
    }
    return NULL;
}

static error *parse_words(regrad_run *r, const char *kind, int n, const char *const *given)
{
    const task *found;
    TRY(find_task(kind, &found));
    TRY(alloc_array(&r->words, (unsigned long)n + 2, sizeof *r->words));
    for (int i = 0; i <= n; i++) {
        if (i) TRY(check_word(given[i - 1]));
        r->words[i] = strdup(i ? given[i - 1] : "regrad");
        if (!r->words[i]) return user_error("out of memory for the options");
        r->n_words++;
    }
    return options_parse(found, r->n_words, r->words, &r->o);
}

static error *open_run(regrad_run *r, const char *kind, int n, const char *const *given)
{
    options *o = &r->o;
    TRY(parse_words(r, kind, n, given));
    if (!o->train_data.n) return user_error("--train-data: give the data to train on");
    TRY(device_open(o->device, (int)o->threads, NULL, &r->dev));
    r->open = true;
    TRY(device_use(&r->dev, o->cpu_kernel, o->products));
    o->device = device_choice_of(&r->dev);
    TRY(choose_attention(o, &r->dev, NULL));
    TRY(epochs_take(o));
    TRY(trainer_plan(o, o->task->kind, &r->t));
    TRY(choose_attention_by_room(o, &r->dev, NULL, &r->t));
    TRY(device_prepare(&r->dev, o->training.attention));
    TRY(o->task->open(o, true, &r->train));
    if (o->val_data.n || o->images.how.split > 0) TRY(o->task->open(o, false, &r->val));
    return trainer_commit(r->t, &r->dev, false);
}

API char *regrad_open(const char *kind, int n, const char *const *given, regrad_run **out)
{
    regrad_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return strdup("out of memory for a run");
    error *e = open_run(r, kind, n, given);
    if (!e)
        *out = r;
    else
        regrad_close(r);
    return told(e);
}

static void close_run(regrad_run *r)
{
    trainer_destroy(r->t);
    source_close(r->train);
    source_close(r->val);
    if (r->open) device_close(&r->dev);
    options_free(&r->o);
    for (int i = 0; i < r->n_words; i++)
        free(r->words[i]);
    free(r->words);
}

API void regrad_close(regrad_run *r)
{
    if (r) close_run(r);
    free(r);
}

API char *regrad_plan(const char *kind, int n, const char *const *given, char **json)
{
    regrad_run r = {0};
    *json = NULL;
    error *e = parse_words(&r, kind, n, given);
    if (!e) {
        r.o.device = device_likely(r.o.device);
        e = choose_attention(&r.o, NULL, NULL);
    }
    if (!e) e = trainer_plan(&r.o, r.o.task->kind, &r.t);
    if (!e) e = plan_json(r.t, json);
    close_run(&r);
    return told(e);
}

API char *regrad_train_step(regrad_run *r, regrad_step *out)
{
    step_result result;
    double lr = schedule_lr(&r->o.schedule, r->step), begun = clock_now();
    error *e = trainer_step(r->t, r->train, r->step + 1, lr, &result);
    if (!e && !result.finite) e = trainer_find_fault(r->t, r->train, r->step + 1, result.loss);
    if (e) return told(e);
    *out = (regrad_step){.step = ++r->step,
                         .loss = result.loss,
                         .grad_norm = result.grad_norm,
                         .lr = lr,
                         .accuracy = result.accuracy,
                         .seconds = clock_now() - begun};
    return NULL;
}

API char *regrad_evaluate(regrad_run *r, double *loss, double *accuracy)
{
    eval_result result = {.loss = NAN, .accuracy = NAN};
    error *e = r->val ? trainer_evaluate(r->t, r->val, &result)
                      : user_error("--val-data: no data to evaluate on was given");
    *loss = result.loss;
    *accuracy = result.accuracy;
    return told(e);
}

static error *trained_write(regrad_run *r, const char *directory, const tensor_source *from)
{
    const params *p = &r->t->params;
    const adapter_about about = tuning_about(&r->o);
    if (p->adapted) return adapter_write(directory, &about, p, &r->dev, from);
    return weights_write(directory, &r->o.model, p, &r->dev, from);
}

API char *regrad_save(regrad_run *r, const char *directory)
{
    tensor_source room;
    run_tensors tensors = trainer_tensors(r->t);
    error *e = make_directory(directory, "the directory");
    if (e) return told(e);
    trainer_exchange(r->t);
    gather walk = gather_begin(&tensors, GATHER_PARAMETERS);
    e = trained_write(r, directory, gather_source(&walk, &room));
    gather_finish(&walk);
    trainer_exchange(r->t);
    if (!e) e = device_status(&r->dev);
    if (!e && r->o.task->describe) e = r->o.task->describe(&r->o, directory);
    return told(e);
}

API int64_t regrad_parameters(const regrad_run *r)
{
    return params_count(&r->t->params);
}

API size_t regrad_planned_bytes(const regrad_run *r)
{
    return arena_peak(r->t->arena);
}
