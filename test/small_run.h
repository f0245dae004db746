/* small_run.h - whole training runs for tests: options as on the command line, a shard of made-up
 * tokens, the CPU device, and what is left of a run when it is over. */
#ifndef REGRAD_TEST_SMALL_RUN_H
#define REGRAD_TEST_SMALL_RUN_H

#include "train/task.h"

enum { SMALL_ARGS = 80, SMALL_TEXT = 1000 };

/* A tied two-layer model with odd sizes: nothing is a multiple of a vector. */
#define SMALL_MODEL                                                                                \
    "--layers 2 --heads 3 --width 33 --context 13 --vocab 59 --batch 3 --seq 11 --threads 2 "

/* The same for images: 3 x 5 patches and a class token. */
#define SMALL_VIT                                                                                  \
    "--patch 3 --image-size 9x15 --channels 3 --classes 7 --layers 2 --heads 3 --width 33 "        \
    "--inner 47 --batch 3 --threads 2 "

typedef struct {
    options o;
    trainer *t;
    device dev;
    source *data;
    char directory[64], shard[100], labels[100];
    const char *shards[1]; /* the list with the shard */
    char text[SMALL_TEXT]; /* the arguments, cut into words */
} small_run;

/* Plans and commits a run with these arguments (words separated by spaces), on what was made up
 * unless they say --train-data; fails the test otherwise.  With --patch it is one of images, else
 * of text. */
void small_open(small_run *s, const char *arguments);
void small_close(small_run *s);

/* The options of these arguments, cut into words that `text` keeps; with --patch, --image-size or
 * --model vit... they are train_vit's. */
error *small_parse(const char *arguments, char text[SMALL_TEXT], options *o) NODISCARD;

/* The plan alone. */
arena_summary small_plan(const char *arguments, int64_t *parameters);

/* All parameters, whole, in table order. */
void small_parameters(small_run *s, float *out);

/* Trains this step of a run with a second place, which moves as much as was counted. */
void small_step_moves(small_run *s, int64_t step);

/* What a run leaves behind. */
typedef struct {
    float *parameters; /* all of them, in table order */
    int64_t n;
    double *loss, *grad_norm; /* by step */
    int64_t steps;
    grad_policy policy;
    size_t peak, room; /* planned; of that, what the device is lent */
} small_result;

/* Runs o.steps steps from the beginning. */
small_result small_train(const char *arguments);
void small_free(small_result *r);

/* Index of the first parameter whose bits differ, -1 if none does; n must agree. */
int64_t first_difference(const small_result *a, const small_result *b);

/* Trains with `common` and one of a pair, and with `common` and the other: the same parameters and
 * losses. */
void small_same_runs(const char *common, const char *const (*pairs)[2], size_t n);

/* Fails the test with the error's text. */
void must(error *e);

#endif
