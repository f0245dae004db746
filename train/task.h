/* task.h - a model and its data: what differs between train_gpt and train_vit.
 *
 *     train.c, options, trainer, loop        the same for all
 *          |
 *        task     text  (train/task_text.c):   GPT,  token shards,  samples of text
 *          |      image (train/task_image.c):  ViT,  labelled images
 *          +-- model_kind   the passes                            model/model.h
 *          +-- rows         its own options                       train/option_row.h
 *          +-- open         its source of samples                 data/source.h
 *          +-- begin, between, end: what it prints during a run
 *
 * train.c is one object file; train/task_of_train_gpt.c or train/task_of_train_vit.c, linked with
 * it, selects the task of the program.
 */
#ifndef REGRAD_TASK_H
#define REGRAD_TASK_H

#include "data/source.h"
#include "train/option_row.h"
#include "train/trainer.h"

struct task {
    const model_kind *kind;
    const char *samples;       /* "sequences": the contents of a micro-batch */
    const char *unit, *unit_3; /* the unit of speed: "tokens", "tok" */
    const option_row *rows;    /* (n_rows): the model's and the data's options */
    int n_rows;
    void (*defaults)(options *);       /* values of those rows before parsing */
    error *(*resolve)(options *);      /* sets o->model and o->seq from what was given */
    void (*resolved)(options *);       /* the reverse: rows of config.json from o->model */
    int64_t (*units)(const options *); /* per sample */
    /* Rows of each matrix product per sample. */
    int64_t (*positions)(const options *);
    error *(*default_data)(options *); /* fills in the demo's data, or says how to make it */
    error *(*open)(const options *, bool training, source **out);
    /* ? Host memory of its data, beside the plan. */
    error *(*held)(const options *, size_t *bytes);
    /* ? The tokenizer file that the training data was made with.  User error if it is unknown. */
    error *(*tokenizer)(const options *, char *path, size_t size);
    /* Reads all values, from o->load. */
    error *(*load)(trainer *, device *);
    /* ? Called before the first step, after each step (last: is it the last one?), and at the
     * end. */
    error *(*begin)(const options *, void **own);
    error *(*between)(void *own, trainer *, int64_t step, bool last);
    void (*end)(void *own);
    /* ? Writes what is needed to use a trained model into its directory. */
    error *(*describe)(const options *, const char *directory);
};

extern const task text_task, image_task;
extern const task *const the_task; /* this program's */

#endif
