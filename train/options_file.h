/* options_file.h - takes options that were not given from files: from --config FILE, then from the
 * run that is resumed.
 *
 *     command line  >  --config FILE  >  the checkpoint of --resume  >  defaults
 *
 * A file is a JSON object of options by name, like options.json; null means not set.  A resume
 * inherits what its run was given and what is not overridden, except locations and one-time
 * requests.
 *
 * Files hold resolved values, which depend on one another: giving --optim, --model, --load,
 * --memory or --steps voids the file's values that followed from them (the sizes of another model,
 * the hyperparameters of another optimizer).
 */
#ifndef REGRAD_OPTIONS_FILE_H
#define REGRAD_OPTIONS_FILE_H

#include "train/option_row.h"

/* Values that options point into; shared by copies of these options. */
typedef struct option_file option_file;

/* Fills in rows that were not given; given[i]: row i was given, or has been filled in.  User
 * errors: a name that is not an option, a value of the wrong kind; for a checkpoint only errors
 * that its own reader would not report. */
error *options_take_files(options *o, bool *given /* (option_count) */) NODISCARD;

void option_files_free(option_file *f); /* NULL is ignored */

#endif
