/* run_contents.h - what a run holds that must outlive its process, in plain terms.
 *
 *      trainer --fills--> run_contents --> run_state     a checkpoint's files, and back
 *                           |    |    \--> gather        sharded or sparse tensors, in full
 *                           |    |
 *      tensors   parameters, the optimizer's states, masters, non-zeros: by the tables that have them
 *      values    options (each with what a resume does when it has changed), the model's sizes, ...
 *      counters  steps done, bytes of the log
 *
 * So nothing here knows how a run trains: a trainer of another kind describes itself the same way.
 */
#ifndef REGRAD_RUN_CONTENTS_H
#define REGRAD_RUN_CONTENTS_H

#include "io/adapter_file.h"
#include "model/config.h"
#include "optim/optimizer.h"
#include "params/sharded_backing.h"
#include "params/sparse_backing.h"

typedef struct {
    run *r; /* device, arena, parameter table and ranks */
    optimizer *optimizer;
    zero *zero;     /* ? shards of other ranks */
    sparse *sparse; /* ? non-zeros of the matrices */
} run_tensors;

/* What a resume does with an option that is another one than in the checkpoint. */
typedef enum {
    RESUME_FIXED = 1, /* refuses: it makes another model, or another order of samples */
    RESUME_TOLD,      /* says so: it is wanted, and changes the training from here on */
    RESUME_SILENT     /* nothing: no number of the training changes */
} resume_rule;

typedef struct {
    const char *name;
    resume_rule resume;
} run_option;

typedef struct {
    run_tensors tensors;
    const model_config *model;
    bool adapted;           /* files have the adapters alone */
    adapter_about adapters; /* then */
    uint64_t base;          /* then: fingerprint of the model that they are beside */
    const char *program;
    run_option *option; /* (n_options) */
    int n_options;
    char *options, *unset;    /* JSON objects: the options, and those of a run that gave none */
    int64_t samples_per_step; /* of all ranks */
    uint64_t data;            /* fingerprint of the training data */
    uint64_t val_data;        /* ... of what the best is known by; 0: there is none */
    char *vocab;              /* ? the tokenizer's file */
    char *beside;             /* ? the directory of the model that was loaded */
    int64_t step;             /* steps done */
    int64_t log_bytes;        /* of log.jsonl then */
    double best_loss;         /* of evaluations so far; INFINITY: there was none */
    int64_t best_step;
    int64_t since_best; /* evaluations since */
} run_contents;

#endif
