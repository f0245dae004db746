/* options_file.h - options that were not given, from files: those of --config FILE, then those of the run
 * that is resumed.
 *
 *     command line  >  --config FILE  >  the checkpoint of --resume  >  defaults
 *
 * A file is an object of options by their names, as options.json is; null is what is not set.  A resume
 * takes what its run was given and nobody overrides, but for where things are and for what one call asks.
 *
 * Files hold resolved values, which belong together: a given --optim, --model, --load, --memory or --steps
 * makes those of the file that followed from another one void (the sizes of another model, the numbers of
 * another optimizer).
 */
#ifndef REGRAD_OPTIONS_FILE_H
#define REGRAD_OPTIONS_FILE_H

#include "train/option_row.h"

/* Values that options point into; copies of these options have the same. */
typedef struct option_file option_file;

/* Fills in rows that are not given; given[i]: row i was, and is then.  User errors: a name that is not an
 * option, a value that is not of its kind; of the checkpoint only what its own reader says later. */
error *options_take_files(options *o, bool *given /* (option_count) */) NODISCARD;

void option_files_free(option_file *f); /* NULL is fine */

#endif
