/* regrad.h - Regrad as a library: plan a run, train step by step, read losses, save the model.
 *
 *     regrad_run *run;
 *     const char *options[] = {"--model", "gpt-nano", "--train-data", "mine_train.bin", "--optim", "adamw_r"};
 *     char *wrong = regrad_open("gpt", 6, options, &run);
 *     for (int i = 0; !wrong && i < 100; i++) {
 *         regrad_step result;
 *         wrong = regrad_train_step(run, &result);
 *         ...
 *     }
 *     if (!wrong) wrong = regrad_save(run, "out");
 *     if (wrong) { fprintf(stderr, "%s\n", wrong); regrad_free(wrong); }
 *     regrad_close(run);
 *
 * Options are those of train_gpt ("gpt") and train_vit ("vit"), as words of a command line;
 * train_gpt --help lists them.  A function that can fail returns NULL, or one line of text that
 * says what is wrong and how to fix it; free that with regrad_free.  These functions print nothing,
 * write no files except those of regrad_save (and --offload's, which has no name), and never end
 * the process.  Only one thread at a time may call them; a process may have several runs open.
 *
 * Link with -lregrad (pkg-config regrad).
 */
#ifndef REGRAD_H
#define REGRAD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.9.0" */
const char *regrad_version(void);

/* The memory plan as JSON, as printed by train_gpt --plan --json; free *json with regrad_free.
 * Opens no device and reads no data. */
char *regrad_plan(const char *kind, int n, const char *const *options, char **json);

typedef struct regrad_run regrad_run;

/* Plans a run, opens its device, its data and (with --load) its weights. *out is NULL on
 * failure. */
char *regrad_open(const char *kind, int n, const char *const *options, regrad_run **out);
void regrad_close(regrad_run *run); /* NULL is ignored */

/* The results of one step. */
typedef struct {
    int64_t step;     /* 1, 2, ... */
    double loss;      /* nats: mean over the step's samples */
    double grad_norm; /* L2, before clipping */
    double lr;        /* learning rate from the schedule */
    double accuracy;  /* of a classifier, otherwise NaN */
    double seconds;
} regrad_step;

/* The next step: --accum micro-batches and an update.  An infinite or NaN loss is an error; the
 * parameters are unchanged then. */
char *regrad_train_step(regrad_run *run, regrad_step *out);

/* Mean loss over --eval-batches batches of --val-data; accuracy is NaN except for classifiers. */
char *regrad_evaluate(regrad_run *run, double *loss, double *accuracy);

/* Writes model.safetensors and config.json, with Hugging Face's names and layout, into a directory
 * that is created if necessary; for images also classes.txt, if the classes have names.  With --ema
 * they are the averages, as what is evaluated is. */
char *regrad_save(regrad_run *run, const char *directory);

int64_t regrad_parameters(const regrad_run *run);
size_t regrad_planned_bytes(const regrad_run *run); /* the planned peak, which is all that the run
                                                     * allocates */

void regrad_free(char *text); /* NULL is ignored */

#ifdef __cplusplus
}
#endif

#endif
