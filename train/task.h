/* task.h - a model and the data that it learns from: what differs between train_gpt and train_vit.
 *
 *     train.c, options, trainer, loop        the same for all
 *          |
 *        task     text  (train/task_text.c):   GPT,  token shards,  samples of text
 *          |      image (train/task_image.c):  ViT,  labelled images
 *          +-- model_kind   the passes                            model/model.h
 *          +-- rows         options of its own                    train/option_row.h
 *          +-- open         its source of samples                 data/source.h
 *          +-- begin, between, end: what it shows during a run
 *
 * train.c is one object file; train/task_of_train_gpt.c or train/task_of_train_vit.c, linked with it, says which
 * task the program is for.
 */
#ifndef REGRAD_TASK_H
#define REGRAD_TASK_H

#include "data/source.h"
#include "train/option_row.h"
#include "train/trainer.h"

struct task {
    const model_kind *kind;
    const char *samples;       /* "sequences": what a micro-batch is made of */
    const char *unit, *unit_3; /* what speed is counted in: "tokens", "tok" */
    const option_row *rows;    /* (n_rows): the model's and the data's options */
    int n_rows;
    void (*defaults)(options *);       /* values of those rows before parsing */
    error *(*resolve)(options *);      /* o->model and o->seq from what was given */
    void (*resolved)(options *);       /* the other way: rows of config.json from o->model */
    int64_t (*units)(const options *); /* in a sample */
    /* What the model computes for a sample: as many rows of each matrix product. */
    int64_t (*positions)(const options *);
    error *(*default_data)(options *); /* fills in the demo's data, or says how to make it */
    error *(*open)(const options *, bool training, source **out);
    /* ? What its data occupies in memory beside the plan. */
    error *(*held)(const options *, size_t *bytes);
    /* ? The file of the tokenizer that the training data was made with.  User error: not known. */
    error *(*tokenizer)(const options *, char *path, size_t size);
    /* All values, from o->load. */
    error *(*load)(trainer *, device *);
    /* ? Once before the first step, after each step (is it the run's last?), and at the end. */
    error *(*begin)(const options *, void **own);
    error *(*between)(void *own, trainer *, int64_t step, bool last);
    void (*end)(void *own);
    /* ? Beside a trained model, in the same directory: what must be known to use it. */
    error *(*describe)(const options *, const char *directory);
};

extern const task text_task, image_task;
extern const task *const the_task; /* this program's */

#endif
