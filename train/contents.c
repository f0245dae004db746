/* contents.c - see contents.h */
#include "train/contents.h"
#include "base/files.h"
#include "io/model_file.h"
#include "train/task.h"
#include "train/tuning.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static resume_rule rule_of(const options *o, const option_row *row)
{
    if (row->resume != SPLIT) return (resume_rule)row->resume;
    return rule_folds(o->optim.rule) ? RESUME_TOLD : RESUME_SILENT;
}

static error *describe_options(const options *o, run_contents *out)
{
    run_option *list;
    int n = option_count(o->task);
    TRY(alloc_array(&list, (size_t)n, sizeof *list));
    for (int i = 0; i < n; i++) {
        const option_row *row = option_row_at(o->task, i);
        list[i] = (run_option){row->name, rule_of(o, row)};
    }
    out->option = list;
    out->n_options = n;
    TRY(options_json(o, &out->options));
    return options_unset_json(o->task, &out->unset);
}

/* Without a known tokenizer, none is saved. */
static error *describe_vocab(const options *o, run_contents *out)
{
    char path[PATH_LENGTH];
    if (!o->task->tokenizer) return NULL;
    error *e = o->task->tokenizer(o, path, sizeof path);
    if (e) {
        error_free(e);
        return NULL;
    }
    out->vocab = strdup(path);
    return out->vocab ? NULL : user_error("out of memory for the tokenizer's name");
}

/* The directory of the model that is loaded, where its generation_config.json may be. */
static error *describe_beside(const options *o, run_contents *out)
{
    char directory[PATH_LENGTH];
    if (!o->task->tokenizer || !o->load) return NULL;
    TRY(path_directory(directory, o->load, NULL));
    out->beside = strdup(directory);
    return out->beside ? NULL : user_error("out of memory for a directory's name");
}

/* Adapters belong to one model. */
static error *describe_base(const options *o, run_contents *out)
{
    return out->adapted && o->load ? model_fingerprint(o->load, &out->base) : NULL;
}

error *contents_describe(trainer *t, uint64_t data, uint64_t val_data, run_contents *out)
{
    const options *o = t->o;
    *out = (run_contents){.tensors = trainer_tensors(t),
                          .model = &o->model,
                          .adapted = t->params.adapted,
                          .adapters = tuning_about(o),
                          .program = t->kind->program,
                          .samples_per_step = o->batch * o->accum * comm_size(o->comm),
                          .best_loss = INFINITY,
                          .data = data,
                          .val_data = val_data};
    error *e = describe_options(o, out);
    if (!e) e = describe_vocab(o, out);
    if (!e) e = describe_beside(o, out);
    if (!e) e = describe_base(o, out);
    if (e) contents_free(out);
    return e;
}

void contents_free(run_contents *c)
{
    free(c->option);
    free(c->options);
    free(c->unset);
    free(c->vocab);
    free(c->beside);
    *c = (run_contents){0};
}
