/* option_row.h - one option: a row of the table that makes the parser, --help and config.json. */
#ifndef REGRAD_OPTION_ROW_H
#define REGRAD_OPTION_ROW_H

#include "train/options.h"

typedef enum { WHOLE, REAL, TEXT, FLAG, LIST } option_type;

typedef struct {
    const char *name, *arg, *help;
    option_type type;
    size_t field;
    double least, most;     /* for numbers */
    const char *when_unset; /* shown as the default when the number is 0 or NAN */
} option_row;

#define FIELD(f) offsetof(options, f)

/* How many rows there are for a task, and row i of them. */
int option_count(const task *t);
const option_row *option_row_at(const task *t, int i);

/* The options when none is given, before they are resolved. */
options options_unset(const task *t);

static inline void *option_field(options *o, const option_row *row)
{
    return (char *)o + row->field;
}

#endif
