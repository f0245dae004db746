/* run_contents.h - the state of a run that must outlive its process, in plain terms.
 *
 *      trainer --fills--> run_contents --> run_state     a checkpoint's files, and back
 *                           |    |    \--> gather        sharded or sparse tensors, in full
 *                           |    |
 *      tensors   parameters, optimizer states, masters, non-zeros: by the tables that own them
 *      values    options (each with what a resume does if it has changed), the model's sizes, ...
 *      counters  steps done, bytes of the log
 *
 * So this module does not know how a run trains: another kind of trainer describes itself the same
 * way.
 */
#ifndef REGRAD_RUN_CONTENTS_H
#define REGRAD_RUN_CONTENTS_H

#include "io/adapter_file.h"
#include "model/config.h"
#include "optim/optimizer.h"
#include "params/sharded_backing.h"
#include "params/sparse_backing.h"

typedef struct {
    runtime *r; /* device, arena, parameter table and ranks */
    optimizer *optimizer;
    zero *zero;        /* ? sharding over ranks */
    sparse *sparse;    /* ? non-zeros of the matrices */
    bool in_parts;     /* each rank writes its own part of a checkpoint (run/parts.h) ... */
    bool splits_model; /* ... also of the model: not of adapters, which are small, nor of image
                          models, which are read from one file */
} run_tensors;

/* What a resume does with an option that differs from the checkpoint's. */
typedef enum {
    RESUME_FIXED = 1, /* refuses: it means another model, or another order of samples */
    RESUME_TOLD,      /* reports it: it is intended, and affects training from here on */
    RESUME_SILENT     /* nothing: it does not affect any number of the training */
} resume_rule;

typedef struct {
    const char *name;
    resume_rule resume;
} run_option;

typedef struct {
    run_tensors tensors;
    const model_config *model;
    bool adapted;           /* only adapters are saved */
    adapter_about adapters; /* their configuration */
    uint64_t base;          /* fingerprint of the model that they belong to */
    const char *program;
    run_option *option; /* (n_options) */
    int n_options;
    char *options, *unset;    /* JSON objects: the options, and their defaults */
    int64_t samples_per_step; /* of all ranks */
    uint64_t data;            /* fingerprint of the training data */
    uint64_t val_data;        /* fingerprint of what the best evaluation was measured on; 0: none */
    char *vocab;              /* ? the tokenizer's file */
    char *beside;             /* ? the directory of the model that was loaded */
    int64_t step;             /* steps done */
    int64_t log_bytes;        /* length of log.jsonl at that point */
    double best_loss;         /* of the evaluations so far; INFINITY: none */
    int64_t best_step;
    int64_t since_best; /* evaluations since then */
} run_contents;

#endif
