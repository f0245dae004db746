/* option_row.h - one option: a row of the table that makes the parser, --help, options.json, and
 * what a resume does with it.  Its conflicts are rows of train/option_conflicts.c.
 *
 * In help texts, {optimizers} and {presets} are replaced by the lists of them.
 */
#ifndef REGRAD_OPTION_ROW_H
#define REGRAD_OPTION_ROW_H

#include "run/run_contents.h"
#include "train/options.h"

typedef enum { INTEGER, REAL, TEXT, FLAG, LIST } option_type;

/* The headings of --help, in order. */
typedef enum {
    MODEL,
    TUNING,
    DATA,
    OPTIMIZER,
    SCHEDULE,
    SPARSITY,
    PRECISION,
    MEMORY,
    OFFLOADED,
    RUN,
    OUTPUT,
    RANKS,
    OPTION_GROUPS
} option_group;

/* What a resume does if it has changed (run/run_contents.h). */
typedef enum {
    FIXED = RESUME_FIXED,
    TOLD = RESUME_TOLD,
    SILENT = RESUME_SILENT,
    SPLIT /* silent; but reported if the optimizer accumulates each micro-batch's gradient itself */
} option_resume;

typedef struct {
    const char *name, *arg, *help;
    option_type type;
    option_group group;
    option_resume resume;
    unsigned of; /* HAS_...: for optimizers that have this hyperparameter; 0: for all */
    size_t field;
    double least, most;     /* limits of numbers */
    const char *when_unset; /* shown as the default if the number is 0 or NAN */
} option_row;

enum { MAX_ROWS = 128 };

#define FIELD(f) offsetof(options, f)

/* The number of rows for a task, and row i. */
int option_count(const task *t);
const option_row *option_row_at(const task *t, int i);

/* Sizes that were asked for (0: not), by options or --model: --load's model must have them. */
typedef struct {
    const char *name;
    int64_t asked, has;
} loaded_size;
error *options_sizes_agree(const options *o, const loaded_size *sizes, size_t n,
                           bool named) NODISCARD;

/* The options when none is given, before they are resolved. */
options options_unset(const task *t);

static inline void *option_field(options *o, const option_row *row)
{
    return (char *)o + row->field;
}

/* Its value as given; false: it has none to show (flags, lists). */
bool option_print(options *o, const option_row *row, char *out, size_t room);

/* Its value, if that is within the row's limits; `text` is the original, for a user error. */
error *option_take_number(const option_row *row, double value, const char *text,
                          options *o) NODISCARD;

#endif
